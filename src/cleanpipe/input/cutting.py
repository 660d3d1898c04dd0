"""Where to cut a text file into stretches of about one size, at the ends of records."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cleanpipe.input.bytestream import RAW, BrokenStreamError, ByteStream
from cleanpipe.kernels import records

Cut = tuple[int, int, int, int | None, int]
"""start, stop, first row, rows, bytes of text: a Span without its shard."""
Ends = Callable[[bytes], npt.NDArray[np.int64]]
"""Where records end in the next piece of a file, after their newlines."""

STRETCHES = 8
"""The most stretches of a file that can only be read from its start. Each later one decodes all
before it again: with 8 that is 3.5 times the file in all, and it grows with their square."""

BOM = b"\xef\xbb\xbf"


def cut_text(
    path: str, compression: str, encoding: str | None, delimiter: str | None, size: int
) -> list[Cut]:
    """Cut at the first record's end at or after each multiple of `size` bytes of text.

    Records are lines, or those of RFC 4180 where there is a `delimiter`; its header is no row.
    Where the file breaks off, the last stretch goes on into the break.
    """
    ends = line_ends if delimiter is None else quoted_ends(delimiter)
    row = 0 if delimiter is None else -1
    cuts = [(0, 0)]
    position, last_end, target = 0, 0, size
    broken = False
    with ByteStream(path, compression, encoding) as stream:
        try:
            while piece := stream.read(RAW):
                mark = len(BOM) if position == 0 and piece.startswith(BOM) else 0
                found = ends(piece[mark:]) + (position + mark)
                while (place := int(np.searchsorted(found, target))) < found.size:
                    cuts.append((int(found[place]), row + place + 1))
                    target = (cuts[-1][0] // size + 1) * size
                row += found.size
                position += len(piece)
                last_end = int(found[-1]) if found.size else last_end
        except BrokenStreamError:
            broken = True
    if cuts[-1][0] == position and len(cuts) > 1 and not broken:
        cuts.pop()
    if compression != "none" or encoding is not None:
        cuts = cuts[:: -(-len(cuts) // STRETCHES)]
    total = max(row + (last_end < position), 0)
    spans: list[Cut] = [
        (start, stop, first, end - first, stop - start)
        for (start, first), (stop, end) in zip(cuts, [*cuts[1:], (position, total)], strict=True)
    ]
    start, _, first, rows, length = spans[-1]
    spans[-1] = (start, -1, first, None if broken else rows, length)
    return spans


def line_ends(piece: bytes) -> npt.NDArray[np.int64]:
    """Where lines end, after their newline.

    >>> line_ends(b"ab" + bytes([10]) + b"c" + bytes([10])).tolist()
    [3, 5]
    """
    return np.flatnonzero(np.frombuffer(piece, dtype=np.uint8) == records.NEWLINE) + 1


def quoted_ends(delimiter: str) -> Ends:
    """A scanner that finds where CSV records end, from piece to piece of one file."""
    state = records.FIELD_START

    def ends(piece: bytes) -> npt.NDArray[np.int64]:
        nonlocal state
        data = np.frombuffer(piece, dtype=np.uint8)
        found, state = records.quoted_record_ends(data, ord(delimiter), state)
        return found

    return ends
