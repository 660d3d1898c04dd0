"""Is what was published still what was written? Every file hashed, every book summed again."""

from pathlib import Path

import polars as pl

from cleanpipe import ledger, store
from cleanpipe.errors import CleanpipeError, InputError
from cleanpipe.nights.index import Index
from cleanpipe.outcome import Run

INDEX = "_cleanpipe/index"


def faults_of(output: Path) -> list[str]:
    """One sentence for each fault of an output folder's published run; none is a clean bill.

    Raises InputError where nothing was published.
    """
    manifest = store.current_manifest(output)
    if manifest is None:
        raise InputError(f"{output} holds no published run: there is no _cleanpipe/HEAD.json")
    run = Run.load(output)
    files = files_of(output, manifest)
    faults = store.check_files(output, [{**file, "name": file["path"]} for file in files])
    if faults:
        return faults
    nights = [Run(run.folder.parent / night["run"]) for night in manifest.get("nights", ())]
    faults = [fault for one in [*nights, run] for fault in _books(one)]
    return faults + _rows([*nights, run], manifest)


def files_of(output: Path, manifest: store.Record) -> list[store.Record]:
    """Every file that a manifest vouches for, with its path in the output folder, and its hash."""
    index = Index(output / INDEX, tuple(manifest.get("index", ())))
    segments = [{**one, "path": f"{INDEX}/{one['name']}"} for one in index.records()]
    return [
        *manifest["parts"],
        *manifest["books"],
        *_books_of_nights(output, manifest),
        *segments,
    ]


def _books_of_nights(output: Path, manifest: store.Record) -> list[store.Record]:
    """The books of earlier nights, and the list that vouches for them; of a damaged one only it."""
    files = []
    for night in manifest.get("nights", ()):
        files.append(night["books"])
        path = output / night["books"]["path"]
        if path.exists() and store.file_hash(path) == night["books"]["xxh3_128"]:
            files += store.read_json(path)
    return files


def _books(run: Run) -> list[str]:
    """The ledger of a run against its statistics."""
    documents = run.stats["documents"]
    faults = []
    try:
        ledger.check_books(documents)
    except CleanpipeError as error:
        faults.append(str(error))
    counted = dict(
        run.verdicts.select(pl.col("verdict").value_counts())
        .unnest("verdict")
        .collect()
        .iter_rows()
    )
    faults += [
        f"{run.folder}: the ledger holds {counted.get(kind, 0)} {kind} documents, "
        f"stats.json {documents[kind]}"
        for kind in ("kept", "dropped", "quarantined")
        if counted.get(kind, 0) != documents[kind]
    ]
    return faults


def _rows(runs: list[Run], manifest: store.Record) -> list[str]:
    """What the runs wrote, without what was taken out since, against the published parts."""
    rows = sum(part["rows"] for part in manifest["parts"])
    written = sum(run.stats["documents"]["written"] for run in runs)
    forgotten = manifest.get("forgotten", {}).get("rows", 0)
    if rows == written - forgotten:
        return []
    less = f" less {forgotten} forgotten" if forgotten else ""
    return [f"{runs[-1].folder}: the parts hold {rows} rows, stats.json {written}{less}"]
