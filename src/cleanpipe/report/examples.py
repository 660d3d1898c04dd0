"""Documents to look at: what each rule dropped, what each fix changed, the largest clusters.

Which documents are shown follows from the seed and the documents alone: those with the smallest
chance of all that a rule dropped. They are chosen while blocks are counted, and then read again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cleanpipe import store
from cleanpipe.decide import NOBODY, Decisions
from cleanpipe.documents import Documents, chance
from cleanpipe.duplicates.deduplicate import Map
from cleanpipe.input.corpus import Block, Shard
from cleanpipe.input.reread import cuts_of, reread
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.report.excerpts import Samples, changed, masked, side_by_side, triggered
from cleanpipe.text.fixes import FIXES

VERSION = 1
NAME = "examples.json"
EACH = 3
"""Documents shown of each rule and fix, and members of each cluster."""
CLUSTERS = 5
READ = ("shard", "row", "fixes", "text_lo")
"""What reading a document again needs."""
KINDS = {"rule": "rules", "fix": "fixes", "cluster": "clusters"}
Pick = dict[str, Any]
"""A document that is shown: of what (kind, name), its chance, its place, id, block, value."""


def picks(
    documents: Documents, table: pl.DataFrame, verdicts: pl.DataFrame, place: int
) -> list[Pick]:
    """Of one block EACH documents with the smallest chance for every rule and fix.

    `table` is the block's, with given, text_lo and READ; `verdicts` its ledger, row by row.
    """
    own = table.select(*READ, "id").with_columns(
        verdicts["stage", "rule", "verdict", "value"],
        chance=pl.Series(chance(table, documents.seed, "examples")),
        block=pl.lit(place, pl.Int64),
    )
    lost = own.filter(pl.col("stage").is_in(["filter", "balance", "cuts"]))
    found = [_first(lost, pl.lit("rule").alias("kind"), pl.col("rule").alias("name"))]
    for bit, name in enumerate(FIXES):
        has = own.filter((pl.col("fixes").fill_null(0).cast(pl.Int64) // 2**bit) % 2 == 1)
        found.append(_first(has, pl.lit("fix").alias("kind"), pl.lit(name).alias("name")))
    return pl.concat(found).to_dicts()


def _first(rows: pl.DataFrame, *named: pl.Expr) -> pl.DataFrame:
    columns = ("stage", "value", "chance", "block", "id", *READ)
    known = rows.select(*named, *columns).sort("chance", "shard", "row")
    return known.group_by("kind", "name", maintain_order=True).head(EACH)


def merged(blocks: Iterable[Sequence[Pick]]) -> list[Pick]:
    """The same of all blocks: in any order of blocks, these documents."""
    every = [pick for block in blocks for pick in block]
    every.sort(key=lambda p: (p["kind"], p["name"], p["chance"], p["shard"], p["row"]))
    counts: dict[tuple[str, str], int] = {}
    chosen = []
    for pick in every:
        key = pick["kind"], pick["name"]
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= EACH:
            chosen.append(pick)
    return chosen


def clusters(decisions: Decisions) -> list[Pick]:
    """The largest clusters of similar documents: who stands for each, and the least similar of it.

    Clusters of equal texts alone have nothing to compare, and are left out.
    """
    rows = decisions.similarity.rows
    values = decisions.similarity.values
    given = decisions.duplicate_of[rows]
    near = (given != NOBODY) & (values < 1)
    roots, sizes = np.unique(given[near], return_counts=True)
    chosen = []
    for at in np.lexsort((roots, -sizes))[:CLUSTERS].tolist():
        root = int(roots[at])
        inside = near & (given == root)
        order = np.lexsort((rows[inside], values[inside]))[:EACH]
        members = [(int(rows[inside][k]), float(values[inside][k])) for k in order.tolist()]
        stands = int((decisions.duplicate_of == root).sum()) + 1
        chosen += _members(decisions.documents, root, stands, [(root, None), *members])
    return chosen


def _members(
    documents: Documents, root: int, size: int, members: Sequence[tuple[int, float | None]]
) -> list[Pick]:
    found = []
    for row, similarity in members:
        block = int(np.searchsorted(documents.starts, row, side="right")) - 1
        line = documents.columns(("id", *READ), np.array([row])).row(0, named=True)
        named = {"kind": "cluster", "name": str(root), "block": block, "value": similarity}
        found.append({**line, **named, "size": size, "stage": "dedup"})
    return found


def write(
    chosen: Sequence[Pick],
    folder: Path,
    recipe: Recipe,
    seed: int,
    blocks: Sequence[Block],
    shards: tuple[Shard, ...],
    call: Callable[..., Any],
    map_: Map,
) -> None:
    """Read the chosen documents again, block by block in workers, and leave examples.json."""
    samples = recipe.report.samples
    shown = [] if samples == "none" else chosen

    def read(place: int) -> store.Record:
        places = [pick for pick in shown if pick["block"] == place]
        return {"texts": call(read_block, folder, recipe, seed, blocks[place], shards, places)}

    found = map_("read examples", read, sorted({pick["block"] for pick in shown}))
    texts = {
        (shard, row): (before, after) for one in found for shard, row, before, after in one["texts"]
    }
    store.write_json(folder / NAME, told(shown, texts, samples) | {"picks": list(chosen)})


def read_block(
    folder: Path,
    recipe: Recipe,
    seed: int,
    block: Block,
    shards: tuple[Shard, ...],
    places: Sequence[Mapping[str, Any]],
) -> list[tuple[int, int, str, str]]:
    """Read documents of one block again: shard, row, the text as it came, and the clean one."""
    kinds = {"shard": pl.UInt32, "row": pl.UInt64, "fixes": pl.UInt32, "text_lo": pl.UInt64}
    wanted = pl.DataFrame(
        [{name: place[name] for name in READ} for place in places], schema=kinds
    ).unique()
    wanted = wanted.with_columns(pl.col("fixes").fill_null(0)).sort("shard", "row")
    found = []
    for again in reread(wanted, recipe, seed, [block], shards, cuts_of(folder)):
        columns = again.wanted["shard"].to_list(), again.wanted["row"].to_list()
        texts = again.original.to_pylist(), again.texts.to_pylist()
        found += list(zip(*columns, *texts, strict=True))
    return found


def told(
    chosen: Sequence[Pick], texts: Mapping[tuple[int, int], tuple[str, str]], samples: Samples
) -> store.Record:
    """What examples.json holds: for rules, fixes and clusters the excerpts of their documents."""
    mask = samples == "masked"
    clean = masked if mask else str
    known: dict[str, dict[str, Any]] = {"rule": {}, "fix": {}, "cluster": {}}
    first: dict[str, str] = {}
    for pick in chosen:
        kind, name = pick["kind"], pick["name"]
        original, written = texts[pick["shard"], pick["row"]]
        before, after = clean(original), clean(written)
        entry = known[kind].setdefault(name, {"name": name, "stage": pick["stage"], "examples": []})
        line = {"id": pick["id"], "value": pick["value"]}
        if kind == "rule":
            line["text"] = triggered(name, written, mask=mask)
        elif kind == "fix":
            line["before"], line["after"] = changed(before, after)
        else:
            entry["size"] = pick["size"]
            best = first.setdefault(name, after)
            line["text"] = side_by_side(best, after)
        entry["examples"].append(line)
    return {
        "version": VERSION,
        "samples": samples,
        **{name: list(known[kind].values()) for kind, name in KINDS.items()},
    }
