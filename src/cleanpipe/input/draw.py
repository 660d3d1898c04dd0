"""Documents drawn by chance as a reader meets them: large ones more often, each by itself.

A coin is thrown for every document, by a hash of its place: what is drawn depends on nothing that
stands beside it, so that a corpus sorted by language or quality is no worse than a shuffled one,
and the same documents are drawn by any number of workers. Sizes of documents have long tails: a
share of 1 % of all documents would miss the few that hold a tenth of the text. So the chance grows
with the size, and what is above a size is always drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.kernels import hashing

Sizes = npt.NDArray[np.int64]

NO_DOCUMENT = -1
"""The size of a row that is no document: a blank line."""


@dataclass(frozen=True)
class Chance:
    """How likely a document is drawn.

    >>> Chance(share=0.01, certain=1000, seed=0).of(np.array([1, 500, 2000])).tolist()
    [0.01, 0.5, 1.0]
    """

    share: float
    """The least chance of any document, more than 0 and at most 1."""
    certain: float
    """The size in bytes from which a document is drawn for sure."""
    seed: int

    def of(self, sizes: Sizes) -> npt.NDArray[np.float64]:
        """Each document's chance, by its size."""
        return np.clip(sizes / self.certain, self.share, 1.0)


class Draw:
    """The documents of one shard that are drawn; counts all that a reader meets.

    `held` is the chance that this stretch of the corpus is looked at: within it, documents are
    drawn the more often, so that in all each has the chance that `chance` says, or else `held`.
    """

    def __init__(self, chance: Chance, shard: int, held: float = 1.0) -> None:
        self.chance, self.held = chance, held
        self.documents = 0
        self.bytes = 0
        start = hashing.mix(np.uint64(chance.seed), np.uint64(shard))
        self._key = np.array([start], dtype=np.uint64)
        self._drawn: list[pl.DataFrame] = []

    def positions(self, first: int, sizes: Sizes) -> list[int]:
        """Which of the rows from `first` on are drawn, counted from `first`."""
        is_document = sizes != NO_DOCUMENT
        self.documents += int(is_document.sum())
        self.bytes += int(sizes[is_document].sum())
        chances = np.minimum(self.chance.of(sizes) / self.held, 1.0)
        rows = np.arange(first, first + len(sizes), dtype=np.uint64)
        coins = hashing.mix_arrays(np.broadcast_to(self._key, rows.shape), rows)
        drawn = np.flatnonzero(is_document & (coins * 2.0**-64 < chances))
        self._drawn.append(
            pl.DataFrame({"row": rows[drawn], "size": sizes[drawn], "chance": chances[drawn]})
        )
        return [int(place) for place in drawn]

    def table(self) -> pl.DataFrame:
        """What was drawn: row, size, and the chance it had where this stretch is looked at."""
        empty = pl.DataFrame(schema={"row": pl.UInt64, "size": pl.Int64, "chance": pl.Float64})
        return pl.concat([empty, *self._drawn])


Wanted = npt.NDArray[np.uint64] | Draw | None
"""Rows to read: those numbers, those that are drawn, or all."""


def positions(
    wanted: npt.NDArray[np.uint64] | Draw,
    first: int,
    count: int,
    sizes: Callable[[], Sequence[int] | Sizes],
) -> list[int]:
    """Which of `count` rows from `first` on are wanted, counted from `first`.

    `sizes` gives the bytes of each row, and is asked only where a draw goes by them.

    >>> positions(np.array([3, 7, 9], dtype=np.uint64), 5, 4, list)
    [2]
    """
    if isinstance(wanted, Draw):
        return wanted.positions(first, np.asarray(sizes(), dtype=np.int64))
    low, high = np.searchsorted(wanted, np.array([first, first + count], dtype=np.uint64))
    return [int(row) - first for row in wanted[low:high]]
