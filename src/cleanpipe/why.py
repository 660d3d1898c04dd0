"""One document's story: what it measured, what each rule said, what it gave way to, its text."""

from pathlib import Path
from typing import Any

import polars as pl

from cleanpipe import corpus, ledger, store
from cleanpipe.errors import InputError
from cleanpipe.normalize import FIXES
from cleanpipe.recipe import load
from cleanpipe.reread import reread


def stories(run: Path, name: str) -> list[dict[str, Any]]:
    """The stories of all documents with this id, the text before and after among them."""
    return [_story(run, verdict) for verdict in ledger.find(run, name).to_dicts()]


def _story(run: Path, verdict: dict[str, Any]) -> dict[str, Any]:
    inputs = store.read_json(run / "inputs.json")
    shards = tuple(corpus.Shard.from_json(entry["shard"]) for entry in inputs)
    number = next(shard.number for shard in shards if shard.name == verdict["shard"])
    line = ledger.measures_of(run, number, verdict["row"])
    story: dict[str, Any] = {"verdict": verdict}
    if verdict["verdict"] == "quarantined":
        return story
    recipe = load(run / "recipe.yaml")
    table = pl.DataFrame([line])
    story["rules"] = recipe.filter.explain(table)
    story["measures"] = {
        key: value for key, value in line.items() if key not in _INTERNAL and value is not None
    }
    if verdict["duplicate_of"] is not None:
        story["representative"] = _representative(run, verdict["duplicate_of"])
    if line["early"] is None:
        before, after = _texts(table, recipe, shards, run)
        story |= {"before": before, "after": after}
        story["fixes"] = recipe.normalize.explain(before)
    else:
        bits = line["fixes"] or 0
        story["fixes"] = [fix for place, fix in enumerate(FIXES) if bits >> place & 1]
    return story


_INTERNAL = {"shard", "row", "id", "early", "given", "text_lo", "text_hi", "fixes"}


def _representative(run: Path, name: str) -> list[dict[str, Any]]:
    """What became of the document that this one gave way to: a later stage may have dropped it."""
    columns = ("id", "verdict", "stage", "rule", "copies")
    return ledger.find(run, name).select(columns).to_dicts()


def _texts(
    table: pl.DataFrame, recipe: Any, shards: tuple[corpus.Shard, ...], run: Path
) -> tuple[str, str]:
    shard = shards[table["shard"][0]]
    try:
        index = corpus.index_shard(shard, recipe.input[shard.input])
    except OSError as error:
        raise InputError(f"{shard.path} cannot be read again: {error}") from error
    blocks = corpus.blocks([index])
    for again in reread(table, recipe, recipe.seed, blocks, shards):
        return again.original[0].as_py(), again.texts[0].as_py()
    raise InputError(f"{shard.path} no longer holds row {table['row'][0]} in run {run.name}")
