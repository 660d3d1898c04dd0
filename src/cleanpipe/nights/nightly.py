"""Is there anything to do tonight? What differs from the published run, without reading a text."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cleanpipe import identity, store
from cleanpipe.input import places
from cleanpipe.input.intake import find_shards
from cleanpipe.nights.status import CONFIRMED
from cleanpipe.recipes.recipe import Recipe

OTHER = {
    "recipe": "recipe",
    "measure": "model, tokenizer or evaluation set",
    "lists": "list of URLs",
    "versions": "version of a package",
    "seed": "seed",
}


def changes(recipe: Recipe) -> list[str]:
    """What differs between the published run and one that would begin now; nothing is no work.

    A file of unchanged path, size and time is taken as unchanged, as rsync does; one of another
    time is read, whatever it holds. Recipe, models, lists, versions and seed are compared whole.
    """
    control = Path(recipe.output.path) / "_cleanpipe"
    manifest = store.current_manifest(control.parent)
    if manifest is None:
        return ["nothing was published yet"]
    folder = control / "runs" / manifest["run"]
    begun = store.read_json(folder / "identity.json")
    seed = identity.known_seed(control, recipe.seed)
    seeded = recipe.model_copy(update={"seed": seed})
    now = {
        "recipe": seeded.identity(),
        "measure": seeded.measure.identity(),
        "lists": seeded.list_hashes(),
        "versions": identity.versions(seeded.measure.packages()),
        "seed": seed,
    }
    differ = [name for name in now if store.canonical(now[name]) != store.canonical(begun[name])]
    others = [f"another {OTHER[name]}" for name in differ]
    found = {_place(shard.to_json()): shard.to_json() for shard in find_shards(recipe)}
    before = {_place(line["shard"]): line["shard"] for line in _inputs(folder)}
    counts = {
        "new": len(found.keys() - before.keys()),
        "gone": len(before.keys() - found.keys()),
        "changed": sum(_stamp(found[p]) != _stamp(before[p]) for p in found.keys() & before.keys()),
    }
    return others + [f"{count} {kind} shards" for kind, count in counts.items() if count]


def confirm(recipe: Recipe) -> Path:
    """Note that the published run is what a run would give tonight; gives that run's folder.

    `cleanpipe status` takes a confirmed publication as fresh. Raises LockedError where another run
    is at work, which may be publishing something else.
    """
    output = Path(recipe.output.path)
    lock = store.take_lock(output / "_cleanpipe" / "lock")
    try:
        run: str = (store.current_manifest(output) or {})["run"]
        store.write_json(output / "_cleanpipe" / CONFIRMED, {"run": run})
    finally:
        os.close(lock)
    return output / "_cleanpipe" / "runs" / run


def _inputs(folder: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = store.read_json(folder / "inputs.json")
    return lines


def _place(shard: Mapping[str, Any]) -> tuple[str, int]:
    return places.canonical(shard["path"]), shard["input"]


def _stamp(shard: Mapping[str, Any]) -> tuple[int, int]:
    return shard["size"], shard["mtime_ns"]
