"""What others count in a log, by their own definitions, so that numbers can be compared.

- OLMo 2's spike score (arXiv 2501.00656, section 3.2): the percentage of values at least seven
  standard deviations from the mean of the last 1,000. Both sides count, as worded.
- OLMo-core's (StabilityMonitorCallback): above the mean of the 128 values before by six standard
  deviations; a step counts if loss or norm does. Here over the whole log.
- loss ratio (Li et al. 2022, arXiv 2108.06084): the loss over the least before it; how often above
  1.2, and the largest.
- ZClip (arXiv 2504.02507): z above 2.5 against exponential means of the clipped norms (0.97).

None tells an event from a batch that is hard. A window's standard deviation grows with each spike
in it and hides the next; two-sided counts take easy batches for spikes.
"""

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import polars as pl

from cleanpipe.stability.logs.log import CHANNELS, Log
from cleanpipe.stability.spikes.residuals import Floats

PAPER = (1000, 7.0)
CORE = (128, 6.0)
RATIO = 1.2
PART = 1 << 20
LEAST = 1e-10
"""OLMo-core's least standard deviation that is one."""
ZCLIP_MEAN, ZCLIP_Z, ZCLIP_WARMUP, ZCLIP_LEAST = 0.97, 2.5, 25, 1e-6


def scores(log: Log) -> dict[str, Any]:
    """Each score, by channel where it is one's; percentages; None where a log is too short."""
    known = {name: _finite(log, name) for name in CHANNELS if log.has(name)}
    found: dict[str, Any] = {
        "olmo2_spike_score": {name: spike_score(values) for name, values in known.items()},
        "olmo_core_spike_score": core_score(log),
    }
    if "loss" in known:
        found["loss_ratio"] = loss_ratio(known["loss"])
    if "grad_norm" in known:
        values = known["grad_norm"]
        found["zclip"] = (
            {"steps": int(clipped(values).sum()), "share": 100 * float(clipped(values).mean())}
            if len(values) > ZCLIP_WARMUP
            else None
        )
    return found


def _finite(log: Log, channel: str) -> Floats:
    values = log.steps[channel].drop_nulls().to_numpy()
    finite = np.isfinite(values)
    return np.ascontiguousarray(values if finite.all() else values[finite])


def _windows(values: Floats, window: int) -> Iterator[tuple[slice, Floats, Floats]]:
    """Rows, and of the window before each the mean and the deviation: NaN where it has gaps.

    A part of the rows at a time, for the sake of memory.
    """
    for low in range(window, len(values), PART):
        high = min(low + PART, len(values))
        series = pl.Series(values[low - window : high]).fill_nan(None)
        mean = series.rolling_mean(window).shift(1).to_numpy()
        deviation = series.rolling_std(window, ddof=0).shift(1).to_numpy()
        yield slice(low, high), mean[window:], deviation[window:]


def spike_score(values: Floats) -> float | None:
    """OLMo 2's, in percent of the values that have a window before them.

    >>> round(spike_score(np.array([1.0, 2.0] * 600 + [50.0] + [1.0, 2.0] * 150)), 4)
    0.1996
    """
    window, bound = PAPER
    if len(values) <= window:
        return None
    count = 0
    for rows, mean, deviation in _windows(values, window):
        out = np.abs(values[rows] - mean) >= bound * deviation
        count += int((out & (deviation > LEAST)).sum())
    return 100 * count / (len(values) - window)


def core_score(log: Log) -> float | None:
    """OLMo-core's, in percent of the rows whose channels have windows before them."""
    window, bound = CORE
    if log.steps.height <= window:
        return None
    out = np.zeros(log.steps.height, bool)
    for channel in CHANNELS:
        if log.has(channel):
            values = log.steps[channel].to_numpy()
            for rows, mean, deviation in _windows(values, window):
                high = values[rows] > mean + bound * deviation
                out[rows] |= high & (deviation > LEAST)
    return 100 * float(out[window:].mean())


def loss_ratio(losses: Floats) -> dict[str, Any] | None:
    """Of Li et al.: steps above 1.2 times the least loss before, and the largest ratio."""
    if len(losses) < 2 or (losses <= 0).any():
        return None
    ratio = losses[1:] / np.minimum.accumulate(losses)[:-1]
    return {"steps": int((ratio > RATIO).sum()), "largest": float(ratio.max())}


@numba.njit(cache=True)
def clipped(norms: Floats) -> Any:  # pragma: no cover - compiled
    """ZClip's steps: which norms it would clip by their z."""
    out = np.zeros(len(norms), np.bool_)
    warm = min(ZCLIP_WARMUP, len(norms))
    mean = norms[:warm].mean()
    variance = norms[:warm].var()
    for place in range(warm, len(norms)):
        deviation = np.sqrt(variance)
        z = (norms[place] - mean) / (deviation + ZCLIP_LEAST)
        kept = norms[place]
        if z > ZCLIP_Z:
            out[place] = True
            kept = mean + ZCLIP_Z * deviation * ZCLIP_Z / z
        mean = ZCLIP_MEAN * mean + (1 - ZCLIP_MEAN) * kept
        variance = ZCLIP_MEAN * variance + (1 - ZCLIP_MEAN) * (kept - mean) ** 2
    return out
