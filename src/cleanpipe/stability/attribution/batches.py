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

from cleanpipe.export.exposure import SPANS, Export, Places, among_all, placed, steps_of

Steps = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batches:
    """Documents of batches, by step."""

    sizes: Callable[[], pl.DataFrame]
    """step (ascending), batch: the tokens of each step that has any."""
    ids: pl.Series
    """The id of each of the order's documents; one twice, where a document has copies."""
    totals: Places
    """The tokens of each, in all steps together."""
    of: Callable[[Steps], pl.DataFrame]
    """Of some steps (step, document, tokens), by step; `document` is a place among `ids`."""

    @classmethod
    def whole(cls, table: pl.DataFrame) -> "Batches":
        """Those of an exposure table that is there already."""
        ids = table["id"].unique().sort()
        place = ids.to_frame().with_row_index("document").cast({"document": pl.Int64})
        rows = (
            table.select("step", "id", "tokens")
            .join(place, on="id", how="left", maintain_order="left")
            .sort("step", maintain_order=True)
            .select("step", "document", "tokens")
        )
        totals = np.bincount(rows["document"], rows["tokens"], len(ids)).astype(np.int64)
        return cls(
            lambda: rows.group_by("step").agg(batch=pl.col("tokens").sum()).sort("step"),
            ids,
            totals,
            lambda steps: steps_of(rows, np.unique(steps)),
        )

    @classmethod
    def of_spans(cls, export: Export, spans: pl.DataFrame) -> "Batches":
        """Those of spans of an export.

        Errors: InputError for a span that goes beyond its file.
        """
        used = spans
        if (spans["length"] <= 0).any():
            used = spans.filter(pl.col("length") > 0)
        if not used["step"].is_sorted():
            used = used.sort("step", maintain_order=True)
        start, stop = among_all(export, used)
        totals = np.diff(_passed(start, export.bounds) - _passed(stop, export.bounds))
        held = pl.DataFrame([column.shrink_dtype() for column in used])  # 10 bytes, not 28
        return cls(
            lambda: _sizes(held),
            export.ids,
            totals,
            lambda steps: placed(export, _of_steps(held, np.unique(steps))),
        )

    def named(self, steps: Steps) -> pl.DataFrame:
        """The exposure table (step, id, tokens) of some steps."""
        found = self.of(steps)
        return found.select("step", self.ids.gather(found["document"]).alias("id"), "tokens")


def _of_steps(spans: pl.DataFrame, steps: Steps) -> pl.DataFrame:
    """Those of some steps; both ascend."""
    low, high = (np.searchsorted(spans["step"], steps, side) for side in ("left", "right"))
    counts = high - low
    ramp = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    found: pl.DataFrame = spans[np.repeat(low, counts) + ramp]
    return found.cast(SPANS)  # type: ignore[arg-type]


def _sizes(spans: pl.DataFrame) -> pl.DataFrame:
    step, length = (spans[name].to_numpy() for name in ("step", "length"))
    first = np.flatnonzero(np.diff(step, prepend=step[:1] - 1))
    sizes = np.add.reduceat(length, first, dtype=np.int64) if len(first) else length
    return pl.DataFrame({"step": step[first], "batch": sizes})


def _passed(places: Places, bounds: Places) -> Places:
    """For each bound, how far all places before it lie from it, summed; modulo 2^64.

    Of where spans begin, less the same of where they end: the tokens of spans before each bound.

    >>> _passed(np.array([2, 7]), np.array([0, 5, 10])).tolist()
    [0, 3, 11]
    """
    ordered = places if pl.Series(places).is_sorted() else np.sort(places)
    before = np.searchsorted(ordered, bounds)
    sums = np.concatenate([[0], np.cumsum(ordered)])
    return np.asarray(before * bounds - sums[before], np.int64)


def batches_of(known: pl.DataFrame | Batches) -> Batches:
    """The same, of an exposure table as well."""
    return known if isinstance(known, Batches) else Batches.whole(known)
