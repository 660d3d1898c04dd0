"""What stats.json says of the documents of one block; and of all blocks, added up as they come."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from cleanpipe import ledger, store
from cleanpipe.decide import failures
from cleanpipe.documents import Documents
from cleanpipe.duplicates import cuts
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.report import examples
from cleanpipe.rules import effects
from cleanpipe.rules.urls import CAP
from cleanpipe.stats import stats
from cleanpipe.text.fixes import FIXES

KINDS = ("kept", "dropped", "quarantined")
DUPLICATES = ("column", "exact", "near")


def largest_groups(documents: Documents) -> dict[str, list[str] | None]:
    """The languages and sources that have histograms of their own, by their text in all blocks."""
    columns = [name for name in stats.GROUPED if name in documents.kinds]
    sizes: dict[str, list[dict[str, dict[str, int]]]] = {name: [] for name in columns}
    for place, _ in documents.slices():
        table = documents.block(place, (*columns, "bytes", "chars"))
        for name in columns:
            sizes[name].append(stats.by_value(table, name))
    return {name: stats.largest(parts) for name, parts in sizes.items()}


def count_block(
    documents: Documents,
    recipe: Recipe,
    groups: Mapping[str, Sequence[str] | None],
    place: int,
) -> store.Record:
    """What stats.json says of the documents of one block, for `count` to add up.

    `groups` are those of `largest_groups`.
    """
    chosen = recipe.filter
    table = documents.block(place, [*documents.kinds])
    verdicts = pl.read_parquet(ledger.verdicts_path(documents, place))
    judged = table["early"].is_null()
    failed = failures(recipe, table)
    if chosen.urls is not None and chosen.urls.per_domain is not None:
        capped = (verdicts["rule"] == CAP).fill_null(value=False)
        failed = pl.DataFrame([*failed, capped.alias(CAP)])
    readable, failed = table.filter(judged), failed.filter(judged) if failed.width else failed
    dedup = verdicts.filter(pl.col("stage") == "dedup")["rule"]
    kept = verdicts["verdict"] == "kept"
    return {
        "verdicts": {kind: int((verdicts["verdict"] == kind).sum()) for kind in KINDS},
        "judged": readable.height,
        "described": stats.describe(
            table, verdicts, {*_own_measures(recipe), *chosen.rules}, groups
        ),
        "fixes": _fixes(table),
        "cuts": _cuts(table),
        "duplicates": {
            **{rule: int((dedup == rule).sum()) for rule in DUPLICATES},
            "marked": int((kept & verdicts["duplicate_of"].is_not_null()).sum()),
        },
        "counts": chosen.counts(failed),
        "applies": effects.applies(chosen, readable),
        "moves": effects.moves(chosen, readable, failed),
        "together": effects.together(failed).tolist(),
        "picks": examples.picks(documents, table, verdicts, place),
    }


class Total:
    """What `stats.describe` says of all blocks, added up as they come: in any order, the same.

    A block's histograms of groups take megabytes: at most MOST_PARTS wait to be added.
    """

    MOST_PARTS = 16

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def add(self, block: store.Record) -> store.Record:
        """Take a block's statistics out of what `count_block` says of it; gives what is left."""
        with self._lock:
            self._parts.append(block.pop("described"))
            if len(self._parts) == self.MOST_PARTS:
                self._parts = [stats.merged(self._parts)]
        return block

    def known(self) -> dict[str, Any]:
        """Of all blocks that were added."""
        return stats.merged(self._parts)


def _fixes(table: pl.DataFrame) -> dict[str, int]:
    """How many documents each fix changed."""
    bits = table["fixes"].fill_null(0)
    return {fix: int(((bits.to_numpy() >> place) & 1).sum()) for place, fix in enumerate(FIXES)}


def _own_measures(recipe: Recipe) -> tuple[str, ...]:
    return (*recipe.measure.own(), *(cuts.MEASURES if recipe.cuts else ()))


def _cuts(table: pl.DataFrame) -> dict[str, int]:
    """How many documents of a block were cut, and how much."""
    if "cut_bytes" not in table.columns:
        return {}
    gone = table["cut_bytes"].fill_null(0)
    chars = int(table["cut_chars"].fill_null(0).sum())
    return {"documents": int((gone > 0).sum()), "bytes": int(gone.sum()), "chars": chars}
