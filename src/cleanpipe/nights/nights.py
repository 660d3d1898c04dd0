"""What nights leave behind: documents taken out again, a night taken back, files nobody names.

Each of these writes a manifest, or points HEAD at an earlier one, under the folder's lock; parts
themselves are never changed.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from cleanpipe import ledger, outcome, store
from cleanpipe.errors import InputError, OutputError, RecipeError
from cleanpipe.export.published import tables
from cleanpipe.identity import ever_published
from cleanpipe.nights.index import Index

KEPT_OF_A_RUN = ("stats.json", "timing.json")
"""What stays of a run whose parts are gone: metrics.jsonl is made of it."""


@contextmanager
def locked(output: Path) -> Iterator[store.Record]:
    """The published manifest, while nobody else writes. InputError where nothing is published."""
    if store.current_manifest(output) is None:
        raise InputError(f"{output} holds no published run: there is no _cleanpipe/HEAD.json")
    lock = store.take_lock(output / "_cleanpipe" / "lock")
    try:
        yield store.current_manifest(output) or {}
    finally:
        os.close(lock)


def forget(output: Path, ids: Sequence[str]) -> dict[str, Any]:
    """Take all documents of these ids out of the published parts, and keep them out.

    Parts that hold them are written again without them, copies included, under new names. Gives
    `documents` and `rows` taken out, the `parts` written again, and `freed`: duplicates that had
    given way to them. Files that hold one of these are read again by the next night, which may
    take it. The text stays in the old parts until `gc` with one manifest kept.

    Errors: InputError where an id stands in no part; nothing is changed then.
    """
    with locked(output) as manifest:
        control = output / "_cleanpipe"
        number = outcome.next_number(control)["number"]
        wanted = sorted(set(ids))
        gone, parts, seen = {}, [], set()
        for part in manifest["parts"]:
            names = _ids(output / part["path"])
            rows = names.is_in(wanted).arg_true().to_numpy().astype(np.int64)
            if not len(rows):
                parts.append(part)
                continue
            gone[part["path"]] = rows
            seen |= set(names[rows])
            parts.append(_without(output, part, rows, number))
        missing = sorted({*wanted} - seen)
        if missing:
            raise InputError(
                f"no published document has the id {missing[0]!r}; nothing was changed. "
                f"`cleanpipe why {output} ID` says what became of a document"
            )
        renamed = {
            old["path"]: new["path"] for old, new in zip(manifest["parts"], parts, strict=True)
        }
        freed = _freed(control, manifest, wanted)
        known = manifest.get("forgotten", {"ids": [], "rows": 0})
        taken = sum(len(rows) for rows in gone.values())
        following = {
            **{name: value for name, value in manifest.items() if name != "previous"},
            **outcome.next_number(control),
            "parts": parts,
            "forgotten": {
                "ids": sorted({*known["ids"], *wanted}),
                "rows": known["rows"] + taken,
            },
            "again": sorted({*manifest.get("again", ()), *_paths(control, freed)}),
        }
        if "index" in manifest:
            index = Index(control / "index", tuple(manifest["index"]))
            following["index"] = list(index.without(gone, renamed, str(number)).segments)
        store.publish(control, following)
        rewritten = [renamed[path] for path in gone]
        return {"documents": len(wanted), "rows": taken, "parts": rewritten, "freed": freed}


def _ids(path: Path) -> pl.Series:
    """The ids of a part's rows."""
    found = [pl.Series(table["id"].to_pylist(), dtype=pl.String) for table in tables(path)]
    return pl.concat(found) if found else pl.Series(dtype=pl.String)


def _without(output: Path, part: store.Record, rows: Any, number: int) -> store.Record:
    """Write a part again without some of its rows, beside the old one."""
    old = output / part["path"]
    name, _, ending = old.name.partition(".")
    first = 0

    def left() -> Iterator[pa.Table]:
        nonlocal first
        for table in tables(old):
            inside = rows[(rows >= first) & (rows < first + table.num_rows)] - first
            keep = np.ones(table.num_rows, np.bool_)
            keep[inside] = False
            first += table.num_rows
            yield table.filter(pa.array(keep))

    schema = next(tables(old)).schema
    record = store.write_table(old.with_name(f"{name}-{number}.{ending}"), left(), schema)
    return {**record, "path": f"{Path(part['path']).parent.as_posix()}/{record['name']}"}


def _freed(control: Path, manifest: store.Record, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Documents of any night that had given way to one of these: run, id, shard, row."""
    frames = []
    for run in outcome.runs_of(manifest):
        verdicts = ledger.load_verdicts(control / "runs" / run)
        lines = verdicts.filter(pl.col("duplicate_of").is_in([*ids]) & (pl.col("stage") == "dedup"))
        chosen = lines.select("id", "shard", "row", "duplicate_of").collect()
        frames.append(chosen.filter(~pl.col("id").is_in([*ids])).with_columns(run=pl.lit(run)))
    return pl.concat(frames).to_dicts()


def _paths(control: Path, freed: Sequence[dict[str, Any]]) -> set[str]:
    """The files that hold these documents."""
    paths = set()
    for run in {one["run"] for one in freed}:
        names = {one["shard"] for one in freed if one["run"] == run}
        lines = store.read_json(control / "runs" / run / "inputs.json")
        paths |= {one["shard"]["path"] for one in lines if one["shard"]["name"] in names}
    return paths


def rollback(output: Path, to: int | None = None) -> dict[str, Any]:
    """Publish an earlier manifest again: the one before, or the one of this number.

    Gives its `number` and `run`, and the `number` and `run` it was `before`. What the later one
    added stays on the disk until `gc`; its files are new again to the next night.
    """
    with locked(output) as manifest:
        control = output / "_cleanpipe"
        known = {one["number"]: one for one in store.manifests(control)}
        numbers = sorted(known)
        wanted = (numbers[-2] if len(numbers) > 1 else None) if to is None else to
        if wanted is None:
            raise InputError(f"{output}: manifest 1 is the first; there is nothing before it")
        if wanted not in known or wanted == manifest["number"]:
            raise RecipeError(
                f"--to {wanted}: expected one of {', '.join(map(str, numbers[:-1]))}, the "
                f"manifests before the published one, {manifest['number']}"
            )
        paths = [part["path"] for part in known[wanted]["parts"]]
        lost = [path for path in paths if not (output / path).exists()]
        if lost:
            raise OutputError(
                f"manifest {wanted} cannot be published again: {output / lost[0]} is gone, as "
                "`cleanpipe gc` leaves it. What is published stays"
            )
        store.point_back(control, wanted)
        outcome.write_metrics(control)
        told = {name: known[wanted][name] for name in ("number", "run")}
        return {**told, "before": {name: manifest[name] for name in ("number", "run")}}


def gc(output: Path, *, keep: int = 2, dry_run: bool = False) -> dict[str, Any]:
    """Delete what none of the newest `keep` published manifests names.

    Parts, index files, and the tables of runs; of a run that goes, its statistics stay. An
    unfinished run that could go on stays, too. Gives the `paths` and the `bytes` freed.
    """
    if keep < 1:
        raise RecipeError(f"--keep {keep}: expected 1 or more, the published manifest among them")
    with locked(output):
        control = output / "_cleanpipe"
        kept = store.manifests(control)[-keep:]
        paths = [*_unnamed_parts(output, kept), *_unnamed_runs(control, kept)]
        paths += _unnamed_index(control, kept)
        freed = sum(path.stat().st_size for path in paths)
        if not dry_run:
            for path in paths:
                path.unlink()
            _remove_empty(output / "data", control / "index", control / "runs")
        return {"paths": [path.relative_to(output).as_posix() for path in paths], "bytes": freed}


def _unnamed_parts(output: Path, kept: Sequence[store.Record]) -> list[Path]:
    named = {output / part["path"] for manifest in kept for part in manifest["parts"]}
    unfinished = _unfinished(output / "_cleanpipe")
    files = sorted((output / "data").glob("*/*"))
    return [path for path in files if path not in named and path.parent.name not in unfinished]


def _unnamed_runs(control: Path, kept: Sequence[store.Record]) -> list[Path]:
    named = {run for manifest in kept for run in outcome.runs_of(manifest)} | _unfinished(control)
    runs = [run for run in sorted((control / "runs").glob("[0-9]*")) if run.name not in named]
    files = [path for run in runs for path in sorted(run.rglob("*")) if path.is_file()]
    return [path for path in files if path.name not in KEPT_OF_A_RUN]


def _unnamed_index(control: Path, kept: Sequence[store.Record]) -> list[Path]:
    named = set()
    for manifest in kept:
        index = Index(control / "index", tuple(manifest.get("index", ())))
        named |= {index.folder / record["name"] for record in index.records()}
    return [path for path in sorted((control / "index").glob("*/*")) if path not in named]


def _unfinished(control: Path) -> set[str]:
    """The newest run, if it was never published: another run may go on with it."""
    newest = max((path.name for path in (control / "runs").glob("[0-9]*")), default="")
    return {newest} - ever_published(control)


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        for inner in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
            if not any(inner.iterdir()):
                shutil.rmtree(inner)
