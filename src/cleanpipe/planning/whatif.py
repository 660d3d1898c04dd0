"""What a changed recipe would do to a run's documents, from its tables: no text is read.

`decide` answers exactly what only the tables decide: filter, exact duplicates, balance, gates; and
near-duplicates wherever the run compared all pairs concerned. Where it did not, every number is a
range with two ends, each decided to the end: at one only those documents give way that do so for
certain, at the other all that could. What the tables cannot say is refused by name.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from cleanpipe import store
from cleanpipe.decide import Decisions
from cleanpipe.documents import Documents
from cleanpipe.duplicates.dedup import COLUMN_HASHES, Dedup
from cleanpipe.duplicates.replay import Answer, Compared, places
from cleanpipe.errors import QuarantineError, RecipeError
from cleanpipe.input import intake
from cleanpipe.kernels.components import repeated
from cleanpipe.measures.measure import block_name, carried_schema
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_file import load

DECIDED = ("filter", "dedup", "balance", "order", "gates", "max_quarantined")
"""The sections that are decided between the passes."""
WITHOUT_EFFECT = ("augment", "output", "memory")
"""The sections that change what is written of a document, and not which documents."""
ALWAYS = ("shard", "row", "early", "bytes", "given", "text_lo", "text_hi")
SHOWN_BY = ("lang", "source")


class WhatIf:
    """A run's documents under another recipe: `ends` has one `Decisions`, or two and a guess."""

    def __init__(self, run: Path, recipe: Recipe, asked: Recipe) -> None:
        self.run, self.had = run, recipe
        if "after" in store.read_json(run / "identity.json"):
            raise RecipeError(
                f"run {run.name} added to earlier nights, whose documents its tables do not hold: "
                "ask `cleanpipe decide` of a run over everything"
            )
        self.changed = [*changes(recipe, asked), *_changed_lists(run, asked)]
        self.asked = asked.model_copy(update={"seed": recipe.seed})
        self.inputs = store.read_json(run / "inputs.json")
        self.open_pairs = 0
        _refuse_sections(self.changed)
        self.table, self.documents = self._load()
        self.ends = [self.documents]
        for stage in self.asked.order:
            if stage == "dedup":
                self._deduplicate()
            else:
                for end in self.ends:
                    end.filter() if stage == "filter" else end.balance()
        self.guess = self.ends.pop() if len(self.ends) == 3 else self.ends[0]

    def _load(self) -> tuple[pl.DataFrame, Decisions]:
        """The documents, with few columns, and what becomes of them."""
        paths = sorted((self.run / "receipts").glob("measure-*.json"))
        receipts = [store.read_json(path) for path in paths]
        shards = (entry["shard"] for entry in self.inputs)
        untyped = {shard["name"] for shard in shards if shard["format"] == "jsonl"}
        carried = carried_schema(receipts, self.asked.output.on_conflict, untyped)
        if len(carried):  # a run that read no document asks nothing of columns, either
            intake.check_columns(self.asked, [carried])
        blocks = [receipt["block"] for receipt in receipts]
        kept: set[str] = set()
        for block in blocks:
            file = self.run / "measures" / f"{block_name(block)}.parquet"
            kept |= set(pq.read_schema(file).names)
        wanted = dict.fromkeys((*ALWAYS, *needed_columns(self.asked)))
        missing = [name for name in wanted if name not in kept]
        if missing:
            raise needs_a_run([f"{missing[0]!r}: pass 1 did not keep that column"])
        seed = self.asked.seed or 0
        documents = Documents.of(self.run, self.asked, seed, receipts, carried, kept)
        found = Decisions(self.asked, documents)
        lost = int(found.quarantined.sum())
        if lost > self.asked.max_quarantined * documents.count:
            raise QuarantineError(
                f"{lost} of {documents.count} documents could not be read; max_quarantined "
                f"would allow {self.asked.max_quarantined:.2%}: a run would end there"
            )
        shown = (name for name in SHOWN_BY if name in documents.kinds)
        return documents.columns((*ALWAYS, *shown)), found

    def _deduplicate(self) -> None:
        """Let equal texts give way, then similar ones: one way, or the two ends and a guess."""
        documents = self.documents
        self._drop_by_column()
        self._drop_equal()
        near = self.asked.dedup.near if self.asked.dedup else None
        if near is None:
            return
        compared = _compared(self.run, self.had.dedup, self.asked.dedup)
        rows, numbers = self._candidates(compared)
        table = documents.documents.keyed(rows, self.asked.ranking_columns("dedup"))
        answer = compared.decide(near, table, numbers)
        self.open_pairs = answer.open_pairs
        if answer.perhaps.any():
            guess = compared.decide(near, table, numbers, guess=True)
            most, likely = (_fork(documents) for _ in range(2))
            self.ends = [documents, most, likely]
            _give_way(most, rows, answer, answer.surely | answer.perhaps)
            _give_way(likely, rows, guess, guess.surely)
        _give_way(documents, rows, answer, answer.surely)

    def _drop_by_column(self) -> None:
        """Let documents of an equal value in the column give way to the best of them."""
        column = self.asked.dedup.column if self.asked.dedup else None
        if self.asked.dedup is None or column is None:
            return
        if self.had.dedup is None or self.had.dedup.column != column:
            raise needs_a_run(["dedup.column: the run did not compare these values"])
        rows = np.flatnonzero(self.documents.alive)
        names = (*self.asked.ranking_columns("dedup"), *COLUMN_HASHES)
        best = rows[self.asked.dedup.column_duplicates(self.documents.documents.keyed(rows, names))]
        gone = best != rows
        self.documents.give_way(rows[gone], best[gone], np.full(int(gone.sum()), np.nan), "column")

    def _drop_equal(self) -> None:
        """Let equal texts give way to the best of them."""
        if self.asked.dedup is None or not self.asked.dedup.exact:
            return
        rows = np.flatnonzero(self.documents.alive)
        low = self.table["text_lo"].fill_null(0).to_numpy()[rows]
        rows = rows[repeated(low)]
        table = self.documents.documents.keyed(rows, self.asked.ranking_columns("dedup"))
        best = rows[self.asked.dedup.exact_duplicates(table)]
        gone = best != rows
        self.documents.give_way(rows[gone], best[gone], np.ones(int(gone.sum())), "exact")

    def _candidates(
        self, compared: Compared
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rows that are left and were compared, or an equal text was; and their numbers."""
        table, alive = self.table, self.documents.alive
        rows = np.searchsorted(places(table), compared.keys)
        if self.had.dedup is None or not self.had.dedup.exact:
            numbers = np.flatnonzero(alive[rows])
            return rows[numbers], numbers
        left = table.select("text_lo", "text_hi").with_row_index("own").filter(pl.Series(alive))
        equal = table.select("text_lo", "text_hi")[rows].with_row_index("number")
        found = left.join(equal, on=["text_lo", "text_hi"], how="inner").sort("own")
        own, numbers = (found[name].cast(pl.Int64).to_numpy() for name in ("own", "number"))
        return own, numbers


def decide(run: Path, overrides: Mapping[str, str], recipe: Path | None = None) -> WhatIf:
    """What `recipe` (the run's own by default), with overrides, would do to a run's documents.

    Errors: RecipeError that names every option that needs a run.
    """
    had = load(run / "recipe.yaml")
    return WhatIf(run, had, load(recipe or run / "recipe.yaml", overrides))


def needs_a_run(reasons: list[str]) -> RecipeError:
    """The refusal: what cannot be answered from tables."""
    told = "\n".join(f"needs a run: {reason}" for reason in reasons)
    return RecipeError(f"{told}\n(cleanpipe decide reads no text: it has what the run measured)")


def changes(had: Recipe, asked: Recipe) -> Iterator[dict[str, Any]]:
    """Each option that differs, by its dotted name, before and after; null where it is not set."""
    before, after = (dict(flat(recipe.resolved())) for recipe in (had, asked))
    for name in dict.fromkeys((*before, *after)):
        # the run drew its seed; notices say what reading a recipe found
        known = name == "notices" or (name == "seed" and after[name] is None)
        if before.get(name) != after.get(name) and not known:
            yield {"option": name, "before": before.get(name), "after": after.get(name)}


def _changed_lists(run: Path, asked: Recipe) -> Iterator[dict[str, Any]]:
    """Lists of filter.urls that the run went by, and that have other bytes now: path, hashes."""
    known = store.read_json(run / "identity.json").get("lists", {})
    for path, now in (asked.filter.urls.list_hashes() if asked.filter.urls else {}).items():
        if known.get(path, now) != now:
            yield {"option": f"filter.urls: {path}", "before": known[path], "after": now}


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The options of a recipe that hold no others, by their whole names."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from flat(below, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _refuse_sections(changed: list[dict[str, Any]]) -> None:
    names = [change["option"] for change in changed]
    lost = [n for n in names if n.split(".")[0] not in {*DECIDED, *WITHOUT_EFFECT}]
    if lost:
        raise needs_a_run([f"{name} changes what is read or measured" for name in lost])


def needed_columns(recipe: Recipe) -> Iterator[str]:
    """The columns of pass 1 that a recipe's decisions ask for."""
    yield from recipe.filter.columns()
    if recipe.dedup is not None or recipe.ranking_columns("filter"):
        yield from ("id", "has_id")
    yield from recipe.ranking_columns("dedup")
    if recipe.balance is not None:
        yield from recipe.balance.columns()


def _compared(run: Path, had: Dedup | None, asked: Dedup | None) -> Compared:
    """The run's pairs; RecipeError where they cannot answer."""
    if had is None or had.near is None:
        raise needs_a_run(["dedup.near: the run made no signatures"])
    if asked is None or asked.near is None:
        raise ValueError("nothing is asked about near-duplicates")
    if had.exact and not asked.exact:
        raise needs_a_run(["dedup.exact: the run compared one of equal texts"])
    compared = Compared.load(run, had.near)
    refused = compared.refusal(asked.near)
    if refused:
        raise needs_a_run([refused])
    return compared


def _fork(documents: Decisions) -> Decisions:
    """The same documents, to be decided another way from here on."""
    other = copy.copy(documents)
    for name in ("fate", "duplicate_of", "copies"):
        setattr(other, name, getattr(documents, name).copy())
    return other


def _give_way(
    end: Decisions, rows: npt.NDArray[np.int64], answer: Answer, chosen: npt.NDArray[np.bool_]
) -> None:
    best = rows[answer.for_whom[chosen]]
    end.give_way(rows[chosen], best, np.full(len(best), np.nan), "near")
