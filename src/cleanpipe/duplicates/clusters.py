"""Portions of candidates -> clusters, and the books of dedup: what was compared with what.

A portion holds whole components, so that portions can be clustered in any order and on any
machine: what is found does not depend on how the candidates are cut.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe import scratch, store
from cleanpipe.documents import Documents
from cleanpipe.duplicates import bands, compare
from cleanpipe.duplicates.dedup import KEPT, Candidates, Clusters, Near
from cleanpipe.recipes.recipe import Recipe

ROWS_IN_GROUP = 65_536
PLACES = 3
"""Columns of candidates.parquet before those of buckets."""


def cluster_portion(
    documents: Documents,
    recipe: Recipe,
    files: Sequence[Sequence[Path]],
    blocks: list[int],
    number: int,
    memory: int,
) -> store.Record:
    """Cluster one portion of candidates, and leave what was found in scratch.

    Reads alive.npy, first.npy and portions.npy there, the buckets in `files`, band by band,
    and what `compare` left of the `blocks`.
    """
    folder = documents.folder / "scratch"
    near = recipe.dedup.near if recipe.dedup else None
    if near is None:
        raise ValueError("nothing is asked about near-duplicates")
    portions = scratch.load(folder / "portions.npy")
    rows, table, sets = compare.load(documents.folder, blocks, portions, number, memory)
    candidates = bands.portion(files, rows, portions, number)
    alive, first = (scratch.load(folder / f"{name}.npy")[rows] for name in ("alive", "first"))
    found = near.clusters(table, candidates, *sets, np.array(alive), np.array(first))
    gone = np.flatnonzero(found.duplicate_of != KEPT)
    for name, values in (
        ("gone", rows[gone]),
        ("best", rows[found.duplicate_of[gone]]),
        ("similarity", found.similarity[gone]),
    ):
        scratch.save(_found(folder, number, f"{name}.npy"), values)
    for name, frame in (
        ("pairs", found.pairs),
        ("candidates", compared_documents(near, table, candidates, found)),
    ):
        plain = frame.to_arrow()
        path = documents.folder / "pairs" / f"{name}-{number:05d}.parquet"
        store.write_table(path, [plain], plain.schema, group=ROWS_IN_GROUP)
    return {
        "documents": len(rows),
        "compared": found.pairs.height,
        "uncompared": int(found.uncompared.sum()),
    }


def found(folder: Path, portions: int, name: str) -> npt.NDArray[Any]:
    """What `cluster_portion` left of all portions: "gone", "best" or "similarity"."""
    return np.concatenate(
        [scratch.load(_found(folder, number, f"{name}.npy")) for number in range(portions)]
    )


def load_books(run: Path, name: str, columns: Sequence[str] = ()) -> list[pl.DataFrame]:
    """What pairs/ holds under a name, "pairs" or "candidates", portion by portion.

    `pairs` are compared documents with their exact Jaccard similarity; `candidates` says who shares
    a bucket with whom, so that what was not compared is known, too. `columns` are all, if none is
    named.
    """
    files = sorted((run / "pairs").glob(f"{name}-*.parquet"))
    return [pl.read_parquet(file, columns=[*columns] or None) for file in files]


def compared_schema(near: Near) -> dict[str, pl.DataType]:
    """The columns of the table of compared documents: place, what is missing, buckets by band."""
    bands = range(near.bands_and_rows()[0])
    return {
        "shard": pl.UInt32(),
        "row": pl.UInt64(),
        "missing": pl.Int64(),
        **{f"bucket_{band:02d}": pl.Int32() for band in bands},
    }


def compared_documents(
    near: Near, table: pl.DataFrame, candidates: Candidates, found: Clusters
) -> pl.DataFrame:
    """The candidates in the order in which they were compared, and their buckets.

    A bucket bears the number of the first one of them in that order, counted in this portion; a
    bucket of nobody else is null.
    """
    schema = compared_schema(near)
    ordered = candidates.buckets[found.order]
    buckets = []
    for band in range(ordered.shape[1]):
        own = ordered[:, band]
        shared = np.flatnonzero(own >= 0)
        first = np.zeros(int(own.max(initial=-1)) + 1, np.int32)
        first[own[shared[::-1]]] = shared[::-1]  # of several the last assignment holds
        name = list(schema)[PLACES + band]
        numbers = pl.Series(name, first[np.maximum(own, 0)] if len(first) else own)
        buckets.append(pl.select(pl.when(pl.Series(own >= 0)).then(numbers)).to_series())
    places = table.select("shard", "row")[found.order]
    missing = pl.Series("missing", found.missing[found.order])
    return places.with_columns(missing, *buckets).cast(schema)  # type: ignore[arg-type]


def _found(folder: Path, number: int, name: str) -> Path:
    return folder / f"clusters-{number:05d}.{name}"
