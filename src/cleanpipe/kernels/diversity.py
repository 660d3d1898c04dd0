"""How varied the words of a text are."""

from typing import Any

import numpy as np
from numba import njit

from cleanpipe.kernels.counts import SYMBOL_BIT, Numbers
from cleanpipe.kernels.hashing import Hashes
from cleanpipe.kernels.logs import LOG_BITS, weight
from cleanpipe.kernels.repetition import ONE, find_number, table_size

ENTROPY_BITS = 16  # entropies are in units of 2^-16 bits


@njit(cache=True, nogil=True)
def entropy(spread: Any, total: Any) -> Any:
    """A Shannon entropy in units of 2^-16 bits; 0 of nothing.

    `spread` is N log2 N less the sum of c log2 c over the counts c of the N things, as `weight`
    gives them: H = log2 N - (sum of c log2 c) / N.
    """
    if total == 0:
        return 0
    step = total << (LOG_BITS - ENTROPY_BITS)
    return (max(spread, 0) + step // 2) // step


@njit(cache=True, nogil=True)
def word_variety(
    cells: Hashes,
    tokens: Any,
    distinct: Any,
    words: Any,
    ids: Numbers,
    times: Numbers,
    folded_at: Numbers,
    folds: Hashes,
    folded: Any,
    slots: Numbers,
    together: Numbers,
) -> Any:
    """(different folded words, their entropy), of tokens as `number_tokens` has just left them.

    Only the tokens at the places `folded_at` differ from their `folds`: each number among them
    gives its count to its fold's, which may be a token of the text or new. `together` holds these
    counts.
    """
    mask = np.uint64(table_size(tokens + folded) - 1)
    for k in range(distinct):
        together[k] = 0 if cells[k + 1] & SYMBOL_BIT else times[k]
    known = np.uint64(distinct)
    for k in range(folded):
        number = np.uint64(ids[folded_at[k]])
        count = together[number]  # 0 if done: the rest adds nothing then, and is no branch
        together[number] = 0
        key = folds[k]
        place = find_number(slots, mask, key, cells)
        other = np.uint64(slots[place])
        together[known] = 0
        known += np.uint64(other == 0)
        target = other or known
        slots[place] = target
        cells[target] = key
        together[target - ONE] += count
    different = 0
    spread = weight(words)
    for k in range(known):
        count = together[k]
        different += count > 0
        spread -= weight(count)
    return different, entropy(spread, words)
