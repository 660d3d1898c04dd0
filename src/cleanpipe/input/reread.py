"""Documents read again, as pass 1 left them: the same rows, the same fixes, the same text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from cleanpipe.duplicates import cuts
from cleanpipe.errors import InputError
from cleanpipe.input import readers
from cleanpipe.input.corpus import Block, Shard, Span
from cleanpipe.kernels import hashing
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.measures.measure import block_name
from cleanpipe.recipes.recipe import Recipe


@dataclass(frozen=True)
class Again:
    """Some documents of one shard: `wanted` row by row, what they carry, and their clean text."""

    wanted: pl.DataFrame
    carried: pa.Table
    original: pa.LargeStringArray
    texts: pa.LargeStringArray


def reread(
    wanted: pl.DataFrame,
    recipe: Recipe,
    seed: int,
    blocks: list[Block],
    shards: tuple[Shard, ...],
    cut_of: Callable[[Block], pl.DataFrame],
) -> Iterator[Again]:
    """Read the documents of `wanted` (shard, row, fixes, text_lo; sorted, distinct) again.

    Normalizes only what normalize changed, cuts what `cut_of` says of a block's documents where
    the recipe has cuts, and compares every text with the hash that pass 1 took of it: what is
    written is what was judged. Raises InputError where they differ.
    """
    for block, span, rows in _by_span(wanted, blocks):
        shard = shards[span.shard]
        cut = cut_of(block).filter(pl.col("shard") == shard.number) if recipe.cuts else None
        numbers = rows["row"].to_numpy()
        for batch in readers.read(span, shard, recipe.input[shard.input], rows=numbers):
            first, last = np.searchsorted(numbers, [batch.rows[0], batch.rows[-1]])
            part = rows[int(first) : int(last) + 1]
            original = pc.fill_null(batch.texts, "")
            if len(original) != len(part):
                raise _changed(shard)
            texts = normalized_again(original, part["fixes"].to_numpy(), recipe)
            if cut is not None:
                texts = cuts.remove(texts, batch.rows, cut)
            low, _ = hashing.hash_texts(*text_buffers(texts), np.uint64(seed))
            if not np.array_equal(low, part["text_lo"].to_numpy()):
                raise _changed(shard)
            yield Again(part, batch.table, original, texts)


def cuts_of(folder: Path) -> Callable[[Block], pl.DataFrame]:
    """What a run cuts from the documents of a block, read once for all of the block's shards."""

    @lru_cache(maxsize=1)
    def load(number: int) -> pl.DataFrame:
        return cuts.load(folder, block_name(number))

    return lambda block: load(block.number)


def normalized_again(
    texts: pa.LargeStringArray, fixes: npt.NDArray[np.uint32], recipe: Recipe
) -> pa.LargeStringArray:
    """Normalize the texts that have a fix, and leave the rest as it is."""
    changed = fixes != 0
    if changed.all():
        return recipe.normalize.apply(texts).texts
    if not changed.any():
        return texts
    mask = pa.array(changed)
    fixed = recipe.normalize.apply(texts.filter(mask)).texts
    return pc.replace_with_mask(texts, mask, fixed)


def _by_span(
    wanted: pl.DataFrame, blocks: list[Block]
) -> Iterator[tuple[Block, Span, pl.DataFrame]]:
    shards = wanted["shard"].to_numpy()
    rows = wanted["row"].to_numpy()
    for block in blocks:
        for span in block.spans:
            low, high = np.searchsorted(shards, [span.shard, span.shard + 1])
            inside = rows[low:high]
            start = int(low) + int(np.searchsorted(inside, span.first_row))
            stop = int(high)
            if span.rows is not None:
                stop = int(low) + int(np.searchsorted(inside, span.first_row + span.rows))
            if stop > start:
                yield block, span, wanted[start:stop]


def _changed(shard: Shard) -> InputError:
    return InputError(
        f"{shard.path} changed during the run: a document is no longer what pass 1 measured. "
        "Run again when nothing writes to the input"
    )
