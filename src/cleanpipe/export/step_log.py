"""Step logs read back: the spans of each step, and the digest of its batch.

What `cleanpipe.training.callback` writes, or a table of one's own with the columns step, start,
length and, for several token files, file: .csv, .jsonl or .parquet. Lines go through in blocks, so
that memory is that of the numbers: 24 bytes a step, and 40 a sequence (12 of them for a moment).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.json

from cleanpipe.errors import InputError
from cleanpipe.export import mappers
from cleanpipe.export.exposure import SPANS, Export, spans

HEX = 16
BLOCK = 16 << 20
PLACES = {"spans": 3, "documents": 2}
"""What a line may name, and of how many numbers each of it is."""
LISTS = dict.fromkeys(PLACES, pa.list_(pa.list_(pa.int64())))
LINE = pa.schema({"step": pa.int64(), "digest": pa.string(), **LISTS})
Numbers = npt.NDArray[np.int64]


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
    steps = logs[0].steps
    total = np.zeros(len(steps), np.uint64)
    for path, log in zip(paths, logs, strict=True):
        if not np.array_equal(log.steps, steps):
            step = np.setxor1d(log.steps, steps)[0]
            raise InputError(
                f"{path} and {paths[0]} do not know the same steps: step {step} is in one only; "
                "name the logs of all ranks of one run"
            )
        total += log.digests
    tables = [log.spans(export) for log in logs]
    named = [table for table in tables if table is not None]
    if 0 < len(named) < len(logs):
        raise InputError(f"only {len(named)} of {len(logs)} step logs name places")
    places = pl.concat(named) if named else None
    if places is not None and len(named) > 1:
        places = places.sort("step", maintain_order=True)
    return Steps(places, pl.DataFrame({"step": steps, "digest": total}), notes)


@dataclass(frozen=True)
class _Log:
    """A step log: the lines that count, ascending by step, and of all lines what they name."""

    steps: Numbers
    digests: npt.NDArray[np.uint64]
    counted: Numbers | None
    """Which lines these are; None where it is all."""
    counts: dict[str, Numbers]
    """Of each line, how many places it names; -1 where it names none."""
    numbers: dict[str, list[list[Numbers]]]
    """Of each place, block by block, its numbers: a column each."""

    def spans(self, export: Export) -> pl.DataFrame | None:
        """Ascending by step, once; None where no line names places."""
        for name, every in self.counts.items():
            counts = every if self.counted is None else every[self.counted]
            count = int((counts >= 0).sum())
            if 0 < count < len(counts):
                raise InputError(f"only {count} of {len(counts)} lines of the step log name {name}")
            if count:
                columns = [np.concatenate(own) for own in zip(*self.numbers.pop(name), strict=True)]
                if self.counted is not None:
                    first = (np.cumsum(np.maximum(every, 0)) - np.maximum(every, 0))[self.counted]
                    ramp = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
                    columns = [own[np.repeat(first, counts) + ramp] for own in columns]
                whole = mappers.whole if name == "documents" else _placed
                return whole(export, np.repeat(self.steps, counts), *columns)
        return None


def _placed(_: Export, step: Any, file: Any, start: Any, length: Any) -> pl.DataFrame:
    return spans(step, file, start, length)


def _log(path: Path, notes: list[str]) -> _Log:
    lines: list[pl.DataFrame] = []
    counts: dict[str, list[Numbers]] = {name: [] for name in PLACES}
    numbers: dict[str, list[list[Numbers]]] = {name: [] for name in PLACES}
    for first, block in _blocks(path, notes):
        table = _typed(path, first, block)
        lines.append(table.select("step", "digest"))
        for name, width in PLACES.items():
            counted, columns = _flat(path, table[name], width)
            counts[name].append(counted)
            numbers[name].append(columns)
    if not lines:
        raise InputError(f"{path} is empty: expected the lines of a step log")
    steps, digests = (
        pl.concat([one[name] for one in lines]).to_numpy() for name in ("step", "digest")
    )
    each = {name: np.concatenate(some) for name, some in counts.items()}
    if (np.diff(steps) > 0).all():
        return _Log(steps, digests, None, each, numbers)
    # the last line of each step, which is the first when read backwards
    known, back = np.unique(steps[::-1], return_index=True)
    last = len(steps) - 1 - back
    if len(last) < len(steps):
        again = len(steps) - len(last)
        notes.append(f"{path} has {again} steps twice: the later line counts")
    return _Log(known, digests[last], last, each, numbers)


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
    """A row a line; digests as numbers."""
    try:
        found = pa.json.read_json(
            pa.BufferReader(block),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pa.json.ParseOptions(
                explicit_schema=LINE, unexpected_field_behavior="ignore"
            ),
        )
        digest = pl.col("digest").str.to_integer(base=HEX, dtype=pl.UInt64)
        table = pl.DataFrame(pl.from_arrow(found)).with_columns(digest)
    except (pa.ArrowInvalid, pl.exceptions.PolarsError):
        raise _odd(path, first, block) from None
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


def _flat(path: Path, lists: pl.Series, width: int) -> tuple[Numbers, list[Numbers]]:
    """How many places each line names, -1 for none; and the numbers of the places, by column."""
    counts = lists.list.len().cast(pl.Int32).fill_null(-1).to_numpy()
    places = lists.filter(pl.Series(counts > 0)).explode()
    flat = places.explode()
    if (places.list.len() != width).any() or flat.null_count():
        raise InputError(f"{path}: {lists.name} of a step log are lists of {width} numbers each")
    whole = flat.cast(pl.Int64).to_numpy().reshape(-1, width)
    if np.abs(whole).max(initial=0) < 1 << 31:
        whole = whole.astype(np.int32)
    return counts, [whole[:, place].copy() for place in range(width)]


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
