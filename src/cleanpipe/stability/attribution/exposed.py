"""What stood in a batch: numbers of a step, from the documents that it trained on.

One document of 500 tokens in a batch of 500,000 moves a mean by a thousandth of its own deviation,
so means say nothing here. What does: the most extreme document, and the share of the batch's tokens
in documents that few are as extreme as. The most extreme of many documents is more extreme than
that of few, whatever is measured: so it is asked how rare it is among so many drawn by chance.
"""

from dataclasses import dataclass
from functools import cached_property

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
class Column:
    """A measure of all documents."""

    name: str
    codes: Floats
    """Of each document, how many have less; NaN where it is unknown, and at the end: of the
    document -1, which nobody has measured."""
    upto: npt.NDArray[np.int64]
    """By code, how many have as much or less."""
    spread: Floats
    """The known values, in ascending order."""
    low: float
    high: float
    """What a hundredth of the documents are below, and above."""

    @classmethod
    def of(cls, name: str, values: pl.Series) -> "Column | None":
        """None where no value is known.

        >>> column = Column.of("words", pl.Series(range(101)))
        >>> column.low, column.high
        (1.0, 99.0)
        """
        plain = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
        known = np.flatnonzero(~np.isnan(plain))
        ordered = known[np.argsort(plain[known])]
        spread = plain[ordered]
        sorted_ = pl.Series(spread).set_sorted()
        low, high = sorted_.quantile(BEYOND), sorted_.quantile(1 - BEYOND)
        if low is None or high is None:
            return None
        first = np.flatnonzero(np.append(True, spread[1:] != spread[:-1]))
        last = np.append(first[1:], len(spread))
        codes, upto = np.full(len(plain) + 1, np.nan), np.zeros(len(spread), np.int64)
        codes[ordered] = np.repeat(first, last - first)
        upto[first] = last
        return cls(name, codes, upto, spread, low, high)

    def coded(self, values: Floats) -> Floats:
        """The codes of values of documents."""
        return np.where(np.isnan(values), np.nan, np.searchsorted(self.spread, values))

    @property
    def features(self) -> list[Feature]:
        """One for each of FORMS."""
        cuts = (None, self.high, None, self.low)
        return [Feature(self.name, form, cut=cut) for form, cut in zip(FORMS, cuts, strict=True)]

    def rarity(
        self, codes: Floats, counts: Floats, drawn: Floats | float = 0.5, *, high: bool
    ) -> Floats:
        """The chance that the most extreme of `counts` documents, drawn at random, is below.

        Near 1 for a largest value (`high`), and near 0 for a smallest one, that so many documents
        hardly have. Equal values share an interval, in which `drawn` (0 to 1) is the place: drawn
        by chance, the result is as likely to be anything, however many documents there are.
        """
        unknown = np.isnan(codes)
        place = np.where(unknown, 0, codes).astype(np.int64)
        below, upto = place / len(self.spread), self.upto[place] / len(self.spread)
        if high:
            first, last = below**counts, upto**counts
        else:
            first, last = 1 - (1 - below) ** counts, 1 - (1 - upto) ** counts
        return np.where(unknown, np.nan, first + drawn * (last - first))


@dataclass(frozen=True)
class Standing:
    """Who stood in the batches of some steps: a row a document of each."""

    steps: Steps
    """Ascending; those without documents are not there."""
    owner: Steps
    """Of each row, the place of its step; ascending."""
    document: Steps
    """Of each row, the document's row in the table of measures; -1 where it has none."""
    share: Floats
    """Of each row, the document's share of the step's tokens."""

    @classmethod
    def of(cls, batches: Batches, rows: Steps, steps: Steps) -> "Standing":
        """Those of these steps; `rows` are the documents' rows (see `rows_of`)."""
        table = batches.of(np.unique(steps))
        step, place, tokens = (table[name].to_numpy() for name in ("step", "document", "tokens"))
        new = np.diff(step, prepend=step[:1] - 1) != 0
        own, owner = step[new], np.cumsum(new) - 1
        whole = np.bincount(owner, tokens, len(own))
        return cls(own, owner, rows[place], tokens / whole[owner])

    @cached_property
    def counts(self) -> Floats:
        """(steps,): the documents that could be the most extreme one."""
        found = np.bincount(self.owner, self.share >= LEAST, len(self.steps))
        return found.astype(np.float64)

    def numbers(self, column: Column) -> Floats:
        """(FORMS, steps): the codes of the largest and smallest values, and shares."""
        own = column.codes[self.document]
        counted = np.where(self.share >= LEAST, own, np.nan)
        first = np.flatnonzero(np.diff(self.owner, prepend=-1))
        found = np.empty((len(FORMS), len(self.steps)))
        if len(first):
            found[0] = np.fmax.reduceat(counted, first)
            found[2] = np.fmin.reduceat(counted, first)
        above = own >= np.searchsorted(column.spread, column.high, side="right")
        below = own < np.searchsorted(column.spread, column.low)
        for form, beyond in ((1, above), (3, below)):
            found[form] = np.bincount(self.owner, np.where(beyond, self.share, 0), len(self.steps))
        return found


@dataclass(frozen=True)
class Windows:
    """Steps that are asked about, each with the steps before it that count as well."""

    standing: Standing
    steps: Steps
    lags: tuple[int, ...]

    @cached_property
    def places(self) -> Steps:
        """(the largest lag + 1, steps): where they stand; -1 for those that are not there."""
        wanted = self.steps - np.arange(max(self.lags) + 1)[:, None]
        place = np.searchsorted(self.standing.steps, wanted)
        place = np.minimum(place, len(self.standing.steps) - 1)
        return np.where(self.standing.steps[place] == wanted, place, -1)

    @cached_property
    def counts(self) -> Floats:
        """(the largest lag + 1, steps): how many documents could be the most extreme one."""
        found: Floats = np.cumsum(np.append(self.standing.counts, 0)[self.places], axis=0)
        return found

    @cached_property
    def known(self) -> Steps:
        """(the largest lag + 1, steps): how many steps are there."""
        return np.cumsum(self.places >= 0, axis=0)

    def numbers(self, column: Column, first: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """(steps, lags, FORMS), and which of FORMS differ between batches.

        The most extreme document of a window, as `rarity` gives it; else the mean of the shares.
        `first` is the number of the column's first form among all.
        """
        each = self.standing.numbers(column)
        found = np.empty((len(self.steps), len(self.lags), len(FORMS)))
        for form, further in ((0, np.fmax), (2, np.fmin)):
            padded = np.append(each[form], np.nan)
            most = np.full(len(self.steps), np.nan)
            for back, at in enumerate(self.places):
                most = further(most, padded[at])
                if back in self.lags:
                    drawn = _drawn(self.steps, 11 * (first + form) + back)
                    rare = column.rarity(most, self.counts[back], drawn, high=not form)
                    found[:, self.lags.index(back), form] = rare
        for form in (1, 3):
            window = np.ascontiguousarray(np.append(each[form], 0)[self.places].T)
            for place, lag in enumerate(self.lags):
                total, known = window[:, : lag + 1].sum(axis=-1), self.known[lag]
                mean = total / np.maximum(known, 1)
                found[:, place, form] = np.where(known > 0, mean, np.nan)
        return found, np.fmin.reduce(each, axis=1) < np.fmax.reduce(each, axis=1)


def _drawn(steps: Steps, number: int) -> Floats:
    """A number from 0 to 1 for each step, always the same."""
    mixed = hashing.mix_arrays(steps.astype(np.uint64), np.full(len(steps), number, np.uint64))
    return (mixed >> np.uint64(11)) / 2**53


def numeric(measures: pl.DataFrame) -> list[str]:
    """The columns of a table of measures that are numbers, but for `row`, a document's place."""
    kinds = measures.schema.items()
    return [name for name, kind in kinds if kind.is_numeric() and name not in {"row", "shard"}]


def known_documents(exposure: pl.DataFrame | Batches, measures: pl.DataFrame) -> pl.DataFrame:
    """The measures of documents that were trained on: a row an id, those twice there left out.

    Errors: InputError where more than a hundredth of the tokens stand in documents without
    measures: the order then is of another corpus.
    """
    batches = batches_of(exposure)
    used = pl.DataFrame({"id": batches.ids, "exposed_tokens": batches.totals})
    used = used.filter(pl.col("exposed_tokens") > 0).group_by("id").sum().sort("id")
    once = measures.select("id").with_row_index("measured").filter(pl.col("id").is_unique())
    found = used.join(once, on="id", how="left", maintain_order="left")
    lost = found.filter(pl.col("measured").is_null())
    whole = int(used["exposed_tokens"].sum())
    if int(lost["exposed_tokens"].sum()) > UNKNOWN * whole:
        ids = lost.sort("exposed_tokens", "id", descending=[True, False])["id"]
        raise InputError(
            f"{lost['exposed_tokens'].sum():,} of the order's {whole:,} tokens stand in documents "
            f"of which the run has no measures, or whose id it has twice, such as {ids[0]!r}: give "
            "the run that wrote what was exported"
        )
    own = [measures[name].gather(found["measured"]) for name in numeric(measures)]
    return used.hstack(own)


def rows_of(batches: Batches, documents: pl.DataFrame) -> Steps:
    """The row of each of the order's documents; of the same id, of copies, it is the same."""
    known = documents.select("id").with_row_index("row")
    found = batches.ids.to_frame("id").join(known, on="id", how="left", maintain_order="left")
    return found["row"].cast(pl.Int64).fill_null(-1).to_numpy()
