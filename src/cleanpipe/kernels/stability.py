"""What makes gradients add up instead of averaging out: repeats and tiny vocabularies."""

from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from cleanpipe.kernels.counts import Count, Counts, Numbers

LONGEST_PERIOD = 13  # OLMo's repetition_max_period
LEAST_REPEATS = 3  # OLMo and dolma report spans from three repeats on
WINDOW = 128  # tokens
WINDOW_BITS = 7  # log2 of it
ENTROPY_BITS = 16  # entropies are in units of 2^-16 bits
TABLE_BITS = 32


def _weights() -> npt.NDArray[np.int64]:
    """The values of c log2 c in units of 2^-32, decimal: a processor's log2 may round otherwise."""
    scale = Decimal(2**TABLE_BITS) / Decimal(2).ln()
    return np.array([0] + [round(c * Decimal(c).ln() * scale) for c in range(1, WINDOW + 1)])


WEIGHTS = _weights()


@njit(cache=True, nogil=True)
def mark_repeats(ids: Numbers, tokens: Any, repeated: Numbers) -> None:
    """Set bit p of repeated[i], for p of 1 to 13, where token i equals the one p before it.

    Thirteen loops without a branch, of which LLVM makes vector instructions, are faster than one.
    """
    repeated[:tokens] = 0
    for period in range(1, LONGEST_PERIOD + 1):
        for i in range(tokens - period):
            repeated[i + period] |= np.int32(ids[i + period] == ids[i]) << np.int32(period)


@njit(cache=True, nogil=True)
def repeats(ids: Numbers, tokens: Any, repeated: Numbers, row: Counts) -> None:
    """The most consecutive repeats of a span of 1 to 13 tokens, and the most tokens in 3 or more.

    A stretch of L tokens that equal the one p before them is L + p tokens of period p.
    """
    mark_repeats(ids, tokens, repeated)
    longest = np.zeros(LONGEST_PERIOD + 1, np.int64)
    length = np.zeros(LONGEST_PERIOD + 1, np.int64)
    going = np.int32(0)  # the periods with which the token before went on
    counted = np.int32(0)  # those whose length is known: a lone equal token is not looked at
    for i in range(tokens):
        equal = repeated[i]
        known = np.int32(0)
        if equal & (going | 2):  # one equal token is a repeat at period 1 only
            for period in range(1, LONGEST_PERIOD + 1):
                if equal >> period & 1:
                    length[period] = length[period] + 1 if counted >> period & 1 else 1
                    length[period] += going >> period & ~counted >> period & 1
                    longest[period] = max(longest[period], length[period])
            known = equal
        counted = known
        going = equal
    run = min(tokens, 1)
    covered = 0
    for period in range(1, LONGEST_PERIOD + 1):
        times = (longest[period] + period) // period
        run = max(run, times if longest[period] else 0)
        if times >= LEAST_REPEATS:
            covered = max(covered, longest[period] + period)
    row[Count.REPEAT_RUN] = run
    row[Count.REPEAT_TOKENS] = covered


@njit(cache=True, nogil=True)
def window_entropy(ids: Numbers, tokens: Any, distinct: Any, times: Numbers, row: Counts) -> None:
    """The smallest Shannon entropy of the tokens in any window of 128, in units of 2^-16 bits.

    H = log2 128 - (sum of c log2 c) / 128 over the counts c in the window: the largest sum decides.
    """
    if tokens < WINDOW:
        row[Count.WINDOW_ENTROPY_MIN] = -1
        return
    times[:distinct] = 0
    total = 0
    for i in range(WINDOW):
        count = times[ids[i]]
        total += WEIGHTS[count + 1] - WEIGHTS[count]
        times[ids[i]] = count + 1
    largest = total
    for i in range(WINDOW, tokens):
        count = times[ids[i - WINDOW]]
        total -= WEIGHTS[count] - WEIGHTS[count - 1]
        times[ids[i - WINDOW]] = count - 1
        count = times[ids[i]]
        total += WEIGHTS[count + 1] - WEIGHTS[count]
        times[ids[i]] = count + 1
        largest = max(largest, total)
    shift = TABLE_BITS + WINDOW_BITS - ENTROPY_BITS
    row[Count.WINDOW_ENTROPY_MIN] = (WINDOW_BITS << ENTROPY_BITS) - (
        (largest + (1 << (shift - 1))) >> shift
    )
