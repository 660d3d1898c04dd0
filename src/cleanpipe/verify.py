"""Is what was published still what was written? Every file hashed, every book summed again."""

from pathlib import Path

import polars as pl

from cleanpipe import ledger, store
from cleanpipe.errors import CleanpipeError, InputError
from cleanpipe.outcome import Run


def faults_of(output: Path) -> list[str]:
    """One sentence for each fault of an output folder's published run; none is a clean bill.

    Raises InputError where nothing was published.
    """
    manifest = store.current_manifest(output)
    if manifest is None:
        raise InputError(f"{output} holds no published run: there is no _cleanpipe/HEAD.json")
    run = Run.load(output)
    files = [{**file, "name": file["path"]} for file in [*manifest["parts"], *manifest["books"]]]
    faults = store.check_files(output, files)
    return faults or _books(run, manifest)


def _books(run: Run, manifest: store.Record) -> list[str]:
    """The ledger against the statistics against the parts."""
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
    rows = sum(part["rows"] for part in manifest["parts"])
    if rows != documents["written"]:
        faults.append(
            f"{run.folder}: the parts hold {rows} rows, stats.json {documents['written']}"
        )
    return faults
