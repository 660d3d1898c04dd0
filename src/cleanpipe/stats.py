"""Tables -> quality statistics: counts, sums and histograms that merge exactly, in any order.

Everything is a count or a sum of integers; shares are left to whoever prints them. Histograms
have fixed bins, the same raw and clean and in every run, so that two of them can be laid over
each other or added.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe import diversity
from cleanpipe.kernels import scan

VERSION = 1
UNITS = ("documents", "bytes", "chars")
BINNED = ("clusters", "filtered_clusters", "similarities")
SIDES = ("raw", "clean")
STABILITY = (
    "repeat_run",
    "repeat_tokens",
    "same_token_run",
    "window_entropy_min",
    "window_period_max",
    "unbroken_run",
    "base64_frac",
    "hex_frac",
)
NUMBERS = {*scan.INTEGERS, *(n for n, _, _ in scan.DERIVED)}
NUMBERS |= {*scan.SCALED, "removed_word_frac", "lang_score"}
NUMBERS |= {"contaminated_frac", "seen_example_frac"}
FRACTION_EDGES = np.arange(101) / 100
"""Hundredths; values above 1 (the most frequent n-gram may overlap itself) stand in the last."""
ENTROPY_EDGES = np.arange(101) / 4
"""Quarters of a bit: the tokens of a window have 7 at most, those of a document 24 or so."""
SIZE_EDGES = np.unique(np.floor(2 ** (np.arange(0, 41 * 4) / 4))).astype(np.float64)
"""Four bins an octave, whole numbers."""
REAL_EDGES = np.unique(np.round(2 ** (np.arange(-7 * 8, 12 * 8) / 8), 3))
"""Eight bins an octave from 2^-7 to 2^12, to three decimals (some of the lowest are one then):
mean lengths, quotients."""

SIGNED_EDGES = np.concatenate([-REAL_EDGES[::-1], [0.0], REAL_EDGES])
"""The same on both sides of 0, for measures and columns of the recipe's own."""


def edges(name: str) -> npt.NDArray[np.float64]:
    """The lower edges of a measure's bins; the last bin is open, and what is below is in the first.

    >>> edges("words")[:4].tolist(), edges("mean_word_length")[89:91].tolist()
    ([0.0, 1.0, 2.0, 3.0], [17.448, 19.027])
    """
    if name in scan.INTEGERS or name in {"tokens", "contaminated_words"}:
        return np.concatenate([[0.0], SIZE_EDGES])
    if name not in NUMBERS:
        return SIGNED_EDGES
    if "entropy" in name:
        return ENTROPY_EDGES
    is_share = name.endswith(("_frac", "_score", "_word_ratio", "_period_max"))
    return FRACTION_EDGES if is_share else np.concatenate([[0.0], REAL_EDGES])


def histogram(name: str, values: pl.Series) -> dict[str, Any]:
    """How many documents fall in each bin; only bins that hold some, by their lower edge."""
    numbers = values.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()
    lower = edges(name)
    # halves of 2^-40 below keep a value that is printed as an edge in the bin of that edge
    places = np.searchsorted(lower, numbers + 2.0**-41, side="right") - 1
    counts = np.bincount(np.clip(places, 0, None), minlength=len(lower))
    filled = np.flatnonzero(counts)
    return {
        "count": len(numbers),
        "null": len(values) - len(numbers),
        "min": float(numbers.min()) if len(numbers) else None,
        "max": float(numbers.max()) if len(numbers) else None,
        "bins": [[float(lower[i]), int(counts[i])] for i in filled],
    }


def sizes(table: pl.DataFrame, own: Collection[str] = ()) -> dict[str, int]:
    """Documents, bytes and characters of some rows of the measures; tokens if they are counted."""
    return {
        "documents": table.height,
        "bytes": int(table["bytes"].sum() or 0),
        "chars": int(table["chars"].sum() or 0),
        **({"tokens": int(table["tokens"].sum() or 0)} if "tokens" in own else {}),
    }


def by_value(table: pl.DataFrame, name: str) -> dict[str, dict[str, int]]:
    """Sizes of each value of a column, most bytes first; a null is named `null`."""
    groups = (
        table.group_by(pl.col(name).cast(pl.String).fill_null("null"))
        .agg(pl.len().alias("documents"), pl.col("bytes").sum(), pl.col("chars").sum())
        .sort(["bytes", name], descending=[True, False])
    )
    return {row[0]: dict(zip(UNITS, row[1:], strict=True)) for row in groups.iter_rows()}


def stages(verdicts: pl.DataFrame, table: pl.DataFrame) -> list[dict[str, Any]]:
    """What each rule of each stage dropped or quarantined, in documents, bytes and characters."""
    lost = verdicts.select("verdict", "stage", "rule").hstack(table.select("bytes", "chars"))
    groups = (
        lost.filter(pl.col("verdict") != "kept")
        .group_by("stage", "rule", "verdict")
        .agg(pl.len().alias("documents"), pl.col("bytes").sum(), pl.col("chars").sum())
        .sort("stage", "rule", "verdict")
    )
    return groups.to_dicts()


def cluster_histogram(verdicts: pl.DataFrame) -> list[list[int]]:
    """[size, clusters of that size] for documents that stand for more than themselves."""
    best = verdicts.filter((pl.col("duplicate_of").is_null()) & (pl.col("cluster_size") > 1))
    counts = best.group_by("cluster_size").len().sort("cluster_size")
    return [[int(size), int(count)] for size, count in counts.iter_rows()]


def filtered_clusters(verdicts: pl.DataFrame) -> list[list[int]]:
    """[size, documents that the filter dropped, of those that stand for so many].

    With dedup before the filter: whether what is repeated more often is better or worse.
    """
    stands = pl.col("duplicate_of").is_null() & (pl.col("stage") == "filter")
    counts = verdicts.filter(stands).group_by("cluster_size").len().sort("cluster_size")
    return [[int(size), int(count)] for size, count in counts.iter_rows()]


def similarities(verdicts: pl.DataFrame) -> list[list[float]]:
    """[similarity, documents] of near-duplicates, dropped or marked, by hundredths, rounded down.

    >>> similarities(pl.DataFrame({"similarity": [0.812, 0.819, 1.0], "rule": ["near"] * 3}))
    [[0.81, 2], [1.0, 1]]
    """
    is_near = (pl.col("rule") == "near") | pl.col("rule").is_null()
    hundredths = (pl.col("similarity") * 100 + 1e-9).floor().alias("hundredths")
    found = verdicts.filter(is_near & pl.col("similarity").is_not_null()).select(hundredths)
    counts = found.group_by("hundredths").len().sort("hundredths")
    return [[edge / 100, count] for edge, count in counts.iter_rows()]


def describe(
    table: pl.DataFrame, verdicts: pl.DataFrame, own: Collection[str] = ()
) -> dict[str, Any]:
    """The statistics of a run's documents: what was read, what of it was kept.

    `own` names the recipe's own measures and the columns that it bounds, besides everyone's.
    """
    read = table.filter(verdicts["verdict"] != "quarantined")
    kept = table.filter(verdicts["verdict"] == "kept")
    known = NUMBERS.union(own)
    names = [name for name, kind in table.schema.items() if name in known and kind.is_numeric()]
    columns = [name for name in ("lang", "source") if name in table.columns]
    return {
        "raw": sizes(read, own),
        "clean": sizes(kept, own),
        "by": {
            name: {"raw": by_value(read, name), "clean": by_value(kept, name)} for name in columns
        },
        "histograms": {
            name: {"raw": histogram(name, read[name]), "clean": histogram(name, kept[name])}
            for name in names
        },
        "stages": stages(verdicts, table),
        "clusters": cluster_histogram(verdicts),
        "filtered_clusters": filtered_clusters(verdicts),
        "similarities": similarities(verdicts),
        "sketches": {
            "raw": diversity.describe(read),
            "clean": diversity.describe(kept),
        },
    }


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `describe` says of all documents, from what it says of some after others.

    Everything is added, so that neither their order nor how they are cut matters.
    """
    first = parts[0]
    return {
        **{side: _added([part[side] for part in parts]) for side in SIDES},
        "by": {
            name: {side: _values([part["by"][name][side] for part in parts]) for side in SIDES}
            for name in first["by"]
        },
        "histograms": {
            name: {
                side: _histograms([part["histograms"][name][side] for part in parts])
                for side in SIDES
            }
            for name in first["histograms"]
        },
        "stages": _stages([row for part in parts for row in part["stages"]]),
        **{name: _bins([part[name] for part in parts]) for name in BINNED},
        "sketches": {
            side: diversity.merged([part["sketches"][side] for part in parts]) for side in SIDES
        },
    }


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(one[name] for one in counts) for name in counts[0]}


def _values(parts: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """`by_value` of all, most bytes first."""
    known: dict[str, list[Mapping[str, int]]] = {}
    for part in parts:
        for value, counts in part.items():
            known.setdefault(value, []).append(counts)
    added = {value: _added(counts) for value, counts in known.items()}
    return dict(sorted(added.items(), key=lambda item: (-item[1]["bytes"], item[0])))


def _histograms(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    least = [part["min"] for part in parts if part["min"] is not None]
    most = [part["max"] for part in parts if part["max"] is not None]
    return {
        "count": sum(part["count"] for part in parts),
        "null": sum(part["null"] for part in parts),
        "min": min(least, default=None),
        "max": max(most, default=None),
        "bins": _bins([part["bins"] for part in parts]),
    }


def _bins(parts: Sequence[Sequence[Sequence[float]]]) -> list[list[Any]]:
    """Bins with their counts, those of one edge added."""
    known: dict[float, int] = {}
    for edge, count in (one for part in parts for one in part):
        known[edge] = known.get(edge, 0) + int(count)
    return [[edge, known[edge]] for edge in sorted(known)]


def _stages(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`stages` of all, in the order of stages' and rules' names."""
    known: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        known.setdefault((row["stage"], row["rule"], row["verdict"]), []).append(row)
    return [
        {"stage": stage, "rule": rule, "verdict": verdict}
        | {unit: sum(row[unit] for row in known[stage, rule, verdict]) for unit in UNITS}
        for stage, rule, verdict in sorted(known)
    ]
