"""How varied a corpus is, before and after: effective numbers, compression, different 5-grams.

From the tables alone, without a text: groups and clusters by their sizes (Hill numbers), the
measure compression_ratio, and each document's sampled n-grams. What is added up are integers and
smallest hashes, so that blocks, runs and nights merge exactly, in any order.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.kernels.ngram_sample import NGRAM, ONE_IN

SAMPLED = "ngrams"
"""The column of measures that holds a document's sampled n-grams (kernels.ngram_sample)."""
LEAST = 1024
"""Smallest hashes that are remembered: an error of 1 / sqrt(LEAST - 2), 3.1 %."""
SIDES = ("raw", "clean")


def hill(sizes: Iterable[int], order: int) -> float:
    """The effective number of groups of these sizes: so many equal ones would be as varied.

    Order 0 counts the groups, 1 is the exponential of Shannon's entropy, 2 the inverse of
    Simpson's index (Hill 1973, Ecology 54: 427); 0 of nothing. Rare groups count less the higher
    the order.

    >>> [round(hill([900, 90, 10], order), 3) for order in (0, 1, 2)]
    [3.0, 1.43, 1.222]
    """
    counts = sorted(size for size in sizes if size)
    return _hill([(size, 1) for size in counts], order)


def _hill(counts: Sequence[tuple[int, int]], order: int) -> float:
    """The same of (size, groups of that size)."""
    total = sum(size * times for size, times in counts)
    if not total:
        return 0.0
    if order == 0:
        return float(sum(times for _, times in counts))
    if order == 1:
        spread = math.fsum(times * size / total * math.log(size / total) for size, times in counts)
        return math.exp(-spread)
    return total * total / sum(times * size * size for size, times in counts)


def profile(sizes: Iterable[tuple[int, int]]) -> dict[str, float]:
    """The Hill numbers of orders 0, 1 and 2 of (size, groups of that size), to four decimals.

    >>> profile([(1, 10)])
    {'q0': 10.0, 'q1': 10.0, 'q2': 10.0}
    """
    counts = sorted((size, times) for size, times in sizes if size and times)
    return {f"q{order}": round(_hill(counts, order), 4) for order in (0, 1, 2)}


def distinct(least: Sequence[int]) -> dict[str, float]:
    """How many different n-grams these smallest sampled hashes stand for, with its relative error.

    The k smallest of hashes that are spread evenly over 2^64 tell how dense they lie (Bar-Yossef
    et al. 2002, the estimator of Beyer et al. 2007); fewer than LEAST are counted. The error is
    one standard deviation over the estimate.

    >>> distinct([])
    {'distinct': 0, 'error': 0.0}
    >>> distinct([1 << 40, 1 << 50])
    {'distinct': 512, 'error': 0.7071}
    """
    if len(least) < LEAST:
        error = 1 / math.sqrt(len(least)) if least else 0.0
        return {"distinct": len(least) * ONE_IN, "error": round(error, 4)}
    found = round((LEAST - 1) * 2**64 / max(least))
    return {"distinct": found, "error": round(1 / math.sqrt(LEAST - 2), 4)}


def _smallest(hashes: npt.NDArray[np.uint64]) -> list[int]:
    found: list[int] = np.unique(hashes)[:LEAST].tolist()
    return found


def describe(table: pl.DataFrame) -> dict[str, Any]:
    """What is added up of some documents: n-grams, their smallest hashes, bytes before and after.

    `table` has words, bytes, compression_ratio and SAMPLED.
    """
    words = table["words"].fill_null(0)
    ratio = pl.col("compression_ratio")
    packed = pl.when(ratio > 0).then(pl.col("bytes") / ratio).otherwise(pl.col("bytes"))
    return {
        "ngrams": int(((words - NGRAM + 1).clip(0) + (words.is_between(1, NGRAM - 1))).sum()),
        "least": _smallest(table[SAMPLED].explode().drop_nulls().to_numpy()),
        "bytes": int(table["bytes"].sum() or 0),
        "packed": int(table.select(packed.round().cast(pl.Int64).sum()).item() or 0),
    }


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `describe` says of all documents, from what it says of some after others."""
    least = np.concatenate([np.array(part["least"], np.uint64) for part in parts])
    added = {name: sum(part[name] for part in parts) for name in ("ngrams", "bytes", "packed")}
    return added | {"least": _smallest(least)}


def summary(stats: Mapping[str, Any]) -> dict[str, Any]:
    """The effective numbers of a run, from its stats.json, raw and clean.

    `by`: of each column's groups by bytes; `clusters`: of documents that dedup found alike (clean
    is null where near-duplicates were only marked); `ngrams`: different word 5-grams, their share
    of all and the estimate's error; `compression`: bytes over what they are packed into, a
    document at a time.
    """
    alone = (1, stats["raw"]["documents"] - sum(size * n for size, n in stats["clusters"]))
    kept = (1, stats["clean"]["documents"])
    marked = stats["duplicates"]["marked"]
    return {
        "by": {
            name: {
                side: profile((value["bytes"], 1) for value in sides[side].values())
                for side in SIDES
            }
            for name, sides in stats["by"].items()
        },
        "clusters": {
            "raw": profile([*map(tuple, stats["clusters"]), alone]),
            "clean": None if marked else profile([kept]),
        },
        "ngrams": {side: _ngrams(stats["sketches"][side]) for side in SIDES},
        "compression": {side: _compression(stats["sketches"][side]) for side in SIDES},
    }


def _ngrams(sketch: Mapping[str, Any]) -> dict[str, float]:
    found = distinct(sketch["least"])
    all_of_them = sketch["ngrams"]
    # an estimate can pass what there is: of a corpus without repeats it does half of the time
    number = min(int(found["distinct"]), all_of_them)
    return {
        "all": all_of_them,
        "distinct": number,
        "share": round(number / all_of_them, 4) if all_of_them else 0.0,
        "error": found["error"],
    }


def _compression(sketch: Mapping[str, Any]) -> float:
    return round(sketch["bytes"] / sketch["packed"], 4) if sketch["packed"] else 0.0
