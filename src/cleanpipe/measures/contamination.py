"""What of the evaluation sets a run read and kept: counts by set, and each example that was seen.

Everything comes from the tables of measures and verdicts, a block at a time; what is held is at
most two rows an example.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from cleanpipe import store
from cleanpipe.measures.evaluations import SHARED

LOOKED_FOR = "evaluations/looked_for.json"
SEEN = "evaluations/seen.parquet"
_OF = ("set", "example")
_IS_SEEN = 2 * pl.col("seen") > pl.col("of")
"""Tulu 3's bound (arXiv 2411.15124, 3.2): more than half of the example's words."""


def count(run: Path) -> store.Record:
    """The documents and examples of each set that meet; empty without sets.

    Leaves a table of the examples that any document shares words with.
    """
    if not (run / LOOKED_FOR).exists():
        return {}
    known: store.Record = store.read_json(run / LOOKED_FOR)
    documents, best = pl.DataFrame(), pl.DataFrame()
    for met in _met(run):
        counted = (
            met.group_by("set", "kept", "place")
            .agg(_IS_SEEN.any().alias("seen"))
            .group_by("set", "kept")
            .agg(pl.len().alias("documents"), pl.col("seen").sum())
        )
        documents = pl.concat([documents, counted]) if documents.width else counted
        best = _best([best, met.drop("place")] if best.width else [met.drop("place")])
    for name, told in known["sets"].items():
        for which in ("read", "kept"):
            told[which] = _side(documents, best, name, kept_only=which == "kept")
    _write(run, best)
    return known


def of_document(table: pl.DataFrame) -> list[dict[str, Any]]:
    """What one document (a table of one row) shares with examples, the most covered one first."""
    if SHARED not in table.columns or table[SHARED][0] is None:
        return []
    found: list[dict[str, Any]] = table[SHARED][0].to_list()
    return found


def _met(run: Path) -> Iterator[pl.DataFrame]:
    """Where a document and an example meet: a row for each, by blocks."""
    for path in sorted((run / "measures").glob("*.parquet")):
        verdicts = pl.read_parquet(run / "verdicts" / path.name, columns=["verdict", "shard"])
        table = pl.read_parquet(path, columns=["row", "id", SHARED]).hstack(verdicts)
        met = table.with_row_index("place").filter(pl.col(SHARED).list.len() > 0)
        yield (
            met.select(
                pl.col(SHARED),
                "place",
                pl.col("id").alias("document"),
                "shard",
                "row",
                (pl.col("verdict") == "kept").alias("kept"),
            )
            .explode(SHARED)
            .unnest(SHARED)
        )


def _best(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Of each example the document that holds most of it, of those kept and of the others."""
    every = pl.concat(frames).sort("seen", descending=True, maintain_order=True)
    return every.unique([*_OF, "kept"], keep="first", maintain_order=True)


def _side(
    documents: pl.DataFrame, best: pl.DataFrame, name: str, *, kept_only: bool
) -> dict[str, int]:
    """Documents that share words with a set or hold an example, and examples that they meet."""
    if not documents.width:
        return dict.fromkeys(("documents", "documents_seen", "examples", "examples_seen"), 0)
    mine = (pl.col("set") == name) & (pl.col("kept") | (not kept_only))
    held, met = documents.filter(mine), best.filter(mine)
    return {
        "documents": int(held["documents"].sum()),
        "documents_seen": int(held["seen"].sum()),
        "examples": met["example"].n_unique(),
        "examples_seen": met.filter(_IS_SEEN)["example"].n_unique(),
    }


def _write(run: Path, best: pl.DataFrame) -> None:
    """A row an example, by set and number: the document read that holds most of it, and if kept."""
    if not best.width:
        (run / SEEN).unlink(missing_ok=True)
        return
    kept = best.filter("kept").select(*_OF, pl.col("seen").alias("seen_in_kept"))
    every = best.sort("seen", descending=True, maintain_order=True)
    first = every.unique(_OF, keep="first", maintain_order=True).join(kept, on=_OF, how="left")
    named = first.select(
        *_OF, "id", "of", "seen", "document", "shard", "row", pl.col("seen_in_kept").fill_null(0)
    ).sort(_OF)
    table = named.to_arrow()
    store.write_table(run / SEEN, [table], table.schema)
