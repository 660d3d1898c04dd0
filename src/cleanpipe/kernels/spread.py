"""Documents in an order in which no batch holds too much of one thing; and where repeats stand."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from cleanpipe.kernels.stability import LONGEST_PERIOD

Numbers = npt.NDArray[np.int64]
Kinds = npt.NDArray[np.int32]
LOOKED_AT = 64
"""Documents that wait, of which the oldest are looked at after each document."""


@njit(cache=True, nogil=True)
def _fits(
    at: Any, length: Any, kinds: Any, weights: Any, bounds: Any, batch: Any, used: Any, of: Any
) -> bool:
    """Whether a document of `length` tokens may stand at token `at`; if so, its use is noted.

    It uses weights[k] of kinds[k], or as many as it has tokens there, in each batch that it reaches
    into. A document that is the first of a kind in a batch may be over the bound by itself.
    """
    first, last = at // batch, (at + length - 1) // batch
    inside = min(length, (first + 1) * batch - at)
    for k in range(len(kinds)):
        before = used[kinds[k]] if of[kinds[k]] == first else 0
        if weights[k] and before and before + min(weights[k], inside) > bounds[kinds[k]]:
            return False
    rest = at + length - last * batch
    for k in range(len(kinds)):
        if weights[k]:
            kind = kinds[k]
            before = used[kind] if of[kind] == first else 0
            here = before + min(weights[k], inside)
            used[kind] = here if last == first else min(weights[k], rest)
            of[kind] = last
    return True


@njit(cache=True, nogil=True)
def spread(
    order: Numbers, lengths: Numbers, kinds: Kinds, weights: Kinds, bounds: Numbers, batch: int
) -> tuple[Numbers, int]:
    """(order, waiting): documents placed one after another; the last `waiting` found no place.

    Documents come in `order`. One that would bring the batch at hand over a bound waits, and is
    tried again in the next batch: one that waited after each that did not, so that they do not come
    to stand together. `kinds` and `weights` are (documents, k): a document
    uses weights[i, k] of kinds[i, k]; a batch holds at most bounds[kind] of it. What still waits at
    the end, comes last.

    >>> lengths, kinds = np.full(4, 2), np.array([[0], [0], [1], [1]], np.int32)
    >>> weights = np.full((4, 1), 2, np.int32)
    >>> order, waiting = spread(np.arange(4), lengths, kinds, weights, np.full(2, 2), 4)
    >>> order.tolist(), waiting
    ([0, 2, 1, 3], 0)
    """
    count = len(order)
    used = np.zeros(len(bounds), np.int64)
    of = np.full(len(bounds), -1, np.int64)
    placed = np.empty(count, np.int64)
    following = np.full(count, -1, np.int64)  # a list of those that wait
    head, tail = np.int64(-1), np.int64(-1)
    at, done, looked = np.int64(0), 0, np.int64(-1)
    number = 0
    while number < count or (head >= 0 and at // batch != looked):
        if number < count:
            one = order[number]
            number += 1
            if _fits(at, lengths[one], kinds[one], weights[one], bounds, batch, used, of):
                placed[done] = one
                done += 1
                at += lengths[one]
            else:
                if head < 0:
                    head = one
                else:
                    following[tail] = one
                tail = one
        if head < 0 or at // batch == looked:
            continue
        looked = at // batch  # none of them fits: in this batch none will
        before, one = np.int64(-1), head
        for _ in range(LOOKED_AT):
            if one < 0:
                break
            if _fits(at, lengths[one], kinds[one], weights[one], bounds, batch, used, of):
                placed[done] = one
                done += 1
                at += lengths[one]
                if before < 0:
                    head = following[one]
                else:
                    following[before] = following[one]
                if following[one] < 0:
                    tail = before
                looked = np.int64(-1)
                break
            before = one
            one = following[one]
    waiting = count - done
    while head >= 0:
        placed[done] = head
        done += 1
        head = following[head]
    return placed, waiting


@njit(cache=True, nogil=True)
def most_in_a_batch(
    order: Numbers, lengths: Numbers, kinds: Kinds, weights: Kinds, bounds: Numbers, batch: int
) -> tuple[Numbers, Numbers]:
    """(most, over) of each k: the most over a bound, and how often several documents are over it.

    `most` is the largest use of a kind in a batch less its bound, so it may be below 0; `over`
    counts the batches and kinds that are over their bound by more than one document.

    >>> lengths, kinds, weights = np.full(2, 2), np.zeros((2, 1), np.int32), np.full((2, 1), 2)
    >>> most, over = most_in_a_batch(np.arange(2), lengths, kinds, weights, np.full(1, 3), 4)
    >>> most.tolist(), over.tolist()
    ([1], [1])
    """
    groups = kinds.shape[1]
    used = np.zeros(len(bounds), np.int64)
    held = np.zeros(len(bounds), np.int64)
    of = np.full(len(bounds), -1, np.int64)
    most = np.full(groups, -bounds.max(), np.int64)
    over = np.zeros(groups, np.int64)
    at = np.int64(0)
    for number in range(len(order)):
        one = order[number]
        end = at + lengths[one]
        for own in range(at // batch, (end - 1) // batch + 1):
            inside = min(end, (own + 1) * batch) - max(at, own * batch)
            for k in range(groups):
                kind = kinds[one, k]
                if weights[one, k] == 0:
                    continue
                if of[kind] != own:
                    of[kind], used[kind], held[kind] = own, 0, 0
                was_over = used[kind] > bounds[kind] and held[kind] > 1
                used[kind] += min(weights[one, k], inside)
                held[kind] += 1
                most[k] = max(most[k], used[kind] - bounds[kind])
                over[k] += used[kind] > bounds[kind] and held[kind] > 1 and not was_over
        at = end
    return most, over


@njit(cache=True, nogil=True)
def repeat_spans(ids: npt.NDArray[np.uint32], places: Numbers, times: int, least: int) -> Numbers:
    """(n, 4): text, start, end, period of stretches in which a span of 1 to 13 tokens is repeated.

    The span stands `times` times or more in a row, and the stretch has `least` tokens or more. Text
    i is ids[places[i]:places[i + 1]]; start and end count from its first token. Stretches that
    overlap are one, with the shortest of their periods; they are ordered.

    >>> ids = np.array([9, 1, 2, 1, 2, 1, 5], np.uint32)
    >>> repeat_spans(ids, np.array([0, 7]), 2, 4).tolist()
    [[0, 1, 6, 2]]
    """
    count = 0
    found = np.empty((16, 4), np.int64)
    for i in range(len(places) - 1):
        begin, end = places[i], places[i + 1]
        first = count
        for period in range(1, LONGEST_PERIOD + 1):
            # so many tokens of a stretch equal the one a period before: look at each so-many-th
            equal = max(times * period, least, period + 1) - period
            t = begin + period + equal - 1
            while t < end:
                if ids[t] != ids[t - period]:
                    t += equal
                    continue
                start, stop = t, t + 1
                while start > begin + period and ids[start - 1] == ids[start - 1 - period]:
                    start -= 1
                while stop < end and ids[stop] == ids[stop - period]:
                    stop += 1
                if stop - start >= equal:
                    if count == len(found):
                        grown = np.empty((2 * count, 4), np.int64)
                        grown[:count] = found
                        found = grown
                    found[count, 0], found[count, 1] = i, start - period - begin
                    found[count, 2], found[count, 3] = stop - begin, period
                    count += 1
                t = stop + equal
        if count - first > 1:
            count = first + _joined(found[first:count])
    return found[:count].copy()


@njit(cache=True, nogil=True)
def _joined(spans: Numbers) -> int:
    """Make one of stretches of a text that overlap, in place and in order; how many remain."""
    ordered = spans[np.argsort(spans[:, 1])]
    kept = 0
    for i in range(len(ordered)):
        if kept and ordered[i, 1] < spans[kept - 1, 2]:
            spans[kept - 1, 2] = max(spans[kept - 1, 2], ordered[i, 2])
            spans[kept - 1, 3] = min(spans[kept - 1, 3], ordered[i, 3])
        else:
            spans[kept] = ordered[i]
            kept += 1
    return kept
