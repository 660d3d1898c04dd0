"""Step logs read back: the spans of each step, and the digest of its batch.

What `cleanpipe.training.callback` writes, or a table of one's own with the columns step, start,
length and, for several token files, file: .csv, .jsonl or .parquet. Lines go through in blocks, so
that memory is that of the numbers: 16 bytes a step and 28 a sequence.
"""

from collections.abc import Callable, Iterator, Sequence
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
BLOCK = 16 << 20
PLACES = {"spans": 3, "documents": 2}
"""What a line may name, and of how many numbers each of it is."""
LINE = {"step": pl.Int64, "digest": pl.String} | dict.fromkeys(PLACES, pl.List(pl.List(pl.Int64)))


@dataclass(frozen=True)
class Steps:
    """What step logs tell."""

    spans: pl.DataFrame | None
    """See `export.exposure`; None where the log names neither places nor documents."""
    digests: pl.DataFrame
    """step (ascending), digest (u64): of each step's batch, of all ranks together."""
    notes: list[str]
    """What a reader should know: lines cut off, steps written twice."""


def read(export: Export, paths: Sequence[Path]) -> Steps:
    """The step logs of all ranks of a run, which `cleanpipe.training.callback` wrote.

    A step that stands twice in a file is what a resumed run did again: its last line counts.

    Errors: InputError for a line that is none of a step log, for ranks that saw different steps,
    or a log of which only some lines name places.
    """
    notes: list[str] = []
    logs = [_log(path, notes) for path in paths]
    steps = logs[0].lines["step"]
    total = np.zeros(len(steps), np.uint64)
    for path, log in zip(paths, logs, strict=True):
        if not log.lines["step"].equals(steps):
            step = min(set(log.lines["step"]) ^ set(steps))
            raise InputError(
                f"{path} and {paths[0]} do not know the same steps: step {step} is in one only; "
                "name the logs of all ranks of one run"
            )
        total += log.lines["digest"].to_numpy()
    tables = [log.spans(export) for log in logs]
    named = [table for table in tables if table is not None]
    if 0 < len(named) < len(logs):
        raise InputError(f"only {len(named)} of {len(logs)} step logs name places")
    places = pl.concat(named).sort("step", maintain_order=True) if named else None
    return Steps(places, pl.DataFrame({"step": steps, "digest": total}), notes)


@dataclass(frozen=True)
class _Log:
    """A step log: lines that count, by step, and of all lines the places that they name."""

    lines: pl.DataFrame
    flat: dict[str, pl.DataFrame]

    def spans(self, export: Export) -> pl.DataFrame | None:
        """Ascending by step; None where no line names places."""
        for name, table in self.flat.items():
            count = int(self.lines[name].sum())
            if 0 < count < self.lines.height:
                raise InputError(
                    f"only {count} of {self.lines.height} lines of the step log name {name}"
                )
            if count:
                own = table.join(self.lines.select("line"), on="line", how="semi")
                own = own.sort("step", "line", maintain_order=True)
                step, *numbers = (own[column].to_numpy() for column in own.columns[1:])
                whole = mappers.whole if name == "documents" else _placed
                return whole(export, step, *numbers)
        return None


def _placed(_: Export, step: Any, file: Any, start: Any, length: Any) -> pl.DataFrame:
    return spans(step, file, start, length)


def _log(path: Path, notes: list[str]) -> _Log:
    lines: list[pl.DataFrame] = []
    flat: dict[str, list[pl.DataFrame]] = {name: [] for name in PLACES}
    for first, block in _blocks(path, notes):
        table = _typed(path, first, block)
        named = [pl.col(name).is_not_null() for name in PLACES]
        lines.append(table.select("step", "digest", "line", *named))
        for name, width in PLACES.items():
            flat[name].append(_flat(path, table, name, width))
    if not lines:
        raise InputError(f"{path} is empty: expected the lines of a step log")
    whole = pl.concat(lines)
    last = whole.unique("step", keep="last", maintain_order=True).sort("step")
    if last.height < whole.height:
        again = whole.height - last.height
        notes.append(f"{path} has {again} steps twice: the later line counts")
    return _Log(last, {name: pl.concat(tables) for name, tables in flat.items()})


def _blocks(path: Path, notes: list[str]) -> Iterator[tuple[int, bytes]]:
    """Whole lines, some at a time, and the number of the first."""
    number, held = 1, b""
    with path.open("rb") as file:
        while more := file.read(BLOCK):
            held += more
            end = held.rfind(b"\n") + 1
            if end:
                yield number, held[:end]
                number += held.count(b"\n", 0, end)
                held = held[end:]
    if held:
        notes.append(f"{path}:{number} is cut off, and was left out")


def _typed(path: Path, first: int, block: bytes) -> pl.DataFrame:
    """A row a line, with its number; digests as numbers."""
    try:
        table = pl.read_ndjson(block, schema=LINE)
        digest = pl.col("digest").str.to_integer(base=HEX, dtype=pl.UInt64)
        table = table.with_columns(digest).with_row_index("line", first)
    except pl.exceptions.PolarsError:
        table = pl.DataFrame(schema=LINE)
    if not table.height or table["step"].null_count() or table["digest"].null_count():
        raise _odd(path, first, block)
    return table


def _odd(path: Path, first: int, block: bytes) -> InputError:
    """Which line is none."""
    for place, text in enumerate(block.splitlines(), first):
        try:
            line = orjson.loads(text)
            int(line["digest"], HEX)
            good = isinstance(line["step"], int)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            good = False
        if not good:
            return InputError(f"{path}:{place} is no line of a step log")
    return InputError(f"{path}: from line {first} on, places are not lists of whole numbers")


def _flat(path: Path, table: pl.DataFrame, name: str, width: int) -> pl.DataFrame:
    """line, step, and the numbers of each place."""
    named = table.select("line", "step", name).filter(pl.col(name).list.len() > 0)
    rows = named.explode(name)
    if (rows[name].list.len() != width).any():
        raise InputError(f"{path}: {name} of a step log are lists of {width} numbers each")
    numbers = [pl.col(name).list.get(place).alias(str(place)) for place in range(width)]
    return rows.select("line", "step", *numbers)


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
