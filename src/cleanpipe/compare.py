"""Candidates' texts -> shingle sets in scratch: what dedup verifies near-duplicates on.

Only documents that share a MinHash band with another are read again. What is kept of each is the
sorted set of its shingles, each a 64-bit hash under the secret key of the output folder, so that
nobody can craft a text whose shingles collide with a victim's.
"""

import functools
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe import store
from cleanpipe.corpus import Block, Shard
from cleanpipe.kernels import jaccard
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.measure import block_name
from cleanpipe.recipe import Recipe
from cleanpipe.reread import reread

Sets = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]
"""Offsets and sorted distinct shingle hashes of documents, one after the other."""


def compare_block(
    folder: Path,
    recipe: Recipe,
    seed: int,
    block: Block,
    shards: tuple[Shard, ...],
    wanted: pl.DataFrame,
) -> None:
    """Leave the shingle sets of a block's candidates (shard, row, fixes, text_lo) in scratch."""
    if recipe.dedup is None or recipe.dedup.near is None:
        return
    key = jaccard.secret_key(seed)
    sizes = [np.zeros(1, dtype=np.int64)]
    hashes = []
    for again in reread(wanted, recipe, seed, [block], shards):
        offsets, found = jaccard.shingle_sets(
            *text_buffers(again.texts), recipe.dedup.near.ngram, *key
        )
        sizes.append(np.diff(offsets))
        hashes.append(found)
    arrays = np.cumsum(np.concatenate(sizes)), np.concatenate([np.zeros(0, np.uint64), *hashes])
    for path, array in zip(_paths(folder, block.number), arrays, strict=True):
        store.write_file(path, functools.partial(_save, array))


def _save(array: npt.NDArray[np.int64] | npt.NDArray[np.uint64], file: IO[bytes]) -> None:
    """np.save, whose own writing hides the reason when a disk is full."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)


def _paths(folder: Path, block: int) -> tuple[Path, Path]:
    stem = folder / "scratch" / f"shingles-{block_name(block)}"
    return stem.with_suffix(".offsets.npy"), stem.with_suffix(".hashes.npy")


def load_sets(folder: Path, blocks: list[int]) -> Sets:
    """The shingle sets of all candidates of these blocks, in the order of the blocks."""
    sizes = [np.zeros(1, dtype=np.int64)]
    hashes = [np.zeros(0, dtype=np.uint64)]
    for block in blocks:
        offsets, found = (np.load(path, allow_pickle=False) for path in _paths(folder, block))
        sizes.append(np.diff(offsets))
        hashes.append(found)
    return np.cumsum(np.concatenate(sizes)), np.concatenate(hashes)
