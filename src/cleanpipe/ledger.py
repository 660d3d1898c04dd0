"""The ledger: one line for every document read, and the proof that the books balance."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe import scratch, store
from cleanpipe.decide import KEPT, NOBODY, Decisions, Fates
from cleanpipe.documents import Documents
from cleanpipe.errors import CleanpipeError, InputError
from cleanpipe.recipes.recipe import Recipe

VERDICTS = {
    "id": pl.String,
    "shard": pl.String,
    "row": pl.UInt64,
    "verdict": pl.String,
    "stage": pl.String,
    "rule": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "duplicate_of": pl.String,
    "duplicate_shard": pl.String,
    "duplicate_row": pl.UInt64,
    "duplicate_run": pl.String,
    "similarity": pl.Float64,
    "cluster_size": pl.Int64,
    "copies": pl.Int32,
}
EARLIER = ("duplicate_of", "duplicate_shard", "duplicate_row", "duplicate_run")
"""What names a document of an earlier night that one of this run gave way to."""
PLACE = ("id", "shard", "row")
"""What names a document that others gave way to."""
ROWS_IN_GROUP = 65_536


def write_representatives(decisions: Decisions) -> None:
    """Leave the documents that others gave way to in scratch, for the ledgers of all blocks."""
    documents = decisions.documents
    given = decisions.duplicate_of
    chosen = np.zeros(documents.count, np.bool_)
    chosen[given[given != NOBODY]] = True
    folder = documents.folder / "scratch"
    rows = np.flatnonzero(chosen)
    scratch.save(folder / "representatives.npy", rows)
    names = (*PLACE, *_source(documents))
    kinds = {name: documents.kinds[name] for name in names}
    schema = pl.DataFrame(schema=kinds).to_arrow().schema
    tables = (
        documents.block(place, names).filter(pl.Series(chosen[own])).to_arrow()
        for place, own in documents.slices()
    )
    scratch.save_table(folder / "representatives.arrow", tables, schema)


def write_block(
    documents: Documents, recipe: Recipe, names: list[str], place: int, fates: Fates
) -> store.Record:
    """Write the ledger of one block: a row for every document read; `names` are the shards'.

    Gives how many documents of one source gave way to those of another: source, other, documents.
    """
    columns = ("early", "id", "shard", "row", *_source(documents), *recipe.filter.columns())
    table = documents.block(place, [name for name in columns if name in documents.kinds])
    shards = pl.Series(names, dtype=pl.String)
    kinds = np.where(
        fates.quarantined, "quarantined", np.where(fates.fate == KEPT, "kept", "dropped")
    )
    best = _representatives(documents, fates.duplicate_of, shards)
    ledger = (
        table.select("id", "row", shard=shards.gather(table["shard"]), verdict=pl.Series(kinds))
        .hstack(fates.reasons(recipe, table))
        .hstack(best.drop("source", strict=False))
        .with_columns(
            similarity=pl.Series(fates.similarity).fill_nan(None),
            cluster_size=pl.Series(fates.cluster_size),
            copies=pl.Series(fates.copies),
            duplicate_run=pl.lit(None, pl.String),
        )
        .select(VERDICTS.keys())
        .cast(VERDICTS)  # type: ignore[arg-type]
    )
    ledger = _with_earlier(ledger, documents, place)
    plain = ledger.to_arrow()
    store.write_table(verdicts_path(documents, place), [plain], plain.schema, group=ROWS_IN_GROUP)
    if not _source(documents):
        return {"sources": []}
    met = pl.DataFrame({"source": table["source"], "other": best["source"]})
    counts = met.filter(pl.Series(fates.duplicate_of != NOBODY)).group_by("source", "other").len()
    return {"sources": counts.sort("source", "other").rows()}


def earlier_path(folder: Path) -> Path:
    """Which documents of a run give way to those of earlier nights: EARLIER, by number."""
    return folder / "scratch" / "earlier.arrow"


def _with_earlier(ledger: pl.DataFrame, documents: Documents, place: int) -> pl.DataFrame:
    """The ledger of a block, with the documents of earlier nights that its own gave way to."""
    path = earlier_path(documents.folder)
    if not path.exists():
        return ledger
    first, stop = int(documents.starts[place]), int(documents.starts[place + 1])
    found = pl.DataFrame(scratch.load_table(path))
    found = found.filter((pl.col("number") >= first) & (pl.col("number") < stop))
    rows = (found["number"] - first).to_numpy()
    return ledger.with_columns(ledger[name].scatter(rows, found[name]) for name in EARLIER)


def _source(documents: Documents) -> tuple[str, ...]:
    return ("source",) if documents.kinds.get("source") == pl.String else ()


def _representatives(
    documents: Documents, duplicate_of: npt.NDArray[np.int32], shards: pl.Series
) -> pl.DataFrame:
    """For each document the one that stays in its place: an id may repeat, a place does not.

    And its source, where documents have one.
    """
    names = ("duplicate_of", "duplicate_shard", "duplicate_row")
    gives_way = np.flatnonzero(duplicate_of != NOBODY)
    if not len(gives_way):
        schema = {**{name: VERDICTS[name] for name in names}, "source": pl.String}
        return pl.DataFrame({n: [None] * len(duplicate_of) for n in schema}, schema=schema)
    folder = documents.folder / "scratch"
    rows = scratch.load(folder / "representatives.npy")
    found = np.searchsorted(rows, duplicate_of[gives_way])
    table = scratch.load_table(folder / "representatives.arrow").take(found)
    known = pl.DataFrame(table)
    places = np.full(len(duplicate_of), len(known), np.uint32)
    places[gives_way] = np.arange(len(known))
    columns = dict(
        zip(names, (known["id"], shards.gather(known["shard"]), known["row"]), strict=True)
    )
    columns |= {name: known[name] for name in _source(documents)}
    return pl.DataFrame(
        {name: column.extend_constant(None, 1).gather(places) for name, column in columns.items()}
    )


def between_sources(blocks: Iterable[store.Record]) -> list[dict[str, Any]]:
    """How many documents of each source gave way to one of each, from what `write_block` gives.

    >>> between_sources([{"sources": [("web", "books", 2)]}, {"sources": [("web", "books", 1)]}])
    [{'source': 'web', 'other': 'books', 'documents': 3}]
    """
    counts: Counter[tuple[str, str]] = Counter()
    for block in blocks:
        for source, other, count in block["sources"]:
            counts[str(source), str(other)] += count
    return [
        {"source": source, "other": other, "documents": count}
        for (source, other), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def verdicts_path(documents: Documents, place: int) -> Path:
    """The ledger of a block."""
    return documents.folder / "verdicts" / documents.path(place).name


def check_books(documents: dict[str, int]) -> None:
    """Hold read = kept + dropped + quarantined and written = kept + added, or publish nothing."""
    read = documents["kept"] + documents["dropped"] + documents["quarantined"]
    written = documents["kept"] + documents["added"]
    if documents["read"] != read or documents["written"] != written:
        raise CleanpipeError(
            f"the books do not balance: {documents}. Nothing was published; this is a fault of "
            "cleanpipe: please report it with the recipe and these numbers"
        )


def load_verdicts(run: Path) -> pl.LazyFrame:
    """The whole ledger of a run."""
    return pl.scan_parquet(sorted((run / "verdicts").glob("*.parquet")))


def search(run: Path, name: str) -> pl.DataFrame:
    """All verdicts of documents with this id, of which there may be none."""
    return load_verdicts(run).filter(pl.col("id") == name).collect()


def find(run: Path, name: str) -> pl.DataFrame:
    """All verdicts of documents with this id: an id may stand for several."""
    found = search(run, name)
    if found.is_empty():
        raise InputError(f"run {run.name} read no document with the id {name!r}{_hint(run, name)}")
    return found


def _hint(run: Path, name: str) -> str:
    near = load_verdicts(run).filter(pl.col("id").str.contains(name, literal=True)).head(3)
    ids = near.collect()["id"].to_list()
    return f"; ids that hold it: {', '.join(map(repr, ids))}" if ids else ""


def measures_of(run: Path, shard: int, row: int) -> pl.DataFrame:
    """What pass 1 left of one document, as a table of one row."""
    files = sorted((run / "measures").glob("*.parquet"))
    frames = [pl.scan_parquet(file) for file in files]
    place = (pl.col("shard") == shard) & (pl.col("row") == row)
    lines = pl.concat(frames, how="diagonal_relaxed").filter(place)
    return lines.select(pl.exclude("^band_.*$")).collect()


def left_out(run: Path) -> pl.DataFrame:
    """How many copies of each document (shard, row) were asked for and not written: `len`."""
    table = pl.scan_parquet(run / "copies" / "*.parquet")
    missing = table.filter((pl.col("outcome") == "left_out") & (pl.col("copy") > 0))
    return missing.group_by("shard", "row").len().collect()
