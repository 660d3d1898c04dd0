"""Parquet and Arrow files -> columns. Nothing of them is used before it is validated."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cleanpipe.input import columns
from cleanpipe.input.batch import BrokenShardError, Parsed, Place, no_text_column
from cleanpipe.input.bytestream import ALLOWANCE, RATIO
from cleanpipe.input.columns import NOT_READABLE
from cleanpipe.input.cutting import STRETCHES, Cut
from cleanpipe.input.draw import Draw, Wanted, positions
from cleanpipe.input.places import open_arrow, status

THRIFT_STRING = 100_000_000
THRIFT_CONTAINER = 1_000_000
"""Limits of a Parquet footer: above them it is no footer but an attack on memory."""
MAX_ROWS = 65_536
MAX_COUNT = 1 << 40  # rows of a row group; a damaged footer may say anything
WHOLE: Cut = (0, -1, 0, None, 0)


def format_of(head: bytes) -> Literal["parquet", "arrow"] | None:
    """Which table format the first bytes of a file tell.

    >>> format_of(b"ARROW1" + bytes(2)), format_of(b"{}")
    ('arrow', None)
    """
    if head.startswith(b"PAR1"):
        return "parquet"
    # 0xFFFFFFFF: the continuation mark with which an IPC stream's messages begin
    return "arrow" if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")) else None


def _open_parquet(path: str) -> pq.ParquetFile:
    return pq.ParquetFile(
        open_arrow(path),
        page_checksum_verification=True,
        thrift_string_size_limit=THRIFT_STRING,
        thrift_container_size_limit=THRIFT_CONTAINER,
        arrow_extensions_enabled=False,
    )


def _open_arrow(path: str) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    file = open_arrow(path)
    if file.read(6) == b"ARROW1":
        return pa.ipc.open_file(file)
    file.seek(0)
    return pa.ipc.open_stream(file)


def _arrow_batches(path: str, start: int) -> Iterator[pa.RecordBatch]:
    reader = _open_arrow(path)
    if isinstance(reader, pa.RecordBatchFileReader):
        for i in range(start, reader.num_record_batches):
            yield reader.get_batch(i)
        return
    for i, found in enumerate(reader):
        if i >= start:
            yield found


def cut_parquet(path: str, size: int) -> list[Cut]:
    """Stretches of whole row groups; a row group of over two blocks is cut by rows.

    Sizes are those of all columns: pyarrow's metadata of a single column ends the process
    ("terminate called") on some damaged footers, where a row group's does not.
    """
    try:
        metadata = _open_parquet(path).metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        counted = [(group.num_rows, group.total_byte_size) for group in groups]
        limit = max(ALLOWANCE, RATIO * status(path).size)
    except NOT_READABLE:
        return [WHOLE]
    if any(not (0 <= rows < MAX_COUNT and 0 <= bytes_ < limit) for rows, bytes_ in counted):
        return [WHOLE]
    pieces = []
    for rows, bytes_ in counted:
        # each part decodes what precedes it in its row group: no more of them than of a stream
        parts = min(-(-bytes_ // size), STRETCHES) if bytes_ > 2 * size else 1
        step = max(-(-rows // parts), 1)
        for first in range(0, rows, step):
            count = min(step, rows - first)
            pieces.append((count, bytes_ * count // rows))
    return [
        (first, first + rows, first, rows, bytes_)
        for first, _, rows, bytes_ in _packed(pieces, size)
    ] or [WHOLE]


def cut_arrow(path: str, text: str, size: int) -> list[Cut]:
    """Stretches of whole record batches. A stream is read from its start: few stretches."""
    pieces = []
    stream = False
    broken = False
    try:
        stream = isinstance(_open_arrow(path), pa.RecordBatchStreamReader)
        for found in _arrow_batches(path, 0):
            place = found.schema.get_field_index(text)
            buffers = found.column(place).buffers() if place >= 0 else []
            pieces.append((found.num_rows, sum(buffer.size for buffer in buffers if buffer)))
    except NOT_READABLE:
        broken = True
    total = sum(text_bytes for _, text_bytes in pieces)
    packed = _packed(pieces, max(size, total // STRETCHES) if stream else size)
    if not packed:
        return [WHOLE]
    cuts: list[Cut] = []
    number = 0
    for first, count, rows, text_bytes in packed[:-1]:
        cuts.append((number, number + count, first, rows, text_bytes))
        number += count
    first, _, rows, text_bytes = packed[-1]
    return [*cuts, (number, -1, first, None if broken else rows, text_bytes)]


def _packed(pieces: list[tuple[int, int]], size: int) -> list[tuple[int, int, int, int]]:
    """First row, pieces, rows and bytes of runs of pieces (rows, bytes) of about `size` bytes."""
    runs: list[tuple[int, int, int, int]] = []
    row = 0
    for rows, text_bytes in pieces:
        if runs and runs[-1][3] + text_bytes <= size:
            first, count, before, sum_ = runs[-1]
            runs[-1] = first, count + 1, before + rows, sum_ + text_bytes
        else:
            runs.append((row, 1, rows, text_bytes))
        row += rows
    return runs


def read_parquet(
    path: str, start: int, stop: int, text: str, chunk: int, wanted: Wanted, place: Place
) -> Iterator[Parsed]:
    """The rows from `start` to `stop`; row groups without a wanted row are not touched."""
    file = _open_parquet(path)
    _check_columns(file.schema_arrow, text)
    first = 0
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        low, high = max(start - first, 0), group.num_rows
        if stop >= 0:
            high = min(high, stop - first)
        if low < high and _any_wanted(wanted, first + low, high - low):
            size = max(group.total_byte_size, 1)
            rows = min(max(chunk * group.num_rows // size, 1), MAX_ROWS)
            at = 0
            for found in file.iter_batches(rows, row_groups=[number], use_threads=False):
                begin, end = max(low, at), min(high, at + found.num_rows)
                if begin < end:
                    place.row = first + begin
                    inside = found.slice(begin - at, end - begin)
                    yield from _parts(inside, text, chunk, wanted, place)
                at += found.num_rows
                if at >= high:
                    break
            if at < high:
                raise BrokenShardError(
                    "broken_shard", f"row group {number} holds {at} rows of {group.num_rows}"
                )
        first += group.num_rows
    if wanted is None and start == 0 and first == 0:
        yield from _parts(_empty(file.schema_arrow), text, chunk, None, place)


def read_arrow(
    path: str, start: int, stop: int, text: str, chunk: int, wanted: Wanted, place: Place
) -> Iterator[Parsed]:
    """The record batches from `start` to `stop`, of an Arrow file or stream."""
    schema = _open_arrow(path).schema
    _check_columns(schema, text)
    seen = False
    for number, found in enumerate(_arrow_batches(path, start), start):
        if 0 <= stop <= number or (wanted is not None and not _any_wanted(wanted, place.row, -1)):
            return
        seen = True
        after = place.row + found.num_rows
        yield from _parts(found, text, chunk, wanted, place)
        place.row = after
    if not seen and wanted is None:
        yield from _parts(_empty(schema), text, chunk, None, place)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _any_wanted(wanted: Wanted, first: int, count: int) -> bool:
    if wanted is None or isinstance(wanted, Draw):
        return True
    low = np.searchsorted(wanted, np.uint64(first))
    high = wanted.size if count < 0 else np.searchsorted(wanted, np.uint64(first + count))
    return bool(low < high)


def _check_columns(schema: pa.Schema, text: str) -> None:
    names = schema.names
    twice = [name for name, often in Counter(names).items() if often > 1]
    if twice:
        raise BrokenShardError("broken_shard", f"two columns are named {twice[0]!r}")
    if text not in names:
        raise no_text_column(text, names)
    kind = schema.field(text).type
    if not columns.holds_text(kind):
        raise BrokenShardError(
            "text_is_not_a_string", f"column {text!r} is {kind}; set input.text to one of text"
        )


def _parts(
    found: pa.RecordBatch, text: str, chunk: int, wanted: Wanted, place: Place
) -> Iterator[Parsed]:
    """Validate a record batch, take the wanted rows of it, and cut it into batches."""
    count = found.num_rows
    sound = columns.sound(found, text)
    rows = np.arange(place.row, place.row + count, dtype=np.uint64)
    if wanted is not None:
        sizes = partial(sound.text_sizes, text)
        chosen = positions(wanted, place.row, count, sizes)
        if not chosen:
            place.row += count
            return
        sound = sound.take(np.array(chosen, dtype=np.int64))
        rows = rows[chosen]
    for part, low, high in sound.parts(chunk):
        parsed = part.parsed(text, rows[low:high])
        place.row = int(rows[high - 1]) + 1 if high else place.row
        yield parsed
