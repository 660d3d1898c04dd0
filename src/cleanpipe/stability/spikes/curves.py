"""Curves of a log as numbers for an SVG: a band of what each column of pixels holds. No markup."""

from typing import Any

import numpy as np

from cleanpipe.stability.logs.log import Log
from cleanpipe.stability.spikes.events import Found
from cleanpipe.stability.spikes.residuals import Floats, Residual

WIDTH, HEIGHT = 900, 150
MARGIN = 0.04
MOST_MARKS = 400
"""Events that a picture marks, the largest ones."""


def curves(log: Log, found: Found) -> list[dict[str, Any]]:
    """A picture a channel, with its events."""
    first, last = log.steps["step"][0], log.steps["step"][-1]
    return [
        _picture(name, channel, found, first, max(last - first, 1))
        for name, channel in found.channels.items()
        if np.isfinite(channel.level).any()
    ]


def _picture(name: str, channel: Residual, found: Found, first: int, length: int) -> dict[str, Any]:
    level = channel.level
    settled = level[len(level) // 10 :]
    finite = settled[np.isfinite(settled)]
    finite = finite if len(finite) else level[np.isfinite(level)]
    low, high = float(finite.min()), float(finite.max())
    room = MARGIN * (high - low) or 1.0
    low, high = low - room, high + room

    def y(values: Floats) -> Floats:
        return np.clip(HEIGHT * (1 - (values - low) / (high - low)), 0, HEIGHT)

    edges = first + np.arange(WIDTH) / (WIDTH - 1) * length
    starts = np.unique(np.searchsorted(channel.steps, np.ceil(edges).astype(np.int64)))
    starts = np.union1d(starts[starts < len(level)], [0])
    usable = level
    if not np.isfinite(level).all():
        usable = np.where(np.isfinite(level), level, channel.trend)
        usable = np.nan_to_num(usable, nan=low)
    top = y(np.maximum.reduceat(usable, starts))
    bottom = y(np.minimum.reduceat(usable, starts))
    places = ((channel.steps[starts] - first) / length * (WIDTH - 1)).astype(np.int64)
    outline = [
        *zip(places, top - 0.5, strict=True),
        *zip(places[::-1], bottom[::-1] + 0.5, strict=True),
    ]
    shown = np.exp if channel.logarithm else np.asarray
    return {
        "channel": name,
        "band": " ".join(f"{px},{py:.1f}" for px, py in outline),
        "marks": _marks(name, found, first, length),
        "high": f"{float(shown(high - room)):.4g}",
        "low": f"{float(shown(low + room)):.4g}",
        "first": f"{first:,}",
        "last": f"{first + length:,}",
        "logarithm": channel.logarithm,
    }


def _marks(name: str, found: Found, first: int, length: int) -> list[dict[str, Any]]:
    """Where events of this channel stand, and what they are."""
    events = [event for event in found.events.to_dicts() if event["channel"] in {name, "both"}]
    largest = sorted(events, key=lambda event: -(event["size"] or 0))[:MOST_MARKS]
    return [
        {
            "x": round((event["step"] - first) / length * (WIDTH - 1), 1),
            "kind": event["class"].replace(" ", "-"),
            "label": f"step {event['step']:,}: {event['class']}, {event['size'] or 0:.1f} spreads",
        }
        for event in sorted(largest, key=lambda event: event["step"])
    ]
