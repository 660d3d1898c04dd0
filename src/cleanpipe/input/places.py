"""Where files are: on a disk, or on S3-compatible storage (s3://bucket/key).

Whoever reads an input asks here, and nowhere else, so that both are read the same way. Storage that
fails is an InputError, and never a break of the file: what breaks goes to quarantine.
"""

import errno
import functools
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import fs

from cleanpipe.errors import InputError

SCHEME = "s3://"
MOST_AT_ONCE = 8_000_000
"""Bytes of one request: at 30 ms a request and 100 MB/s, waiting takes a quarter of the time."""
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Variables that name the storage's address, as Amazon's own tools read them."""
ATTEMPTS = 5


@dataclass(frozen=True)
class Status:
    """What tells whether a file is still the one that was found."""

    size: int
    mtime_ns: int
    inode: int
    """0 on storage, which has none."""


def is_address(path: str) -> bool:
    """Whether a path is on storage.

    >>> is_address("s3://bucket/news/*.jsonl"), is_address("news/*.jsonl")
    (True, False)
    """
    return path.startswith(SCHEME)


def cannot_read(path: str | Path, error: OSError) -> InputError:
    """What to say of an input that a disk does not give."""
    move = ""
    if error.errno == errno.EIO:
        move = (
            ": its disk fails. Nothing was published; restore the file from elsewhere, or leave it "
            "out of the input, and run again"
        )
    return InputError(f"cannot read {path}: {error.strerror}{move}")


def canonical(path: str) -> str:
    """One text for one file, whatever links lead to it."""
    return path if is_address(path) else str(Path(path).resolve())


def endpoint() -> str | None:
    """The storage's address from the environment; None is Amazon's."""
    return next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)


@functools.cache
def storage() -> Any:
    """The storage that the environment names, with the keys that it gives.

    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the machine's role: as pyarrow finds
    them.
    """
    address = endpoint()
    given: dict[str, Any] = {"endpoint_override": address} if address else {}
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        given["region"] = region
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
    return fs.S3FileSystem(retry_strategy=retries, **given)


def _asked(path: str, ask: Callable[[], Any]) -> Any:
    """Ask the storage; whatever is wrong with it is said of the path."""
    try:
        return ask()
    except (OSError, pa.ArrowException) as error:
        said = str(error).splitlines()[0]
        where = endpoint() or "Amazon S3"
        raise InputError(f"cannot read {path} at {where}: {said}") from error


class _Stored(io.RawIOBase):
    """A file on storage, read by requests; what fails is an InputError, never damage."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = _asked(path, lambda: storage().open_input_file(path.removeprefix(SCHEME)))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(_asked(self._path, lambda: self._file.seek(offset, whence)))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any, /) -> int:
        return int(_asked(self._path, lambda: self._file.readinto(buffer)))

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def open_bytes(path: str) -> BinaryIO:
    """A file to read bytes from. Raises OSError for a disk, InputError for storage."""
    if is_address(path):
        return io.BufferedReader(_Stored(path), MOST_AT_ONCE)
    return io.FileIO(path, "rb")


def open_arrow(path: str) -> pa.NativeFile:
    """A file for Arrow's and Parquet's readers; no memory map: a file may shrink."""
    return pa.PythonFile(open_bytes(path), "r") if is_address(path) else pa.OSFile(path, "rb")


def status(path: str) -> Status:
    """What a file is now. Raises OSError for a disk, InputError for storage."""
    if not is_address(path):
        known = Path(path).stat()
        return Status(known.st_size, known.st_mtime_ns, known.st_ino)
    info = _asked(path, lambda: storage().get_file_info(path.removeprefix(SCHEME)))
    if info.type != fs.FileType.File:
        raise InputError(f"cannot read {path}: no such object")
    return Status(info.size, info.mtime_ns or 0, 0)


def stored_files(path: str, magic: re.Pattern[str]) -> tuple[str, list[str]]:
    """The fixed prefix of a path on storage, and what lies below it; hidden names are left out.

    A path without a pattern (`magic`) may name an object itself.
    """
    parts = path.removeprefix(SCHEME).rstrip("/").split("/")
    fixed = next((i for i, part in enumerate(parts) if magic.search(part)), len(parts))
    prefix = "/".join(parts[:fixed])
    if not prefix:
        raise InputError(f"input.path {path!r} names no bucket: expected s3://bucket/prefix")
    if fixed == len(parts) and "/" in prefix:
        info = _asked(path, lambda: storage().get_file_info(prefix))
        if info.type == fs.FileType.File:
            return SCHEME + prefix.rpartition("/")[0], [SCHEME + prefix]
    below = fs.FileSelector(prefix, recursive=True, allow_not_found=True)
    infos = _asked(path, lambda: storage().get_file_info(below))
    names = (info.path for info in infos if info.type == fs.FileType.File)
    seen = [name for name in names if "/." not in name[len(prefix) :]]
    return SCHEME + prefix, sorted(SCHEME + name for name in seen)
