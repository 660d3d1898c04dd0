"""Decide: filter, deduplicate, balance. Queries over the tables of pass 1; no text is read.

`Decisions` knows of each of a run's documents what became of it, in a dozen bytes, and reads the
columns that a stage goes by a block at a time. Every stage looks only at documents that no earlier
stage dropped. `Fates` is a block's share of it, from which a worker writes that block's books.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.augmenting.augment import within_share
from cleanpipe.balancing import grouping
from cleanpipe.balancing.balance import CLUSTER_SIZE, Balance
from cleanpipe.documents import Documents, chance
from cleanpipe.duplicates.dedup import Rows
from cleanpipe.errors import RecipeError
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.rules.ranking import rank
from cleanpipe.rules.url_parts import domains
from cleanpipe.rules.urls import CAP

NOBODY = -1
"""What stands in `duplicate_of` for a document that gives way to none."""
KEPT = -1
"""The fate of a document that no stage has dropped."""
EARLY_STAGES = {
    "null_text": "read",
    "empty": "normalize",
    "unsettled": "normalize",
    "nothing_left": "cuts",
}
QUARANTINED = "quarantined:"
SHOWN = ("value", "low", "high")

Numbers = npt.NDArray[np.int32]
Kind = tuple[str, str]
"""Why documents are dropped: stage and rule."""


@dataclass(frozen=True)
class Known:
    """A number of some documents: what most have not needs no room for all."""

    rows: Rows
    """The documents, ascending."""
    values: npt.NDArray[np.float64]

    def of(self, rows: Rows) -> npt.NDArray[np.float64]:
        """The numbers of these documents, NaN where none is known."""
        found = np.full(len(rows), np.nan)
        if len(self.rows):
            place = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
            known = self.rows[place] == rows
            found[known] = self.values[place[known]]
        return found

    def with_(self, rows: Rows, values: npt.NDArray[np.float64]) -> "Known":
        """The same and more; a document that was known has the new number."""
        order = np.argsort(np.concatenate([rows, self.rows]), kind="stable")
        every = np.concatenate([rows, self.rows])[order]
        first = np.ones(len(every), np.bool_)
        first[1:] = every[1:] != every[:-1]
        return Known(every[first], np.concatenate([values, self.values])[order][first])


def nothing_known() -> Known:
    """No number of any document."""
    return Known(np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True)
class Fates:
    """What became of the documents of one block, an entry each."""

    kinds: list[Kind]
    fate: npt.NDArray[np.int16]
    """A number of `kinds`, KEPT (-1) for those that no stage dropped."""
    quarantined: npt.NDArray[np.bool_]
    duplicate_of: Numbers
    similarity: npt.NDArray[np.float64]
    domain_rank: npt.NDArray[np.float64]
    cluster_size: npt.NDArray[np.integer[Any]]
    copies: Numbers

    def reasons(self, recipe: Recipe, table: pl.DataFrame) -> pl.DataFrame:
        """Columns stage, rule, value, low, high; null where a document was not dropped.

        `table` is the block's, with `early` and the columns of the recipe's filter.
        """
        threshold = recipe.dedup.near.threshold if recipe.dedup and recipe.dedup.near else 1.0
        stage = pl.col("stage")
        is_near = (stage == "dedup") & (pl.col("rule") == "near")
        frame = (
            named(self.kinds, self.fate)
            .hstack(bounds_met(recipe, table))
            .with_columns(
                similarity=pl.Series(self.similarity).fill_nan(None),
                domain_rank=pl.Series(self.domain_rank).fill_nan(None),
            )
        )
        by_filter = {name: pl.when(stage == "filter").then(name) for name in SHOWN}
        is_capped = pl.col("rule") == CAP
        value = pl.when(is_capped).then("domain_rank").otherwise("value")
        cap = recipe.filter.urls.per_domain if recipe.filter.urls else None
        return frame.select(
            "stage",
            "rule",
            value=pl.when(stage == "dedup").then("similarity").when(stage == "filter").then(value),
            low=by_filter["low"],
            high=pl.when(is_capped)
            .then(pl.lit(cap, pl.Float64))
            .when(is_near)
            .then(pl.lit(threshold))
            .when((stage == "dedup") & (pl.col("rule") == "exact"))
            .then(pl.lit(1.0))
            .otherwise(by_filter["high"]),
        )


def named(kinds: list[Kind], fate: npt.NDArray[np.int16]) -> pl.DataFrame:
    """The stages and rules of these fates: columns stage, rule, null for the kept."""
    place = pl.Series(np.where(fate == KEPT, len(kinds), fate).astype(np.uint32))
    names = zip(*kinds, strict=True) if kinds else ((), ())
    return pl.DataFrame(
        {
            name: pl.Series([*known, None], dtype=pl.String).gather(place)
            for name, known in zip(("stage", "rule"), names, strict=True)
        }
    )


def failures(recipe: Recipe, table: pl.DataFrame) -> pl.DataFrame:
    """A Boolean column a rule, the cap on domains aside; false for documents without measures.

    `table` has `early` and the columns of the recipe's filter.
    """
    judged = table["early"].is_null()
    return recipe.filter.failures(table).select(pl.all() & judged)


def bounds_met(recipe: Recipe, table: pl.DataFrame) -> pl.DataFrame:
    """Columns value, low, high of the first rule that each document fails."""
    return recipe.filter.verdicts(table, failures(recipe, table)).select(SHOWN)


class Decisions:
    """What becomes of each document, and why."""

    def __init__(self, recipe: Recipe, documents: Documents) -> None:
        self.recipe, self.documents = recipe, documents
        self.kinds: list[Kind] = []
        self.fate = np.full(documents.count, KEPT, np.int16)
        self.quarantined = np.zeros(documents.count, np.bool_)
        for place, own in documents.slices():
            early = documents.block(place, ("early",)).to_series()
            for rule in early.drop_nulls().unique().sort():
                is_lost = rule.startswith(QUARANTINED)
                kind = EARLY_STAGES.get(rule, "read"), rule.removeprefix(QUARANTINED)
                rows = own.start + (early == rule).fill_null(value=False).arg_true().to_numpy()
                self.fate[rows] = self._number(kind)
                self.quarantined[rows] = is_lost
        self.readable = self.fate == KEPT
        self.duplicate_of = np.full(documents.count, NOBODY, np.int32)
        self.similarity = nothing_known()
        self.domain_rank = nothing_known()
        self.copies = self.alive.astype(np.int32)
        self.groups = pl.DataFrame()
        self.published: dict[str, grouping.Published] = {}  # by earlier nights, of each group
        self.nowhere: list[str] = []
        self.not_augmented: dict[str, int] = {}
        """Columns of `balance.by` that no document has a value in."""

    @property
    def alive(self) -> npt.NDArray[np.bool_]:
        """The documents that no stage has dropped so far."""
        alive: npt.NDArray[np.bool_] = self.fate == KEPT
        return alive

    @property
    def reasons(self) -> pl.DataFrame:
        """Stage and rule of every document, null for those that are kept."""
        return named(self.kinds, self.fate)

    def _number(self, kind: Kind) -> int:
        if kind not in self.kinds:
            self.kinds.append(kind)
        return self.kinds.index(kind)

    def drop(self, rows: npt.NDArray[Any], stage: str, rule: str) -> None:
        """Let a stage drop documents by one of its rules."""
        self.fate[rows] = self._number((stage, rule))
        self.copies[rows] = 0

    def filter(self) -> dict[str, int]:
        """Drop the documents that fail rules, by the first that each fails."""
        dropped = 0
        for place, own in self.documents.slices():
            failed = failures(self.recipe, self.documents.block(place, self.filter_columns()))
            left = self.alive[own]
            for rule in failed:
                rows = np.flatnonzero(left & rule.to_numpy())
                self.drop(rows + own.start, "filter", rule.name)
                left[rows] = False
                dropped += len(rows)
        dropped += self._cap_domains()
        return {"dropped": dropped, "left": int(self.alive.sum())}

    def filter_columns(self) -> tuple[str, ...]:
        """What a table must hold for the rules to be evaluated."""
        names = self.recipe.filter.columns()
        return ("early", *(name for name in names if name in self.documents.kinds))

    def _cap_domains(self) -> int:
        """Drop what is beyond the cap on its domain, of the documents that pass all other rules."""
        urls = self.recipe.filter.urls
        if urls is None or urls.per_domain is None:
            return 0
        rows = np.flatnonzero(self.alive)
        table = self.documents.keyed(rows, urls.columns(), "filter")
        ranks = urls.ranks(table, rank(table, urls.keep)).fill_null(0).to_numpy()
        over = ranks > urls.per_domain
        self.drop(rows[over], "filter", CAP)
        self.domain_rank = Known(rows[over], ranks[over].astype(np.float64))
        return int(over.sum())

    def failures(self) -> pl.DataFrame:
        """A Boolean column a rule, true where a document fails it; a row a readable document.

        The cap on domains is among them: it judges what no other rule drops.
        """
        frames = [
            failures(self.recipe, self.documents.block(place, self.filter_columns()))
            for place, _ in self.documents.slices()
        ]
        found = pl.concat(frames)
        found = found.filter(pl.Series(self.readable)) if found.width else found
        urls = self.recipe.filter.urls
        if urls is None or urls.per_domain is None:
            return found
        capped = np.zeros(self.documents.count, np.bool_)
        capped[self.domain_rank.rows] = True
        return pl.DataFrame([*found, pl.Series(CAP, capped[self.readable])])

    def give_way(
        self,
        rows: npt.NDArray[Any],
        best: npt.NDArray[Any],
        similarity: npt.NDArray[np.float64],
        rule: str,
    ) -> dict[str, int]:
        """Documents (`rows`, ascending) give way, each to its one of `best`, by a rule of dedup.

        Documents that had given way to one of them now name the one that it gave way to. Where the
        recipe's near-duplicates are kept, they are marked and stay.
        """
        self.duplicate_of[rows] = best
        self.similarity = self.similarity.with_(rows, similarity)
        near = self.recipe.dedup.near if self.recipe.dedup else None
        if rule == "near" and near is not None and not near.drop:
            return {"dropped": 0, "left": int(self.alive.sum())}
        self.drop(rows, "dedup", rule)
        # but not those by the column: their text need not be like that of whom it gave way to
        by_column = self._number(("dedup", "column"))
        followers = np.flatnonzero((self.duplicate_of != NOBODY) & (self.fate != by_column))
        followers = followers[self.duplicate_of[self.duplicate_of[followers]] != NOBODY]
        through = self.duplicate_of[followers]
        self.duplicate_of[followers] = self.duplicate_of[through]
        self.similarity = self.similarity.with_(followers, self.similarity.of(through))
        self.drop(followers, "dedup", rule)
        return {"dropped": len(rows), "left": int(self.alive.sum())}

    def balance(self) -> dict[str, int]:
        """Give every document a whole number of copies, so that groups get their shares."""
        balance = self.recipe.balance
        rows = np.flatnonzero(self.alive)
        if balance is None or len(rows) == 0:
            return {"dropped": 0, "left": len(rows), "added": 0}
        table = self._weighed(balance)
        takes_part = np.ones(len(rows), np.bool_)
        for cap in balance.inside_caps(table):
            inside = cap.to_numpy()
            self.drop(rows[takes_part & ~inside], "balance", cap.name)
            takes_part &= inside
        left, table = rows[takes_part], table.filter(pl.Series(takes_part))
        try:
            copies = self._augmentable(table, balance.copies(table, self.published))
            self.groups = balance.report(table, copies, self.published)
        except ValueError as error:
            raise RecipeError(f"balance: {error}") from error
        self.copies[left] = copies
        self.drop(left[copies == 0], "balance", balance.label())
        written = int((copies > 0).sum())
        added = int(np.maximum(copies - 1, 0).sum())
        return {"dropped": len(rows) - written, "left": written, "added": added}

    def kept_share(self) -> float:
        """The share of all documents that is written; 0 of nothing."""
        return float(self.alive.mean()) if self.documents.count else 0.0

    def left_out(self, copies: pl.DataFrame) -> None:
        """Take copies that were left out, (shard, row, len), from what groups achieve."""
        if self.recipe.balance is None or copies.is_empty():
            return
        nowhere = self.nowhere
        table = self._weighed(self.recipe.balance)
        self.nowhere = nowhere
        written = self.copies.copy()
        for place, own in self.documents.slices():
            known = self.documents.block(place, ("shard", "row"))
            missing = known.join(copies, on=["shard", "row"], how="left", maintain_order="left")
            written[own] -= missing["len"].fill_null(0).cast(pl.Int32).to_numpy()
        names = pl.DataFrame({"group": self.groups["group"]}).with_row_index("code")
        codes = table.join(names, on="group", how="left", maintain_order="left")["code"]
        self.groups = grouping.achieved(
            self.groups,
            codes.cast(pl.Int64).to_numpy(),
            table["size"].to_numpy(),
            written[np.flatnonzero(self.alive)],
        )

    def _augmentable(
        self, table: pl.DataFrame, copies: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int32]:
        """The copies without those that `augment` may not make."""
        augment = self.recipe.augment
        if augment is None:
            return copies
        allowed = copies
        if augment.held_out is not None:
            allowed = np.where(table["held_out"].to_numpy(), np.minimum(copies, 1), copies)
            self.not_augmented["held_out"] = int((copies - allowed).sum())
        sizes, chances = table["size"].to_numpy(), table["chance"].to_numpy()
        bound = within_share(allowed, sizes, chances, augment.max_share, augment.originals)
        self.not_augmented["max_share"] = int((allowed - bound).sum())
        return bound

    def _weighed(self, balance: Balance) -> pl.DataFrame:
        """What balance goes by, of the documents that are left; the columns are its methods'."""
        sizes, roots = self._clusters() if balance.needs_clusters() else (None, None)
        nulls = dict.fromkeys(balance.names(), 0)
        augment = self.recipe.augment
        held_out = (augment.held_out,) if augment and augment.held_out else ()
        frames = []
        for place, own in self.documents.slices():
            names = (*balance.columns(), *held_out, "given", "text_lo")
            table = self.documents.block(place, names)
            drawn = [pl.Series("chance", chance(table, self.documents.seed, "balance"))]
            if balance.caps.domain is not None:
                drawn.append(domains(table[balance.caps.url].cast(pl.String)))
            if sizes is not None and roots is not None:
                table = table.with_columns(pl.Series(CLUSTER_SIZE, sizes[own]))
                drawn.append(pl.Series("cluster", roots[own]))
                drawn.append(pl.Series("is_best", roots[own] == np.arange(own.start, own.stop)))
                drawn.append(pl.Series("repeats", balance.repeats(sizes[own])))
            drawn += [table[name].fill_null(value=False).alias("held_out") for name in held_out]
            alive = pl.Series(self.alive[own])
            for name in nulls:
                nulls[name] += table[name].filter(alive).null_count()
            frames.append(table.select(balance.group(), balance.size(), *drawn).filter(alive))
        found = pl.concat(frames)
        self.nowhere = [name for name, count in nulls.items() if count == found.height]
        return found

    def fates(self) -> Iterator[Fates]:
        """What became of the documents, block by block."""
        sizes = self._clusters()[0]
        for _, own in self.documents.slices():
            yield self._fates(own, sizes)

    def _fates(self, own: slice, sizes: npt.NDArray[np.integer[Any]]) -> Fates:
        rows = np.arange(own.start, own.stop)
        return Fates(
            kinds=self.kinds,
            fate=self.fate[own],
            quarantined=self.quarantined[own],
            duplicate_of=self.duplicate_of[own],
            similarity=self.similarity.of(rows),
            domain_rank=self.domain_rank.of(rows),
            cluster_size=sizes[own],
            copies=self.copies[own],
        )

    def reason(self, row: int) -> dict[str, Any]:
        """Why one document was dropped: stage, rule, value, low, high; null if it was not."""
        table = self.documents.columns(self.filter_columns(), np.array([row]))
        fates = self._fates(slice(row, row + 1), self.duplicate_of)
        return fates.reasons(self.recipe, table).row(0, named=True)

    def _clusters(self) -> tuple[Rows, Rows]:
        """How many documents are alike, the representative and all that gave way to it; and it."""
        own = np.arange(len(self.duplicate_of), dtype=np.int32)
        root = np.where(self.duplicate_of == NOBODY, own, self.duplicate_of)
        root = root[root]  # an equal text may stand behind a document that is marked and kept
        return np.bincount(root, minlength=len(root))[root], root
