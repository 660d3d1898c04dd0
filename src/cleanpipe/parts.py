"""The documents to write -> parts of about equal size, originals first, extra copies later.

Parts are cut from numbers of copies and bytes alone; what a part holds is then written to scratch
block by block, so that planning holds one part at a time.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from cleanpipe import scratch
from cleanpipe.decide import Decisions
from cleanpipe.documents import chance
from cleanpipe.duplicates.dedup import Rows
from cleanpipe.write import inherited, plan_path


def plan(decisions: Decisions) -> int:
    """Leave what each part holds in scratch; how many parts there are.

    All originals come first, in their order, then all second copies, then the third ones. A part
    ends where its text reaches the recipe's `shard_size`; extra copies begin a new one.
    """
    sizes = decisions.documents.columns(("bytes",)).to_series().fill_null(0).to_numpy()
    shard_size = int(decisions.recipe.output.shard_size)
    held: list[pl.DataFrame] = []
    count = 0
    last = -1
    for number, frame in _pieces(decisions, sizes, shard_size):
        if number != last and held:
            _save(decisions, count, held)
            count, held = count + 1, []
        held.append(frame)
        last = number
    if held:
        _save(decisions, count, held)
        count += 1
    return count


def _save(decisions: Decisions, number: int, held: list[pl.DataFrame]) -> None:
    table = pl.concat(held).to_arrow()
    scratch.save_table(plan_path(decisions.documents.folder, number), [table], table.schema)


def _pieces(
    decisions: Decisions, sizes: Rows, shard_size: int
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Documents of one block for one part after another: the part's number, which may leave gaps.

    Each round of copies begins where the one before ended; the second begins a part.
    """
    before, first = 0, 0
    for copy in range(int(decisions.copies.max(initial=0))):
        if copy == 1:
            first, before = before // shard_size + 1, 0
        for place, own in decisions.documents.slices():
            rows = np.flatnonzero(decisions.copies[own] > copy)
            if not len(rows):
                continue
            ends = before + np.cumsum(sizes[own][rows])
            numbers = first + (ends - sizes[own][rows]) // shard_size
            before = int(ends[-1])
            frame = _described(decisions, place)[rows].with_columns(
                copy=pl.lit(copy, dtype=pl.Int32)
            )
            cuts = np.flatnonzero(np.diff(numbers)) + 1
            for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True):
                yield int(numbers[start]), frame[int(start) : int(stop)]


def _described(decisions: Decisions, place: int) -> pl.DataFrame:
    """What pass 2 has to know of the documents of a block."""
    documents = decisions.documents
    columns = (*decisions.recipe.output.columns, *inherited(decisions.recipe))
    names = dict.fromkeys(("shard", "row", "id", "bytes", "fixes", "text_lo", *columns))
    table = documents.block(place, (*names, "given"))
    key = pl.Series("key", chance(table, documents.seed, "augment"))
    return table.select(*names, key)
