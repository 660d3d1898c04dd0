"""What a run leaves: its statistics, its publication, and a way to read both again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from cleanpipe import ledger, store
from cleanpipe.decide import Decisions
from cleanpipe.duplicates import repeats
from cleanpipe.duplicates.bands import CROWDED
from cleanpipe.duplicates.dedup import COMPARED
from cleanpipe.errors import InputError
from cleanpipe.measures import contamination
from cleanpipe.nearest import did_you_mean
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.report import trend
from cleanpipe.rules import effects
from cleanpipe.stats import diversity, drift, stats

BOOKS = (
    *("copies", "cuts", "evaluations", "measures", "pairs"),
    *("quarantine", "receipts", "verdicts"),
)
"""The folders of a run whose files the manifest vouches for."""


def count(
    decisions: Decisions,
    blocks: Sequence[store.Record],
    described: Mapping[str, Any],
    duplicates: Mapping[str, Any],
    receipts: Sequence[store.Record],
    shards: int,
) -> store.Record:
    """stats.json: what was read, kept, dropped and added, by stage, rule, group and measure.

    `blocks` are what `counting.count_block` says of each, `described` the statistics of all,
    `duplicates` what dedup counted beside.
    """
    added = sum(receipt["added"] for receipt in receipts)
    kinds = _sums([block["verdicts"] for block in blocks])
    known: store.Record = {
        "version": stats.VERSION,
        "documents": {
            "read": sum(kinds.values()),
            **kinds,
            "added": added,
            "written": sum(receipt["files"]["data"]["rows"] for receipt in receipts),
        },
        "shards": shards,
        **described,
        **stats.finished(described),
        "fixes": _sums([block["fixes"] for block in blocks]),
        **_rules(decisions.recipe, blocks),
        "duplicates": {**_sums([block["duplicates"] for block in blocks]), **duplicates},
        "evaluations": contamination.count(decisions.documents.folder),
        "cuts": _all_cuts(decisions, blocks),
        "groups": decisions.groups.to_dicts(),
        "copies": {
            "asked": sum(receipt["asked"] for receipt in receipts),
            "written": added,
            "bytes": sum(receipt["added_bytes"] for receipt in receipts),
            "operations": _operations([row for one in receipts for row in one["operations"]]),
        },
    }
    known["diversity"] = diversity.summary(known)
    known["drift"] = drift_of(decisions.documents.folder, known)
    gates = decisions.recipe.gates.judge(known)
    return known | {"alerts": list(_alerts(known["duplicates"], decisions)), "gates": gates}


def runs_of(manifest: Mapping[str, Any]) -> list[str]:
    """The runs that made what a manifest names, oldest first."""
    return [*(night["run"] for night in manifest.get("nights", ())), manifest["run"]]


def drift_of(folder: Path, known: Mapping[str, Any]) -> store.Record:
    """The drift section of stats.json: how far a run lies from all that is published.

    `against` is the run that published it, or null, and then `why_not` says what is missing.
    """
    nothing: store.Record = {"raw": {}, "clean": {}}
    manifest = store.current_manifest(folder.parents[2])
    if manifest is None:
        why_not = "this is the first run of its output folder"
        return {"against": None, "why_not": why_not, **nothing}
    try:
        was = drift.together(_stats_of(folder.parent / run) for run in runs_of(manifest))
    except _UnreadableError as error:
        return {"against": None, "why_not": str(error), **nothing}
    return {"against": manifest["run"], "why_not": None, **drift.compare(was, known)}


class _UnreadableError(Exception):
    """Statistics of an earlier run that this version cannot read."""


def _stats_of(run: Path) -> store.Record:
    path = run / "stats.json"
    was = store.read_json(path) if path.exists() else {"version": None}
    if was["version"] != stats.VERSION:
        state = "is gone" if was["version"] is None else "has another version"
        raise _UnreadableError(f"stats.json of run {run.name} {state}")
    return was


def _alerts(duplicates: Mapping[str, Any], decisions: Decisions) -> Iterator[str]:
    """What whoever runs this should know besides the numbers, as sentences without their dot."""
    for name in decisions.nowhere:
        near = did_you_mean(name, [one for one in decisions.documents.kinds if one != name])
        yield (
            f"balance.by: {name!r} is null in every document that was left, so that it makes no "
            f"groups{near}: name a column that has values"
        )
    yield from _fewer_copies(decisions.not_augmented)
    crowd = duplicates.get("crowded")
    if crowd is not None:
        yield (
            f"{crowd['buckets']:,} MinHash buckets hold more than {CROWDED:,} documents each, the "
            f"largest {crowd['largest']:,}, such as {crowd['example']}: mostly pages made from one "
            f"template. Each was compared with its {COMPARED} nearest representatives only; a rule "
            "against the template, or `cuts` of what its pages share, would let what differs decide"
        )


def _fewer_copies(not_augmented: Mapping[str, int]) -> Iterator[str]:
    if count := not_augmented.get("held_out"):
        yield f"{count:,} extra copies of held-out documents were not asked for (augment.held_out)"
    if count := not_augmented.get("max_share"):
        yield (
            f"{count:,} extra copies were not asked for: augment.max_share lets no more text be "
            "augmented, and groups miss their targets by that"
        )


def _operations(rows: Sequence[Mapping[str, Any]]) -> list[store.Record]:
    """What every part says of its copies, those of one operation, outcome and reason added."""
    if not rows:
        return []
    keys = ("operations", "outcome", "reason")
    table = pl.DataFrame(rows, schema_overrides=dict.fromkeys(keys, pl.String))
    added = table.group_by(keys).agg(pl.sum("copies", "bytes", "changed_millionths"))
    return added.sort(keys, nulls_last=True).to_dicts()


def _sums(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(one[name] for one in counts) for name in counts[0]}


def _all_cuts(decisions: Decisions, blocks: Sequence[store.Record]) -> dict[str, int]:
    """What was compared and cut in all; nothing where the recipe has no cuts."""
    if decisions.recipe.cuts is None:
        return {}
    return {
        **repeats.count(decisions.documents.folder),
        **_sums([block["cuts"] for block in blocks]),
    }


def _rules(recipe: Recipe, blocks: Sequence[store.Record]) -> store.Record:
    """The filter: how many documents it judged and passed, and what each rule has to do with it."""
    bounds = recipe.filter.bounds()
    unbound: store.Record = {"low": None, "high": None, "by_lang": {}, "langs": None}
    applies = _sums([block["applies"] for block in blocks])
    rules = []
    for rows in zip(*(block["counts"] for block in blocks), strict=True):
        name = rows[0]["rule"]
        counts = _sums([{n: row[n] for n in ("failed", "first", "alone")} for row in rows])
        moves = zip(*(block["moves"][name] for block in blocks), strict=True)
        moved = [
            {**same[0], **_sums([{n: one[n] for n in ("failed", "passed")} for one in same])}
            for same in moves
        ]
        known = {**unbound, **bounds[name], "rule": name, **counts}
        rules.append({**known, "applies": applies[name], "moves": moved})
    judged = sum(block["judged"] for block in blocks)
    both = np.sum([np.array(block["together"], dtype=np.int64) for block in blocks], axis=0)
    return {
        "filter": {"judged": judged, "passed": judged - sum(row["first"] for row in rules)},
        "rules": rules,
        "rule_pairs": effects.pairs([row["rule"] for row in rules], both),
    }


def publish(
    control: Path,
    folder: Path,
    receipts: Sequence[store.Record],
    earlier: Sequence[store.Record] = (),
    also: Mapping[str, Any] | None = None,
) -> None:
    """Write the next manifest, point HEAD at it, and bring metrics.jsonl up to date.

    A night's manifest names the parts of `earlier` nights, too, and has more to say: `also`.
    """
    parts = parts_of(folder, receipts)
    manifest = {
        **next_number(control),
        "run": folder.name,
        "parts": [*earlier, *parts],
        "books": _books(control.parent, folder),
        "versions": store.read_json(folder / "identity.json")["versions"],
        **(also or {}),
    }
    store.publish(control, manifest)
    write_metrics(control)


def parts_of(folder: Path, receipts: Sequence[store.Record]) -> list[store.Record]:
    """What the manifest says of a run's parts."""
    files = [receipt["files"]["data"] for receipt in receipts]
    return [{"path": f"data/{folder.name}/{file['name']}", **file} for file in files]


def next_number(control: Path) -> store.Record:
    """The number of the next manifest; after a rollback, the one it follows, too."""
    known, last = store.manifests(control), store.last_number(control)
    before = known[-1]["number"] if known else 0
    return {"number": last + 1, **({"previous": before} if before != last else {})}


def _books(output: Path, folder: Path) -> list[store.Record]:
    """The files of a run beside its parts, with their hashes: the manifest vouches for them."""
    paths = [path for kind in BOOKS for path in sorted((folder / kind).glob("*"))]
    paths += [folder / name for name in ("identity.json", "inputs.json", "recipe.yaml")]
    paths += [folder / name for name in ("examples.json", "report.html", "report.md", "stats.json")]
    return [
        {
            "path": path.relative_to(output).as_posix(),
            "bytes": path.stat().st_size,
            "xxh3_128": store.file_hash(path),
        }
        for path in paths
    ]


def write_metrics(control: Path) -> None:
    """One line a published run, rebuilt from the runs: a killed writer cannot leave it wrong."""
    lines = []
    for run in dict.fromkeys(manifest["run"] for manifest in store.manifests(control)):
        known = store.read_json(control / "runs" / run / "stats.json")
        counted = {name: known[name] for name in ("documents", "raw", "clean")}
        counted |= {"lost": trend.lost(known), "gates": known["gates"]}
        lines.append({"run": run, **counted})
    text = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    store.write_file(control / "metrics.jsonl", lambda file: file.write(text))


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder: `Run.load("clean")` is the published one of an output.

    `.stats` is stats.json, `.verdicts` the ledger as a lazy Polars frame, `.parts` the files.
    """

    folder: Path

    @classmethod
    def load(cls, path: Path | str) -> "Run":
        """A run by its own folder, or the published run of an output folder.

        Raises InputError where neither is there.
        """
        folder = Path(path)
        if (folder / "stats.json").exists():
            return cls(folder)
        manifest = store.current_manifest(folder)
        if manifest is None:
            raise InputError(
                f"{folder} holds no published run: expected an output folder with "
                "_cleanpipe/HEAD.json, or the folder of a run with stats.json"
            )
        return cls(folder / "_cleanpipe" / "runs" / manifest["run"])

    @property
    def output(self) -> Path:
        """The output folder that the run belongs to."""
        return self.folder.parents[2]

    @cached_property
    def stats(self) -> dict[str, Any]:
        """The statistics of the run."""
        known: dict[str, Any] = store.read_json(self.folder / "stats.json")
        return known

    @property
    def verdicts(self) -> pl.LazyFrame:
        """One row for every document read."""
        return ledger.load_verdicts(self.folder)

    @property
    def parts(self) -> list[Path]:
        """The files that the run wrote."""
        return sorted((self.output / "data" / self.folder.name).glob("part-*"))

    @property
    def report(self) -> Path:
        """The report page."""
        return self.folder / "report.html"

    def why(self, id: str) -> list[dict[str, Any]]:  # noqa: A002 - a document's id is called id
        """The stories of all documents with this id; see `cleanpipe.why.story`."""
        from cleanpipe.why import stories  # noqa: PLC0415 - why reads runs: it stands above this

        return stories(self.folder, id)

    def decide(
        self, overrides: Mapping[str, str] | None = None, recipe: Path | None = None
    ) -> dict[str, Any]:
        """What a changed recipe would do to the documents; see `planning.outlook`.

        >>> Run.load("clean").decide({"filter.words.low": "40"})["newly_kept"]  # doctest: +SKIP
        {'documents': [12, 12], 'bytes': [3412, 3412], 'examples': [...]}
        """
        from cleanpipe.planning.outlook import outlook  # noqa: PLC0415 - it reads runs: it stands above this

        return outlook(self.folder, overrides or {}, recipe)
