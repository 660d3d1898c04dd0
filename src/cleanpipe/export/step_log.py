"""Step logs read back: the spans of each step, and the digest of its batch.

What `cleanpipe.training.callback` writes, or a table of one's own with the columns step, start,
length and, for several token files, file: .csv, .jsonl or .parquet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from cleanpipe.errors import InputError
from cleanpipe.export import mappers
from cleanpipe.export.exposure import SPANS, Export, spans

HEX = 16


@dataclass(frozen=True)
class Steps:
    """What step logs tell."""

    spans: pl.DataFrame | None
    """See `export.exposure`; None where the log names neither places nor documents."""
    digests: dict[int, int]
    """The digest of each step's batch, of all ranks together."""
    notes: list[str]
    """What a reader should know: lines cut off, steps written twice."""


def read(export: Export, paths: Sequence[Path]) -> Steps:
    """The step logs of all ranks of a run, which `cleanpipe.training.callback` wrote.

    A step that stands twice in a file is what a resumed run did again: its last line counts.

    Errors: InputError for a line that is none of a step log, for ranks that saw different steps,
    or a log of which only some lines name places.
    """
    notes: list[str] = []
    logs = [_lines(path, notes) for path in paths]
    for path, log in zip(paths, logs, strict=True):
        if log.keys() != logs[0].keys():
            step = min(log.keys() ^ logs[0].keys())
            raise InputError(
                f"{path} and {paths[0]} do not know the same steps: step {step} is in one only; "
                "name the logs of all ranks of one run"
            )
    found = {
        step: sum(int(log[step]["digest"], HEX) for log in logs) % (1 << 64) for step in logs[0]
    }
    lines = [log[step] for step in sorted(found) for log in logs]
    return Steps(_spans(export, lines), dict(sorted(found.items())), notes)


def _lines(path: Path, notes: list[str]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    again = 0
    with path.open("rb") as file:
        for place, text in enumerate(file, 1):
            if not text.endswith(b"\n"):
                notes.append(f"{path}:{place} is cut off, and was left out")
                continue
            try:
                line = orjson.loads(text)
                step = line["step"]
                int(line["digest"], HEX)
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                raise InputError(f"{path}:{place} is no line of a step log") from None
            again += step in found
            found[step] = line
    if again:
        notes.append(f"{path} has {again} steps twice: the later line counts")
    return found


def _spans(export: Export, lines: list[dict[str, Any]]) -> pl.DataFrame | None:
    tables = []
    for kind in ("spans", "documents"):
        known = [line for line in lines if kind in line]
        if not known:
            continue
        if len(known) < len(lines):
            raise InputError(f"only {len(known)} of {len(lines)} lines of the step log name {kind}")
        step = np.repeat([line["step"] for line in known], [len(line[kind]) for line in known])
        flat = np.array([each for line in known for each in line[kind]], np.int64)
        if kind == "spans":
            tables.append(spans(step, *flat.T))
        else:
            whole = mappers.rows(export, step.tolist(), flat[:, :1].tolist(), None)
            cut = pl.min_horizontal("length", pl.Series(flat[:, 1]))
            tables.append(whole.with_columns(length=cut))
    return tables[0] if tables else None


def read_table(path: Path) -> pl.DataFrame:
    """Spans from a table of one's own: columns step, start, length, and file where there are more.

    Errors: InputError for another ending, a missing column, or values that are no whole numbers.
    """
    readers: dict[str, Callable[..., pl.DataFrame]] = {
        ".csv": pl.read_csv,
        ".jsonl": pl.read_ndjson,
        ".parquet": pl.read_parquet,
    }
    if path.suffix not in readers:
        raise InputError(f"{path}: expected a file that ends in {', '.join(readers)}")
    table = readers[path.suffix](path)
    missing = [name for name in ("step", "start", "length") if name not in table.columns]
    if missing:
        raise InputError(f"{path} has no column {missing[0]}; it has {', '.join(table.columns)}")
    whole = table if "file" in table.columns else table.with_columns(file=pl.lit(0))
    try:
        return whole.select(pl.col(name).cast(kind) for name, kind in SPANS.items()).sort(
            "step", maintain_order=True
        )
    except pl.exceptions.InvalidOperationError as error:
        raise InputError(f"{path}: steps and tokens are whole numbers; {error}") from None
