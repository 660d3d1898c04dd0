"""Decide: filter, deduplicate, balance. Queries over the tables of pass 1; no text is read.

`Decisions` holds a run's documents, one row each in (shard, row) order, and fills in what becomes
of each. Every stage looks only at documents that no earlier stage dropped, but the filter's rules
are evaluated for all of them, so that a report can say what each rule would do alone.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs
import pyarrow as pa

from cleanpipe.dedup import Candidates, Clusters, Near, Rows, rank
from cleanpipe.errors import RecipeError
from cleanpipe.evaluations import SHARED
from cleanpipe.kernels import hashing
from cleanpipe.measure import band_name, block_name
from cleanpipe.recipe import Recipe
from cleanpipe.urls import CAP
from cleanpipe.write import cast_column

STAGES = {"read": 1, "normalize": 2, "filter": 3, "dedup": 4, "balance": 5, "augment": 6}
"""The number that keeps one stage's chance apart from another's."""
NOBODY = -1


def load_documents(
    folder: Path,
    blocks: list[int],
    carried: pa.Schema,
    measured: Collection[str],
    columns: tuple[str, ...] = (),
) -> pl.DataFrame:
    """The tables of pass 1 without the bands, all blocks, in (shard, row) order.

    Columns of the input that decisions go by get the type that they have in the output. Where
    `columns` are named, only these are read.
    """
    chosen = cs.by_name(*columns, require_all=False) if columns else pl.exclude("^band_.*$", SHARED)
    frames = []
    for block in blocks:
        path = folder / "measures" / f"{block_name(block)}.parquet"
        frame = pl.scan_parquet(path).select(chosen).collect()
        for field in carried:
            if field.name in frame.columns and field.name not in measured:
                column = cast_column(frame[field.name].to_arrow(), field.type)
                frame = frame.with_columns(pl.Series(field.name, column))
        frames.append(frame)
    return pl.concat(frames, how="diagonal_relaxed")


class Decisions:
    """What becomes of each document, and why."""

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        folder: Path,
        blocks: list[int],
        carried: pa.Schema,
        columns: tuple[str, ...] = (),
    ) -> None:
        self.recipe, self.seed, self.folder, self.blocks = recipe, seed, folder, blocks
        table = load_documents(folder, blocks, carried, recipe.measured(), columns)
        # of a corpus without a readable document nothing says what columns it has
        unseen = [name for name in recipe.decision_columns() if name not in table.columns]
        self.table = table.with_columns(pl.lit(None).alias(name) for name in unseen)
        count = self.table.height
        early = self.table["early"]
        self.quarantined = early.str.starts_with("quarantined:").fill_null(value=False).to_numpy()
        self.alive = early.is_null().to_numpy().copy()
        stages = {"null_text": "read", "empty": "normalize", "unsettled": "normalize"}
        self.reasons = pl.DataFrame(
            {
                "stage": early.replace_strict(stages, default="read"),
                "rule": early.str.strip_prefix("quarantined:"),
            },
            schema_overrides={"stage": pl.String, "rule": pl.String},
        ).select(
            pl.when(pl.col("rule").is_not_null()).then("stage").alias("stage"),
            "rule",
            *(pl.lit(None, dtype=pl.Float64).alias(name) for name in ("value", "low", "high")),
        )
        self.duplicate_of = np.full(count, NOBODY, dtype=np.int64)
        self.similarity = np.full(count, np.nan)
        self.copies = self.alive.astype(np.int32)
        self.failures = pl.DataFrame()
        self.pairs = pl.DataFrame()
        self.compared = pl.DataFrame()
        self.groups = pl.DataFrame()
        self.uncompared = 0

    def chance(self, stage: str) -> npt.NDArray[np.uint64]:
        """A number a document that this stage draws by: the document's own, not its place's."""
        start = hashing.mix(np.uint64(self.seed), np.uint64(STAGES[stage]))
        given, text = (self.table[name].fill_null(0).to_numpy() for name in ("given", "text_lo"))
        own = hashing.mix_arrays(given, text)
        return hashing.mix_arrays(np.full(len(own), start, dtype=np.uint64), own)

    def _drop(self, rows: npt.NDArray[Any], stage: str, reasons: pl.DataFrame) -> None:
        """Drop documents by index; `reasons` has rule, value, low, high for each of them."""
        named = reasons.select(pl.lit(stage).alias("stage"), "rule", "value", "low", "high")
        place = pl.Series(rows, dtype=pl.UInt32)
        self.reasons = self.reasons.with_columns(
            self.reasons[name].scatter(place, named[name]) for name in named.columns
        )
        self.alive[rows] = False
        self.copies[rows] = 0

    def filter(self) -> dict[str, int]:
        """Evaluate all rules for all documents; drop those that fail, by the first they fail."""
        documents = pl.Series(self.table["early"].is_null())
        read = self.table.filter(documents)
        self.failures = self.recipe.filter.failures(read)
        ranks = self._ranks(np.flatnonzero(documents.to_numpy()))
        if ranks is not None:
            self.failures = pl.DataFrame([*self.failures, ranks["over"].alias(CAP)])
        reasons = self.recipe.filter.verdicts(read, self.failures)
        if ranks is not None:
            value = pl.when(pl.col("rule") == CAP).then(ranks["rank"]).otherwise("value")
            reasons = reasons.with_columns(value=value)
        fails = reasons["rule"].is_not_null().to_numpy() & self.alive[documents.to_numpy()]
        rows = np.flatnonzero(documents.to_numpy())[fails]
        self._drop(rows, "filter", reasons.filter(pl.Series(fails)))
        return {"dropped": len(rows), "left": int(self.alive.sum())}

    def _ranks(self, rows: Rows) -> pl.DataFrame | None:
        """The cap on each domain, over documents that the filter judges; None without a cap.

        Columns rank, the place among those of the domain that nothing else dropped, and over.
        """
        urls = self.recipe.filter.urls
        if urls is None or urls.per_domain is None:
            return None
        passes = self.alive[rows]
        for failed in self.failures:
            passes &= ~failed.to_numpy()
        table = self.keyed_table(rows[passes], "filter")
        found = np.zeros(len(rows), dtype=np.int64)
        found[passes] = urls.ranks(table, rank(table, urls.keep)).fill_null(0).to_numpy()
        return pl.DataFrame({"rank": found, "over": found > urls.per_domain})

    def exact(self) -> dict[str, int]:
        """Drop all but the best of documents with equal clean text."""
        if self.recipe.dedup is None or not self.recipe.dedup.exact:
            return {"dropped": 0, "left": int(self.alive.sum())}
        rows = np.flatnonzero(self.alive)
        best = rows[self.recipe.dedup.exact_duplicates(self.keyed_table(rows))]
        dropped = rows[best != rows]
        self._join(dropped, best[best != rows], np.ones(len(dropped)), "exact")
        return {"dropped": len(dropped), "left": int(self.alive.sum())}

    def keyed_table(self, rows: npt.NDArray[np.int64], stage: str = "dedup") -> pl.DataFrame:
        """Rows as a stage ranks them: an id that is only a place decides nothing."""
        names = self.recipe.ranking_columns(stage)
        known = [name for name in names if name != "id" and name in self.table.columns]
        columns = dict.fromkeys(("shard", "row", "text_lo", "text_hi", *known))
        given = pl.when("has_id").then("id").alias("id")
        keyed = self.table.select(given, *columns, key=pl.Series(self.chance(stage)))
        return keyed[rows]

    def candidates(self) -> Candidates | None:
        """The documents that share a MinHash band with another, band by band.

        All that have a text are candidates, those too that a stage has dropped: they decide
        nothing, but their pairs tell what another recipe would do.
        """
        if self.recipe.dedup is None or self.recipe.dedup.near is None:
            return None
        near = self.recipe.dedup.near
        read = np.flatnonzero(self.table["early"].is_null().to_numpy())
        texts = self.table.select("text_lo", "text_hi")[read]
        rows = read[self.recipe.dedup.compared(texts, self.alive[read])]
        found = near.candidates(self._bands(near.bands_and_rows()[0]), rows)
        self.compared = pl.DataFrame(schema=compared_schema(near))  # near() fills it
        return found

    def _bands(self, bands: int) -> Iterator[npt.NDArray[np.uint64]]:
        files = [self.folder / "measures" / f"{block_name(b)}.parquet" for b in self.blocks]
        for band in range(bands):
            column = pl.concat(
                [pl.scan_parquet(file).select(band_name(band)) for file in files],
                how="diagonal_relaxed",
            ).collect()
            yield column.to_series().fill_null(0).to_numpy()

    def wanted(self, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
        """What pass 2 and compare need to read these documents again."""
        return self.table[rows].select("shard", "row", "fixes", "text_lo")

    def near(
        self, candidates: Candidates, offsets: npt.NDArray[np.int64], sets: npt.NDArray[np.uint64]
    ) -> dict[str, int]:
        """Drop near-duplicates: each verified against the representative that it gives way to."""
        near = self.recipe.dedup.near if self.recipe.dedup else None
        if near is None:
            return {"dropped": 0, "left": int(self.alive.sum())}
        rows = candidates.rows
        table = self.keyed_table(rows)
        found: Clusters = near.clusters(table, candidates, offsets, sets, self.alive[rows])
        self.uncompared = int(found.uncompared.sum())
        self.pairs = found.pairs
        self.compared = compared_documents(near, table, candidates, found)
        members = np.flatnonzero(found.duplicate_of != NOBODY)
        best = rows[found.duplicate_of[members]]
        return self.give_way(rows[members], best, found.similarity[members])

    def give_way(
        self,
        rows: npt.NDArray[np.int64],
        best: npt.NDArray[np.int64],
        similarity: npt.NDArray[np.float64],
    ) -> dict[str, int]:
        """Drop near-duplicates: `rows`, each for its row of `best`, and exact copies with them."""
        self._join(rows, best, similarity, "near")
        self._follow()
        return {"dropped": len(rows), "left": int(self.alive.sum())}

    def _follow(self) -> None:
        """Exact copies of a document that gave way now name the one it gave way to."""
        exact = np.flatnonzero(self.duplicate_of != NOBODY)
        exact = exact[self.duplicate_of[self.duplicate_of[exact]] != NOBODY]
        through = self.duplicate_of[exact]
        self._join(exact, self.duplicate_of[through], self.similarity[through], "near")

    def _join(
        self,
        rows: npt.NDArray[np.int64],
        best: npt.NDArray[np.int64],
        similarity: npt.NDArray[np.float64],
        rule: str,
    ) -> None:
        """Documents give way to their representatives; clusters of exact copies move along."""
        threshold = 1.0 if rule == "exact" else self._threshold()
        self.duplicate_of[rows] = best
        self.similarity[rows] = similarity
        reasons = pl.DataFrame(
            {"value": similarity}, schema_overrides={"value": pl.Float64}
        ).select(
            pl.lit(rule).alias("rule"),
            "value",
            pl.lit(None, dtype=pl.Float64).alias("low"),
            pl.lit(threshold).alias("high"),
        )
        self._drop(rows, "dedup", reasons)

    def _threshold(self) -> float:
        near = self.recipe.dedup.near if self.recipe.dedup else None
        return near.threshold if near else 1.0

    def balance(self) -> dict[str, int]:
        """Give every document a whole number of copies, so that groups get their shares."""
        balance = self.recipe.balance
        rows = np.flatnonzero(self.alive)
        if balance is None or len(rows) == 0:
            return {"dropped": 0, "left": len(rows), "added": 0}
        table = (
            self.table[rows]
            .select(balance.group(), balance.size())
            .with_columns(chance=pl.Series(self.chance("balance")[rows]))
        )
        try:
            copies = balance.copies(table)
            self.groups = balance.report(table, copies)
        except ValueError as error:
            raise RecipeError(f"balance: {error}") from error
        self.copies[rows] = copies
        dropped = rows[copies == 0]
        reasons = pl.DataFrame({"rule": pl.Series([balance.by] * len(dropped), dtype=pl.String)})
        nothing = [pl.lit(None, dtype=pl.Float64).alias(n) for n in ("value", "low", "high")]
        self._drop(dropped, "balance", reasons.with_columns(nothing))
        added = int(np.maximum(copies - 1, 0).sum())
        return {"dropped": len(dropped), "left": len(rows) - len(dropped), "added": added}

    def cluster_sizes(self) -> npt.NDArray[np.int64]:
        """How many documents stand for one: the representative and all that gave way to it."""
        own = np.arange(len(self.duplicate_of))
        root = np.where(self.duplicate_of == NOBODY, own, self.duplicate_of)
        return np.bincount(root, minlength=len(root))[root]

    def plan(self) -> pl.DataFrame:
        """The documents to write, originals first, then second copies, then third ones."""
        columns = self.recipe.output.columns
        kept = self.table.select("shard", "row", "id", "bytes", "fixes", "text_lo", *columns)
        keys = pl.Series(self.chance("augment"))
        kept = kept.with_columns(copies=pl.Series(self.copies), key=keys)
        rounds = [
            kept.filter(pl.col("copies") > copy).with_columns(copy=pl.lit(copy, dtype=pl.Int32))
            for copy in range(int(self.copies.max(initial=0)))
        ]
        names = ["shard", "row", "id", "copy", "bytes", "fixes", "text_lo", "key"]
        names += [name for name in columns if name not in names]
        return pl.concat(rounds).select(names) if rounds else pl.DataFrame()


def compared_schema(near: Near) -> dict[str, pl.DataType]:
    """The columns of the table of compared documents: place, what is missing, buckets by band."""
    bands = range(near.bands_and_rows()[0])
    return {
        "shard": pl.UInt32(),
        "row": pl.UInt64(),
        "missing": pl.Int64(),
        **{f"bucket_{band:02d}": pl.Int32() for band in bands},
    }


def compared_documents(
    near: Near, table: pl.DataFrame, candidates: Candidates, found: Clusters
) -> pl.DataFrame:
    """The candidates in the order in which they were compared; a bucket of one is null."""
    schema = compared_schema(near)
    names = list(schema)[3:]
    buckets = pl.DataFrame(candidates.buckets, schema=names).with_columns(
        pl.when(pl.col(name) >= 0).then(name).alias(name) for name in names
    )
    places = table.select("shard", "row").with_columns(missing=pl.Series(found.missing))
    return places.hstack(buckets)[found.order].cast(schema)  # type: ignore[arg-type]
