"""What a changed recipe would change, in numbers: a run before, and its documents after.

Every number after is a list of two, the least and the most; they are equal where the answer is
exact. With `balance` and open pairs, the two ends are decided to the end, but copies and groups
need not lie between them: a group's share depends on all others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe import ledger, store
from cleanpipe.decide import Decisions
from cleanpipe.planning.whatif import SHOWN_BY, WhatIf, decide
from cleanpipe.report.summary import STAGE_ORDER
from cleanpipe.rules import gates
from cleanpipe.stats import stats

EXAMPLES = 5
MOST_VALUES = 20
NONE = {"documents": 0, "bytes": 0}


def outlook(run: Path, overrides: Mapping[str, str], recipe: Path | None = None) -> dict[str, Any]:
    """What `recipe`, or the run's own with overrides, would make of a run's documents.

    Keys: run, changed (options before and after), exact, open_pairs; documents, stages, copies,
    groups and gates, before and after; newly_kept and newly_dropped with examples; by (both by
    language and source). Errors: RecipeError for what needs a run.
    """
    return told(decide(run, overrides, recipe))


def told(asked: WhatIf) -> dict[str, Any]:
    """The numbers of an answer."""
    known: dict[str, Any] = store.read_json(asked.run / "stats.json")
    verdicts = ledger.load_verdicts(asked.run).select("verdict", "stage", "rule").collect()
    ends = [counted(end, asked.table, known) for end in asked.ends]
    was = (verdicts["verdict"] == "kept").to_numpy()
    certain = np.logical_and.reduce([end.alive for end in asked.ends])
    possible = np.logical_or.reduce([end.alive for end in asked.ends])
    guessed = int(asked.guess.alive.sum())
    changes = _Changes(asked, verdicts)
    return {
        "run": asked.run.name,
        "changed": asked.changed,
        "exact": len(asked.ends) == 1,
        "open_pairs": asked.open_pairs if len(asked.ends) > 1 else 0,
        "documents": {
            "before": {n: known["documents"][n] for n in ("read", "kept", "dropped")},
            "after": _ends([one["documents"] for one in ends]),
            "likely_kept": guessed,
        },
        "stages": _stages(known, ends),
        "newly_kept": changes.of(~was & certain, ~was & possible),
        "newly_dropped": changes.of(was & ~possible, was & ~certain),
        "by": {name: changes.by(name, was, certain, possible) for name in changes.columns},
        "copies": {
            "before": known["copies"]["asked"],
            "after": _ends([{"asked": extra_copies(end)} for end in asked.ends])["asked"],
        },
        "groups": {
            "before": known["groups"],
            "after": [end.groups.to_dicts() for end in asked.ends],
        },
        "gates": _gates(asked, known, ends),
    }


def counted(end: Decisions, table: pl.DataFrame, known: Mapping[str, Any]) -> dict[str, Any]:
    """The part of stats.json that gates and the table of stages go by."""
    kinds = np.where(end.quarantined, "quarantined", np.where(end.alive, "kept", "dropped"))
    verdicts = end.reasons.select("stage", "rule").with_columns(verdict=pl.Series(kinds))
    sizes = table.select("bytes").with_columns(chars=pl.lit(0, dtype=pl.Int64))
    kept = int(end.alive.sum())
    lost = int(end.quarantined.sum())
    read = table.height
    return {
        "documents": {
            "read": read,
            "kept": kept,
            "dropped": read - kept - lost,
            "quarantined": lost,
        },
        "clean": stats.sizes(sizes.filter(pl.Series(end.alive))),
        "stages": stats.stages(verdicts, sizes),
        "by": known["by"],
        "drift": {"raw": {}, "clean": {}},  # of other documents, it takes a run to tell
    }


def extra_copies(end: Decisions) -> int:
    """How many copies beyond the originals are asked for."""
    return int(np.maximum(end.copies - 1, 0).sum())


def _ends(found: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The least and the most of each number."""
    return {name: [f(one[name] for one in found) for f in (min, max)] for name in found[0]}


def _stages(known: dict[str, Any], ends: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Documents and bytes by stage and rule, in the order of stages; the last row is the kept."""
    sides = [_by_reason(one) for one in (known, *ends)]
    before = sides[0]
    reasons = sorted(
        dict.fromkeys(key for side in sides for key in side),
        key=lambda key: (STAGE_ORDER.index(key[0]), -before.get(key, NONE)["documents"], key[1]),
    )
    rows = []
    for key in reasons:
        was, *now = (side.get(key, NONE) for side in sides)
        named = dict(zip(("stage", "rule", "verdict"), key, strict=True))
        rows.append({**named, "before": was, "after": _ends(now)})
    was, *now = ({name: one["clean"][name] for name in NONE} for one in (known, *ends))
    return [*rows, {"stage": "", "rule": "", "verdict": "kept", "before": was, "after": _ends(now)}]


def _by_reason(stats: Mapping[str, Any]) -> dict[tuple[str, str, str], dict[str, int]]:
    return {
        (row["stage"], row["rule"], row["verdict"]): {n: row[n] or 0 for n in NONE}
        for row in stats["stages"]
    }


def _gates(
    asked: WhatIf, known: Mapping[str, Any], ends: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each gate of the changed recipe at both ends."""
    lines = []
    for same in zip(*(asked.asked.gates.judge(one) for one in ends), strict=True):
        values = [line["value"] for line in same if line["value"] is not None]
        lines.append(
            {
                **same[0],
                "before": gates.value(same[0]["metric"], known) if values else None,
                "value": [min(values), max(values)] if values else None,
                "outcome": list(dict.fromkeys(line["outcome"] for line in same if values)),
            }
        )
    return lines


class _Changes:
    """Documents whose verdict changes: how many, which, by what."""

    def __init__(self, asked: WhatIf, verdicts: pl.DataFrame) -> None:
        self.asked, self.verdicts = asked, verdicts
        self.table = asked.table
        self.bytes = self.table["bytes"].fill_null(0).to_numpy()
        self.columns = [name for name in SHOWN_BY if name in self.table.columns]

    def of(self, certain: npt.NDArray[np.bool_], possible: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Documents and bytes, the least and the most, and some of those that are certain."""
        rows = np.flatnonzero(certain)
        spread = rows[np.linspace(0, len(rows) - 1, min(EXAMPLES, len(rows))).astype(np.int64)]
        return {
            "documents": [int(mask.sum()) for mask in (certain, possible)],
            "bytes": [int(self.bytes[mask].sum()) for mask in (certain, possible)],
            "examples": [self._example(int(row)) for row in spread],
        }

    def _example(self, row: int) -> dict[str, Any]:
        before = self.verdicts.row(row, named=True)
        after = self.asked.documents.reason(row)
        shard, line = self.table.select("shard", "row").row(row)
        name = self.asked.inputs[shard]["shard"]["name"]
        given = ledger.load_verdicts(self.asked.run).slice(row, 1).select("id").collect().item()
        return {
            "id": given,
            "shard": name,
            "row": line,
            "before": {n: before[n] for n in ("stage", "rule")},
            "after": after,
        }

    def by(
        self,
        name: str,
        was: npt.NDArray[np.bool_],
        certain: npt.NDArray[np.bool_],
        possible: npt.NDArray[np.bool_],
    ) -> list[dict[str, Any]]:
        """What is certain of the change, by the values of a column: most documents first."""
        frame = pl.DataFrame(
            {
                name: self.table[name].cast(pl.String).fill_null("null"),
                "kept": pl.Series(~was & certain),
                "dropped": pl.Series(was & ~possible),
                "bytes": self.bytes,
            }
        ).filter(pl.col("kept") | pl.col("dropped"))
        groups = frame.group_by(name).agg(
            pl.col("kept").sum(),
            pl.col("dropped").sum(),
            (pl.col("bytes") * pl.col("kept")).sum().alias("kept_bytes"),
            (pl.col("bytes") * pl.col("dropped")).sum().alias("dropped_bytes"),
        )
        total = pl.col("kept") + pl.col("dropped")
        ordered = groups.sort([total, pl.col(name)], descending=[True, False]).head(MOST_VALUES)
        return [
            {
                "value": row[name],
                "newly_kept": {"documents": row["kept"], "bytes": row["kept_bytes"]},
                "newly_dropped": {"documents": row["dropped"], "bytes": row["dropped_bytes"]},
            }
            for row in ordered.to_dicts()
        ]
