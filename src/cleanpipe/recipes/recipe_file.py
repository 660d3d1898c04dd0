"""A recipe's file -> the recipe: presets below, the file over them, overrides over all.

Every error names its place: file, line and column, or the option of the command line.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cleanpipe.errors import RecipeError
from cleanpipe.presets import extended, notices
from cleanpipe.recipes import known_groups
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_errors import explain
from cleanpipe.recipes.recipe_tree import Node, Place, read, read_file, with_value
from cleanpipe.rules import unheard
from cleanpipe.rules.urls import LIST_OPTIONS

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def load(
    path: str | os.PathLike[str],
    overrides: Mapping[str, str] | None = None,
    input: str | os.PathLike[str] | None = None,  # noqa: A002 - its name in recipes
    output: str | os.PathLike[str] | None = None,
) -> Recipe:
    """The recipe of a file, with its presets below and the command line's overrides on top.

    `overrides` maps dotted paths to YAML values: {"filter.words.low": "40"}. Paths in the file are
    taken from its folder, those of `overrides`, `input` and `output` from the current one.

    Errors: RecipeError; one message for all that is wrong, each with file, line and column.
    """
    file = Path(path)
    tree = _listed(read_file(file, str(path)))
    for key, value in (overrides or {}).items():
        name = f"--set {key}={value}"
        node = read(value, name, located=False)
        if node is None:
            raise Place(name).refuse("needs a value, such as filter.words.low=40")
        tree = _listed(_set(tree, key, node))
    for option, given in (("input", input), ("output", output)):
        if given is not None:
            place = Place(f"--{option} {given}")
            tree = _set(tree, f"{option}.path", Node(os.fspath(given), place, place))
    tree, used = extended(tree)
    tree = _absolute(tree, file.absolute().parent)
    try:
        recipe = Recipe.model_validate(tree.plain(), strict=True)
    except ValidationError as error:
        raise RecipeError(explain(error, tree, Recipe.model_json_schema())) from None
    identifier = recipe.measure.identifier()
    is_ours = identifier is not None and identifier.model is None
    found = [*notices(tree, used, is_ours=is_ours)]
    if "notices" not in tree.value:  # a resolved recipe has its own, and no presets any more
        found += [*unheard.notices(recipe, tree), *recipe.unbounded()]
    told = tuple(dict.fromkeys((*recipe.notices, *found)))
    recipe = recipe.model_copy(update={"notices": told}).written_in(tree)
    recipe.check_measures()
    recipe.refuse(known_groups.problems(recipe))
    return recipe


def _listed(tree: Node) -> Node:
    """Inputs as a list of mappings, and the output as one: a path alone stands for its mapping."""
    sections = {name: tree.value[name] for name in ("input", "output") if name in tree.value}
    if "input" in sections:
        given = sections["input"]
        entries = given.value if isinstance(given.value, list) else [given]
        if given.value is not None:
            sections["input"] = Node([_mapping(e) for e in entries], given.place, given.key)
    if "output" in sections:
        sections["output"] = _mapping(sections["output"])
    return Node({**tree.value, **sections}, tree.place, tree.key)


def _mapping(given: Node) -> Node:
    """A path as the mapping that has it; anything else as it is."""
    if not isinstance(given.value, str):
        return given
    return Node({"path": given}, given.place, given.key)


def _set(tree: Node, key: str, node: Node) -> Node:
    path = key.split(".")
    if not all(path):
        raise node.place.refuse("expected a path such as filter.words.low")
    if path[0] == "input" and len(path) > 1 and not path[1].isdecimal():
        entries = tree.value.get("input")
        if entries is None:
            empty = Node({}, node.place, node.place)
            entries = Node([empty], node.place, node.place)
            tree = Node({**tree.value, "input": entries}, tree.place, tree.key)
        elif isinstance(entries.value, list) and len(entries.value) != 1:
            many = len(entries.value)
            raise node.place.refuse(
                f"the recipe has {many} inputs: name one, as --set input.0.path"
            )
        path.insert(1, "0")
    return with_value(tree, path, node)


PATHS = (
    "output.path",
    "input.*.path",
    "measure.language.model",
    "measure.tokenizer",
    "measure.evaluations.sets.*",
    "measure.evaluations.sets.*.path",
    "measure.models.*",
    "measure.models.*.path",
    "augment.wordnet",
    *(f"filter.urls.{option}.*" for option in LIST_OPTIONS),
)
"""The options that name files; `*` stands for every name or number."""


def _absolute(tree: Node, folder: Path) -> Node:
    """Paths of the file from its folder, paths of the command line from the current one."""
    for path in PATHS:
        tree = _moved(tree, path.split("."), folder)
    return tree


def _moved(node: Node, path: Sequence[str], folder: Path) -> Node:
    if not path:
        if not isinstance(node.value, str) or not node.value or _URL.match(node.value):
            return node
        start = Path.cwd() if node.place.line is None else folder
        full = os.path.normpath(start / Path(node.value).expanduser())
        return Node(full, node.place, node.key)
    first, rest = path[0], path[1:]
    if isinstance(node.value, dict):
        value: Any = {
            name: _moved(inner, rest, folder) if first in {"*", name} else inner
            for name, inner in node.value.items()
        }
    elif isinstance(node.value, list) and first == "*":
        value = [_moved(inner, rest, folder) for inner in node.value]
    else:
        return node
    return Node(value, node.place, node.key)
