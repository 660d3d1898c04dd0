"""How far the documents of two runs lie apart, measure by measure, from their histograms alone.

Effect sizes, not p-values: of ten million documents every difference is significant. The bins are
the same in every run, so no text and no table is read. `was` is always the earlier run.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from cleanpipe.stats.histograms import SIDES, middles
from cleanpipe.stats.histograms import bins as merged

CELLS = 10
"""Cells of the population stability index: tenths of the earlier run, which its bounds go by."""
MOST_GROUPS = 20
"""Groups of a column that are compared one by one; the others as one."""
SURE = 0.99
KOLMOGOROV = 1.628
"""sqrt(-ln(0.005) / 2): the 99 % point of Kolmogorov's distribution."""
WORDS = ("small", "medium", "large")
BOUNDS: Mapping[str, tuple[float, float, float]] = {
    # Siddiqi 2006, Credit Risk Scorecards: below 0.1 no change, from 0.25 on another population
    "psi": (0.0, 0.1, 0.25),
    # for small differences PSI is 8 times the divergence in nats: the same bounds, in bits
    "js": (0.0, 0.1 / (8 * math.log(2)), 0.25 / (8 * math.log(2))),
    # a difference of two shares near one half: sin(h / 2) for Cohen's h of 0.2, 0.5 and 0.8
    # (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, 6.2)
    "ks": (math.sin(0.1), math.sin(0.25), math.sin(0.4)),
    # of a mere shift it is Cohen's d (Cohen 1988, 2.2)
    "wasserstein_sd": (0.2, 0.5, 0.8),
}
"""From where on a difference is called small, medium, large; below the first it is none."""
STATISTICS: Mapping[str, str] = {
    "psi": "population stability index over tenths of the earlier run",
    "js": "Jensen-Shannon divergence over the bins, in bits: 0 the same, 1 nothing in common",
    "ks": "Kolmogorov-Smirnov: the largest difference of shares below a value, at bins' edges",
    "wasserstein": "how far values moved on average (earth mover's distance), in their own unit",
    "wasserstein_sd": "the same in standard deviations of the earlier run",
}

Counts = npt.NDArray[np.int64]
Bins = Sequence[Sequence[float]]


def word(statistic: str, value: float | None) -> str:
    """None, small, medium or large, by the bounds that are usual for a statistic.

    >>> word("psi", 0.3), word("ks", 0.05)
    ('large', 'none')
    """
    if value is None:
        return "unknown"
    reached = [name for name, low in zip(WORDS, BOUNDS[statistic], strict=True) if value >= low]
    return reached[-1] if reached and value > 0 else "none"


def between(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any] | None:
    """The drift of a measure between two of its histograms; None where one counts nothing.

    Values are taken to stand in the middle of their bins.

    >>> was, now = {"bins": [[1.0, 2], [2.0, 2]]}, {"bins": [[1.0, 1], [2.0, 3]]}
    >>> found = between("words", was, now)
    >>> found["ks"], found["wasserstein"], found["effect"]
    (0.25, 0.25, 'chance')
    """
    if not was["bins"] or not now["bins"]:
        return None
    edges, before, after = _aligned(was["bins"], now["bins"])
    places = middles(name, edges)
    apart = np.abs(np.cumsum(_shares(after)) - np.cumsum(_shares(before)))
    moved = math.fsum(apart[:-1] * np.diff(places))
    spread = _deviation(places, before)
    known: dict[str, Any] = _of_cells(*_tenths(before, after))
    known |= {
        "js": _short(_jensen_shannon(before, after)),
        "ks": _short(float(apart.max())),
        "wasserstein": _short(moved),
        "wasserstein_sd": _short(moved / spread) if spread else None,
    }
    return known | {"effect": effect(known, int(before.sum()), int(after.sum()))}


def of_groups(was: Mapping[str, int], now: Mapping[str, int]) -> dict[str, Any] | None:
    """The drift of a column's groups, by documents of each: psi and js; None where one has none."""
    if not sum(was.values()) or not sum(now.values()):
        return None
    names = sorted({*was, *now}, key=lambda name: (-was.get(name, 0) - now.get(name, 0), name))
    cells = [[side.get(name, 0) for name in names] for side in (was, now)]
    before, after = (
        np.array([*one[:MOST_GROUPS], sum(one[MOST_GROUPS:])], np.int64) for one in cells
    )
    some = before + after > 0
    known = _of_cells(before[some], after[some])
    known["js"] = _short(_jensen_shannon(before[some], after[some]))
    return known | {"effect": effect(known, int(before.sum()), int(after.sum()))}


def effect(known: Mapping[str, Any], before: int, after: int) -> str:
    """The largest word of a drift; `chance` where two samples of one corpus differ as much.

    Chance is that of documents drawn one by one, as they seldom are: a whole site comes at once.
    """
    by_chance = KOLMOGOROV * math.sqrt(1 / before + 1 / after)
    if known["psi"] <= known["psi_by_chance"] and known.get("ks", 0.0) <= by_chance:
        return "chance"
    words = ["none", *WORDS]
    asked = ("psi", "ks", "wasserstein_sd")
    found = [word(name, known[name]) for name in asked if known.get(name) is not None]
    return max(found, key=words.index)


def _aligned(was: Bins, now: Bins) -> tuple[npt.NDArray[np.float64], Counts, Counts]:
    """The edges that either has, ascending, and the counts of both at them."""
    sides: list[dict[float, int]] = [{edge: int(n) for edge, n in bins} for bins in (was, now)]
    places = sorted({**sides[0], **sides[1]})
    before, after = (np.array([side.get(edge, 0) for edge in places], np.int64) for side in sides)
    return np.array(places, np.float64), before, after


def _shares(counts: Counts) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = counts / counts.sum()
    return shares


def _deviation(places: npt.NDArray[np.float64], counts: Counts) -> float:
    """The standard deviation of the earlier run, from its bins."""
    shares = _shares(counts)
    mean = math.fsum(shares * places)
    return math.sqrt(max(math.fsum(shares * (places - mean) ** 2), 0.0))


def _tenths(before: Counts, after: Counts) -> tuple[Counts, Counts]:
    """The bins put together to at most ten cells, cut where the earlier run reaches a tenth."""
    reached = np.cumsum(before) * CELLS // before.sum()  # whole numbers: the same everywhere
    cell = np.concatenate([[0], np.minimum(reached[:-1], CELLS - 1)])
    numbers = np.unique(cell, return_inverse=True)[1]
    sizes = [np.bincount(numbers, weights=side).astype(np.int64) for side in (before, after)]
    return sizes[0], sizes[1]


def _of_cells(before: Counts, after: Counts) -> dict[str, float]:
    """PSI, half a document added to each cell, so that an empty one is not infinitely far away."""
    p, q = ((side + 0.5) / (side.sum() + 0.5 * len(side)) for side in (before, after))
    psi = math.fsum((q - p) * np.log(q / p))
    # of two samples of one population it is chi-square with cells - 1 degrees over the sizes
    sizes = 1 / int(before.sum()) + 1 / int(after.sum())
    chance = float(chi2.ppf(SURE, len(before) - 1)) * sizes if len(before) > 1 else 0.0
    return {"psi": _short(psi), "psi_by_chance": _short(chance)}


def _jensen_shannon(before: Counts, after: Counts) -> float:
    p, q = _shares(before), _shares(after)
    middle = (p + q) / 2
    halves = [
        math.fsum(side[side > 0] * np.log2(side[side > 0] / middle[side > 0])) for side in (p, q)
    ]
    return max(sum(halves) / 2, 0.0)


def _short(value: float) -> float:
    """Six significant digits: no more is meant, and processors agree on them."""
    return float(f"{value:.6g}")


def compare(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The drift of each measure that two runs' statistics share, and of their columns' groups.

    By side, raw and clean, and name; what one of them has not is left out.
    """
    told: dict[str, dict[str, Any]] = {}
    for side in SIDES:
        found = {
            name: between(name, was["histograms"][name][side], sides[side])
            for name, sides in now["histograms"].items()
            if name in was["histograms"]
        }
        for column, sizes in now["by"].items():
            if column in was["by"]:
                known = (_documents(was["by"][column][side]), _documents(sizes[side]))
                found[column] = of_groups(*known)
        told[side] = {name: one for name, one in found.items() if one is not None}
    return told


def together(runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What `compare` takes of several runs' statistics, as if one had read all of it.

    >>> one = {"histograms": {}, "by": {"lang": {"raw": {"en": {"documents": 2}}, "clean": {}}}}
    >>> together([one, one])["by"]["lang"]["raw"]
    {'en': {'documents': 4}}
    """
    bins: dict[str, dict[str, list[Any]]] = {}
    groups: dict[str, dict[str, Counter[str]]] = {}
    for run in runs:
        for name, sides in run["histograms"].items():
            known = bins.setdefault(name, {side: [] for side in SIDES})
            known |= {side: merged([known[side], sides[side]["bins"]]) for side in SIDES}
        for column, sizes in run["by"].items():
            counts = groups.setdefault(column, {side: Counter() for side in SIDES})
            for side in SIDES:
                counts[side].update(_documents(sizes[side]))
    return {
        "histograms": {
            name: {side: {"bins": known[side]} for side in SIDES} for name, known in bins.items()
        },
        "by": {
            column: {
                side: {name: {"documents": n} for name, n in counts[side].items()} for side in SIDES
            }
            for column, counts in groups.items()
        },
    }


def _documents(sizes: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {name: one["documents"] for name, one in sizes.items()}


def largest(found: Mapping[str, Mapping[str, Any]], side: str) -> Iterator[tuple[str, Any]]:
    """(measure, its drift) of one side, the largest first; none where chance would do."""
    order = {name: place for place, name in enumerate(WORDS[::-1])}
    known = [(n, one) for n, one in found[side].items() if one["effect"] in order]
    yield from sorted(known, key=lambda one: (order[one[1]["effect"]], -one[1]["psi"], one[0]))
