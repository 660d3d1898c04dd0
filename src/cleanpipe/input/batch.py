"""What readers yield: documents in columns, and what could not be read."""

import base64
import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cleanpipe.errors import InputError

MAX_RECORD = 32_000_000
"""Bytes; a record or a text above is quarantined and never held in whole."""
SAMPLE = 200


@dataclass(frozen=True)
class Quarantine:
    """A record that is no document, or (`broken_shard` and its like) all from a row on.

    `offset` counts bytes of the decompressed, decoded text, and is None in Parquet and Arrow.
    `sample` is base64 of the first bytes of the record, `length` its size in bytes.
    """

    shard: str
    row: int
    offset: int | None
    reason: str
    detail: str
    sample: str
    length: int

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the quarantine file."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Batch:
    """Some documents of one shard.

    `table` has all columns but the text, renamed, and as many rows as there are documents even
    without columns; `texts` may hold nulls; `rows` are the documents' rows in their shard.
    """

    shard: int
    table: pa.Table
    texts: pa.LargeStringArray
    rows: npt.NDArray[np.uint64]
    quarantined: tuple[Quarantine, ...] = ()


@dataclass
class Place:
    """How far a reader has come: the next row, and where it starts."""

    row: int
    offset: int | None = None


class BrokenShardError(Exception):
    """Nothing can be read from here on; `reason` is what quarantine calls it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Bad:
    """A record that goes to quarantine; readers.py knows of which shard."""

    row: int
    offset: int | None
    reason: str
    detail: str
    record: bytes
    length: int | None = None

    def quarantine(self, shard: str) -> Quarantine:
        """The line of quarantine."""
        sample = base64.b64encode(self.record[:SAMPLE]).decode()
        length = len(self.record) if self.length is None else self.length
        return Quarantine(shard, self.row, self.offset, self.reason, self.detail, sample, length)


@dataclass(frozen=True)
class Parsed:
    """A batch before its shard's name: columns still under their own names."""

    names: Sequence[str]
    columns: Sequence[pa.Array]
    texts: pa.LargeStringArray
    rows: npt.NDArray[np.uint64]
    bad: Sequence[Bad] = ()


def table_of(names: Sequence[str], columns: Sequence[pa.Array], rows: int) -> pa.Table:
    """A table of `rows` rows, also where there is no column.

    >>> table_of([], [], 3).num_rows
    3
    """
    # pyarrow forgets the number of rows of a table that never had a column
    if not columns:
        return pa.table([pa.nulls(rows)], names=["rows"]).select([])
    return pa.table(list(columns), names=list(names))


def renamed(names: Sequence[str], rename: dict[str, str], shard: str) -> list[str]:
    """The columns' new names; raises InputError where two become one."""
    new = [rename.get(name, name) for name in names]
    often = Counter(new)
    for name, other in zip(names, new, strict=True):
        if often[other] > 1:
            raise InputError(
                f"{shard}: input.rename gives column {name!r} the name {other!r}, which another "
                "column has; choose another name"
            )
    return new


def no_text_column(text: str, names: list[str]) -> BrokenShardError:
    """What a shard without the recipe's text column is told."""
    return BrokenShardError(
        "no_text_column", f"no column {text!r}; columns are {', '.join(names)}; set input.text"
    )


NO_TEXTS = pa.array([], pa.large_string())
NO_ROWS = np.zeros(0, dtype=np.uint64)
