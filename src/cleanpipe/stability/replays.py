"""Data that came again, from the log alone: the loss's residual is a fingerprint of its batches.

Where a loader goes over the same batches a second time (an epoch, or a run that was resumed at the
wrong place), residuals repeat: their autocorrelation has a sharp peak at that lag. Runs of one
epoch stay below it. Where only a part was replayed, the peak of that part is higher than that of
the whole, so stretches of the log are looked at, too.
"""

from typing import Any

import numpy as np
from scipy import fft

from cleanpipe.stability.residuals import TREND, Floats, Residual

STRONG = 0.3
"""A correlation from which data came again."""
ABOVE_CHANCE = 8.0
"""Standard deviations (each one over the root of the rows that overlap) that it is above 0."""
SHARP = 0.2
"""By how much it must exceed those of the lags two to ten beside it: text that is alike for a
while (a shard of one source) makes broad hills, the same batches one sharp peak."""
BESIDE = range(2, 11)
LEAST_LAG = TREND
"""Shorter lags are what the trend makes."""
LEAST_OVERLAP = 200
STRETCHES = (1, 4, 16)
"""Into so many parts a log is cut, to find replays of a part; each is sought in all before it."""
CLIP = 6.0
"""Spreads beyond which a residual counts no more: one step must not look like a replay."""
MOST = 5
PARTS_UP_TO = 2_000_000
"""Rows of a log above which it is looked at as a whole only: each part costs a transform."""


def replays(loss: Residual, since: int, interval: int) -> list[dict[str, Any]]:
    """Replays, strongest first: lag in steps, correlation, and the steps that are a replay."""
    settled = loss.steps >= since
    steps, rest = loss.steps[settled], loss.z[settled]
    rest = np.clip(np.nan_to_num(rest), -CLIP, CLIP)
    found: list[dict[str, Any]] = []
    for parts in STRETCHES:
        size = len(rest) // parts
        if size < 2 * LEAST_OVERLAP or (parts > 1 and len(rest) > PARTS_UP_TO):
            break
        for place in range(parts):
            start = place * size
            peak = _peak(rest, start, start + size)
            if peak is None:
                continue
            lag, strength = peak
            if any(abs(one["lag"] - lag * interval) <= 2 * interval for one in found):
                continue
            first = max(start, lag)
            found.append(
                {
                    "lag": lag * interval,
                    "correlation": strength,
                    "first": int(steps[first]),
                    "last": int(steps[start + size - 1]),
                }
            )
    return sorted(found, key=lambda one: -one["correlation"])[:MOST]


def _peak(rest: Floats, start: int, end: int) -> tuple[int, float] | None:
    """The lag at which the rows from start to end repeat earlier ones, and how strongly."""
    part = rest[start:end]
    before = rest[:end]
    size = fft.next_fast_len(len(before) + len(part), real=True)
    spectrum = fft.rfft(before, size) * np.conj(fft.rfft(part, size))
    products = fft.irfft(spectrum, size)
    lags = np.arange(LEAST_LAG, end - LEAST_OVERLAP + 1)
    if not len(lags):
        return None
    # a lag puts row t beside t - lag: rows from max(start, lag) to end overlap
    overlap = end - np.maximum(start, lags)
    squares = np.concatenate([[0.0], np.cumsum(before**2)])
    first = np.maximum(start, lags)
    own = squares[end] - squares[first]
    earlier = squares[end - lags] - squares[first - lags]
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = products[(start - lags) % size] / np.sqrt(own * earlier)
    bound = np.maximum(STRONG, ABOVE_CHANCE / np.sqrt(overlap))
    strong = np.flatnonzero((correlation >= bound) & (overlap >= LEAST_OVERLAP))
    padded = np.pad(np.nan_to_num(correlation), BESIDE[-1])
    for apart in (*BESIDE, *(-each for each in BESIDE)):
        beside = padded[strong + BESIDE[-1] + apart]
        strong = strong[correlation[strong] - beside >= SHARP]
    if not len(strong):
        return None
    best = strong[np.argmax(correlation[strong])]
    return int(lags[best]), float(correlation[best])
