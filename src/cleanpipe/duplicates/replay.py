"""Near-duplicates under a changed recipe, from the pairs that a run has compared.

A run compares every candidate with all others that share a band with it, up to a limit, whether or
not a stage dropped them: so most questions have an exact answer. Where the limit was reached, or
the bands change, the answer has two ends: what the known pairs alone make certain, and what could
be if every open pair counted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.duplicates.clusters import load_books
from cleanpipe.duplicates.dedup import COMPARED, Near, Rows
from cleanpipe.kernels.replay import GIVES_WAY, OPEN, replay_stars
from cleanpipe.rules.ranking import rank

NO_CANDIDATES = {"shard": pl.UInt32(), "row": pl.UInt64(), "missing": pl.Int64()}
NUMBER_OF_ROW = 40  # bits: a shard has fewer rows, and there are fewer than 2^24 shards


@dataclass(frozen=True)
class Answer:
    """What becomes of the documents asked about, an entry each."""

    surely: npt.NDArray[np.bool_]
    """It gives way to another one, whatever the open pairs are."""
    perhaps: npt.NDArray[np.bool_]
    """It gives way or not: that depends on open pairs."""
    for_whom: Rows
    """The one that it gives way to, itself if it stays; an index of the documents asked about."""
    open_pairs: int
    """Pairs that were not compared, or that the changed bands may not find."""


@dataclass(frozen=True)
class Compared:
    """The candidates of a run, numbered in the order of their comparison, and what was found."""

    near: Near
    """The options of the run."""
    keys: npt.NDArray[np.uint64]
    """The candidates' places: shard and row in one number."""
    buckets: npt.NDArray[np.int32]
    complete: npt.NDArray[np.bool_]
    starts: Rows
    others: npt.NDArray[np.int32]
    similarity: npt.NDArray[np.float64]

    @classmethod
    def load(cls, run: Path, near: Near) -> Self:
        """Read a run's pairs/."""
        bands = [f"bucket_{band:02d}" for band in range(near.bands_and_rows()[0])]
        portions = load_books(run, "candidates")
        nobody = pl.DataFrame(schema={**NO_CANDIDATES, **dict.fromkeys(bands, pl.Int32())})
        table = pl.concat([nobody, *portions])
        keys = places(table)
        buckets = _distinct([portion.select(bands) for portion in portions], len(bands))
        late, early, similarity = _pairs(run, keys)
        starts = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(np.bincount(late, minlength=len(keys)), out=starts[1:])
        return cls(
            near=near,
            keys=keys,
            buckets=buckets,
            complete=(table["missing"] == 0).to_numpy(),
            starts=starts,
            others=early,
            similarity=similarity,
        )

    def refusal(self, near: Near) -> str | None:
        """Why these options need a run, None if they do not."""
        for name in ("shingle", "ngram", "num_perm"):
            if getattr(near, name) != getattr(self.near, name):
                return f"dedup.near.{name}: the run's signatures were made with another"
        if near.threshold < self.near.threshold / 2:
            return (
                f"dedup.near.threshold: pairs below {self.near.threshold / 2:g} were not listed "
                "by the run"
            )
        if near.bands_and_rows() != self.near.bands_and_rows() and _spans(self.near, near) is None:
            return self._advice(near)
        return None

    def _advice(self, near: Near) -> str:
        bands, rows = self.near.bands_and_rows()
        asked = "{} bands of {} minima".format(*near.bands_and_rows())
        made_by = f"threshold {near.threshold:g} with recall {near.recall:g} makes "
        given = asked if near.bands else made_by + asked
        return (
            f"dedup.near: {given}, the run measured {bands} bands of {rows}; "
            f"--set dedup.near.bands={bands} --set dedup.near.rows={rows} keeps these, and is "
            "answered"
        )

    def decide(
        self, near: Near, table: pl.DataFrame, numbers: Rows, *, guess: bool = False
    ) -> Answer:
        """What becomes of some candidates alone together: `numbers`, and a row of `table` for each.

        `table` is as for `Near.clusters`. `guess` leaves nothing open: a pair that is not known
        has the similarity that its signatures suggest.
        """
        spans = _spans(self.near, near)
        same = near.bands_and_rows() == self.near.bands_and_rows()
        fates, whom, open_pairs = replay_stars(
            numbers[rank(table, near.keep)],
            self.buckets,
            self.starts,
            self.others,
            self.similarity,
            self.complete,
            np.zeros((0, 2), np.int64) if spans is None else spans,
            same,
            near.threshold,
            COMPARED,
            self.near.bands_and_rows()[1] if guess else 0,
        )
        place = np.zeros(len(self.keys), np.int64)
        place[numbers] = np.arange(len(numbers))
        own = fates[numbers]
        return Answer(own == GIVES_WAY, own == OPEN, place[whom[numbers]], open_pairs)


def places(table: pl.DataFrame, shard: str = "shard", row: str = "row") -> npt.NDArray[np.uint64]:
    """Shard and row of each row of a table in one number, which orders as they do."""
    numbers = table.select(pl.col(shard).cast(pl.UInt64) * (1 << NUMBER_OF_ROW) + pl.col(row))
    return numbers.to_series().to_numpy()


def _distinct(portions: list[pl.DataFrame], bands: int) -> npt.NDArray[np.int32]:
    """Buckets numbered throughout: in the files each portion and band has numbers of its own."""
    rows = sum(portion.height for portion in portions)
    buckets = np.full((rows, bands), -1, np.int32)
    first, count = 0, 0
    for portion in portions:
        for band, column in enumerate(portion):
            shared = column.is_not_null().arg_true().to_numpy()
            names, numbers = np.unique(column.drop_nulls().to_numpy(), return_inverse=True)
            buckets[first + shared, band] = numbers + count
            count += len(names)
        first += portion.height
    return buckets


def _pairs(run: Path, keys: npt.NDArray[np.uint64]) -> tuple[Any, Any, Any]:
    """The pairs by number, the later one first, in the order of both."""
    columns = ["shard", "row", "other_shard", "other_row", "similarity"]
    portions = load_books(run, "pairs", columns)
    if not portions:  # nobody was a candidate
        return np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0)
    table = pl.concat(portions)
    order = np.argsort(keys)
    one, other = (
        order[np.searchsorted(keys, places(table, *names), sorter=order)]
        for names in (("shard", "row"), ("other_shard", "other_row"))
    )
    late, early = np.maximum(one, other), np.minimum(one, other)
    ordered = np.lexsort((early, late))
    similarity = table["similarity"].to_numpy()
    return late[ordered], early[ordered].astype(np.int32), similarity[ordered]


def _spans(run: Near, near: Near) -> Rows | None:
    """The run's bands that cover each changed band; None if one of these holds none of those.

    If every changed band holds a whole band of the run, what shares one shares the other: then the
    run's pairs are all that the changed bands can find.
    """
    bands, rows = run.bands_and_rows()
    spans = []
    for band in range(near.bands_and_rows()[0]):
        start = band * near.bands_and_rows()[1]
        stop = start + near.bands_and_rows()[1]
        whole = -(-start // rows)
        if whole >= bands or (whole + 1) * rows > stop:
            return None
        last = (stop - 1) // rows
        spans.append((start // rows, last) if last < bands else (-1, -1))
    return np.array(spans, np.int64)
