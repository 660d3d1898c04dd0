"""Of every text the word 5-grams with a small hash: one in 256, the same ones wherever they occur.

A sample by the n-gram, not by the document, so that the different n-grams of any set of documents
can be counted from their samples alone (cleanpipe.stats.diversity).
"""

from typing import Any

import numpy as np
from numba import njit

from cleanpipe.kernels.hashing import Hashes
from cleanpipe.kernels.minhash import hash_shingle

NGRAM = 5
ONE_IN = 256
BELOW = np.uint64(1 << 56)  # 2^64 / ONE_IN


@njit(cache=True, nogil=True)
def sample_ngrams(words: Hashes, n: int, keys: Hashes, found: Hashes, filled: Any) -> Any:
    """Put the sampled n-grams of a document's first `n` folded words into `found`, at `filled`.

    Returns (found, filled): `found` is a longer copy where there was no room. Each is there once
    a document, ascending. Fewer words than NGRAM are one n-gram; `keys` are those of
    `minhash.place_keys(NGRAM, ...)`.
    """
    start = filled
    size = min(n, NGRAM)
    for i in range(n - size + 1 if n else 0):
        hashed = hash_shingle(words, i, size, keys)
        if hashed < BELOW and (filled == start or found[filled - 1] != hashed):
            if filled == len(found):
                longer = np.empty(2 * len(found) + 64, np.uint64)
                longer[:filled] = found
                found = longer
            found[filled] = hashed
            filled += 1
    if filled - start < 2:
        return found, filled
    found[start:filled] = np.sort(found[start:filled])
    last = start
    for i in range(start + 1, filled):
        if found[i] != found[last]:
            last += 1
            found[last] = found[i]
    return found, last + 1
