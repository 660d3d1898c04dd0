"""Presets: named, cited sets of rules that recipes extend. The rules are data, in YAML beside this.

A preset is a recipe without paths, under a head that says what it is: `about`, `source`, and
`languages`, the language identification that its bounds by language were published for, where that
is another than ours. It may extend other presets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from pathlib import Path

from cleanpipe.nearest import did_you_mean
from cleanpipe.recipes.recipe_tree import Node, merged, read_file

OURS = "lid.176"
"""The language identification of `measure.language`."""
HEAD = ("about", "source", "languages")
_PLACE = "preset "


@dataclass(frozen=True)
class Preset:
    """A preset by its name, and what its head says of it."""

    name: str
    path: Path
    about: str
    source: str
    languages: str | None
    tree: Node
    """The recipe below the head."""


def files() -> dict[str, Path]:
    """The packaged presets by name, and their files.

    >>> "gopher" in files()
    True
    """
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}


def load(name: str, path: Path) -> Preset:
    """Read a preset. Raises RecipeError for a file that is no YAML, or that lacks its head.

    >>> load("gopher", files()["gopher"]).source
    'Rae et al. 2021, arXiv 2112.11446, appendix A.1.1 and table A1'
    """
    tree = read_file(path, f"{_PLACE}{name}")
    head = {key: tree.value[key].value for key in HEAD if key in tree.value}
    missing = [key for key in ("about", "source") if not isinstance(head.get(key), str)]
    if missing:
        raise tree.place.refuse(f"needs {missing[0]}: a line of text for `cleanpipe presets`")
    rest = {key: node for key, node in tree.value.items() if key not in HEAD}
    body = Node(rest, tree.place, tree.key)
    return Preset(name, path, head["about"], head["source"], head.get("languages"), body)


def unknown(name: object, known: Mapping[str, Path]) -> str:
    """What to tell of a name that no preset has."""
    near = did_you_mean(str(name), known) or f"; these are: {', '.join(known)}"
    return f"no such preset {name!r}{near}"


def extended(tree: Node) -> tuple[Node, list[Preset]]:
    """The tree over the presets that it names, of which later ones win; and these presets.

    Errors: RecipeError for a name that no preset has.
    """
    named = tree.value.get("extends")
    if named is None:
        return tree, []
    below: list[Node] = []
    used: list[Preset] = []
    known = files()
    for entry in named.value if isinstance(named.value, list) else [named]:
        if entry.value is None or entry.value is False:
            continue
        if not isinstance(entry.value, str) or entry.value not in known:
            raise entry.place.refuse(f"extends: {unknown(entry.value, known)}")
        preset = load(entry.value, known[entry.value])
        body, others = extended(preset.tree)
        below.append(body)
        used += [*others, preset]
    own = {key: node for key, node in tree.value.items() if key != "extends"}
    return reduce(merged, [*below, Node(own, tree.place, tree.key)]), used


def notices(tree: Node, used: list[Preset], *, is_ours: bool) -> Iterator[str]:
    """What a recipe's user might not expect of its presets.

    `tree` is the recipe over its presets, `is_ours` whether our own identification is used.
    """
    for preset in used:
        if is_ours and preset.languages not in {None, OURS}:
            yield (
                f"preset {preset.name}: its bounds by language were published for "
                f"{preset.languages}, and {OURS} is used; where the two disagree on a document's "
                "language, it is judged by another language's bounds"
            )
    rules = tree.value.get("filter")
    if rules is not None and isinstance(rules.value, dict):
        for name, rule in rules.value.items():
            if isinstance(rule.value, dict):
                yield from _kept_by_languages(f"filter.{name}", rule.value)


def _kept_by_languages(name: str, rule: Mapping[str, Node]) -> Iterator[str]:
    """A bound that the recipe gives, beside bounds by language that are still a preset's."""
    by_lang = rule.get("by_lang")
    if by_lang is None or not isinstance(by_lang.value, dict):
        return
    for side in ("low", "high"):
        own = rule.get(side)
        if own is None or is_of_preset(own):
            continue
        kept = [
            (lang, bounds.value[side].value)
            for lang, bounds in by_lang.value.items()
            if isinstance(bounds.value, dict)
            and side in bounds.value
            and is_of_preset(bounds.value[side])
        ]
        if kept:
            others = "; ".join(
                f"{', '.join(lang for lang, _ in same)} {'none' if bound is None else bound}"
                for bound, same in groupby(kept, key=lambda pair: pair[1])
            )
            yield (
                f"{name}.{side} is {own.value} in {where_of(own)}, but some languages keep the "
                f"preset's: {others}. Give them others in {name}.by_lang, or all of them yours by "
                "by_lang: false"
            )


def is_of_preset(node: Node) -> bool:
    """Whether a preset wrote it, and not the recipe."""
    return node.place.name.startswith(_PLACE)


def where_of(node: Node) -> str:
    """The file and line of a value, or the option of the command line."""
    place = node.place
    return place.name if place.line is None else f"{place.name}:{place.line}"
