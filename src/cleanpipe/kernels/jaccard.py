"""The exact Jaccard similarity of documents: sorted sets of 64-bit shingle hashes.

The hashes are made with a secret key. Two different shingles of one pair of documents share a hash
with a chance of about n^2 / 2^64, and whoever does not know the key cannot choose them so.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from cleanpipe.kernels.hashing import KEY_2, KEY_3, Bytes, Hashes, hash_text, mix, text_keys
from cleanpipe.kernels.minhash import hash_shingle, place_keys
from cleanpipe.kernels.tokens import fold_characters, fold_words


def secret_key(seed: int) -> tuple[np.uint64, np.uint64]:
    """The key (init, odd multiplier) of a seed, for `fold_words` and `shingle_sets`."""
    init, multiplier = (mix(np.uint64(seed), key) for key in (KEY_2, KEY_3))
    return np.uint64(init), np.uint64(multiplier | 1)


@njit(cache=True, nogil=True)
def shingle_sets(
    offsets: npt.NDArray[np.int64],
    data: Bytes,
    ngram: int,
    init: Any,
    multiplier: Any,
    by_characters: bool = False,
) -> tuple[npt.NDArray[np.int64], Hashes]:
    """Each text's sorted distinct shingle hashes: (offsets of the sets, hashes one after another).

    A shingle is `ngram` consecutive folded words, or characters (kernels.tokens). A text of fewer
    is one shingle of all; one of none is the hash of its bytes. No set is empty.

    >>> data = np.frombuffer(b"a b c a b c" b"c", np.uint8)
    >>> sets, hashes = shingle_sets(np.array([0, 11, 12]), data, 2, *secret_key(1))
    >>> sets.tolist()  # "a b", "b c", "c a"; "c"
    [0, 3, 4]
    """
    n = len(offsets) - 1
    longest = 0
    for i in range(n):
        longest = max(longest, offsets[i + 1] - offsets[i])
    words = np.empty(longest, np.uint64)
    places = place_keys(ngram, init, multiplier)
    bytes_keys = text_keys(init ^ multiplier)
    sets = np.zeros(n + 1, np.int64)
    hashes = np.empty(n + (offsets[n] - offsets[0]) // 8, np.uint64)  # most words and spaces are 6
    used = 0
    for i in range(n):
        start, stop = offsets[i], offsets[i + 1]
        if by_characters:
            count = fold_characters(data, start, stop, init, multiplier, words)
        else:
            count = fold_words(data, start, stop, init, multiplier, words)
        size = min(count, ngram)
        shingles = count - size + 1
        if used + shingles > len(hashes):
            larger = np.empty(len(hashes) + len(hashes) // 2 + shingles, np.uint64)
            larger[:used] = hashes[:used]
            hashes = larger
        own = hashes[used : used + shingles]
        if count == 0:
            own[0] = hash_text(data, start, stop, bytes_keys)[0]
        else:
            for k in range(shingles):
                own[k] = hash_shingle(words, k, size, places)
        own.sort()
        distinct = 1
        for k in range(1, shingles):
            if own[k] != own[k - 1]:
                hashes[used + distinct] = own[k]
                distinct += 1
        used += distinct
        sets[i + 1] = used
    return sets, hashes[:used].copy()


@njit(cache=True, nogil=True)
def intersection(a: Hashes, b: Hashes, needed: int) -> Any:
    """How many hashes two sorted sets share; -1 as soon as it is sure to be less than `needed`.

    >>> a, b = np.array([1, 3, 5, 7], np.uint64), np.array([3, 4, 5, 6], np.uint64)
    >>> intersection(a, b, 0), intersection(a, b, 3)
    (2, -1)
    """
    i = j = shared = np.uint64(0)  # unsigned indices: numba does not look for negative ones
    a_size, b_size = np.uint64(len(a)), np.uint64(len(b))
    while i < a_size and j < b_size:
        # Looked at every 16 steps; without branches between, a step costs about five cycles.
        if np.int64(shared + min(a_size - i, b_size - j)) < needed:
            return -1
        stop = np.uint64(16) + i + j
        while i < a_size and j < b_size and i + j < stop:
            left, right = a[i], b[j]
            shared += np.uint64(left == right)
            i += np.uint64(left <= right)
            j += np.uint64(right <= left)
    return np.int64(shared) if np.int64(shared) >= needed else -1


@njit(cache=True, nogil=True)
def copy_sets(
    offsets: npt.NDArray[np.int64],
    hashes: Hashes,
    wanted: npt.NDArray[np.int64],
    into: Hashes,
    at: int,
) -> int:
    """Copy the sets of the wanted documents one after another to `into[at:]`; where they end.

    >>> into = np.zeros(3, np.uint64)
    >>> sets = np.array([0, 2, 3]), np.array([7, 8, 9], np.uint64)
    >>> copy_sets(*sets, np.array([1]), into, 0), into.tolist()
    (1, [9, 0, 0])
    """
    for document in wanted:
        for k in range(offsets[document], offsets[document + 1]):
            into[at] = hashes[k]
            at += 1
    return at
