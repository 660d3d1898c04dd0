"""Who stood in which step's batch, for as many steps as there are.

A table with a row for each document of each step does not fit where steps are millions, and is not
needed: attribution asks about events, controls and where events are shifted to. So an order is kept
as spans of tokens, and rows are made of the steps that are asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.export.exposure import Export, Places, among_all, exposure, steps_of

Steps = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batches:
    """Documents of batches, by step."""

    sizes: pl.DataFrame
    """step (ascending), batch: the tokens of each step that has any."""
    totals: pl.DataFrame
    """id, tokens: of all steps together; an id twice, where a document has copies."""
    of: Callable[[Steps], pl.DataFrame]
    """The exposure table (step, id, tokens) of some steps."""

    @classmethod
    def whole(cls, table: pl.DataFrame) -> "Batches":
        """Those of an exposure table that is there already."""
        sizes = table.group_by("step").agg(batch=pl.col("tokens").sum()).sort("step")
        totals = table.group_by("id").agg(pl.col("tokens").sum())
        return cls(sizes, totals, lambda steps: steps_of(table, np.unique(steps)))

    @classmethod
    def of_spans(cls, export: Export, spans: pl.DataFrame) -> "Batches":
        """Those of spans of an export.

        Errors: InputError for a span that goes beyond its file.
        """
        used = spans.filter(pl.col("length") > 0)
        used = used if used["step"].is_sorted() else used.sort("step", maintain_order=True)
        start, stop = among_all(export, used)
        before = _passed(start, export.bounds) - _passed(stop, export.bounds)
        step, length = (used[name].to_numpy() for name in ("step", "length"))
        first = np.flatnonzero(np.diff(step, prepend=step[:1] - 1))
        sizes = np.add.reduceat(length, first) if len(first) else length
        totals = pl.DataFrame({"id": export.ids, "tokens": np.diff(before)})
        return cls(
            pl.DataFrame({"step": step[first], "batch": sizes}),
            totals.filter(pl.col("tokens") > 0),
            lambda steps: exposure(export, steps_of(used, np.unique(steps))),
        )


def _passed(places: Places, bounds: Places) -> Places:
    """For each bound, how far all places before it lie from it, summed; modulo 2^64.

    Of where spans begin, less the same of where they end: the tokens of spans before each bound.

    >>> _passed(np.array([2, 7]), np.array([0, 5, 10])).tolist()
    [0, 3, 11]
    """
    ordered = np.sort(places)
    before = np.searchsorted(ordered, bounds)
    sums = np.concatenate([[0], np.cumsum(ordered)])
    return np.asarray(before * bounds - sums[before], np.int64)


def batches_of(known: pl.DataFrame | Batches) -> Batches:
    """The same, of an exposure table as well."""
    return known if isinstance(known, Batches) else Batches.whole(known)
