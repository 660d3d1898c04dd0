"""Candidates' texts -> shingle sets in scratch: what dedup verifies near-duplicates on.

Only documents that share a MinHash band with another are read again. What is kept of each is the
sorted set of its shingles, each a 64-bit hash under the secret key of the output folder, so that
nobody can craft a text whose shingles collide with a victim's.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe import scratch
from cleanpipe.documents import Documents
from cleanpipe.duplicates.dedup import Rows
from cleanpipe.input.corpus import Block, Shard
from cleanpipe.input.reread import cuts_of, reread
from cleanpipe.kernels import jaccard
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.measures.measure import block_name
from cleanpipe.recipes.recipe import Recipe

Sets = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]
"""Offsets and sorted distinct shingle hashes of documents, one after the other."""


def compare_block(
    documents: Documents,
    recipe: Recipe,
    block: Block,
    shards: tuple[Shard, ...],
    rows: Rows,
) -> None:
    """Leave the shingle sets of a block's candidates, and what they are ranked by, in scratch.

    `rows` are their numbers, ascending.
    """
    if recipe.dedup is None or recipe.dedup.near is None:
        return
    near = recipe.dedup.near
    key = jaccard.secret_key(documents.seed)
    sizes = [np.zeros(1, dtype=np.int64)]
    hashes = []
    wanted = documents.columns(("shard", "row", "fixes", "text_lo"), rows)
    cut_of = cuts_of(documents.folder)
    for again in reread(wanted, recipe, documents.seed, [block], shards, cut_of):
        offsets, found = jaccard.shingle_sets(
            *text_buffers(again.texts), near.ngram, *key, near.shingle == "chars"
        )
        sizes.append(np.diff(offsets))
        hashes.append(found)
    offsets = np.cumsum(np.concatenate(sizes))
    joined = np.concatenate([np.zeros(0, np.uint64), *hashes])
    save(documents, block.number, rows, offsets, joined, recipe.ranking_columns("dedup"))


def save(
    documents: Documents,
    block: int,
    rows: Rows,
    offsets: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    keep: tuple[str, ...],
) -> None:
    """Leave a block's candidates in scratch: numbers, shingle sets, and what ranks them."""
    stem = _stem(documents.folder, block)
    scratch.save(stem.with_suffix(".rows.npy"), rows.astype(np.int32))
    scratch.save(stem.with_suffix(".offsets.npy"), offsets)
    scratch.save(stem.with_suffix(".hashes.npy"), hashes)
    table = documents.keyed(rows, keep).to_arrow()
    scratch.save_table(stem.with_suffix(".arrow"), [table], table.schema)


def _stem(folder: Path, block: int) -> Path:
    return folder / "scratch" / f"candidates-{block_name(block)}"


def load(
    folder: Path, blocks: list[int], portions: npt.NDArray[np.int32], number: int, memory: int
) -> tuple[Rows, pl.DataFrame, Sets]:
    """The candidates of a portion in these blocks, what ranks them, and their shingle sets.

    `portions` has the portion of every document. Sets that are larger than `memory` bytes are put
    into a file that is mapped.
    """
    rows, tables, sizes, pieces = [], [], [np.zeros(1, dtype=np.int64)], []
    for block in blocks:
        stem = _stem(folder, block)
        candidates = scratch.load(stem.with_suffix(".rows.npy"))
        own = np.flatnonzero(portions[candidates] == number)
        if not len(own):
            continue
        rows.append(candidates[own].astype(np.int64))
        tables.append(pl.DataFrame(scratch.load_table(stem.with_suffix(".arrow")).take(own)))
        offsets = np.array(scratch.load(stem.with_suffix(".offsets.npy")))
        sizes.append(np.diff(offsets)[own])
        pieces.append((stem.with_suffix(".hashes.npy"), offsets, own))
    ends = np.cumsum(np.concatenate(sizes))
    if ends[-1] * 8 <= memory:
        hashes = np.empty(ends[-1], np.uint64)
    else:
        path = folder / "scratch" / f"sets-{number}.bin"
        hashes = scratch.new(path, np.uint64, int(ends[-1]))
    filled = 0
    for path, offsets, own in pieces:
        filled = jaccard.copy_sets(offsets, scratch.load(path), own, hashes, filled)
    return np.concatenate(rows), pl.concat(tables), (ends, hashes)
