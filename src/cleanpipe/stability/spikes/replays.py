"""Data that came again, from the log alone: the loss's residual is a fingerprint of its batches.

Where a loader goes over the same batches a second time (an epoch, or a run that was resumed at the
wrong place), residuals repeat: their autocorrelation has a sharp peak at that lag. Runs of one
epoch stay below it. Where only a part was replayed, the peak of that part is higher than that of
the whole, so stretches of the log are looked at, too.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from cleanpipe.stability.spikes.residuals import TREND, Floats, Residual

Rest = npt.NDArray[np.float32]
Lags = npt.NDArray[np.int64]
BLOCK = 1 << 20
"""Lags that are looked at together."""
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
    first_row = int(np.searchsorted(loss.steps, since))
    steps = loss.steps[first_row:]
    rest = np.nan_to_num(loss.z[first_row:]).clip(-CLIP, CLIP).astype(np.float32)
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


def _peak(rest: Rest, start: int, end: int) -> tuple[int, float] | None:
    """The lag at which the rows from start to end repeat earlier ones, and how strongly."""
    last = end - LEAST_OVERLAP
    at = _Correlation(rest, start, end)
    best: tuple[int, float] | None = None
    for low in range(LEAST_LAG, last + 1, BLOCK):
        lags = np.arange(low, min(low + BLOCK, last + 1))
        strength = at(lags)
        overlap = end - np.maximum(start, lags)
        strong = strength >= np.maximum(STRONG, ABOVE_CHANCE / np.sqrt(overlap))
        lags, strength = lags[strong], strength[strong]
        for apart in (*BESIDE, *(-each for each in BESIDE)):
            sharp = strength - at(np.minimum(lags + apart, last)) >= SHARP
            lags, strength = lags[sharp], strength[sharp]
        if len(lags) and (best is None or strength.max() > best[1]):
            best = int(lags[np.argmax(strength)]), float(strength.max())
    return best


class _Correlation:
    """Of the rows from start to end with those a lag before, of all lags by one transform."""

    def __init__(self, rest: Rest, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.size = fft.next_fast_len(2 * end - start, real=True)
        part = fft.rfft(rest[start:end], self.size)
        spectrum = fft.rfft(rest[:end], self.size) if start else part.copy()
        spectrum *= np.conjugate(part, out=part)
        del part
        self.products = fft.irfft(spectrum, self.size)
        self.squares = np.concatenate([[0.0], np.cumsum(rest[:end].astype(np.float64) ** 2)])

    def __call__(self, lags: Lags) -> Floats:
        """A lag puts row t beside t - lag: rows from the larger of start and lag on overlap."""
        first = np.maximum(self.start, lags)
        own = self.squares[self.end] - self.squares[first]
        earlier = self.squares[self.end - lags] - self.squares[first - lags]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.products[(self.start - lags) % self.size] / np.sqrt(own * earlier)
        return np.asarray(np.nan_to_num(found), np.float64)
