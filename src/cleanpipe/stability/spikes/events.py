"""Events of a training log: steps at which loss or gradient norm left their trend.

`find(log)` gives a table with a row an event, ascending by step:

| column | type | meaning |
|---|---|---|
| step | i64 | where it begins: the batch to ask about |
| peak | i64 | where it is farthest out |
| end | i64 | its last step that is far out |
| class | str | content outlier, gradient spike, instability, level shift, divergence |
| channel | str | loss, grad_norm, or both |
| size | f64 | how far out at the peak, in spreads of the channel; infinite where NaN was logged |
| z_loss, z_grad_norm | f64 | the same by channel; null where the channel is not logged |
| next | f64 | the channel's z at the row after the end: near 0 where nothing was left behind |
| back_after | i64 | rows from the beginning until the loss is back; null: not within 1,000 rows |
| loss, grad_norm, lr, tokens | f64 | as logged at `step` |

Classes, by the first that holds: *divergence*: the loss is not finite, or stays above the level
before for 500 rows, by a fifth or more; *level shift*: the median of the 200 rows from there on
lies 3 spreads above that of the 200 before; *instability*: at least 4 rows in a row more than 4
spreads above the median that was known before; *content outlier*: the loss is out, and back at
once; *gradient spike*: the gradient norm is out, the loss is not. A loss that is out for two or
three rows counts as a content outlier; `next` and `back_after` show such cases.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.errors import RecipeError
from cleanpipe.stability.logs.log import CHANNELS, Log
from cleanpipe.stability.spikes.residuals import Floats, Residual, residual, rolling_median

Rows = npt.NDArray[np.int64]
CLASSES = ("divergence", "level shift", "instability", "content outlier", "gradient spike")
SCHEMA = {
    "step": pl.Int64,
    "peak": pl.Int64,
    "end": pl.Int64,
    "class": pl.String,
    "channel": pl.String,
    "size": pl.Float64,
    "z_loss": pl.Float64,
    "z_grad_norm": pl.Float64,
    "next": pl.Float64,
    "back_after": pl.Int64,
    "loss": pl.Float64,
    "grad_norm": pl.Float64,
    "lr": pl.Float64,
    "tokens": pl.Float64,
}
SETTLED = 1500
"""Steps, or a tenth of a shorter log, before which a channel has no trend to leave."""
TOGETHER = 5
"""Rows within which what is far out is one event."""
PERSISTENT, PERSISTS = 4.0, 4
"""Spreads, and rows in a row, from which the loss is unstable."""
SHIFT, SIDE = 3.0, 200
"""Spreads between the medians of so many rows before and after."""
NEVER_BACK, LOST = 500, 1.2
"""Rows above the level before, and the ratio of losses, from which training has diverged."""
ENOUGH_AFTER = 100
"""Rows after an event without which no divergence of a finite loss is told."""
BACK, LOOK = 3.0, 1000
"""Spreads above the level before within which a loss is back; rows that are looked at."""


@dataclass(frozen=True)
class Bounds:
    """How far out is an event."""

    loss: float = 6.0
    """Spreads of the loss."""
    grad_norm: float = 8.0
    """Spreads of the gradient norm, whose tail is the longer one."""
    since: int | None = None
    """The first step that may be an event; None: 1,500 steps on, or a tenth of a shorter log."""

    def __post_init__(self) -> None:
        for channel in CHANNELS:
            if not getattr(self, channel) > 0:
                raise RecipeError(f"a bound of {getattr(self, channel)} for {channel}: above 0")

    def first(self, log: Log) -> int:
        """The first step that may be an event."""
        if self.since is not None:
            return self.since
        start, last = (int(log.steps["step"][place]) for place in (0, -1))
        return start + min(SETTLED, (last - start + log.interval) // 10)


@dataclass(frozen=True)
class Found:
    """Events of a log, and what it takes to believe them."""

    events: pl.DataFrame
    channels: dict[str, Residual]
    """Of the channels that the log has."""
    alarms: dict[str, dict[str, Any]]
    """By channel: events, and decoys: as many would be found in a channel turned upside down."""


def find(log: Log, bounds: Bounds | None = None) -> pl.DataFrame:
    """The events of a log, by the schema above."""
    return look(log, bounds or Bounds()).events


def look(log: Log, bounds: Bounds) -> Found:
    """The events of a log with the residuals that they are told from, and their decoys."""
    every = np.arange(log.steps.height)
    channels = {name: residual(log, name, every) for name in CHANNELS if log.has(name)}
    first = bounds.first(log)
    out = [_far_out(channels[name], getattr(bounds, name), first) for name in channels]
    shifts: Rows = np.empty(0, np.int64)
    if "loss" in channels:
        loss = channels["loss"]
        shifts = _shifts(loss, first)
        out.append(loss.rows[shifts])
        out.append(loss.rows[_persistent(loss, first)])
    groups = together(np.unique(np.concatenate([*out, np.empty(0, np.int64)])))
    shifted = channels["loss"].rows[shifts] if len(shifts) else shifts
    judge = _Judge(log, channels, bounds, shifted)
    events = pl.DataFrame([judge.event(rows) for rows in groups], schema=SCHEMA, orient="row")
    alarms = {
        name: _alarms(channel, getattr(bounds, name), first) for name, channel in channels.items()
    }
    return Found(events, channels, alarms)


def together(rows: Rows, within: int = TOGETHER) -> list[Rows]:
    """Ascending rows as groups; two that are at most `within` apart are of one group.

    >>> [group.tolist() for group in together(np.array([3, 5, 30]))]
    [[3, 5], [30]]
    """
    if not len(rows):
        return []
    return np.split(rows, np.flatnonzero(np.diff(rows) > within) + 1)


def _far_out(channel: Residual, bound: float, first: int) -> Rows:
    """The log's rows where a channel is above its bound, or not a number at all."""
    with np.errstate(invalid="ignore"):
        out = (channel.z > bound) & (channel.steps >= first)
    lost = ~np.isfinite(channel.values) & (channel.steps >= first)
    return channel.rows[out | lost]


def _alarms(channel: Residual, bound: float, first: int) -> dict[str, Any]:
    """Nothing unstable makes a loss or a norm too small: how often it happens is chance."""
    settled = channel.steps >= first
    z = channel.z[settled]
    with np.errstate(invalid="ignore"):
        events = len(together(np.flatnonzero(z > bound)))
        decoys = len(together(np.flatnonzero(z < -bound)))
    share = min(1.0, decoys / events) if events else None
    return {"bound": bound, "events": events, "decoys": decoys, "false_share": share}


def _persistent(loss: Residual, first: int) -> Rows:
    """Rows in a stretch of at least PERSISTS that stand above what was known before it."""
    with np.errstate(invalid="ignore"):
        rise = loss.before
        np.subtract(loss.level, rise, out=rise)
        rise /= loss.spread
        above = (rise > PERSISTENT) & (loss.steps >= first)
    del rise
    edges = np.flatnonzero(np.diff(above.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2]
    long = ends - starts >= PERSISTS
    return np.concatenate(
        [np.arange(a, b) for a, b in zip(starts[long], ends[long], strict=True)]
        or [np.empty(0, np.int64)]
    )


def _shifts(loss: Residual, first: int) -> Rows:
    """Where the level rises for long: in each stretch the row that parts it best."""
    middle = rolling_median(loss.level, SIDE + 1)
    rise = np.full(len(middle), np.nan)
    half = SIDE // 2
    rise[half : len(middle) - half] = middle[SIDE:] - middle[: max(len(middle) - SIDE, 0)]
    rise[:SIDE] = rise[max(len(rise) - SIDE, 0) :] = np.nan
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((rise > SHIFT * loss.spread) & (loss.steps >= first))
    return np.array([_parting(loss.level, group) for group in together(rows, SIDE)], np.int64)


def _parting(level: Floats, rows: Rows) -> int:
    """The row from which on levels are higher: where the sum of what is below the middle ends."""
    low, high = max(int(rows[0]) - SIDE, 0), int(rows[-1]) + SIDE
    part = level[low:high]
    half = len(part) // 2
    middle = (np.nanmedian(part[:half]) + np.nanmedian(part[half:])) / 2
    signs = np.sign(np.nan_to_num(part - middle))
    return low + int(np.argmin(np.cumsum(signs))) + 1


class _Judge:
    """Says what a group of rows is."""

    def __init__(
        self, log: Log, channels: dict[str, Residual], bounds: Bounds, shifts: Rows
    ) -> None:
        self.log, self.channels, self.bounds, self.shifts = log, channels, bounds, shifts
        height = log.steps.height
        self.z = {name: _spread_out(found, found.z, height) for name, found in channels.items()}

    def event(self, rows: Rows) -> tuple[Any, ...]:
        """A row of the table."""
        within = slice(int(rows[0]), int(rows[-1]) + 1)
        sizes = {name: _largest(z[within]) for name, z in self.z.items()}
        out = [name for name in sizes if (sizes[name] or 0) > getattr(self.bounds, name)]
        held = self._held(rows) if "loss" in self.channels else None
        if held and "loss" not in out:
            out.append("loss")
        kind = held or ("content outlier" if "loss" in out else "gradient spike")
        main = "loss" if "loss" in out else "grad_norm"
        steps = self.log.steps["step"]
        z = self.z[main]
        peak = int(rows[0] + np.argmax(np.nan_to_num(z[within], nan=-np.inf)))
        after = z[rows[-1] + 1] if rows[-1] + 1 < len(z) else np.nan
        at = self.log.steps.row(int(rows[0]), named=True)
        return (
            at["step"],
            steps[peak],
            steps[int(rows[-1])],
            kind,
            "both" if len(out) == 2 else main,
            sizes[main],
            sizes.get("loss"),
            sizes.get("grad_norm"),
            None if np.isnan(after) or np.isinf(after) else float(after),
            self._back_after(int(rows[0])),
            *(at[name] for name in ("loss", "grad_norm", "lr", "tokens")),
        )

    def _held(self, rows: Rows) -> str | None:
        """The class of an event that lasted; None where it did not."""
        loss = self.channels["loss"]
        low, high = (int(place) for place in np.searchsorted(loss.rows, [rows[0], rows[-1] + 1]))
        values = loss.values[low:high]
        if len(values) and not np.isfinite(values).all():
            return "divergence"
        known = loss.known(low)
        after = loss.level[low + 1 : low + NEVER_BACK]
        shifted = bool(np.isin(rows, self.shifts).any())
        if len(after) >= ENOUGH_AFTER and (after > known).all():
            rise = np.median(after) - known
            if rise > (np.log(LOST) if loss.logarithm else (LOST - 1) * abs(known)):
                return "divergence"
        if shifted:
            return "level shift"
        with np.errstate(invalid="ignore"):
            above = (loss.level[low:high] - known) / loss.spread[low:high] > PERSISTENT
        longest = max(
            (int(run.sum()) for run in np.split(above, np.flatnonzero(~above))), default=0
        )
        return "instability" if longest >= PERSISTS else None

    def _back_after(self, row: int) -> int | None:
        if "loss" not in self.channels:
            return None
        loss = self.channels["loss"]
        low = int(np.searchsorted(loss.rows, row))
        if low >= len(loss.level):
            return None
        known = loss.known(low)
        part = slice(low, low + LOOK)
        with np.errstate(invalid="ignore"):
            back = np.flatnonzero(loss.level[part] - known <= BACK * loss.spread[part])
        return int(back[0]) if len(back) else None


def _spread_out(channel: Residual, z: Floats, height: int) -> Floats:
    """By the log's rows; infinite where a value is not finite, NaN where there is none."""
    z[~np.isfinite(channel.values)] = np.inf
    if len(z) == height:
        return z
    found = np.full(height, np.nan)
    found[channel.rows] = z
    return found


def _largest(z: Floats) -> float | None:
    known = z[~np.isnan(z)]
    return float(known.max()) if len(known) else None
