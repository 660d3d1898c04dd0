"""The bytes of a text file: decompressed, in UTF-8, bounded, and up to where it breaks."""

import bz2
import codecs
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Self

import xxhash
import zstandard

from cleanpipe.input import places

RAW = 1 << 20
PIECE = 2048
"""Compressed bytes given to a decoder at once. zstd expands 32,768 times at most, bz2 about
22,000 times: 2 KB are at most 64 MB, and not slower than larger pieces."""
ZSTD_WINDOW = 1 << 27  # the zstd tool's own limit without --long
ALLOWANCE = 1 << 30
RATIO = 1000
"""A file may expand to ALLOWANCE or to RATIO times its size, whichever is more."""

BZ2_STARTS = (b"1AY&SY", b"\x17rE8P\x90")


class BrokenStreamError(Exception):
    """The file cannot be decoded from here on."""


def compression_of(head: bytes) -> str:
    """Which compression the first bytes of a file tell: gzip, zstd, bz2 or none.

    >>> compression_of(bytes([0x1F, 0x8B, 8]))
    'gzip'
    """
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    # 0x184D2A50 to 0x184D2A5F: a skippable frame, with which pzstd's files begin
    if head.startswith(b"\x28\xb5\x2f\xfd") or (
        head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50
    ):
        return "zstd"
    if head.startswith(b"BZh") and head[3:4].isdigit() and head[4:10] in BZ2_STARTS:
        return "bz2"
    return "none"


def _decoder(compression: str) -> Any:
    if compression == "gzip":
        return zlib.decompressobj(31)  # 31: gzip's header and check sum, the largest window
    if compression == "bz2":
        return bz2.BZ2Decompressor()
    return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()


def _mark(error: UnicodeError) -> tuple[str | bytes, int]:
    """Put the byte 0xFF, never valid in UTF-8, where the named encoding has no character.

    So one bad place spoils its own record, which then goes to quarantine, and no other.
    """
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    if isinstance(error, UnicodeEncodeError):
        return b"\xff", error.end
    raise error


codecs.register_error("cleanpipe.mark", _mark)


class ByteStream:
    """The text of a file, from its first byte on. `read` gives what precedes a break, then raises.

    `position` counts decompressed, decoded bytes. The file is opened for reading only.
    """

    def __init__(self, path: str, compression: str, encoding: str | None) -> None:
        try:
            self._file = places.open_bytes(path)
        except OSError as error:
            raise places.cannot_read(path, error) from error
        self._path = path
        self._plain = compression == "none" and encoding is None
        self.position = 0
        self._held = b""
        self._broken: BrokenStreamError | None = None
        pieces = self._raw()
        if compression != "none":
            pieces = _decompressed(pieces, compression, places.status(path).size)
        self._pieces = pieces if encoding is None else _decoded(pieces, encoding)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def is_broken(self) -> bool:
        """Whether what has been read is followed by a break."""
        return self._broken is not None

    def _raw(self) -> Iterator[bytes]:
        while piece := reading(self._path, lambda: self._file.read(RAW)):
            yield piece

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only before the end or a break, none at the end."""
        held = [self._held]
        length = len(self._held)
        while length < size and self._broken is None:
            try:
                piece = next(self._pieces, None)
            except BrokenStreamError as error:
                self._broken = error
                break
            if piece is None:
                break
            held.append(piece)
            length += len(piece)
        whole = b"".join(held)
        self._held = whole[size:]
        taken = whole[:size]
        if not taken and self._broken is not None:
            raise self._broken
        self.position += len(taken)
        return taken

    def skip_to(self, position: int) -> None:
        """Go on to `position`; reads what lies between unless the file is plain UTF-8."""
        if self._plain:
            self._file.seek(position)
            self.position = position
            self._held = b""
        while self.position < position and self.read(min(RAW, position - self.position)):
            pass


def reading(path: str, read: Callable[[], Any]) -> Any:
    """Call `read`; where the disk fails, say which file."""
    try:
        return read()
    except OSError as error:
        if error.errno is None:  # a library's own finding about the bytes
            raise
        raise places.cannot_read(path, error) from error


def _decompressed(raw: Iterator[bytes], compression: str, size: int) -> Iterator[bytes]:
    """What the file's frames hold, one after the other, up to a limit."""
    limit = max(ALLOWANCE, RATIO * size)
    total = 0
    for out in _frames(raw, compression):
        for start in range(0, min(len(out), limit - total), RAW):
            yield out[start : min(start + RAW, limit - total)]
        total += len(out)
        if total > limit:
            raise BrokenStreamError(
                f"{size:,} bytes of {compression} expand to more than {limit:,}"
            )


def _frames(raw: Iterator[bytes], compression: str) -> Iterator[bytes]:
    decoder = None
    started = False
    for large in raw:
        for start in range(0, len(large), PIECE):
            rest = large[start : start + PIECE]
            while rest:
                if decoder is None:
                    if started and compression == "gzip" and not rest.strip(b"\0"):
                        break  # gzip's own tools take zeros behind a member for padding
                    decoder = _decoder(compression)
                    started = True
                try:
                    yield decoder.decompress(rest)
                except (zlib.error, OSError, ValueError, zstandard.ZstdError) as error:
                    raise BrokenStreamError(f"not {compression} from here on: {error}") from error
                rest = b""
                if decoder.eof:
                    rest = decoder.unused_data
                    decoder = None
    if decoder is not None or not started:
        raise BrokenStreamError(f"the file ends within its {compression} data")


def _decoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("cleanpipe.mark")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "cleanpipe.mark")
    yield decoder.decode(b"", final=True).encode("utf-8", "cleanpipe.mark")


def hash_and_size(path: str, update: Callable[[bytes], object]) -> int:
    """Give `update` the raw bytes of a file, and return how many there were."""
    size = 0
    try:
        with places.open_bytes(path) as file:
            while piece := file.read(RAW):
                update(piece)
                size += len(piece)
    except OSError as error:
        raise places.cannot_read(path, error) from error
    return size


def content_hash(path: str) -> str:
    """XXH3-128 of a file's raw bytes, in hexadecimal."""
    digest = xxhash.xxh3_128()
    hash_and_size(path, digest.update)
    return digest.hexdigest()
