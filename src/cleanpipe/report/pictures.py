"""Pictures of the report as numbers: where bars, bounds and ticks of an SVG stand. No markup."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cleanpipe.stats.histograms import edges

WIDTH, HEIGHT = 320, 90
MOST_TICKS = 7
BETWEEN_TICKS = 28
LEAST_HEIGHT = 1.5
"""Of a bar that counts anything: one document among a million must be seen."""
CELL = 18
MOST_RULES = 40
"""Rules in the picture of overlaps, those that most documents fail; it says how many are not."""

Bound = tuple[str, float]
"""`low` or `high`, and its value."""


class Axis:
    """The bins of a measure from the first that is used to the last, side by side."""

    def __init__(self, name: str, values: Iterable[float]) -> None:
        self.edges = edges(name)
        places = [self._bin(value) for value in values]
        self.first, self.last = (min(places), max(places)) if places else (0, 0)
        self.width = WIDTH / (self.last - self.first + 1)

    def _bin(self, value: float) -> int:
        return max(int(np.searchsorted(self.edges, value, side="right")) - 1, 0)

    def place(self, value: float) -> float:
        """Where a value stands, in proportion within its bin."""
        number = self._bin(value)
        lower = self.edges[number]
        upper = self.edges[number + 1] if number + 1 < len(self.edges) else lower + 1
        inside = min(max((value - lower) / (upper - lower), 0), 1)
        return round(float((number - self.first + inside) * self.width), 2)

    def ticks(self) -> list[dict[str, Any]]:
        """A few round values that stand on the axis, and their places."""
        low = float(self.edges[self.first])
        last = min(self.last + 1, len(self.edges) - 1)
        high = float(self.edges[last])
        steps = np.diff(self.edges)
        grows = steps.max() > 1.5 * steps.min()
        found: list[dict[str, Any]] = []
        for value in _decades(low, high) if grows else _even(low, high):
            x = self.place(value)
            if low <= value <= high and (not found or x - found[-1]["x"] >= BETWEEN_TICKS):
                found.append({"x": x, "label": short(value)})
        return found


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten: each second or third in a long row, with 2 and 5 between in a short one."""
    if low < 0:
        below = [-value for value in _decades(0.0, -low)]
        return [*below[::-1], *(_decades(0.0, high)[1:] if high > 0 else [])]
    first = math.floor(math.log10(max(low, 0.01)))
    last = math.ceil(math.log10(max(high, 0.1)))
    between = (1, 2, 5) if last - first <= 2 else (1,)
    every = -(-(last - first + 1) // MOST_TICKS)
    found = [m * 10.0**power for power in range(first, last + 1, every) for m in between]
    return [0.0, *found] if low == 0 else found


def _even(low: float, high: float) -> list[float]:
    """Steps of 1, 2 or 5 times a power of ten."""
    rough = max(high - low, 1e-9) / (MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number for an axis.

    >>> short(100_000), short(2_500_000), short(0.25)
    ('100k', '2.5M', '0.25')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def histogram(
    name: str,
    pair: dict[str, Any],
    bounds: Sequence[Bound] = (),
    others: Sequence[Bound] = (),
) -> dict[str, Any]:
    """A measure's histogram, raw and clean, with its bounds; heights by square root.

    Faults are rare: on a linear axis a bar of one in a thousand cannot be seen. `others` are
    bounds that hold for some documents, and only drawn where they stand within the picture.
    """
    used = [edge for kind in ("raw", "clean") for edge, _ in pair[kind]["bins"]]
    axis = Axis(name, [*used, *(value for _, value in bounds)])
    top = max((count for kind in ("raw", "clean") for _, count in pair[kind]["bins"]), default=1)
    bars = {
        kind: [
            {
                "x": axis.place(edge),
                "width": round(max(axis.width - 1, 1), 2),
                "height": round(max(HEIGHT * (count / top) ** 0.5, LEAST_HEIGHT), 2),
                "label": f"{edge:g} and more: {count:,}",
            }
            for edge, count in pair[kind]["bins"]
        ]
        for kind in ("raw", "clean")
    }
    drawn = [
        {"side": side, "x": axis.place(value), "label": short(value)} for side, value in bounds
    ]
    low, high = axis.edges[axis.first], axis.edges[axis.last]
    elsewhere = sorted({axis.place(value) for _, value in others if low <= value <= high})
    return {
        "bars": bars,
        "bounds": drawn,
        "elsewhere": elsewhere,
        "ticks": axis.ticks(),
        "width": WIDTH,
        "height": HEIGHT,
        "raw": pair["raw"],
        "clean": pair["clean"],
    }


def overlaps(rules: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A square a pair of rules: of the documents that fail the row's, those that fail the other."""
    failed = {rule["rule"]: rule["failed"] for rule in rules if rule["failed"]}
    names = sorted(
        sorted(failed, key=lambda name: -failed[name])[:MOST_RULES], key=list(failed).index
    )
    both = {(pair["rule"], pair["other"]): pair["documents"] for pair in pairs}
    cells = []
    for y, row in enumerate(names):
        for x, column in enumerate(names):
            count = both.get((row, column)) or both.get((column, row)) or 0
            if count and x != y:
                cells.append(
                    {
                        "x": x * CELL,
                        "y": y * CELL,
                        "share": round(count / failed[row], 3),
                        "row": row,
                        "column": column,
                        "documents": count,
                    }
                )
    left_out = len(failed) - len(names)
    size = CELL * len(names)
    return {"names": names, "cells": cells, "cell": CELL, "size": size, "left_out": left_out}
