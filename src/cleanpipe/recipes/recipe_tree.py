"""YAML -> a tree whose every value knows the file, line and column it came from.

YAML events are read one by one instead of loading a document: tags, anchors, duplicate keys and
too much of anything are refused where they stand, before they can cost memory or mean something
else than they seem to.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

from cleanpipe.errors import RecipeError

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 50
WIDTH = 100  # of a quoted source line
_TAG = "tag:yaml.org,2002:"
_CONSTRUCTED = {f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float")}


@dataclass(frozen=True)
class Place:
    """Where something stands: `line` and `column` count from 1; on a command line there is none."""

    name: str
    line: int | None = None
    column: int = 1
    text: str = field(default="", repr=False)

    def tell(self, what: str) -> str:
        """`name:line:column: what`, and below it the line with a caret."""
        if self.line is None:
            return f"{self.name}: {what}"
        begin = max(0, self.column - 1 - WIDTH // 2) if len(self.text) > WIDTH else 0
        shown = "".join(c if c.isprintable() else " " for c in self.text[begin : begin + WIDTH])
        number = f"{self.line:>5}"
        return (
            f"{self.name}:{self.line}:{self.column}: {what}\n"
            f"{number} | {shown}\n"
            f"{' ' * len(number)} | {' ' * (self.column - 1 - begin)}^"
        )

    def refuse(self, what: str) -> RecipeError:
        """The error that tells it."""
        return RecipeError(self.tell(what))


@dataclass(frozen=True)
class Node:
    """A value, where it stands, and where its key does (the value itself in a list)."""

    value: Any
    """A dict or list of nodes, or a scalar."""
    place: Place
    key: Place

    def plain(self) -> Any:
        """Without places: dicts, tuples (so that strict validation takes them), scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return tuple(node.plain() for node in self.value)
        return self.value


@dataclass(frozen=True)
class Written:
    """Where a recipe is written; two recipes may be equal and stand in different files."""

    tree: Node | None = field(default=None, compare=False)

    def tell(self, option: str, what: str) -> str:
        """`option: what`, with the place of the option, or of what it is left out of."""
        line = f"{option}: {what}"
        if self.tree is None:
            return line
        node, way, left = locate(self.tree, self._way(option))
        place = node.key if left or isinstance(node.value, dict) else node.place
        return place.tell(line) if way else line

    def _way(self, option: str) -> list[str | int]:
        """The parts of an option; an only input needs no number there."""
        way: list[str | int] = [int(p) if p.isdecimal() else p for p in option.split(".")]
        if way[0] == "input" and isinstance(way[1], str):
            way.insert(1, 0)
        return way


class _Builder:
    def __init__(self, text: str, name: str, yaml: YAML, *, located: bool) -> None:
        self.lines, self.name, self.yaml, self.located = text.split("\n"), name, yaml, located
        self.root: Node | None = None
        self.open: list[Node] = []
        self.keys: list[tuple[str, Place] | None] = []
        self.nodes = self.documents = 0

    def place(self, line: int, column: int) -> Place:
        if not self.located:
            return Place(self.name)
        text = self.lines[line] if line < len(self.lines) else ""
        return Place(self.name, line + 1, column + 1, text.rstrip("\r"))

    def take(self, event: Event) -> None:
        place = self.place(event.start_mark.line, event.start_mark.column)
        if isinstance(event, DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise place.refuse("a second document begins; a recipe is one")
            if event.version or event.tags:
                raise place.refuse("a % directive is not allowed; recipes are YAML 1.2")
        elif isinstance(event, NodeEvent):
            self._check(event, place)
            if isinstance(event, ScalarEvent):
                self._scalar(event, place)
            else:
                self._collection({} if isinstance(event, MappingStartEvent) else [], place)
        elif isinstance(event, CollectionEndEvent):
            self.open.pop()
            self.keys.pop()

    def _check(self, event: NodeEvent, place: Place) -> None:
        self.nodes += 1
        if isinstance(event, AliasEvent) or event.anchor is not None:
            sign = "*" if isinstance(event, AliasEvent) else "&"
            raise place.refuse(f"{sign}{event.anchor}: anchors and aliases are not allowed; repeat")
        if isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent) and event.ctag:
            raise place.refuse(f"the tag {event.ctag} is not allowed; write the plain value")
        if self.nodes > MAX_NODES:
            raise place.refuse(f"more than {MAX_NODES:,} values; that is no recipe")

    def _scalar(self, event: ScalarEvent, place: Place) -> None:
        implicit = (event.implicit[0], event.implicit[1])
        tag = str(self.yaml.resolver.resolve(ScalarNode, event.value, implicit))
        if self.open and isinstance(self.open[-1].value, dict) and self.keys[-1] is None:
            known = self.open[-1].value
            if tag != f"{_TAG}str":
                raise place.refuse(f"{event.value!r} is no name; put it in quotes if it is meant")
            if event.value in known:
                first = known[event.value].key.line
                raise place.refuse(f"{event.value!r} is given twice, first in line {first}")
            self.keys[-1] = (event.value, place)
            return
        if tag == f"{_TAG}null" and event.value == "":
            key = self.keys[-1] if self.keys else None
            raise (key[1] if key else place).refuse(
                f"{key[0] if key else 'the value'} is empty: give it a value, write null or false "
                "to switch it off, or leave it out"
            )
        value: Any = event.value
        if tag in _CONSTRUCTED:
            try:
                value = self.yaml.constructor.construct_object(ScalarNode(tag, event.value))
            except ValueError:  # an int of more than 4,300 digits
                raise place.refuse(f"{event.value[:20]}... is no number that fits") from None
        self._add(value, place)

    def _collection(self, value: dict[str, Node] | list[Node], place: Place) -> None:
        if self.open and isinstance(self.open[-1].value, dict) and self.keys[-1] is None:
            raise place.refuse("a list or mapping cannot be a name")
        if len(self.open) == MAX_DEPTH:
            raise place.refuse(f"nested more than {MAX_DEPTH} deep; that is no recipe")
        self.open.append(self._add(value, place))
        self.keys.append(None)

    def _add(self, value: Any, place: Place) -> Node:
        key = self.keys[-1] if self.keys else None
        node = Node(value, place, key[1] if key else place)
        if key is not None:
            self.open[-1].value[key[0]] = node
            self.keys[-1] = None
        elif self.open:
            self.open[-1].value.append(node)
        else:
            self.root = node
        return node


@functools.lru_cache(maxsize=8)  # trees are not changed; to decide again reads a recipe twice
def read(text: str, name: str, *, located: bool = True) -> Node | None:
    """The tree of one YAML document, None for an empty one. `name` stands in messages.

    Errors: RecipeError for what is no YAML, and for tags, anchors, aliases, directives, keys that
    are no words or are given twice, empty values, and more than one document.
    """
    yaml = YAML(typ="safe", pure=True)
    builder = _Builder(text, name, yaml, located=located)
    try:
        for event in yaml.parse(text):
            builder.take(event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = builder.place(mark.line, mark.column) if mark else Place(name)
        raise place.refuse(f"no YAML: {error.problem or error.context}") from None
    except YAMLError as error:
        at = getattr(error, "position", 0)
        before = text[:at].split("\n")
        what = str(error).splitlines()[0]
        raise builder.place(len(before) - 1, len(before[-1])).refuse(f"no YAML: {what}") from None
    return builder.root


def text_of(path: Path, name: str) -> str:
    """A recipe's text.

    Errors: RecipeError for a file that cannot be read, is no UTF-8, or is over 1 MB.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise RecipeError(f"{name}: over {MAX_BYTES:,} bytes; that is no recipe")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{name}: no such file; give the path of a recipe") from None
    except OSError as error:
        raise RecipeError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{name}: byte {error.start} is not UTF-8; save it as UTF-8") from None


def read_file(path: Path, name: str) -> Node:
    """The tree of a file, which holds a mapping.

    Errors: RecipeError as for `read` and `text_of`.
    """
    root = read(text_of(path, name), name)
    if root is None:
        raise RecipeError(f"{name}: is empty; a recipe needs input: {{path: ...}} at least")
    if not isinstance(root.value, dict):
        raise root.place.refuse("a recipe is a mapping, such as input: {path: corpus}")
    return root


def merged(lower: Node, upper: Node) -> Node:
    """Mappings together, key by key; of all else the upper. The lower's keys come first."""
    if not (isinstance(lower.value, dict) and isinstance(upper.value, dict)):
        return upper
    value = dict(lower.value)
    for key, node in upper.value.items():
        value[key] = merged(value[key], node) if key in value else node
    return Node(value, upper.place, upper.key)


def with_value(root: Node, path: Sequence[str], new: Node) -> Node:
    """The tree with a value merged in at a path; mappings on the way are made.

    Errors: RecipeError where the path goes through a list's entry that is not there, or a scalar.
    """
    if not path:
        return merged(root, new)
    part, *rest = path
    if isinstance(root.value, list):
        if not (part.isdecimal() and int(part) < len(root.value)):
            raise new.place.refuse(f"{part!r} is no entry of a list of {len(root.value)}")
        entries = list(root.value)
        entries[int(part)] = with_value(entries[int(part)], rest, new)
        return Node(entries, root.place, root.key)
    if root.value is not None and root.value is not False and not isinstance(root.value, dict):
        raise new.place.refuse(f"{part!r} cannot be set below the value {root.value!r}")
    value = dict(root.value or {})
    below = value.get(part, Node({} if rest else None, new.place, new.place))
    value[part] = with_value(below, rest, new)
    return Node(value, root.place, root.key)


def locate(root: Node, location: Sequence[str | int]) -> tuple[Node, list[str], list[str]]:
    """The deepest node of a location, the way to it, and the parts that name nothing there."""
    node, way, left = root, [], []
    for part in location:
        inside = node.value
        known = (
            part in inside
            if isinstance(inside, dict)
            else isinstance(inside, list) and isinstance(part, int) and part < len(inside)
        )
        if not known:
            left.append(str(part))
            continue
        node = inside[part]
        way.append(str(part))
        left.clear()
    return node, way, left
