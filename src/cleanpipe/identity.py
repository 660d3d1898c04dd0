"""What makes a run the same run: its recipe, the bytes of inputs and lists, versions, seed."""

import importlib.metadata
import platform
import secrets
from collections.abc import Sequence
from pathlib import Path

from cleanpipe import store
from cleanpipe.errors import OutputError, RecipeError
from cleanpipe.input.corpus import Shard, ShardIndex
from cleanpipe.input.places import status
from cleanpipe.recipes.recipe import Recipe

VERSIONED = ("cleanpipe", "fasttext-predict", "ftfy", "numba", "numpy", "polars", "pyarrow")
"""The packages whose versions may change a byte of the output."""


def versions(also: Sequence[str] = ()) -> dict[str, str]:
    """The versions that the bytes of the output may depend on, `also` of these packages."""
    known = {name: importlib.metadata.version(name) for name in (*VERSIONED, *also)}
    return {**known, "python": platform.python_version()}


def draw_seed(control: Path, wanted: int | None) -> int:
    """The seed of an output folder: drawn or given once, and written before any other file.

    It keys every draw and every hash. It is kept from other users: who knows it could craft
    texts that collide.
    """
    known = known_seed(control, wanted)
    if (control / "seed").exists() and known is not None:
        return known
    seed = secrets.randbits(64) if wanted is None else wanted
    text = str(seed).encode()
    store.write_file(control / "seed", lambda file: file.write(text), private=True)
    return seed


def known_seed(control: Path, wanted: int | None) -> int | None:
    """The seed that a run here would have: the folder's or the recipe's; None, if it is drawn."""
    path = control / "seed"
    if path.exists():
        try:
            seed = int(path.read_text(encoding="ascii"))
        except ValueError:
            raise OutputError(
                f"{path} is damaged: expected one number; restore it from a backup, or choose a "
                "new output folder"
            ) from None
        if wanted is not None and wanted != seed:
            raise RecipeError(
                f"seed is {wanted} in the recipe, but {control.parent} was begun with another; "
                "take seed out of the recipe, or choose a new output folder"
            )
        return seed
    return wanted


def choose_run(
    control: Path,
    recipe: Recipe,
    shards: Sequence[Shard],
    indexes: Sequence[ShardIndex],
    after: int | None = None,
) -> Path:
    """The folder of the newest unpublished run that is the same run, or of the next number.

    `after` is the number of the manifest that a night adds to. A run that was rolled back is not
    continued: it would be published again as it was.
    """
    hashes = {shards[index.shard].name: index.content_hash for index in indexes}
    identity = {
        "recipe": recipe.identity(),
        "measure": recipe.measure.identity(),
        "inputs": hashes,
        "lists": recipe.list_hashes(),
        "versions": versions(recipe.measure.packages()),
        "seed": recipe.seed,
        **({} if after is None else {"after": after}),
    }
    numbers = sorted(int(path.name) for path in (control / "runs").glob("[0-9]*"))
    newest = control / "runs" / f"{numbers[-1] if numbers else 0:04d}"
    folder = control / "runs" / f"{int(newest.name) + 1:04d}"
    if numbers and newest.name not in ever_published(control):
        begun = newest / "identity.json"
        if not begun.exists():
            folder = newest  # killed before it did anything
        elif store.canonical(store.read_json(begun)) == store.canonical(identity):
            _write_recipe(newest, recipe)  # its gates may be others now
            return newest
    _write_recipe(folder, recipe)
    inputs = [
        {"shard": s.to_json(), "xxh3_128": hashes[s.name], "inode": status(s.path).inode}
        for s in shards
    ]
    store.write_json(folder / "inputs.json", inputs)
    store.write_json(folder / "identity.json", identity, private=True)
    return folder


def _write_recipe(folder: Path, recipe: Recipe) -> None:
    text = recipe.dump().encode()
    store.write_file(folder / "recipe.yaml", lambda file: file.write(text))


def published(control: Path) -> set[str]:
    """The numbers of all runs that were published and not rolled back."""
    return {manifest["run"] for manifest in store.manifests(control)}


def ever_published(control: Path) -> set[str]:
    """The numbers of all runs that HEAD ever pointed at."""
    return published(control) | {manifest["run"] for manifest in store.rolled_back(control)}
