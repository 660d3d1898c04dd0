"""Logs that are lines of JSON: which keys are meant, and lines as rows.

Keys of flat lines are found by linear-time patterns. Where values stand in objects within objects,
lines are parsed, and names are those of W&B's charts: {"train": {"loss": 2}} has `train.loss`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from cleanpipe.errors import InputError
from cleanpipe.stability.logs.log import SCHEMA, Note
from cleanpipe.stability.logs.log_columns import chosen, listed
from cleanpipe.stability.logs.log_lines import as_lines
from cleanpipe.stability.logs.log_numbers import Numbers

LOOKED_AT = 1000
"""Lines by which the keys are told."""
DEEPEST = 4
"""Objects within objects whose keys are looked at."""
CELL = r'"?([^\s,"{}]*)'
"""A number, or a word in its place."""
NO_JSON = r"(:\s*)(NaN|-?Infinity)\b"
"""What Python writes into JSON and parsers of JSON refuse."""


@dataclass(frozen=True)
class Keys:
    """Where a file's lines have the columns."""

    name: str
    """The form: "jsonl", "wandb", "probe"."""
    places: dict[str, str]
    """By column a pattern that captures a cell, or where lines are parsed a path."""
    parsed: bool


def keys(start: str, name: str, columns: Mapping[str, str] | None) -> Keys | None:
    """Where lines as in `start` have step and values; None where they are no JSON.

    Errors: InputError, which tells the keys, where none is a step, a loss or a gradient norm.
    """
    paths: dict[str, str] = {}
    nested = False
    for line in start.splitlines()[:LOOKED_AT]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            paths |= _paths(row)
            nested |= any(isinstance(value, dict) for value in row.values())
    if not paths:
        return None
    named = {
        ours: theirs if theirs in paths else theirs.replace("/", ".")
        for ours, theirs in (columns or {}).items()
    }
    found = chosen(paths, named)
    if "step" not in found or not {"loss", "grad_norm"} & set(found):
        raise InputError(f"{name}: JSON lines {listed(paths, found)}")
    form = "jsonl"
    if "_step" in paths:
        form = "wandb"
    elif {"update_norm", "second_moment"} <= set(paths):
        form = "probe"
    if nested:
        return Keys(form, {ours: paths[theirs] for ours, theirs in found.items()}, parsed=True)
    patterns = {ours: rf'"{re.escape(theirs)}"\s*:\s*{CELL}' for ours, theirs in found.items()}
    return Keys(form, patterns, parsed=False)


def _paths(row: dict[str, Any], name: str = "", path: str = "$", depth: int = 1) -> dict[str, str]:
    """Each value's name, and where it stands."""
    found: dict[str, str] = {}
    for key, value in row.items():
        here, there = f"{name}{key}", f"{path}[{json.dumps(key)}]"
        if isinstance(value, dict) and depth < DEEPEST:
            found |= _paths(value, f"{here}.", there, depth + 1)
        else:
            found[here] = there
    return found


def rows(blocks: Iterator[str], where: Keys) -> tuple[pl.DataFrame, list[Note]]:
    """Rows as the file has them, of blocks of whole lines, and what of them is lost."""
    account = Numbers()
    found = []
    first = 1
    for block in blocks:
        lines = as_lines(block)
        found.append(account.of(_cells(lines, where), first))
        first += len(lines) - 1
    table = pl.concat(found).rechunk() if found else pl.DataFrame(schema=SCHEMA)
    return table, account.notes()


def _cells(lines: pl.Series, where: Keys) -> pl.DataFrame:
    """The columns as text."""
    line = pl.col("line")
    table = lines.to_frame("line").lazy()
    if not where.parsed:
        return table.select(
            line.str.extract(pattern).alias(ours) for ours, pattern in where.places.items()
        ).collect()
    return (
        table.with_columns(line.str.replace_all(NO_JSON, r'$1"$2"'))
        .select(line.str.json_path_match(path).alias(ours) for ours, path in where.places.items())
        .collect()
    )
