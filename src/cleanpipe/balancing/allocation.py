"""A budget into groups' targets, and a group's target into copies of its documents.

Everything here is whole numbers, so that it is equal on any processor and in any order.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
NEXT_CHANCE = np.uint64(0x9E3779B97F4A7C15)
"""What a document's further repeats add to its chance: 2^64 over the golden ratio, so that the
repeats of one document stand far from each other (Weyl's sequence, as in splitmix64)."""


def fill(
    budget: int, weights: Mapping[str, int], low: Mapping[str, int], high: Mapping[str, int]
) -> tuple[dict[str, int], frozenset[str], frozenset[str]]:
    """(targets, who is held at `high`, who at `low`): the budget in proportion to weights.

    What one cannot take goes to the others in proportion, what one needs beyond its share they
    give. Weight 0 gets nothing, and stands in no answer. Less than the budget is given where
    everyone has its `high`. `low` is at most `high` everywhere, and in all at most the budget.

    >>> none, most = {"a": 0, "b": 0, "c": 0}, {"a": 9, "b": 90, "c": 900}
    >>> targets, full, raised = fill(60, {"a": 1, "b": 1, "c": 1}, none | {"c": 40}, most)
    >>> targets, sorted(full), sorted(raised)
    ({'c': 40, 'a': 9, 'b': 11}, ['a'], ['c'])
    """
    given: dict[str, int] = {}
    full: set[str] = set()
    raised: set[str] = set()
    active = {name: weight for name, weight in weights.items() if weight}
    left = budget
    while active:
        level = sum(active.values())
        # a share is left * weight / level: times level, all stays whole
        over = {n: left * w - high[n] * level for n, w in active.items()}
        under = {n: low[n] * level - left * w for n, w in active.items()}
        over = {name: much for name, much in over.items() if much > 0}
        under = {name: much for name, much in under.items() if much > 0}
        if not over and not under:
            given |= divide(left, active)
            break
        # the larger side is bound at any later level, too; the other may come free again
        surplus, lack = sum(over.values()), sum(under.values())
        fixed = {name: high[name] for name in over if surplus >= lack}
        full |= set(fixed)
        if lack >= surplus:
            raised |= set(under)
            fixed |= {name: low[name] for name in under}
        given |= fixed
        left -= sum(fixed.values())
        active = {name: weight for name, weight in active.items() if name not in fixed}
    return given, frozenset(full), frozenset(raised)


def divide(amount: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers in proportion to weights that sum to the amount: largest remainders first."""
    level = sum(weights.values())
    parts = {name: divmod(amount * weight, level) for name, weight in weights.items()}
    left = amount - sum(whole for whole, _ in parts.values())
    by_remainder = sorted(parts, key=lambda name: (-parts[name][1], name))
    return {name: parts[name][0] + (place < left) for place, name in enumerate(by_remainder)}


def copies(
    codes: Numbers,
    sizes: Numbers,
    chances: npt.NDArray[np.uint64],
    repeats: Numbers,
    targets: Numbers,
) -> npt.NDArray[np.int32]:
    """How often each document is written, so that its group comes nearest to its target.

    `codes` are the groups' places in `targets`. A document with `repeats` of r counts as r
    documents, each with a chance of its own. Everyone gets the whole part of target over total;
    the rest goes to the smallest chances, until the nearer side of the target is reached: the
    document whose middle stands before the target is in. So a group ends within half a document
    of its target. A group of size 0 has nothing to balance and is kept.
    """
    document = np.repeat(np.arange(len(codes)), repeats)
    first = np.repeat(np.cumsum(repeats) - repeats, repeats)
    place = (np.arange(len(document)) - first).astype(np.uint64)
    own = chances[document] + place * NEXT_CHANCE
    codes, sizes = codes[document], sizes[document]
    totals = group_totals(codes, sizes, len(targets))
    whole = np.where(totals > 0, targets // np.maximum(totals, 1), 1)
    rest = np.where(totals > 0, targets % np.maximum(totals, 1), 0)
    order = np.lexsort((own, codes))
    ordered_codes, ordered_sizes = codes[order], sizes[order]
    before_group = np.cumsum(totals) - totals
    end = np.cumsum(ordered_sizes) - before_group[ordered_codes]
    twice_the_middle = 2 * end - ordered_sizes
    times = whole[codes]
    times[order] += twice_the_middle < 2 * rest[ordered_codes]
    written = np.zeros(len(repeats), np.int64)
    np.add.at(written, document, times)
    return written.astype(np.int32)


def within(
    keys: npt.NDArray[np.integer[Any]], sizes: Numbers, ranks: npt.NDArray[np.uint64], most: int
) -> npt.NDArray[np.bool_]:
    """Which documents stand within `most` of their key's total, those of smallest rank first.

    The first of a key is always within, and the sum ends within half a document of `most`. A
    negative key is no key: such documents are within.

    >>> numbers = np.array([7, 7, 7, -1]), np.array([10, 10, 10, 99]), np.arange(4, dtype=np.uint64)
    >>> within(*numbers, most=16).tolist()
    [True, True, False, True]
    """
    order = np.lexsort((ranks, keys))
    keyed, sized = keys[order], sizes[order]
    is_first = np.ones(len(keyed), np.bool_)
    is_first[1:] = keyed[1:] != keyed[:-1]
    end = np.cumsum(sized)
    starts = np.flatnonzero(is_first)
    before = np.repeat((end - sized)[starts], np.diff(np.append(starts, len(keyed))))
    inside = np.empty(len(keyed), np.bool_)
    inside[order] = is_first | (keyed < 0) | (2 * (end - before) - sized < 2 * most)
    return inside


def group_totals(codes: Numbers, sizes: Numbers, groups: int) -> Numbers:
    """The sum of sizes of each group."""
    totals = np.zeros(groups, np.int64)
    np.add.at(totals, codes, sizes)
    return totals
