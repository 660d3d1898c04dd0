"""Buckets of documents -> connected components: who can meet whom when candidates are compared.

The documents of one component are clustered together, those of different ones never meet: so
components can be clustered one after another, or on many machines, with the same result.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Documents = npt.NDArray[np.int32]


@njit(cache=True, nogil=True, inline="always")
def _root(parents: Documents, document: Any) -> Any:
    """The first document of a component, as far as it is known; halves the path to it."""
    while parents[document] != document:
        parents[document] = parents[parents[document]]
        document = parents[document]
    return document


@njit(cache=True, nogil=True)
def unite(parents: Documents, members: Documents, sizes: Documents) -> None:
    """Join the documents of each bucket in `parents`, where each stands for itself at first.

    `members` has the documents of one bucket after those of the other, `sizes` how many they are.
    A component's root is its smallest document, so that the order of buckets does not matter.

    >>> parents = np.arange(6, dtype=np.int32)
    >>> unite(parents, np.array([1, 4, 5, 4], np.int32), np.array([2, 2], np.int32))
    >>> roots(parents).tolist()
    [0, 1, 2, 3, 1, 1]
    """
    start = 0
    for size in sizes:
        one = _root(parents, members[start])
        for k in range(start + 1, start + size):
            other = _root(parents, members[k])
            if one < other:
                parents[other] = one
            elif other < one:
                parents[one] = other
                one = other
        start += size


@njit(cache=True, nogil=True)
def roots(parents: Documents) -> Documents:
    """The smallest document of each one's component, in place of `parents`."""
    for document in range(len(parents)):
        parents[document] = parents[parents[document]]  # smaller ones have theirs already
    return parents


@njit(cache=True, nogil=True)
def repeated(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which hashes surely occur once, as False: True for all others and for at most a quarter.

    Only the rest need be sorted: of 234,000 hashes sorting takes 14 ms, this 1 ms.

    >>> repeated(np.array([5, 6, 5], np.uint64)).tolist()
    [True, False, True]
    """
    size = 1
    while size < 4 * len(hashes):
        size *= 2
    last = np.uint64(size - 1)
    once = np.zeros(size // 8 + 1, np.uint8)
    twice = np.zeros(size // 8 + 1, np.uint8)
    for h in hashes:
        place = h & last
        bit = np.uint8(1 << (place & np.uint64(7)))
        byte = place >> np.uint64(3)
        twice[byte] |= once[byte] & bit
        once[byte] |= bit
    found = np.empty(len(hashes), np.bool_)
    for i in range(len(hashes)):
        place = hashes[i] & last
        found[i] = (twice[place >> np.uint64(3)] >> (place & np.uint64(7))) & 1
    return found


@njit(cache=True, nogil=True)
def portions_of(
    rows: Documents, first: Documents, weights: npt.NDArray[np.int64], most: int
) -> npt.NDArray[np.int32]:
    """A number for the portion of each of `rows` (ascending), the same for a whole component.

    Components go into the portion at hand, in the order of their first documents, until it would
    weigh more than `most`. `weights` belong to `rows`.
    """
    heavy = np.zeros(len(rows), np.int64)  # of each component, at its first document
    place = np.empty(len(rows), np.int64)
    for i in range(len(rows)):
        place[i] = np.searchsorted(rows, first[rows[i]])
        heavy[place[i]] += weights[i]
    numbers = np.empty(len(rows), np.int32)
    number, weight = 0, 0
    for i in range(len(rows)):
        if place[i] == i:
            if weight > 0 and weight + heavy[i] > most:
                number += 1
                weight = 0
            weight += heavy[i]
            numbers[i] = number
        else:
            numbers[i] = numbers[place[i]]
    return numbers
