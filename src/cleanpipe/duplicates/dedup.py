"""Duplicates: equal texts by their hash, similar ones by MinHash bands and a verified comparison.

Bands only say which documents to compare. What is dropped has at least the threshold's exact
Jaccard similarity to a document that is kept (kernels.stars), and names it. Nothing here reads a
text: bands come from the measures, shingle sets from compare.

Documents that another stage has dropped are compared, too, and change nothing: their pairs are what
`cleanpipe decide` needs to say what a changed recipe would do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.components import repeated
from cleanpipe.kernels.hashing import hash_texts
from cleanpipe.kernels.stars import NOBODY_IS_SIMILAR, PAIR_COLUMNS, cluster_stars
from cleanpipe.rules.ranking import Preference, column_of, rank
from cleanpipe.rules.url_forms import one_form

Rows = npt.NDArray[np.int64]

KEPT = -1
"""What stands in `Clusters.duplicate_of` for a document that gives way to none."""
COMPARED = 64
"""Representatives that a band's bucket remembers, and that one document is compared with."""
TEXT_HASHES = ("text_lo", "text_hi")
COLUMN_HASHES = ("column_lo", "column_hi")
"""The columns of a document's hashes: of its clean text, and of its value of `dedup.column`."""
CROWD = 512
"""Candidates of a component, beyond which they are a crowd: fewer of its pairs are listed."""
COMPARED_IN_CROWD = 4
"""Documents that each one of a crowd is compared with beside what decides. The pairs of a cluster
of a million would take gigabytes otherwise, and say little beyond those with its best ones."""


@dataclass(frozen=True)
class Candidates:
    """Documents that share a band with another: near-duplicates, if the comparison says so."""

    rows: Rows
    """Their rows in the table, ascending."""
    buckets: npt.NDArray[np.int32]
    """(candidates, bands): documents of one bucket share that band; -1 where none does."""


@dataclass(frozen=True)
class Clusters:
    """What the comparison of candidates found: an entry a candidate."""

    duplicate_of: Rows
    """The candidate it gives way to (an index of candidates), KEPT (-1) for none."""
    similarity: npt.NDArray[np.float64]
    """Its exact Jaccard similarity to that one, NaN where it is kept."""
    compared: Rows
    """Representatives it was compared with."""
    uncompared: Rows
    """At most so many share a band with it, but were beyond the limit of comparisons."""
    pairs: pl.DataFrame
    """Compared pairs of all candidates with at least half the threshold's similarity, by id and
    place; all that were compared of those that share bands with more, few of a crowd's."""
    order: Rows
    """The candidates as they were compared for `pairs`, each with those before it."""
    missing: Rows
    """At most so many of those before it share a band with it, and were not compared."""


class Near(BaseModel):
    """Near-duplicates: documents whose sets of shingles (n-grams of words or characters) overlap.

    >>> Near().bands_and_rows(), round(Near().found(0.8), 3)
    ((16, 8), 0.947)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shingle: Literal["words", "chars"] = "words"
    """What a shingle is made of: folded words without punctuation, or folded characters, a run of
    white space as one. Characters see changes within words, and cost five times as much."""
    ngram: Annotated[int, Field(ge=1, le=100)] = 5
    """Words, or characters, in a shingle: of characters 15 to 30. Fewer find texts that share
    vocabulary, more only literal copies."""
    threshold: float = 0.8
    """Exact Jaccard similarity from which a document is a duplicate. Lower drops more."""
    recall: float = 0.95
    """Share of the pairs right at the threshold that the bands find, to two decimals.
    More recall means more candidates, whose texts are read once more; never a wrong drop."""
    num_perm: Annotated[int, Field(ge=1, le=4096)] = 128
    """Permutations of a signature. More give steeper bands, hence fewer candidates; time grows."""
    bands: Annotated[int, Field(ge=1)] | None = None
    """Bands of a signature, in place of what `recall` asks for; give `rows` beside it."""
    rows: Annotated[int, Field(ge=1)] | None = None
    """Minima in a band: documents that share all of one band's are compared."""
    keep: tuple[Preference, ...] = ("replacement_chars", "-chars", "id")
    """Measures or columns that choose the representative, the first one first: smaller is better,
    larger for '-name'; `{source: [books, web]}` prefers values in that order, `date` the earliest.
    `id` is the given one. The document's chance decides what they leave open."""
    drop: bool = True
    """Drop near-duplicates; false keeps them and only marks them: verdicts name the representative,
    the similarity and the size of the cluster."""

    @field_validator("threshold", "recall")
    @classmethod
    def _is_share(cls, value: float) -> float:
        if not 0 < value <= 1:
            raise ValueError(f"{value} is out of range: expected more than 0 and at most 1")
        return value

    @field_validator("keep")
    @classmethod
    def _names_once(cls, keep: tuple[Preference, ...]) -> tuple[Preference, ...]:
        for one in keep:
            if isinstance(one, dict) and (len(one) != 1 or not next(iter(one.values()))):
                raise ValueError(f"{one} is no preference: expected one column and its values")
        names = [column_of(one) for one in keep]
        if "" in names or len(set(names)) < len(names):
            raise ValueError(f"{names} names a measure twice or none: expected each name once")
        return keep

    @model_validator(mode="after")
    def _can_reach_recall(self) -> "Near":
        if self.bands is not None or self.rows is not None:
            return self._bands_fit()
        best = _found(self.threshold, self.num_perm, 1)
        if round(best, 2) < self.recall:
            raise ValueError(
                f"recall {self.recall} cannot be reached at threshold {self.threshold} with "
                f"{self.num_perm} permutations: at most {best:.2f}; lower recall, or raise "
                "threshold or num_perm"
            )
        return self

    def _bands_fit(self) -> "Near":
        if self.bands is None or self.rows is None:
            raise ValueError("bands and rows go together: give both, or none and a recall")
        if self.bands * self.rows > self.num_perm:
            raise ValueError(
                f"{self.bands} bands of {self.rows} rows need {self.bands * self.rows} "
                f"permutations: raise num_perm, which is {self.num_perm}, or take fewer"
            )
        return self

    def bands_and_rows(self) -> tuple[int, int]:
        """Bands and minima a band: as given, or the most rows whose recall is as asked.

        Recall is rounded to two decimals, so that 0.8 and 128 give 16 bands of 8, which find 94.7 %
        of the pairs right at the threshold, and not 18 of 7 with more than twice the candidates.
        """
        if self.bands is not None and self.rows is not None:
            return self.bands, self.rows
        return next(
            (self.num_perm // rows, rows)
            for rows in range(self.num_perm, 0, -1)
            if round(_found(self.threshold, self.num_perm // rows, rows), 2) >= self.recall
        )

    def found(self, similarity: float) -> float:
        """The chance that two documents of this Jaccard similarity share a band."""
        return _found(similarity, *self.bands_and_rows())

    def clusters(
        self,
        table: pl.DataFrame,
        candidates: Candidates,
        set_offsets: npt.NDArray[np.int64],
        hashes: npt.NDArray[np.uint64],
        alive: npt.NDArray[np.bool_],
        component: npt.NDArray[np.integer[Any]],
    ) -> Clusters:
        """Star clusters of the candidates that are alive around the documents `keep` prefers.

        `table` has the candidates' rows in their order: id, key, shard, row and the measures of
        `keep`; `set_offsets` and `hashes` are their shingle sets (kernels.jaccard). `component`
        numbers documents that no chain of buckets joins apart: they are compared component after
        component. A document is a member if intersection / union, divided once in float64, is at
        least the threshold.
        """
        order = rank(table, self.keep)
        order = order[np.argsort(component[order], kind="stable")]
        _, places, sizes = np.unique(component, return_inverse=True, return_counts=True)
        in_crowd = sizes[places[order]] > CROWD
        sets = candidates.buckets, set_offsets, hashes
        # Bands made for the threshold find one in a hundred pairs that are half as similar: such
        # pairs tell nothing about another threshold, and could be 64 a document.
        least = np.full(len(order), self.threshold / 2)
        *_, missing, all_pairs = cluster_stars(
            order[~in_crowd], *sets, NOBODY_IS_SIMILAR, COMPARED, least
        )
        *_, more, crowd_pairs = cluster_stars(
            order[in_crowd], *sets, NOBODY_IS_SIMILAR, COMPARED_IN_CROWD, least
        )
        missing += more
        least[(missing > 0) & (more == 0)] = 0
        best, both, union, compared, uncompared, pairs = cluster_stars(
            order[alive[order]], *sets, self.threshold, COMPARED, least
        )
        kept = best == np.arange(len(best))
        return Clusters(
            duplicate_of=np.where(kept, KEPT, best),
            similarity=np.where(kept, np.nan, both / np.maximum(union, 1)),
            compared=compared,
            uncompared=uncompared,
            pairs=_pairs(table, np.concatenate([all_pairs, crowd_pairs, pairs]), order),
            order=order,
            missing=missing,
        )


def _found(similarity: float, bands: int, rows: int) -> float:
    return float(1 - (1 - similarity**rows) ** bands)


def _pairs(table: pl.DataFrame, pairs: npt.NDArray[np.int32], order: Rows) -> pl.DataFrame:
    """The compared pairs by id and place, each once, as they follow in the order of comparison."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    frame = pl.DataFrame(pairs, schema=list(PAIR_COLUMNS)).unique()
    ranks = (pl.Series(rank)[frame[name]].alias(f"rank of {name}") for name in PAIR_COLUMNS[:2])
    frame = frame.with_columns(ranks).sort("rank of document", "rank of other")
    places = table.select("id", "shard", "row")
    own = places[frame["document"]]
    other = places[frame["other"]].select(
        pl.col("id").alias("other"),
        pl.col("shard").alias("other_shard"),
        pl.col("row").alias("other_row"),
    )
    similarity = (pl.col("intersection") / pl.col("union")).alias("similarity")
    counts = frame.select("shared_bands", "intersection", "union", similarity)
    return pl.concat([own, other, counts], how="horizontal")


class Column(BaseModel):
    """A column of the input whose equal values make duplicates, whatever the texts are."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1)]
    """The column, such as `url`. A document without a value, or with an empty one, duplicates
    none."""
    normalize: Literal["none", "url"] = "none"
    """`url` compares the one form of each URL (docs/dedup-by-column.md); `none` takes values as
    they are."""

    def forms(self, values: pl.Series) -> pl.Series:
        """What is compared: each value in its one form, null where there is none.

        >>> Column(name="url", normalize="url").forms(pl.Series(["http://a.org/?utm_id=1", " "]))
        ... # doctest: +NORMALIZE_WHITESPACE
        shape: (2,)
        Series: 'url' [str]
        [
            "a.org"
            null
        ]
        """
        texts = values.cast(pl.String)
        forms = one_form(texts) if self.normalize == "url" else texts
        is_value = texts.str.strip_chars() != ""
        return pl.select(pl.when(is_value).then(forms)).to_series().alias(self.name)

    def hashes(self, values: pl.Series, seed: int) -> pl.DataFrame:
        """The 128-bit hashes of what is compared (COLUMN_HASHES), null where there is no value."""
        forms = self.forms(values)
        array = forms.fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
        found = zip(COLUMN_HASHES, hash_texts(*text_buffers(array), np.uint64(seed)), strict=True)
        has_value = pl.Series(forms.is_not_null())
        return pl.select(
            pl.when(has_value).then(pl.Series(hashes)).alias(name) for name, hashes in found
        )


def _named(given: object) -> object:
    return {"name": given} if isinstance(given, str) else given


class Dedup(BaseModel):
    """Which of equal and of similar documents stay."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    column: Annotated[
        Column | None, BeforeValidator(_named, json_schema_input_type=str | Column | None)
    ] = None
    """Keep one of the documents with an equal value in a column of the input, such as
    `{name: url, normalize: url}`; it comes before all comparisons of texts."""
    exact: bool = True
    """Keep one of the documents whose normalized texts are equal."""
    near: Near | None = Near()
    """Keep one of similar documents, too; null compares nothing and is faster."""

    def exact_duplicates(self, table: pl.DataFrame) -> Rows:
        """For each row the one that stands for its text: itself, or the best of equal ones.

        Texts are equal if their 128-bit hashes (text_lo, text_hi) are, which are made with the
        output folder's seed.
        """
        # Equal texts have equal measures, so that only what is no measure can differ.
        keep = self.near.keep if self.near else ("id",)
        return _first_of_equals(table, lambda rows: rank(table[rows], keep), TEXT_HASHES)

    def keep(self) -> tuple[Preference, ...]:
        """What chooses among documents whose texts differ."""
        return (self.near or Near()).keep if self.near or self.column else ()

    def column_duplicates(self, table: pl.DataFrame) -> Rows:
        """For each row the one that stands for its value of the column: itself, or the best.

        Values are equal if their 128-bit hashes (COLUMN_HASHES) are; a row without stands for
        itself. The texts differ, so that `near.keep` decides, or what it is if it is not given.
        """
        own: Rows = np.arange(table.height)
        rows = np.flatnonzero(table[COLUMN_HASHES[0]].is_not_null().to_numpy())
        some = table[rows]
        best = _first_of_equals(some, lambda few: rank(some[few], self.keep()), COLUMN_HASHES)
        own[rows] = rows[best]
        return own

    def compared(self, table: pl.DataFrame, alive: npt.NDArray[np.bool_]) -> Rows:
        """The rows to compare, ascending: of equal texts one, one that is alive if there is one.

        All of them, where equal texts are not dropped.
        """
        rows: Rows = np.arange(table.height)
        if not self.exact:
            return rows
        first = _first_of_equals(
            table, lambda some: np.argsort(~alive[some], kind="stable"), TEXT_HASHES
        )
        return np.flatnonzero(first == rows)


def _first_of_equals(
    table: pl.DataFrame, order: Callable[[Rows], Rows], hashes: tuple[str, str]
) -> Rows:
    """For each row the first one of equal hashes, in the order that is given of repeated rows."""
    best = np.arange(table.height)
    low, high = (table[name].to_numpy() for name in hashes)
    rows = np.flatnonzero(repeated(low))  # and some that occur once: they are their own best
    if len(rows) == 0:
        return best
    preferred = rows[order(rows)]
    grouped = preferred[np.lexsort((high[preferred], low[preferred]))]  # stable: the best first
    differs = np.ones(len(grouped), np.bool_)
    differs[1:] = (low[grouped][1:] != low[grouped][:-1]) | (
        high[grouped][1:] != high[grouped][:-1]
    )
    best[grouped] = grouped[differs][np.cumsum(differs) - 1]
    return best
