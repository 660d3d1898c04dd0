"""Which stretches of a corpus a plan looks at, and which of their documents it measures.

A corpus of up to 2 GB is read through, and documents are drawn one by one: reading costs a tenth
of measuring. Of a larger one stretches are drawn (a block of a Parquet file, another whole shard,
small shards together), larger ones more often, and documents within them, so that each document of
the corpus has the same chance. Text files and compressed ones are read from their start to their
end: the beginning of a file is not what follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe import store
from cleanpipe.input.bytestream import RAW, BrokenStreamError, ByteStream
from cleanpipe.input.corpus import Block, Input, Shard, ShardIndex, Span
from cleanpipe.input.draw import Chance, Draw
from cleanpipe.measures.measure import block_name, measure_block
from cleanpipe.recipes.recipe import Recipe

Floats = npt.NDArray[np.float64]

READ = 2_000_000_000
"""Bytes of text that are read through; of more, about as many."""
FEWEST_STRETCHES = 40
"""Drawn, where not all are read: the variance between them must be known."""
WHOLE = 16_000_000
"""Bytes of text up to which a corpus is measured in whole: it takes no longer."""
FEWEST_DOCUMENTS = 500
"""Measured, however small the share: fewer tell nothing about rules that drop one in a hundred."""


@dataclass(frozen=True)
class Scheme:
    """What is looked at: blocks, the chance with which each is, and that of their documents."""

    blocks: tuple[Block, ...]
    held: tuple[float, ...]
    chance: Chance | None
    """None measures all documents."""
    sizes: tuple[int, ...]
    """Bytes of text of each block, about."""
    behind: float
    """Those of all blocks that are not looked at for sure, drawn or not."""


def scheme(
    blocks: Sequence[Block],
    record_size: float,
    share: float,
    seed: int,
    *,
    read: int = READ,
    whole: int = WHOLE,
    fewest: int = FEWEST_DOCUMENTS,
) -> Scheme:
    """Choose the blocks to look at, and how likely a document is drawn.

    `record_size` is about the mean size of a document in bytes, `share` the wanted share of all.
    """
    sizes = np.array([_text_bytes(block) for block in blocks], dtype=np.float64)
    total = float(sizes.sum())
    share = max(share, min(fewest * record_size / max(total, 1.0), 1.0))
    if total <= whole or share >= 0.5:
        whole_sizes = tuple(int(size) for size in sizes)
        return Scheme(tuple(blocks), (1.0,) * len(blocks), None, whole_sizes, 0.0)
    held = _held(sizes, read, share)
    rolled = np.random.default_rng(seed).random()
    ends = np.floor(np.cumsum(np.where(held < 1, held, 0.0)) + rolled)
    drawn = (held >= 1) | (np.diff(ends, prepend=np.floor(rolled)) > 0)
    met = [
        replace(blocks[place], number=n) for n, place in enumerate(np.flatnonzero(drawn).tolist())
    ]
    chance = Chance(share, record_size / share, seed)
    known = tuple(int(size) for size in sizes[drawn])
    behind = float(sizes[held < 1].sum())
    return Scheme(tuple(met), tuple(held[drawn].tolist()), chance, known, behind)


def _text_bytes(block: Block) -> int:
    return sum(span.text_bytes for span in block.spans) or 1


def _held(sizes: Floats, read: int, share: float) -> Floats:
    """The chance of each block, by its size: so that about `read` bytes are read."""
    held = np.ones(len(sizes))
    rest = np.arange(len(sizes)) if sizes.sum() > read else np.zeros(0, dtype=np.int64)
    while len(rest) > FEWEST_STRETCHES:
        mine = sizes[rest]
        left = max(read - (sizes.sum() - mine.sum()), 0.0)
        # the sum of chance times size is what is read: chance = size * stretches / all sizes
        stretches = max(left * mine.sum() / float((mine**2).sum()), FEWEST_STRETCHES)
        chance = mine * stretches / mine.sum()
        if (chance < 1).all():
            held[rest] = np.maximum(chance, share)
            break
        rest = rest[chance < 1]
    return held


def record_size(shard: Shard, given: Input, index: ShardIndex) -> float:
    """About the mean size of a shard's records: from its tables, or the first of its lines."""
    rows = sum(span.rows or 0 for span in index.spans)
    if rows:
        return sum(span.text_bytes for span in index.spans) / rows
    if shard.format == "txt" and given.document == "file":
        return float(shard.size)
    try:
        with ByteStream(shard.path, shard.compression, given.encoding) as stream:
            head = stream.read(RAW)
    except BrokenStreamError:
        return float(shard.size)
    return len(head) / max(head.count(b"\n"), 1)


def measure_sample(
    folder: Path,
    recipe: Recipe,
    seed: int,
    block: Block,
    shards: tuple[Shard, ...],
    chance: Chance,
    held: float,
) -> store.Record:
    """Measure what is drawn of a block; gives what the block holds, and leaves what was drawn.

    What the reader cannot even find out the size of is quarantined without a draw: for sure.
    """
    draws = {span: Draw(chance, span.shard, held) for span in block.spans}
    receipt = measure_block(folder, recipe, seed, block, shards, rows=draws.__getitem__)
    drawn = pl.concat([_placed(span, draw) for span, draw in draws.items()])
    path = draws_path(folder, block.number)
    table = drawn.to_arrow()
    store.write_table(path, [table], table.schema)
    return {
        **{name: receipt[name] for name in ("block", "rows", "quarantined")},
        "documents": sum(draw.documents for draw in draws.values()),
        "bytes": sum(draw.bytes for draw in draws.values()),
    }


def _placed(span: Span, draw: Draw) -> pl.DataFrame:
    return draw.table().with_columns(shard=pl.lit(span.shard, dtype=pl.UInt32))


def draws_path(folder: Path, block: int) -> Path:
    """Where a block's drawn documents stand: shard, row, size, chance."""
    return folder / "draws" / f"{block_name(block)}.parquet"
