"""What pydantic found wrong with a recipe -> messages that point at the place and the next move."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from cleanpipe.nearest import did_you_mean
from cleanpipe.recipes.recipe_tree import Node, Place, locate

MOST = 20
EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping, such as {name: value}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "model_attributes_type": "a mapping of options",
    "model_type": "a mapping of options",
    "string_too_short": "text that is not empty",
    "string_type": "text (a number or date that is meant as text needs quotes)",
    "too_short": "a list that is not empty",
    "tuple_type": "a list, such as [a, b]",
}
NEEDED = {
    "input": "is missing: give input.path in the recipe, or --input",
    "output": "is missing: give output.path in the recipe, or --output",
}


def explain(error: ValidationError, root: Node, schema: Mapping[str, Any]) -> str:
    """All errors in one message, in the order of their places, each with its source line."""
    found: dict[tuple[str, ...], tuple[Place, list[str]]] = {}
    unknown: set[tuple[str, ...]] = set()
    for entry in error.errors(include_url=False):
        node, way, left = locate(root, entry["loc"])
        path = tuple(way) if entry["type"] != "missing" else (*way, *left[-1:])
        if left[-1:] == ["[key]"]:
            unknown.add(path)
            found.pop(path, None)
        elif any(path[: len(name)] == name for name in unknown):
            continue
        is_name = entry["type"] == "extra_forbidden" or left[-1:] == ["[key]"]
        place = node.key if is_name else node.place
        _, messages = found.setdefault(path, (place, []))
        message = _message(entry, node, path, schema)
        if message not in messages:
            messages.append(message)
    lines = sorted(
        ((place, _shown(path, root), messages) for path, (place, messages) in found.items()),
        key=lambda line: (line[0].name, line[0].line or 0, line[0].column),
    )
    told = [
        place.tell(": ".join(filter(None, [shown, " or ".join(messages)])))
        for place, shown, messages in lines[:MOST]
    ]
    if len(lines) > MOST:
        told.append(f"and {len(lines) - MOST} more")
    return "\n".join(told)


def _shown(path: Sequence[str], root: Node) -> str:
    """The path as --set takes it; an only input needs no number."""
    if path[:2] == ("input", "0") and len(root.value["input"].value) == 1:
        path = ("input", *path[2:])
    return ".".join(path)


def _message(entry: Any, node: Node, path: tuple[str, ...], schema: Mapping[str, Any]) -> str:
    kind, context = entry["type"], entry.get("ctx", {})
    if kind == "extra_forbidden":
        return "no such option" + did_you_mean(path[-1], options(schema, path[:-1]))
    if kind == "missing":
        return NEEDED.get(path[0]) or "is missing, and needed"
    if kind in {"value_error", "assertion_error"}:
        return str(context["error"])
    if kind == "literal_error":
        words = context["expected"].replace("False", "false")  # as YAML has it
        near = did_you_mean(str(node.value), [word for word in words.split("'") if word.isalnum()])
        return f"expected {words}, found {_found(node.value)}{near}"
    if kind.startswith("model_") and path[0] in NEEDED and path[1:2] in {(), path[-1:]}:
        return f"expected a path, or a mapping of options, found {_found(node.value)}"
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind]}, found {_found(node.value)}"
    wanted = entry["msg"].replace("Input should be", "expected")
    return f"{wanted}, found {_found(node.value)}"


def _found(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    word = repr(value)
    return word if len(word) <= 60 else f"{word[:57]}..."


def options(schema: Mapping[str, Any], path: Sequence[str]) -> set[str]:
    """The names that a JSON schema allows below a path."""
    level = list(_branches(schema, schema))
    for part in path:
        below: list[Mapping[str, Any]] = []
        for branch in level:
            extra = branch.get("additionalProperties")
            for found in (
                branch.get("properties", {}).get(part),
                extra if isinstance(extra, Mapping) else None,
                branch.get("items") if part.isdecimal() else None,
            ):
                if found is not None:
                    below.extend(_branches(found, schema))
        level = below
    return {name for branch in level for name in branch.get("properties", {})}


def _branches(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema itself, or what it refers to, and all its alternatives."""
    if "$ref" in schema:
        yield from _branches(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
        return
    yield schema
    for combined in ("anyOf", "oneOf", "allOf"):
        for branch in schema.get(combined, ()):
            yield from _branches(branch, root)
