"""Of every text the word 5-grams with a small hash: one in 256, the same ones wherever they occur.

A sample by the n-gram, not by the document, so that the different n-grams of any set of documents
can be counted from their samples alone (cleanpipe.stats.diversity).
"""

from typing import Any

import numpy as np
from numba import njit

from cleanpipe.kernels.hashing import Hashes, fmix64
from cleanpipe.kernels.minhash import hash_shingle

NGRAM = 5
ONE_IN = 256
BLOCK = 16
BELOW = np.uint64(1 << 56)  # 2^64 / ONE_IN


@njit(cache=True, nogil=True)
def least_of_block(words: Hashes, first: Any, keys: Hashes) -> Any:
    """The least of `hash_shingle` at BLOCK places: no branch, so that LLVM makes vectors of it."""
    least = np.uint64(0xFFFFFFFFFFFFFFFF)
    length, one, two, three, four, five = keys[0], keys[1], keys[2], keys[3], keys[4], keys[5]
    length *= np.uint64(NGRAM)
    i = np.uint64(first)
    for k in range(np.uint64(BLOCK)):
        at = i + k
        total = length + words[at] * one + words[at + np.uint64(1)] * two
        total += words[at + np.uint64(2)] * three + words[at + np.uint64(3)] * four
        least = min(least, fmix64(total + words[at + np.uint64(4)] * five))
    return least


@njit(cache=True, nogil=True)
def sample_ngrams(words: Hashes, n: int, keys: Hashes, found: Hashes, filled: Any) -> Any:
    """Put the sampled n-grams of a document's first `n` folded words into `found`, at `filled`.

    Returns (found, filled): `found` is a longer copy where there was no room. Each is there once
    a document, ascending. Fewer words than NGRAM are one n-gram; `keys` are those of
    `minhash.place_keys(NGRAM, ...)`.
    """
    start = filled
    size = min(n, NGRAM)
    last = n - size if n else -1
    for first in range(0, last + 1, BLOCK):
        stop = min(first + BLOCK, last + 1)
        if size == NGRAM and stop - first == BLOCK and least_of_block(words, first, keys) >= BELOW:
            continue
        for i in range(first, stop):
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
