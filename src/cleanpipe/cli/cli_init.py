"""The verb `cleanpipe init`: a recipe to begin with."""

import os
import sys
from dataclasses import asdict
from pathlib import Path


def init(
    *inputs: str,
    text: str | None = None,
    recipe: Path = Path("recipe.yaml"),
    output: Path = Path("clean"),
    json: bool = False,
) -> int:
    """Look into a corpus and write a recipe for it, to plan, change and run.

    Parameters
    ----------
    inputs
        Files, folders or patterns; each becomes an input of the recipe.
    text
        The column that holds the text; left out, it is looked for by the usual names.
    recipe
        Where the recipe goes.
    output
        The folder that the recipe names for what is clean.
    json
        Print what was seen as JSON, and not the recipe.
    """
    from cleanpipe import store  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.errors import InputError, OutputError  # noqa: PLC0415
    from cleanpipe.input.places import is_address  # noqa: PLC0415
    from cleanpipe.recipes import starting  # noqa: PLC0415
    from cleanpipe.recipes.recipe_file import load  # noqa: PLC0415

    if not inputs:
        raise InputError("init needs an input, such as: cleanpipe init 'corpus/*.parquet'")
    if recipe.exists():
        raise OutputError(f"{recipe} is there already: name another file with --recipe")
    home = recipe.absolute().parent
    paths = [one if is_address(one) else _from(home, one) for one in inputs]
    seen = starting.look_into(paths, home, text)
    made = starting.recipe(seen, _from(home, output))
    store.write_file(recipe, lambda file: file.write(made.encode()))
    load(recipe, {})
    if json:
        from cleanpipe.cli.cli import print_json  # noqa: PLC0415

        print_json({"recipe": str(recipe), "inputs": [asdict(one) for one in seen]})
    else:
        sys.stdout.write(f"{made}\nrecipe  {recipe}; try it: cleanpipe plan {recipe}\n")
    return 0


def _from(home: Path, path: str | Path) -> str:
    """A path as the recipe says it: from its own folder, or absolute where it leads out of it."""
    told = os.path.relpath(path, home)
    return str(Path(path).absolute()) if told.startswith(os.pardir) else told
