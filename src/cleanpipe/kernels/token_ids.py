"""The measures of repeats on a tokenizer's ids, by the kernels that measure words and symbols."""

import numpy as np
import numpy.typing as npt
from numba import njit

from cleanpipe.kernels.counts import Counts, Places
from cleanpipe.kernels.hashing import fmix64
from cleanpipe.kernels.repetition import number_tokens
from cleanpipe.kernels.stability import (
    BEFORE,
    BEYOND,
    repeats,
    room_for_ids,
    window_entropy,
    window_period,
)


@njit(cache=True, nogil=True)
def measure_ids(places: Places, ids: npt.NDArray[np.uint32], counts: Counts) -> None:
    """Put the measures of repeats of the tokens ids[places[i]:places[i + 1]] into counts[i].

    `counts` is a table as of `scan`; its other columns are left alone.

    >>> from cleanpipe.kernels.counts import Count
    >>> counts = np.zeros((2, len(Count)), np.int64)
    >>> measure_ids(np.array([0, 4, 4]), np.array([7, 7, 7, 9], np.uint32), counts)
    >>> counts[:, Count.REPEAT_RUN].tolist(), counts[:, Count.WINDOW_ENTROPY_MIN].tolist()
    ([3, 0], [-1, -1])
    """
    room = 1
    for i in range(len(counts)):
        room = max(room, places[i + 1] - places[i])
    cells = np.empty(1 + room, np.uint64)
    hashes = cells[1:]
    padded = room_for_ids(room)
    numbers = padded[BEFORE:]
    times = np.empty(room, np.int32)
    repeated = np.empty(room + BEYOND, np.int32)
    slots = np.empty(3 * room + 4, np.int32)
    for i in range(len(counts)):
        start = places[i]
        tokens = places[i + 1] - start
        for k in range(tokens):
            hashes[k] = fmix64(np.uint64(ids[start + k]))
        distinct = number_tokens(cells, tokens, 0, slots, numbers, times)
        repeats(padded, tokens, repeated, counts[i])
        window_period(repeated, tokens, hashes, counts[i])
        window_entropy(numbers, tokens, distinct, times, counts[i])
