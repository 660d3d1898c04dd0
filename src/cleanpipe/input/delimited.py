"""CSV, TSV and plain text -> columns. One bad record is one line of quarantine."""

import csv
from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from cleanpipe.input import batch
from cleanpipe.input.batch import Bad, BrokenShardError, Parsed, Place, no_text_column
from cleanpipe.input.bytestream import ByteStream
from cleanpipe.input.cutting import BOM, quoted_ends
from cleanpipe.input.draw import NO_DOCUMENT, Draw, Wanted, positions
from cleanpipe.input.lines import TooLong, line_sizes, lines_in, quoted_in, too_long, whole_records

MAX_HEADER = 1_000_000


def read_header(stream: ByteStream, delimiter: str, text: str) -> tuple[list[str], int]:
    """The columns' names and where the first row starts; an empty file has neither."""
    head = stream.read(MAX_HEADER)
    mark = len(BOM) if head.startswith(BOM) else 0
    ends = quoted_ends(delimiter)(head[mark:])
    if not ends.size and len(head) == MAX_HEADER:
        raise BrokenShardError("broken_shard", f"the header is longer than {MAX_HEADER:,} bytes")
    stop = mark + (int(ends[0]) if ends.size else len(head) - mark)
    record, why = _fields(head[mark:stop], delimiter)
    if record is None:
        raise BrokenShardError("broken_shard", f"the header is no record: {why[1]}")
    if len(set(record)) < len(record):
        twice = next(name for name in record if record.count(name) > 1)
        raise BrokenShardError("broken_shard", f"two columns are named {twice!r}")
    if record and text not in record:
        raise no_text_column(text, record)
    return record, stop


def read_csv(
    stream: ByteStream,
    stop: int,
    header: list[str],
    text: str,
    delimiter: str,
    chunk: int,
    wanted: Wanted,
    place: Place,
) -> Iterator[Parsed]:
    """Batches of about `chunk` bytes; all columns are strings. The stream stands behind a row."""
    csv.field_size_limit(2 * batch.MAX_RECORD)  # records are measured in bytes, before
    scan = quoted_in(delimiter)
    for piece in whole_records(stream, stop, scan, chunk, batch.MAX_RECORD):
        place.offset = piece.offset
        if isinstance(piece, TooLong):
            yield too_long(piece, place.row)
            place.row += 1
            continue
        ends = quoted_ends(delimiter)(piece.data).tolist()
        if not ends or ends[-1] < len(piece.data):
            ends.append(len(piece.data))
        starts = [0, *ends[:-1]]
        count = len(ends)
        sizes = partial(_record_sizes, piece.data, starts, ends)
        chosen = range(count) if wanted is None else positions(wanted, place.row, count, sizes)
        if wanted is None or chosen:
            records = [piece.data[starts[i] : ends[i]] for i in chosen]
            found = _all_fields(records, delimiter, len(header))
            kept = [place.row + i for i in chosen]
            bad = []
            if found is None:
                found, kept = [], []
                for i, record in zip(chosen, records, strict=True):
                    fields, why = _fields(record, delimiter, len(header))
                    if fields:
                        found.append(fields)
                        kept.append(place.row + i)
                    elif fields is None:
                        bad.append(Bad(place.row + i, piece.offset + starts[i], *why, record))
            yield _parsed(header, found, text, kept, bad)
        place.row += count
        place.offset += len(piece.data)


def _record_sizes(data: bytes, starts: list[int], ends: list[int]) -> list[int]:
    """The bytes of each record; an empty line is no record."""
    return [
        end - start if end - start > 2 or data[start:end].strip(b"\r\n") else NO_DOCUMENT
        for start, end in zip(starts, ends, strict=True)
    ]


def _all_fields(records: list[bytes], delimiter: str, expected: int) -> list[list[str]] | None:
    """The fields of all records, or None where one of them needs a look of its own."""
    if sum(map(len, records)) > batch.MAX_RECORD:
        return None
    try:
        lines = [record.decode() for record in records]
        found = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    # a record gives one row at most: as many rows as records are theirs, one by one
    good = len(found) == len(records) and all(len(fields) == expected for fields in found)
    return found if good else None


def _fields(
    record: bytes, delimiter: str, expected: int = 0
) -> tuple[list[str] | None, tuple[str, str]]:
    """The fields of a record, none of a blank line, or None and why not."""
    if len(record) > batch.MAX_RECORD:
        return None, ("too_long", f"longer than {batch.MAX_RECORD:,} bytes")
    try:
        fields = next(csv.reader((record.decode(),), delimiter=delimiter, strict=True), [])
    except UnicodeDecodeError as error:
        return None, ("not_utf8", f"{error.reason} at byte {error.start}")
    except csv.Error as error:
        return None, ("not_csv", str(error))
    if fields and expected and len(fields) != expected:
        why = f"{len(fields)} fields, the header has {expected}"
        return None, ("wrong_number_of_fields", why)
    return fields, ("", "")


def _parsed(
    header: list[str], found: list[list[str]], text: str, rows: list[int], bad: list[Bad]
) -> Parsed:
    columns = [pa.array([fields[i] for fields in found], pa.string()) for i in range(len(header))]
    numbers = np.array(rows, dtype=np.uint64)
    if not header:
        return Parsed((), (), batch.NO_TEXTS, numbers, bad)
    texts = columns.pop(header.index(text)).cast(pa.large_string())
    return Parsed([name for name in header if name != text], columns, texts, numbers, bad)


def read_lines(
    stream: ByteStream, stop: int, chunk: int, wanted: Wanted, place: Place
) -> Iterator[Parsed]:
    """A document a line; blank lines are none."""
    for piece in whole_records(stream, stop, lines_in, chunk, batch.MAX_RECORD):
        place.offset = piece.offset
        if isinstance(piece, TooLong):
            yield too_long(piece, place.row)
            place.row += 1
            continue
        lines = piece.data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        count, sizes = len(lines), partial(line_sizes, lines)
        chosen = range(count) if wanted is None else positions(wanted, place.row, count, sizes)
        if wanted is None or chosen:
            starts = np.cumsum([0, *(len(line) + 1 for line in lines)]) + piece.offset
            yield _texts(
                [
                    (place.row + i, int(starts[i]), line)
                    for i in chosen
                    if (line := lines[i].removesuffix(b"\r")).strip()
                ]
            )
        place.row += len(lines)
        place.offset += len(piece.data)


def read_file(stream: ByteStream, wanted: Wanted, place: Place) -> Iterator[Parsed]:
    """One document, the whole file, exactly as it is but for a byte order mark."""
    if isinstance(wanted, np.ndarray) and not wanted.size:
        return
    place.offset = 0
    text = stream.read(batch.MAX_RECORD + 1)
    if isinstance(wanted, Draw) and not positions(wanted, 0, 1, lambda: [len(text)]):
        pass
    elif len(text) <= batch.MAX_RECORD:
        stream.read(1)  # a break right behind is a break of this document
        yield _texts([(0, 0, text.removeprefix(BOM))])
    else:
        length = len(text)
        while piece := stream.read(1 << 20):
            length += len(piece)
        yield too_long(TooLong(0, text[: batch.SAMPLE], length), 0)
    place.row = 1


def _texts(found: list[tuple[int, int, bytes]]) -> Parsed:
    rows, texts, bad = [], [], []
    for row, offset, record in found:
        if len(record) > batch.MAX_RECORD:
            detail = f"longer than {batch.MAX_RECORD:,} bytes"
            bad.append(Bad(row, offset, "too_long", detail, record))
            continue
        try:
            texts.append(record.decode())
        except UnicodeDecodeError as error:
            detail = f"{error.reason} at byte {error.start}"
            bad.append(Bad(row, offset, "not_utf8", detail, record))
        else:
            rows.append(row)
    numbers = np.array(rows, dtype=np.uint64)
    return Parsed((), (), pa.array(texts, pa.large_string()), numbers, bad)
