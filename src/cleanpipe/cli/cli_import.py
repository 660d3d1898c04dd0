"""The verbs `cleanpipe import data-juicer` and `datatrove`: a recipe from what you have."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from cyclopts import App

if TYPE_CHECKING:
    from cleanpipe.recipes.importing import Found

import_ = App(name="import", help="Make a recipe from another tool's recipe or output.")


@import_.command(name="data-juicer")
def data_juicer(recipe: Path, *, output: Path = Path("recipe.yaml"), json: bool = False) -> int:
    """Turn a Data-Juicer recipe into ours, and say what has no counterpart.

    Parameters
    ----------
    recipe
        Its YAML file.
    output
        Where our recipe goes.
    json
        Print what became of each option and operator as JSON.
    """
    from cleanpipe.recipes import importing  # noqa: PLC0415 - heavy; --help needs none

    return _written(importing.data_juicer(recipe), output, json=json)


@import_.command
def datatrove(folder: Path, *, output: Path = Path("recipe.yaml"), json: bool = False) -> int:
    """Make a recipe that reads what datatrove wrote: `00000.jsonl.gz` and the like, with metadata.

    Parameters
    ----------
    folder
        The folder of its output; folders of removed documents, logs and signatures are left out.
    output
        Where our recipe goes.
    json
        Print what is read and left out as JSON.
    """
    from cleanpipe.recipes import importing  # noqa: PLC0415 - heavy; --help needs none

    return _written(importing.datatrove(folder), output, json=json)


def _written(found: "Found", output: Path, *, json: bool) -> int:
    from cleanpipe import store  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.errors import OutputError  # noqa: PLC0415

    if output.exists():
        raise OutputError(f"{output} is there already: name another file with --output")
    store.write_file(output, lambda file: file.write(found.yaml().encode()))
    if json:
        lines = [
            {"line": one.place.line, "name": one.name, "outcome": one.outcome, "note": one.note}
            for one in found.lines
        ]
        said = orjson.dumps({"recipe": str(output), "lines": lines}, option=orjson.OPT_INDENT_2)
        sys.stdout.write(said.decode() + "\n")
        return 0
    for line in found.lines:
        sys.stdout.write("".join(c if c.isprintable() else " " for c in line.told()) + "\n")
    sys.stdout.write(f"recipe  {output}; try it: cleanpipe plan {output}\n")
    return 0
