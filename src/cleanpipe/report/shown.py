"""What the page shows beside stats.json: documents to search in, holders of repeats, earlier runs.

Everything is read from the run's own tables, a block at a time; no text is read here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from cleanpipe import store

MOST = 500
"""Documents in the list that can be searched."""
EACH = 30
"""Of one rule; those that are kept count as one."""
LONGEST = 300
"""Characters of a name, of whatever length it was given."""
HOLDERS = 8
BOUNDS = (32, 128, 512)
"""Repeated tokens from which a document's price is told; 32 repeats are OLMo 2's bound."""
ORDER = ("repeat_tokens", "shard", "row")
RUNS = 30
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""SplitMix64's, Steele, Lea and Flood 2014."""

Line = dict[str, Any]


def blocks(folder: Path, names: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    """The verdicts of each block with measures of these names, where the tables have them."""
    for path in sorted((folder / "verdicts").glob("*.parquet")):
        measures = folder / "measures" / path.name
        known = pl.read_parquet_schema(measures)
        asked = [name for name in names if name in known]
        yield pl.read_parquet(path).hstack(pl.read_parquet(measures, columns=asked))


def listed(folder: Path, seed: int, examples: Mapping[str, Any]) -> list[Line]:
    """Documents to search in: EACH of every rule at most, by chance, those with a text first."""
    texts = _texts(examples)
    ids = {name for name, _ in texts}
    found = []
    for place, block in enumerate(blocks(folder, ("lang", "source"))):
        chance = pl.Series("chance", _chance(block.height, seed + place))
        first = pl.when(~pl.col("id").is_in(ids)).then("chance").otherwise(0).alias("chance")
        rows = block.with_columns(chance).with_columns(first).sort("chance", "shard", "row")
        found.append(rows.group_by("stage", "rule", maintain_order=True).head(EACH))
    if not found:
        return []
    rows = pl.concat(found, how="diagonal_relaxed").sort("chance", "shard", "row")
    rows = rows.group_by("stage", "rule", maintain_order=True).head(EACH).head(MOST)
    return [_line(row, texts) for row in rows.sort("shard", "row").iter_rows(named=True)]


def _chance(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """One number a row, never 0, from the seed."""
    numbers = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed % 2**32 << 32)
    for shift, factor in zip((30, 27), MULTIPLIERS, strict=True):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    mixed: np.ndarray[Any, np.dtype[np.uint64]] = numbers | np.uint64(1)
    return mixed


def _texts(examples: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """The excerpts on the page by id and rule, as plain text."""
    return {
        (line["id"], entry["name"]): "".join(text for _, text in line["text"])
        for entry in examples.get("rules", ())
        for line in entry["examples"]
    }


def _line(row: Line, texts: Mapping[tuple[str, str], str]) -> Line:
    reason = [row["stage"], row["rule"]] if row["verdict"] != "kept" else ["kept"]
    return {
        "id": row["id"][:LONGEST],
        "place": f"{row['shard'][:LONGEST]}, row {row['row']}",
        "source": (row.get("source") or "")[:LONGEST],
        "lang": (row.get("lang") or "")[:LONGEST],
        "verdict": row["verdict"],
        "why": " ".join(part for part in reason if part),
        "detail": _detail(row),
        "text": texts.get((row["id"], row["rule"]), ""),
    }


def _detail(row: Line) -> str:
    if row["duplicate_of"] is not None:
        similar = "" if row["similarity"] is None else f", similarity {row['similarity']:.2f}"
        return f"gave way to {row['duplicate_of'][:LONGEST]}{similar}"
    bounds = [f"{side} {row[side]:g}" for side in ("low", "high") if row[side] is not None]
    value = [] if row["value"] is None else [f"{row['value']:.6g}"]
    return ", ".join([*value, *bounds])


def holders(folder: Path) -> Line:
    """Who holds the tokens that repeat: documents, sources and shards, read and kept; the price."""
    best: list[pl.DataFrame] = []
    counts: dict[str, dict[str, Counter[str]]] = {}
    prices = {bound: Counter[str]() for bound in BOUNDS}
    for block in blocks(folder, ("repeat_tokens", "source", "bytes")):
        if "repeat_tokens" not in block.columns:
            continue
        has = block.filter(pl.col("repeat_tokens") > 0)
        names = ("id", "shard", "row", "verdict", "stage", "rule", "repeat_tokens")
        best.append(has.select(names).sort(ORDER, descending=[True, False, False]).head(HOLDERS))
        for bound, price in prices.items():
            kept = has.filter(pl.col("repeat_tokens") >= bound, pl.col("verdict") == "kept")
            price["documents"] += kept.height
            for unit in ("bytes", "repeat_tokens"):
                price[unit] += int(kept[unit].sum() or 0)
        for kind in ("source", "shard"):
            if kind in has.columns:
                known = counts.setdefault(kind, {"raw": Counter(), "clean": Counter()})
                for side, rows in (("raw", has), ("clean", has.filter(verdict="kept"))):
                    sums = rows.group_by(pl.col(kind).fill_null("null")).agg(
                        pl.col("repeat_tokens").sum()
                    )
                    known[side].update(dict(sums.iter_rows()))
    most = pl.concat(best) if best else pl.DataFrame(schema=dict.fromkeys(ORDER, pl.Int64))
    chosen = most.sort(ORDER, descending=[True, False, False]).head(HOLDERS).to_dicts()
    told = [{"bound": bound, **price} for bound, price in prices.items() if price["documents"]]
    groups = {kind: _shares(counts[kind]) for kind in counts}
    return {"documents": chosen, "groups": groups, "prices": told}


def _shares(known: Mapping[str, Counter[str]]) -> list[Line]:
    raw, clean = known["raw"], known["clean"]
    most = sorted(raw, key=lambda name: (-raw[name], name))[:HOLDERS]
    every = {"raw_total": raw.total(), "clean_total": clean.total()}
    return [{"name": name, "raw": raw[name], "clean": clean[name], **every} for name in most]


def earlier(folder: Path) -> list[Line]:
    """Published runs before this one, the last of them first, with their statistics if there."""
    path = folder.parents[1] / "metrics.jsonl"
    if not path.exists():
        return []
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    before = [line for line in lines if line["run"] < folder.name][-RUNS:][::-1]
    for line in before[:1]:
        kept = folder.parent / line["run"] / "stats.json"
        line["stats"] = store.read_json(kept) if kept.exists() else None
    return before
