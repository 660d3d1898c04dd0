"""What a run leaves: its statistics, its publication, and a way to read both again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from cleanpipe import contamination, effects, ledger, stats, store
from cleanpipe.decide import Decisions
from cleanpipe.errors import InputError
from cleanpipe.fixes import FIXES


def count(
    decisions: Decisions,
    verdicts: pl.DataFrame,
    receipts: Sequence[store.Record],
    shards: int,
) -> store.Record:
    """stats.json: what was read, kept, dropped and added, by stage, rule, group and measure."""
    table, chosen = decisions.table, decisions.recipe
    kinds = dict(verdicts["verdict"].value_counts().iter_rows())
    added = sum(receipt["added"] for receipt in receipts)
    kept = kinds.get("kept", 0)
    known: store.Record = {
        "version": stats.VERSION,
        "documents": {
            "read": verdicts.height,
            "kept": kept,
            "dropped": kinds.get("dropped", 0),
            "quarantined": kinds.get("quarantined", 0),
            "added": added,
            "written": sum(receipt["files"]["data"]["rows"] for receipt in receipts),
        },
        "shards": shards,
        **stats.describe(table, verdicts, {*chosen.measure.own(), *chosen.filter.rules}),
        "fixes": _fixes(table),
        **_rules(decisions),
        "duplicates": _duplicates(verdicts, decisions),
        "evaluations": contamination.count(decisions.folder),
        "groups": decisions.groups.to_dicts(),
        "copies": {
            "asked": sum(receipt["asked"] for receipt in receipts),
            "written": added,
            "bytes": sum(receipt["added_bytes"] for receipt in receipts),
        },
    }
    return known | {"gates": decisions.recipe.gates.judge(known)}


def _fixes(table: pl.DataFrame) -> dict[str, int]:
    """How many documents each fix changed."""
    bits = table["fixes"].fill_null(0)
    return {fix: int(((bits.to_numpy() >> place) & 1).sum()) for place, fix in enumerate(FIXES)}


def _rules(decisions: Decisions) -> store.Record:
    """The filter: how many documents it judged and passed, and what each rule has to do with it."""
    chosen, failures = decisions.recipe.filter, decisions.failures
    judged = decisions.table.filter(pl.col("early").is_null())
    bounds = chosen.bounds()
    unbound: store.Record = {"low": None, "high": None, "by_lang": {}, "langs": None}
    applies = effects.applies(chosen, judged)
    moves = effects.moves(chosen, judged, failures)
    rules = [
        {
            **unbound,
            **bounds[row["rule"]],
            **row,
            "applies": applies[row["rule"]],
            "moves": moves[row["rule"]],
        }
        for row in chosen.counts(failures)
    ]
    failed = sum(row["first"] for row in rules)
    return {
        "filter": {"judged": judged.height, "passed": judged.height - failed},
        "rules": rules,
        "rule_pairs": effects.pairs(failures),
    }


def _duplicates(verdicts: pl.DataFrame, decisions: Decisions) -> dict[str, int]:
    by_rule = dict(verdicts.filter(pl.col("stage") == "dedup")["rule"].value_counts().iter_rows())
    return {
        "exact": by_rule.get("exact", 0),
        "near": by_rule.get("near", 0),
        "compared": decisions.pairs.height,
        "uncompared": decisions.uncompared,
    }


def publish(control: Path, folder: Path, receipts: Sequence[store.Record]) -> None:
    """Write the next manifest, point HEAD at it, and bring metrics.jsonl up to date."""
    known = store.manifests(control)
    parts = [
        {
            "path": f"data/{folder.name}/{receipt['files']['data']['name']}",
            **receipt["files"]["data"],
        }
        for receipt in receipts
    ]
    manifest = {
        "number": known[-1]["number"] + 1 if known else 1,
        "run": folder.name,
        "parts": parts,
        "books": _books(control.parent, folder),
        "versions": store.read_json(folder / "identity.json")["versions"],
    }
    store.publish(control, manifest)
    _write_metrics(control)


def _books(output: Path, folder: Path) -> list[store.Record]:
    """The files of a run beside its parts, with their hashes: the manifest vouches for them."""
    kinds = ("copies", "evaluations", "measures", "pairs", "quarantine", "receipts", "verdicts")
    paths = [path for kind in kinds for path in sorted((folder / kind).glob("*"))]
    paths += [folder / name for name in ("identity.json", "inputs.json", "recipe.yaml")]
    paths += [folder / name for name in ("report.html", "report.md", "stats.json")]
    return [
        {
            "path": path.relative_to(output).as_posix(),
            "bytes": path.stat().st_size,
            "xxh3_128": store.file_hash(path),
        }
        for path in paths
    ]


def _write_metrics(control: Path) -> None:
    """One line a published run, rebuilt from the runs: a killed writer cannot leave it wrong."""
    lines = []
    for manifest in store.manifests(control):
        known = store.read_json(control / "runs" / manifest["run"] / "stats.json")
        counted = {name: known[name] for name in ("documents", "clean")}
        lines.append({"run": manifest["run"], **counted})
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
        """What a changed recipe would do to the documents; see `cleanpipe.outlook.outlook`.

        >>> Run.load("clean").decide({"filter.words.low": "40"})["newly_kept"]  # doctest: +SKIP
        {'documents': [12, 12], 'bytes': [3412, 3412], 'examples': [...]}
        """
        from cleanpipe.outlook import outlook  # noqa: PLC0415 - it reads runs: it stands above this

        return outlook(self.folder, overrides or {}, recipe)
