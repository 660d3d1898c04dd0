"""What a run will cost: time, disk and memory, from a few hundred documents timed in its place.

Rates are measured in the workers, on the machine and while all of them work. What cannot be timed
on a sample (starting, deciding, the memory of tables) goes by constants that were measured once.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from cleanpipe import store
from cleanpipe.input import readers
from cleanpipe.input.batch import table_of
from cleanpipe.input.corpus import Shard, Span
from cleanpipe.measures.measure import documents
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.write import ENDINGS

Rows = npt.NDArray[np.int64]

DOCUMENTS = 400
"""Measured and written by one probe."""
START = 3.0
"""Seconds until the first block: imports, workers (numbers.md)."""
HASHED = 1.5e9
"""Bytes of files hashed a second, before pass 1."""
DECIDED = 6e-6
"""Seconds a document for all that is decided between the passes (numbers.md: 1.2 s for 247,880)."""
BASE, A_WORKER, A_DOCUMENT = 250e6, 200e6, 2_400.0
"""Bytes of memory of a run: fixed, a worker, a document (numbers.md: 1,247 MB for 247,880 and two
workers, 668 MB for 1,032)."""


@dataclass(frozen=True)
class Rates:
    """Seconds and bytes of disk by byte of text, and bytes of the books by document."""

    read: float
    cut: float
    measure: float
    write: float
    augment: float
    disk: float
    books: float


def probe(
    folder: Path, recipe: Recipe, seed: int, span: Span, shards: tuple[Shard, ...]
) -> store.Record | None:
    """Time the reading of one batch, and the measuring and writing of a part of it."""
    shard = shards[span.shard]
    given = recipe.input[shard.input]
    _, read, batch = _timed(lambda: next(readers.read(span, shard, given)))
    count = len(batch.texts)
    if not count:
        return None
    chosen = np.unique(np.linspace(0, count - 1, min(count, DOCUMENTS)).astype(np.int64))
    part = readers.Batch(
        batch.shard,
        _taken(batch.table, chosen),
        batch.texts.take(pa.array(chosen)),
        batch.rows[chosen],
    )
    documents(part, shard, recipe, seed)  # the first call loads kernels and models
    _, measure, frame = _timed(lambda: documents(part, shard, recipe, seed))
    texts = pc.fill_null(part.texts, "")
    size = int(pc.sum(pc.binary_length(texts)).as_py() or 0)
    name = f"probe-{span.shard}-{span.first_row}"
    data = part.table.append_column("text", texts) if part.table.num_columns else _alone(texts)
    if "text" in part.table.column_names:
        data = _alone(texts)
    path = folder / "scratch" / f"{name}.{ENDINGS[recipe.output.format]}"
    _, write, record = _timed(lambda: store.write_table(path, [data], data.schema))
    books = frame.to_arrow()
    kept = store.write_table(folder / "scratch" / f"{name}-books.parquet", [books], books.schema)
    return {
        "batch_bytes": int(pc.sum(pc.binary_length(batch.texts)).as_py() or 0),
        "read": read,
        "documents": len(chosen),
        "bytes": size,
        "cut": _looked(recipe, texts, seed),
        "measure": measure,
        "write": write,
        "augment": _augmented(recipe, texts),
        "disk": record["bytes"],
        "books": kept["bytes"],
    }


def _timed(call: Any) -> tuple[float, float, Any]:
    started = time.perf_counter()
    result = call()
    return started, time.perf_counter() - started, result


def _taken(table: pa.Table, chosen: Rows) -> pa.Table:
    # a table without columns forgets how many rows are taken of it
    return table.take(chosen) if table.num_columns else table_of([], [], len(chosen))


def _alone(texts: pa.LargeStringArray) -> pa.Table:
    return pa.table([texts], names=["text"])


def _looked(recipe: Recipe, texts: pa.LargeStringArray, seed: int) -> float:
    chosen = recipe.cuts
    if chosen is None:
        return 0.0
    return _timed(lambda: chosen.spans(recipe.normalize.apply(texts).texts, seed))[1]


def _augmented(recipe: Recipe, texts: pa.LargeStringArray) -> float:
    augment = recipe.augment
    if augment is None:
        return 0.0
    count = len(texts)
    arguments = (
        [str(i) for i in range(count)],
        np.ones(count, np.int32),
        np.arange(count).astype(np.uint64),
    )
    return _timed(lambda: augment.augment(texts, *arguments))[1]


def rates(found: list[store.Record]) -> Rates | None:
    """What all probes together say; None where none found a document."""
    if not found:
        return None
    total = pl.DataFrame(found).sum().row(0, named=True)
    size = max(total["bytes"], 1)
    return Rates(
        read=total["read"] / max(total["batch_bytes"], 1),
        cut=total["cut"] / size,
        measure=total["measure"] / size,
        write=total["write"] / size,
        augment=total["augment"] / size,
        disk=total["disk"] / size,
        books=total["books"] / total["documents"],
    )


def seconds(
    known: Rates,
    workers: int,
    files: float,
    documents_: float,
    text: float,
    kept: float,
    copies: float,
) -> dict[str, float]:
    """Seconds of a run, by step; sizes are bytes: of files, of text, kept, of extra copies."""
    return {
        "start": START,
        "look": files / HASHED / workers,
        "cut": text * (known.read + known.cut) / workers if known.cut else 0.0,
        "measure": text * (known.read + known.measure) / workers,
        "decide": documents_ * DECIDED,
        "write": (text * known.read + (kept + copies) * known.write + copies * known.augment)
        / workers,
    }


def memory(workers: int, documents_: float) -> float:
    """Bytes of memory, resident, of all processes together, at most."""
    return BASE + workers * A_WORKER + documents_ * A_DOCUMENT
