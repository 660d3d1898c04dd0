"""What a log's channel does beside its trend: residuals, and how far out each step is.

The trend is a centred rolling median, which a step does not bend, however far out; the spread a
rolling median of absolute residuals. Gradient norms are taken as logarithms; a loss is a mean of
logarithms already.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import ndimage

from cleanpipe.stability.logs.log import Log

Floats = npt.NDArray[np.float64]
TREND = 101
"""Rows of the median that is a row's trend."""
SPREAD = 1001
"""Rows over which residuals are compared."""
TO_DEVIATION = 1.4826
"""Times the median of absolute residuals is the standard deviation, where they are normal."""
LEAST_SPREAD = 1e-3
"""Of the trend: numbers that do not vary (printed to two digits, say) are no ground for z."""


@dataclass(frozen=True)
class Residual:
    """A channel of the rows that have it, as it stands beside its trend."""

    rows: npt.NDArray[np.int64]
    """Which rows of the log."""
    steps: npt.NDArray[np.int64]
    values: Floats
    """As logged; NaN and infinities among them."""
    level: Floats
    """Logarithms of norms (the norms where some are not positive), losses; NaN where not finite."""
    trend: Floats
    spread: Floats
    logarithm: bool

    @property
    def rest(self) -> Floats:
        """The level less its trend."""
        return self.level - self.trend

    @property
    def z(self) -> Floats:
        """The rest in spreads; NaN where the value is not finite."""
        rest = self.rest
        rest /= self.spread
        return rest

    @property
    def before(self) -> Floats:
        """The trend of the rows before each: the median that a monitor would have known."""
        shift = TREND // 2 + 1
        known = np.full(len(self.trend), np.nan)
        known[shift:] = self.trend[: max(len(self.trend) - shift, 0)]
        return known

    def known(self, row: int) -> float:
        """The same for one row."""
        before = row - (TREND // 2 + 1)
        return float(self.trend[before]) if 0 <= before < len(self.trend) else float("nan")


def residual(log: Log, channel: str, every: npt.NDArray[np.int64] | None = None) -> Residual:
    """The channel's rest; empty where the log has none.

    `every` are the numbers of the log's rows, which channels may share.
    """
    column = log.steps[channel]
    steps = log.steps["step"].to_numpy()
    values = column.drop_nulls().to_numpy()
    rows = np.arange(len(steps)) if every is None else every
    if len(values) < len(steps):
        rows = np.flatnonzero(column.is_not_null().to_numpy())
        steps = steps[rows]
    finite = np.isfinite(values)
    logarithm = channel != "loss" and bool((values[finite] > 0).all())
    level = values if finite.all() else np.where(finite, values, np.nan)
    if logarithm:
        level = np.log(level)
    trend = rolling_median(level, TREND)
    spread = _spread(level, trend, log.resolution[channel], logarithm=logarithm)
    return Residual(rows, steps, values, level, trend, spread, logarithm)


def _spread(level: Floats, trend: Floats, resolution: float, *, logarithm: bool) -> Floats:
    """The rolling spread, and no less than printed digits and the size of the trend allow.

    Arrays are used again, where ten million rows would take 80 MB each time.
    """
    rest = level - trend
    spread = rolling_median(np.abs(rest, out=rest), SPREAD)
    del rest
    spread *= TO_DEVIATION
    if logarithm:
        least = np.exp(-trend)
        least *= resolution / 2
        np.maximum(spread, least, out=spread)
        np.maximum(spread, LEAST_SPREAD, out=spread)
    else:
        least = np.abs(trend)
        least *= LEAST_SPREAD
        np.maximum(spread, least, out=spread)
        np.maximum(spread, max(resolution / 2, np.finfo(np.float64).tiny), out=spread)
    return spread


def rolling_median(values: Floats, window: int) -> Floats:
    """The median of the `window` values around each; NaN counts for nothing.

    >>> rolling_median(np.array([1.0, 9.0, 2.0, np.nan, 4.0]), 3).tolist()
    [5.0, 2.0, 5.5, 3.0, 4.0]
    """
    if window % 2 and len(values) > 4 * window and np.isfinite(values).all():
        found: Floats = ndimage.median_filter(values, window)  # five times as fast as below
        found[:window] = _median(values[: 2 * window], window)[:window]
        found[-window:] = _median(values[-2 * window :], window)[-window:]
        return found
    return _median(values, window)


def _median(values: Floats, window: int) -> Floats:
    series = pl.Series(values).fill_nan(None)
    found = series.rolling_median(window, min_samples=1, center=True).cast(pl.Float64)
    return np.array(found.to_numpy(), np.float64)
