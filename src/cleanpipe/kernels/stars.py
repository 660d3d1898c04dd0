"""Star clusters: every member is similar to its representative itself, never through others.

Documents are visited from the best to the worst. Each is compared with the representatives so far
that share a band's bucket with it, and joins the most similar one, or becomes a representative.
What one document costs is bounded: a bucket remembers the first `limit` representatives that it
got, and a document is compared with at most `limit` of them, those first that share most bands. So
100,000 different documents in one bucket take time linear in their number; what was left out is
counted.

With a threshold that nobody reaches everyone is a representative, and the pairs are those of all
documents with all: kernels.replay decides by them what another recipe would drop.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from cleanpipe.kernels.hashing import Hashes
from cleanpipe.kernels.jaccard import intersection

Rows = npt.NDArray[np.int64]

PAIR_COLUMNS = ("document", "other", "shared_bands", "intersection", "union")
NOBODY_IS_SIMILAR = 2.0
"""A threshold that no Jaccard similarity reaches."""


@njit(cache=True, nogil=True)
def bucket_rooms(buckets: npt.NDArray[np.int32], limit: int) -> Rows:
    """Where each bucket's representatives are remembered: at most `limit`, one after another."""
    sizes = np.zeros(buckets.max() + 1 if buckets.size else 0, np.int64)
    for bucket in buckets.flat:
        if bucket >= 0:
            sizes[bucket] += 1
    rooms = np.zeros(len(sizes) + 1, np.int64)
    for i in range(len(sizes)):
        rooms[i + 1] = rooms[i] + min(sizes[i], limit)
    return rooms


@njit(cache=True, nogil=True)
def least_shared(similarity: float, a_size: int, b_size: int) -> Any:
    """An intersection that a pair of this Jaccard similarity has at least.

    i / (a + b - i) >= s is i >= s (a + b) / (1 + s); one less, since that is rounded.
    """
    return max(0, np.int64(similarity * (a_size + b_size) / (1.0 + similarity)) - 1)


@njit(cache=True, nogil=True)
def meet(
    own: npt.NDArray[np.int32],
    rooms: Rows,
    remembered: npt.NDArray[np.int32],
    entered: Rows,
    limit: int,
    shared: npt.NDArray[np.int32],
    candidates: Rows,
) -> Any:
    """The representatives that a document with the buckets `own` is compared with, in their order.

    Fills `candidates` with ranks (the lower 32 bits), those first that share most bands, then the
    better ones, and `shared` with the bands that each shares. Returns how many they are, and how
    many representatives its buckets did not remember.
    """
    found, forgotten = 0, 0
    for bucket in own:
        if bucket < 0:
            continue
        held = min(entered[bucket], limit)
        forgotten += entered[bucket] - held
        for k in range(rooms[bucket], rooms[bucket] + held):
            rank = remembered[k]
            if shared[rank] == 0:
                candidates[found] = rank
                found += 1
            shared[rank] += 1
    for k in range(found):
        candidates[k] += np.int64(len(own) - shared[candidates[k]]) << 32
    candidates[:found].sort()
    return found, forgotten


@njit(cache=True, nogil=True)
def cluster_stars(
    order: Rows,
    buckets: npt.NDArray[np.int32],
    set_offsets: Rows,
    hashes: Hashes,
    threshold: float,
    limit: int,
    listed_from: npt.NDArray[np.float64],
) -> tuple[Rows, Rows, Rows, Rows, Rows, npt.NDArray[np.int32]]:
    """Clusters of n documents: who represents each, and how similar the two are.

    order         the documents from the best to the worst; those left out are as if not there
    buckets       (n, bands) int32, numbered from 0 throughout all bands; -1 for none
    set_offsets, hashes   the documents' sorted shingle sets (kernels.jaccard)
    threshold     a member has intersection / union >= threshold: one division of float64
    limit         representatives that a bucket remembers, and that a document is compared with
    listed_from   (n,) a document's compared pairs of at least this similarity are listed, 0 lists
                  all; so are all of a document that could not be compared with everyone

    Returns (representative, intersection, union, compared, uncompared, pairs). A representative has
    itself, and its own size twice; so has a document that is not in `order`. At most `uncompared`
    representatives share a bucket with the document and were not compared: one that several buckets
    forgot counts in each of them. `pairs` is (m, 5) int32, of PAIR_COLUMNS; the other one is the
    better one. Of equally similar representatives the best is taken.
    """
    n, bands = buckets.shape
    rooms = bucket_rooms(buckets, limit)
    remembered = np.empty(rooms[-1], np.int32)  # ranks: places in `order`
    entered = np.zeros(len(rooms) - 1, np.int64)  # representatives that each bucket ever got
    shared = np.zeros(n, np.int32)  # by rank: bands shared with the document at hand
    candidates = np.empty(max(1, bands * limit), np.int64)
    representative = np.arange(n)
    intersections = set_offsets[1:] - set_offsets[:-1]
    unions = intersections.copy()
    compared = np.zeros(n, np.int64)
    uncompared = np.zeros(n, np.int64)
    pairs = np.empty((max(16, n), 5), np.int32)
    listed = 0
    for rank in range(len(order)):
        document = order[rank]
        found, forgotten = meet(
            buckets[document], rooms, remembered, entered, limit, shared, candidates
        )
        compared[document] = min(found, limit)
        uncompared[document] = found - compared[document] + forgotten
        least = 0.0 if uncompared[document] else listed_from[document]

        own = hashes[set_offsets[document] : set_offsets[document + 1]]
        best = -1.0
        best_rank = rank
        best_both = 0
        best_all = 0
        for k in range(found):
            other_rank = candidates[k] & 0xFFFFFFFF
            bands_shared = shared[other_rank]
            shared[other_rank] = 0
            if k >= limit:
                continue
            other = order[other_rank]
            others = hashes[set_offsets[other] : set_offsets[other + 1]]
            needed = least_shared(min(threshold, least), len(own), len(others))
            both = intersection(own, others, needed)
            if both < 0:
                continue
            union = len(own) + len(others) - both
            similarity = both / union if union else 0.0
            if similarity >= least:
                if listed == len(pairs):
                    larger = np.empty((listed + listed // 2, 5), np.int32)
                    larger[:listed] = pairs
                    pairs = larger
                row = pairs[listed]
                row[0], row[1], row[2], row[3], row[4] = document, other, bands_shared, both, union
                listed += 1
            if similarity > best or (similarity == best and other_rank < best_rank):
                best, best_rank, best_both, best_all = similarity, other_rank, both, union

        if best >= threshold:
            representative[document] = order[best_rank]
            intersections[document] = best_both
            unions[document] = best_all
            continue
        for band in range(bands):
            bucket = buckets[document, band]
            if bucket >= 0:
                if entered[bucket] < limit:
                    remembered[rooms[bucket] + entered[bucket]] = rank
                entered[bucket] += 1
    return representative, intersections, unions, compared, uncompared, pairs[:listed].copy()
