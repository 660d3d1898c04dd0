"""Histograms of measures in fixed bins: exact counts and sums that add up in any order.

The bins of a measure are the same raw and clean, in every group and in every run, so that two of
its histograms can be laid over each other, added, and compared (drift.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.kernels import scan

SIDES = ("raw", "clean")
NUMBERS = {*scan.INTEGERS, *(n for n, _, _ in scan.DERIVED)}
NUMBERS |= {*scan.SCALED, "removed_word_frac", "lang_score"}
NUMBERS |= {"contaminated_frac", "seen_example_frac"}
FRACTION_EDGES = np.arange(101) / 100
"""Hundredths; values above 1 (the most frequent n-gram may overlap itself) stand in the last."""
ENTROPY_EDGES = np.arange(101) / 4
"""Quarters of a bit: the tokens of a window have 7 at most, those of a document 24 or so."""
SIZE_EDGES = np.unique(np.floor(2 ** (np.arange(0, 41 * 4) / 4))).astype(np.float64)
"""Four bins an octave, whole numbers."""
COUNT_EDGES = np.concatenate([[0.0], SIZE_EDGES])
REAL_EDGES = np.unique(np.round(2 ** (np.arange(-7 * 8, 12 * 8) / 8), 3))
"""Eight bins an octave from 2^-7 to 2^12, to three decimals (some of the lowest are one then):
mean lengths, quotients."""
SIGNED_EDGES = np.concatenate([-REAL_EDGES[::-1], [0.0], REAL_EDGES])
"""The same on both sides of 0, for measures and columns of the recipe's own."""
SCALE = 1 << 20
"""What is no whole number is added up in millionths (2^-20): sums of integers have no order."""
FARTHEST = float(1 << 60)
"""What is farther from 0 counts as this in a sum; only columns of the recipe's own can be."""
LARGEST_SUM = 1 << 63
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

Histogram = dict[str, Any]


def is_whole(name: str) -> bool:
    """Whether a measure is a count, so that its bins hold whole numbers."""
    return name in scan.INTEGERS or name in {"tokens", "contaminated_words"}


def edges(name: str) -> npt.NDArray[np.float64]:
    """The lower edges of a measure's bins; the last bin is open, and what is below is in the first.

    >>> edges("words")[:4].tolist(), edges("mean_word_length")[89:91].tolist()
    ([0.0, 1.0, 2.0, 3.0], [17.448, 19.027])
    """
    if is_whole(name):
        return COUNT_EDGES
    if name not in NUMBERS:
        return SIGNED_EDGES
    if "entropy" in name:
        return ENTROPY_EDGES
    is_share = name.endswith(("_frac", "_score", "_word_ratio", "_period_max"))
    return FRACTION_EDGES if is_share else np.concatenate([[0.0], REAL_EDGES])


def middles(name: str, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The middles of the bins with these lower edges; of the last one, which is open, its edge.

    >>> middles("words", np.array([2.0, 64.0])).tolist()
    [2.0, 69.5]
    """
    lower = edges(name)
    number = np.searchsorted(lower, places + 2.0**-41, side="right")
    beyond = lower[np.minimum(number, len(lower) - 1)] - (1 if is_whole(name) else 0)
    middle: npt.NDArray[np.float64] = (places + np.maximum(beyond, places)) / 2
    return middle


def histogram(name: str, values: pl.Series) -> Histogram:
    """How many documents fall in each bin; only bins that hold some, by their lower edge.

    >>> found = histogram("words", pl.Series([3, 3, None]))
    >>> found["count"], found["null"], found["sum"], found["bins"]
    (2, 1, 6, [[3.0, 2]])
    """
    everyone = np.ones(len(values), np.bool_)
    table = pl.DataFrame({name: values})
    return described(table, everyone, [name], [Cut.whole(len(values))])[0][0][name]["raw"]


@dataclass(frozen=True)
class Cut:
    """Documents in groups: the groups' names, and for each document the number of its group."""

    names: tuple[str, ...]
    numbers: npt.NDArray[np.int64]

    @classmethod
    def whole(cls, count: int) -> "Cut":
        """All documents as one group."""
        return cls(("",), np.zeros(count, np.int64))


def described(
    table: pl.DataFrame, kept: npt.NDArray[np.bool_], names: Sequence[str], cuts: Sequence[Cut]
) -> list[list[dict[str, dict[str, Histogram]]]]:
    """For each group of each cut, each measure's histogram of all its documents and of those kept.

    Each document's bin is looked up once; everything else is counting.
    """
    told: list[list[dict[str, dict[str, Histogram]]]] = [[{} for _ in c.names] for c in cuts]
    cells = [2 * cut.numbers + kept for cut in cuts]
    ends = [_ends(table, names, cell) for cell in cells]
    for name in names:
        lower = edges(name)
        width = len(lower) + 1  # the first column counts documents without a value
        bins_of = _bins_of(table[name], lower)
        for cell, groups, known in zip(cells, told, ends, strict=True):
            size = 2 * len(groups) * width
            counts = np.bincount(cell * width + bins_of, minlength=size)
            by_fate = counts.reshape(len(groups), 2, width)
            for number, group in enumerate(groups):
                dropped, clean = (known.get((2 * number + fate, name)) for fate in (0, 1))
                raw = _Ends.joined(dropped, clean)
                group[name] = {
                    "raw": _told(by_fate[number].sum(axis=0), lower, raw),
                    "clean": _told(by_fate[number, 1], lower, clean),
                }
    return told


def _bins_of(values: pl.Series, lower: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """1 + each document's bin; 0 of those without a value."""
    numbers = values.cast(pl.Float64).fill_nan(None)
    has = numbers.is_not_null().to_numpy()
    # halves of 2^-40 below keep a value that is printed as an edge in the bin of that edge
    shifted = numbers.fill_null(0.0).to_numpy() + 2.0**-41
    return np.where(has, np.clip(np.searchsorted(lower, shifted, side="right"), 1, None), 0)


@dataclass(frozen=True)
class _Ends:
    """The least and the largest value of a group, and the sum of all."""

    least: float | None
    most: float | None
    sum: int

    @classmethod
    def joined(cls, one: "_Ends | None", other: "_Ends | None") -> "_Ends | None":
        if one is None or other is None:
            return one or other
        low = [end.least for end in (one, other) if end.least is not None]
        high = [end.most for end in (one, other) if end.most is not None]
        return cls(min(low, default=None), max(high, default=None), one.sum + other.sum)


def _ends(
    table: pl.DataFrame, names: Sequence[str], cells: npt.NDArray[np.int64]
) -> dict[tuple[int, str], _Ends]:
    """The ends and sums of each measure by cell."""
    asked = []
    for name in names:
        value = pl.col(name).cast(pl.Float64).fill_nan(None)
        asked += [value.min().alias(f"{name} min"), value.max().alias(f"{name} max")]
        if table[name].dtype.is_integer():
            whole = pl.col(name)
        else:
            whole = (value.clip(-FARTHEST, FARTHEST) * SCALE).round()
        # a measure of ours is bounded by its text; a column of the recipe's own may be anything
        wide = pl.Int64() if name in NUMBERS else pl.Int128()
        asked.append(whole.cast(wide).sum().alias(f"{name} sum"))
    found = table.select(names).with_columns(pl.Series("cell of a cut", cells))
    rows = found.group_by("cell of a cut").agg(asked) if names else pl.DataFrame()
    return {
        (row["cell of a cut"], name): _Ends(
            row[f"{name} min"], row[f"{name} max"], int(row[f"{name} sum"])
        )
        for row in rows.iter_rows(named=True)
        for name in names
    }


def _told(
    counts: npt.NDArray[np.int64], lower: npt.NDArray[np.float64], ends: _Ends | None
) -> Histogram:
    filled = np.flatnonzero(counts[1:])
    return {
        "count": int(counts[1:].sum()),
        "null": int(counts[0]),
        "min": None if ends is None else ends.least,
        "max": None if ends is None else ends.most,
        "sum": 0 if ends is None else ends.sum,
        "bins": [[float(lower[i]), int(counts[i + 1])] for i in filled],
    }


def added(parts: Sequence[Mapping[str, Any]]) -> Histogram:
    """The histogram of all documents from those of some after others."""
    least = [part["min"] for part in parts if part["min"] is not None]
    most = [part["max"] for part in parts if part["max"] is not None]
    sums = [part["sum"] for part in parts]
    return {
        "count": sum(part["count"] for part in parts),
        "null": sum(part["null"] for part in parts),
        "min": min(least, default=None),
        "max": max(most, default=None),
        "sum": None if None in sums else sum(sums),
        "bins": bins([part["bins"] for part in parts]),
    }


def bins(parts: Sequence[Sequence[Sequence[float]]]) -> list[list[Any]]:
    """Bins with their counts, those of one edge added.

    >>> bins([[[3.0, 2]], [[1.0, 1], [3.0, 5]]])
    [[1.0, 1], [3.0, 7]]
    """
    known: dict[float, int] = {}
    for edge, count in (one for part in parts for one in part):
        known[edge] = known.get(edge, 0) + int(count)
    return [[edge, known[edge]] for edge in sorted(known)]


def measures_added(
    parts: Sequence[Mapping[str, Mapping[str, Histogram]]],
) -> dict[str, dict[str, Histogram]]:
    """Histograms by measure and side, those of one measure added; a part may lack some."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: {side: added([p[name][side] for p in parts if name in p]) for side in SIDES}
        for name in names
    }


def finished(name: str, known: Mapping[str, Histogram]) -> dict[str, Histogram]:
    """A measure's histograms as stats.json has them: with quantiles, sums that 64 bits hold."""
    told = fitting(known)
    return {side: {**told[side], "quantiles": quantiles(name, told[side])} for side in SIDES}


def fitting(known: Mapping[str, Histogram]) -> dict[str, Histogram]:
    """Histograms of both sides whose sums are null where 64 bits do not hold them."""
    return {
        side: {**one, "sum": one["sum"] if abs(one["sum"]) < LARGEST_SUM else None}
        for side, one in known.items()
    }


def quantiles(name: str, known: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The quantiles of a histogram by nearest rank: the exact one is at most `error` away.

    The bin that holds the rank is known; within it values are taken to be spread evenly, and the
    error is the distance to the farther end of the bin, or to the least or the largest value.

    >>> quantiles("words", histogram("words", pl.Series([3, 3, 40, 500])))["0.75"]
    {'value': 41.0, 'error': 3.00001}
    """
    count = known["count"]
    if not count:
        return {}
    told = {}
    for share in QUANTILES:
        rank = max(math.ceil(share * count - 1e-9), 1)
        before = 0
        for edge, inside in known["bins"]:
            if before + inside >= rank:
                low, high = _ends_of_bin(name, edge, known)
                value = _short(low + (high - low) * (rank - before - 0.5) / inside)
                error = max(value - low, high - value)
                told[f"{share:g}"] = {"value": value, "error": _short(error, up=True)}
                break
            before += inside
    return told


def _ends_of_bin(name: str, edge: float, known: Mapping[str, Any]) -> tuple[float, float]:
    """The least and the largest value that a bin can hold, given those of all documents."""
    lower = edges(name)
    place = int(np.searchsorted(lower, edge + 2.0**-41, side="right")) - 1
    low = known["min"] if place == 0 else max(edge, known["min"])
    if place + 1 == len(lower):
        return float(low), float(known["max"])
    beyond = float(lower[place + 1]) - (1 if is_whole(name) else 0)
    return float(low), float(max(low, min(beyond, known["max"])))


def _short(value: float, *, up: bool = False) -> float:
    """Six significant digits; an error is rounded up, so that it stays one."""
    if value == 0:
        return 0.0
    digits = 5 - math.floor(math.log10(abs(value)))
    return round(value + 10.0**-digits, digits) if up else round(value, digits)
