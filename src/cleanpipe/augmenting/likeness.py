"""How much a copy still is what it was made from."""

import numpy as np
import pyarrow as pa

from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.jaccard import intersection, shingle_sets
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER

SHINGLE = 5


def changed_share(parent: str, child: str) -> float:
    """The share of the longer text's positions that do not hold the same character in both.

    >>> changed_share("abcd", "abdc"), changed_share("ab", "abcd"), changed_share("", "")
    (0.5, 0.5, 0.0)
    """
    one, other = (np.frombuffer(text.encode("utf-32-le"), "<u4") for text in (parent, child))
    longer, shorter = max(len(one), len(other)), min(len(one), len(other))
    same = int(np.count_nonzero(one[:shorter] == other[:shorter]))
    return (longer - same) / longer if longer else 0.0


def similarity(parent: str, child: str) -> float:
    """The Jaccard similarity of the two sets of word 5-grams; a shorter text is one shingle.

    >>> similarity("a b c d e f", "A b, c d e!")
    0.5
    """
    array = pa.array([parent, child], pa.large_string())
    ends, hashes = shingle_sets(*text_buffers(array), SHINGLE, PUBLIC_INIT, PUBLIC_MULTIPLIER)
    one, other = hashes[: ends[1]], hashes[ends[1] :]
    both = int(intersection(one, other, 0))
    return both / (len(one) + len(other) - both)
