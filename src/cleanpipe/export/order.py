"""In which order documents stand: by (seed, document), whatever file or row they came from."""

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.kernels import hashing

NAMES = ("text_lo", "text_hi", "id", "copy")
"""What is asked of a document: the hash of its text, and by what it differs from equal texts."""
Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


def keys(documents: pl.DataFrame, seed: int) -> Keys:
    """A number for each document, drawn by the seed from its text alone.

    `documents` has the columns NAMES. Of equal texts the first, second and so on, by copy and id,
    have different numbers, so that they do not come to stand together. They are interchangeable:
    the tokens of a shuffle depend on the seed, on which texts there are, and how often, and on
    nothing else.
    """
    numbered = documents.select(NAMES).with_row_index("place")
    ordered = numbered.sort("text_lo", "text_hi", "copy", "id", "place")
    place = ordered["place"].to_numpy()
    low, high = (ordered[name].to_numpy() for name in ("text_lo", "text_hi"))
    new = np.ones(len(low), bool)
    new[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    numbers = np.arange(len(low))
    nth = np.empty(len(low), np.uint64)
    nth[place] = numbers - np.maximum.accumulate(np.where(new, numbers, 0))
    low, high = (documents[name].to_numpy() for name in ("text_lo", "text_hi"))
    own = hashing.mix_arrays(hashing.mix_arrays(low, high), nth)
    return hashing.mix_arrays(np.full(len(own), seed, np.uint64), own)


def shuffled(documents: pl.DataFrame, seed: int) -> Rows:
    """The numbers of the documents in shuffled order; see `keys`.

    >>> frame = pl.DataFrame({"text_lo": [5, 6, 5], "text_hi": [0, 0, 0], "id": ["a", "b", "c"],
    ...     "copy": [0, 0, 0]}, schema_overrides={"text_lo": pl.UInt64, "text_hi": pl.UInt64})
    >>> back = frame.reverse()
    >>> frame["id"][shuffled(frame, 1)].to_list() == back["id"][shuffled(back, 1)].to_list()
    True
    """
    return np.argsort(keys(documents, seed), kind="stable").astype(np.int64)
