"""A text file in pieces of whole records, of bounded size whatever the file holds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cleanpipe.input import batch
from cleanpipe.input.batch import SAMPLE, Bad, Parsed
from cleanpipe.input.bytestream import ByteStream
from cleanpipe.input.cutting import BOM, quoted_ends
from cleanpipe.input.draw import NO_DOCUMENT

FirstAndLast = Callable[[bytes], tuple[int, int]]
"""Where the first and the last record that end in a piece end; 0, 0 where none does."""


@dataclass(frozen=True)
class Records:
    """Whole records; only the last of a file may lack its newline."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class TooLong:
    """One record that was streamed past: its first bytes and its size."""

    offset: int
    head: bytes
    length: int


def lines_in(piece: bytes) -> tuple[int, int]:
    """The ends of the first and the last line.

    >>> lines_in(b"ab" + bytes([10]) + b"c" + bytes([10]) + b"d")
    (3, 5)
    """
    return piece.find(b"\n") + 1, piece.rfind(b"\n") + 1


def line_sizes(lines: list[bytes]) -> list[int]:
    """The bytes of each line; of a blank one, which is no document, NO_DOCUMENT (-1).

    >>> line_sizes([b"ab", b" ", b""])
    [2, -1, -1]
    """
    return [len(line) if line.strip() else NO_DOCUMENT for line in lines]


def quoted_in(delimiter: str) -> FirstAndLast:
    """The same for CSV records; pieces must follow each other."""
    ends = quoted_ends(delimiter)

    def first_and_last(piece: bytes) -> tuple[int, int]:
        found = ends(piece)
        return (int(found[0]), int(found[-1])) if found.size else (0, 0)

    return first_and_last


def whole_records(
    stream: ByteStream, stop: int, scan: FirstAndLast, chunk: int, longest: int
) -> Iterator[Records | TooLong]:
    """Pieces of about `chunk` bytes from the stream's place to `stop` (-1: its end).

    A record longer than `longest` may come whole (up to `longest` + `chunk`) or as TooLong.
    Raises BrokenStreamError after what precedes a break; a record that it cuts off is left out.
    """
    offset = at = stream.position
    held: list[bytes] = []
    size = 0
    skipped = b""  # the head of a record that is too long to be held
    while piece := stream.read(asked := chunk if stop < 0 else min(chunk, stop - at)):
        at += len(piece)
        ended = len(piece) < asked and not stream.is_broken
        if offset == 0 and not held and piece.startswith(BOM):
            offset, piece = len(BOM), piece[len(BOM) :]
        first, last = scan(piece)
        if ended and not skipped:
            last = len(piece)
        if skipped:
            if not first:
                size += len(piece)
                continue
            yield TooLong(offset, skipped, size + first)
            offset += size + first
            piece, last = piece[first:], last - first
            skipped, size = b"", 0
        if last:
            data = b"".join([*held, piece[:last]])
            yield Records(offset, data)
            offset += len(data)
            held, size = [], 0
        held.append(piece[last:])
        size += len(piece) - last
        if size > longest:
            skipped, held = b"".join(held)[:SAMPLE], []
    if skipped:
        yield TooLong(offset, skipped, size)
    elif size:
        yield Records(offset, b"".join(held))


def too_long(piece: TooLong, row: int) -> Parsed:
    """A batch of no document, for a record that was streamed past."""
    detail = f"longer than {batch.MAX_RECORD:,} bytes"
    bad = Bad(row, piece.offset, "too_long", detail, piece.head, piece.length)
    return Parsed((), (), batch.NO_TEXTS, batch.NO_ROWS, [bad])
