"""What stood in a batch: numbers of a step, from the documents that it trained on.

One document of 500 tokens in a batch of 500,000 moves a mean by a thousandth of its own deviation,
so means say nothing here. What does: the most extreme document, and the share of the batch's tokens
in documents that few are as extreme as. The most extreme of many documents is more extreme than
that of few, whatever is measured: so it is asked how rare it is among so many drawn by chance.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.errors import InputError
from cleanpipe.kernels import hashing
from cleanpipe.stability.attribution.batches import Batches, batches_of

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
BEYOND = 0.01
"""The share of documents that stand beyond a cut, at either end of a measure."""
LEAST = 0.001
"""The share of a batch's tokens that a document must have to be the most extreme one of it."""
UNKNOWN = 0.01
"""The share of tokens in documents without measures above which the order is not of this run."""
STEPS_AT_ONCE = 1 << 14
FORMS = ("largest", "share above", "smallest", "share below")


@dataclass(frozen=True)
class Feature:
    """A number of a batch.

    >>> str(Feature("repeat_run", "share above", 0, cut=12.0)), str(Feature("words", "largest", 2))
    ('share above repeat_run 12', 'largest words within 2 steps')
    """

    measure: str
    form: str
    """One of FORMS."""
    lag: int = 0
    """Steps before the batch that count as well."""
    cut: float | None = None
    """What a document must be beyond, of the two forms that are shares."""

    @property
    def high(self) -> bool:
        """Whether large values of the measure are meant."""
        return self.form in FORMS[:2]

    def __str__(self) -> str:
        cut = "" if self.cut is None else f" {self.cut:.4g}"
        within = f" within {self.lag} steps" if self.lag else ""
        return f"{self.form} {self.measure}{cut}{within}"


@dataclass(frozen=True)
class Exposed:
    """Numbers of batches: `values[number, feature]` of each step of `steps`, which ascend."""

    steps: Steps
    features: list[Feature]
    values: Floats
    """The largest and smallest values as they are, and shares."""
    counts: Floats
    """(steps,): the documents that could be the most extreme one."""
    spread: dict[str, Floats]
    """The values of each measure, a document each, in ascending order."""

    def at(self, steps: Steps) -> npt.NDArray[np.int64]:
        """Where steps stand; -1 for those that are not there."""
        place = np.minimum(np.searchsorted(self.steps, steps), len(self.steps) - 1)
        return np.where(self.steps[place] == steps, place, -1)

    def within(self, steps: Steps, lag: int, kept: list[int]) -> Floats:
        """(*steps.shape, kept): with what stood in the `lag` steps before, where it is known.

        The most extreme document of them all, as `rarity` gives it; else the mean of the shares.
        """
        at = self.at(steps[..., None] - np.arange(lag + 1))
        counts = np.append(self.counts, 0)[at].sum(axis=-1)
        found = np.empty((*steps.shape, len(kept)))
        for place, number in enumerate(kept):
            feature = self.features[number]
            window = np.append(self.values[:, number], np.nan)[at]
            if feature.cut is None:
                most = (np.fmax if feature.high else np.fmin).reduce(window, axis=-1)
                drawn = _drawn(steps, 11 * number + lag)
                found[..., place] = self.rarity(feature, most, counts, drawn)
            else:
                known = ~np.isnan(window)
                total = np.where(known, window, 0).sum(axis=-1)
                found[..., place] = np.where(
                    known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.nan
                )
        return found

    def rarity(
        self, feature: Feature, values: Floats, counts: Floats, drawn: Floats | float = 0.5
    ) -> Floats:
        """The chance that the most extreme of `counts` documents, drawn at random, is below.

        Near 1 for a largest value, and near 0 for a smallest one, that so many documents hardly
        have. Equal values share an interval, in which `drawn` (0 to 1) is the place: drawn by
        chance, the result is as likely to be anything, however many documents there are.
        """
        every = self.spread[feature.measure]
        below = np.searchsorted(every, values, side="left") / max(len(every), 1)
        upto = np.searchsorted(every, values, side="right") / max(len(every), 1)
        if feature.high:
            low, high = below**counts, upto**counts
        else:
            low, high = 1 - (1 - below) ** counts, 1 - (1 - upto) ** counts
        return np.where(np.isnan(values), np.nan, low + drawn * (high - low))


def _drawn(steps: Steps, number: int) -> Floats:
    """A number from 0 to 1 for each step, always the same."""
    flat = steps.ravel().astype(np.uint64)
    mixed = hashing.mix_arrays(flat, np.full(len(flat), number, np.uint64))
    return ((mixed >> np.uint64(11)) / 2**53).reshape(steps.shape)


def numeric(measures: pl.DataFrame) -> list[str]:
    """The columns of a table of measures that are numbers, but for `row`, a document's place."""
    kinds = measures.schema.items()
    return [name for name, kind in kinds if kind.is_numeric() and name not in {"row", "shard"}]


def known_documents(exposure: pl.DataFrame | Batches, measures: pl.DataFrame) -> pl.DataFrame:
    """The measures of documents that were trained on: a row an id, those twice there left out.

    Errors: InputError where more than a hundredth of the tokens stand in documents without
    measures: the order then is of another corpus.
    """
    used = batches_of(exposure).totals.group_by("id").agg(pl.col("tokens").sum())
    once = measures.filter(pl.col("id").is_unique())
    found = used.join(once.select("id", *numeric(measures)), on="id", how="left", suffix="_of")
    lost = used.join(once, on="id", how="anti")
    whole = int(used["tokens"].sum())
    if int(lost["tokens"].sum()) > UNKNOWN * whole:
        ids = lost.sort("tokens", "id", descending=[True, False])["id"]
        raise InputError(
            f"{lost['tokens'].sum():,} of the order's {whole:,} tokens stand in documents of which "
            f"the run has no measures, or whose id it has twice, such as {ids[0]!r}: give the run "
            "that wrote what was exported"
        )
    return found.rename({"tokens": "exposed_tokens"}).sort("id")


def cuts(documents: pl.DataFrame, names: list[str]) -> dict[str, tuple[float, float]]:
    """For each measure the values that a hundredth of the documents are below, and above.

    >>> cuts(pl.DataFrame({"words": range(101)}), ["words"])
    {'words': (1.0, 99.0)}
    """
    found = documents.select(
        *(pl.col(n).fill_nan(None).quantile(BEYOND).alias(f"{n} low") for n in names),
        *(pl.col(n).fill_nan(None).quantile(1 - BEYOND).alias(f"{n} high") for n in names),
    ).row(0, named=True)
    pairs = {name: (found[f"{name} low"], found[f"{name} high"]) for name in names}
    return {name: pair for name, pair in pairs.items() if None not in pair}


def exposed(
    exposure: pl.DataFrame | Batches, documents: pl.DataFrame, steps: Steps, names: list[str]
) -> Exposed:
    """The numbers of these steps; those without documents are not in it.

    `exposure` has step, id, tokens; `documents` an id a row, and the measures `names`. Steps go
    through in parts: a row for each document of all of them, with all measures, would be too much.
    """
    bounds = cuts(documents, names)
    measured = documents.select("id", *bounds)
    plain = [pl.col(name).cast(pl.Float64).fill_nan(None) for name in bounds]
    batches = batches_of(exposure)
    share = pl.col("tokens") / pl.col("tokens").sum().over("step")
    features: list[Feature] = []
    numbers: list[pl.Expr] = []
    for name, (low, high) in bounds.items():
        one = pl.col(name)
        counted = one.filter(pl.col("share") >= LEAST)
        features += [Feature(name, FORMS[0]), Feature(name, FORMS[1], cut=high)]
        features += [Feature(name, FORMS[2]), Feature(name, FORMS[3], cut=low)]
        numbers += [counted.max(), pl.col("share").filter(one > high).sum()]
        numbers += [counted.min(), pl.col("share").filter(one < low).sum()]
    named = [number.alias(str(place)) for place, number in enumerate(numbers)]
    count = (pl.col("share") >= LEAST).sum().alias("documents")
    asked = np.unique(steps)
    values = np.empty((len(asked), len(features)))
    counts, found = np.empty(len(asked)), np.empty(len(asked), np.int64)
    filled = 0
    for low in range(0, len(asked), STEPS_AT_ONCE):
        table = (
            batches.of(asked[low : low + STEPS_AT_ONCE])
            .join(measured, on="id", how="left")
            .with_columns(*plain, share=share)
            .group_by("step")
            .agg(count, *named)
            .sort("step")
        )
        rows = slice(filled, filled + table.height)
        found[rows] = table["step"].to_numpy()
        counts[rows] = table["documents"].to_numpy()
        own = table.drop("step", "documents").cast(pl.Float64).fill_null(np.nan)
        values[rows] = own.to_numpy()
        filled += table.height
    spread = {
        name: documents[name].cast(pl.Float64).fill_nan(None).drop_nulls().sort().to_numpy()
        for name in bounds
    }
    return Exposed(found[:filled], features, values[:filled], counts[:filled], spread)
