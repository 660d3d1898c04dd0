"""Lists of domains, URLs or words that a user gives: text files of one entry a line.

A line that begins with `#` is a comment, so is what follows a space and `#`. Files may be
compressed (gzip, zstd, bzip2). An entry that cannot mean anything is refused with its line: a list
that silently matches nothing would be worse than none.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import xxhash

from cleanpipe.errors import InputError
from cleanpipe.input.bytestream import BrokenStreamError, ByteStream, compression_of, hash_and_size
from cleanpipe.rules import url_parts

MOST_BYTES = 1 << 30


def content_hash(path: str) -> str:
    """xxh3_128 of a list's bytes. Raises InputError where it cannot be read."""
    digest = xxhash.xxh3_128()
    hash_and_size(path, digest.update)
    return digest.hexdigest()


def _domain(entries: pl.Series) -> pl.Series:
    bare = entries.str.replace(url_parts.SCHEME, "").str.replace(r"^\*?\.", "")
    alone = bare.str.contains(r"^(?:\[[^\]]*\]|[^\s/?#@\\:]+)/?$")
    return pl.select(pl.when(alone).then(url_parts.hosts("//" + bare))).to_series()


def _page(entries: pl.Series) -> pl.Series:
    known = ~entries.str.contains(r"\s") & url_parts.hosts(entries).is_not_null()
    return pl.select(pl.when(known).then(url_parts.pages(entries))).to_series()


def _word(entries: pl.Series) -> pl.Series:
    one = ~entries.str.contains(url_parts.BREAKS)
    return pl.select(pl.when(one).then(url_parts.words(entries))).to_series()


def _part(entries: pl.Series) -> pl.Series:
    part = url_parts.run_together(entries)
    return pl.select(pl.when(part != "").then(part)).to_series()


KINDS: Mapping[str, tuple[Callable[[pl.Series], pl.Series], str]] = {
    "domain": (_domain, "a domain such as example.org"),
    "page": (_page, "a URL such as example.org/a/page"),
    "word": (_word, "one word of letters and digits"),
    "part": (_part, "letters or digits"),
}
"""How an entry of each kind is compared, and what is expected of it."""


def read(paths: Sequence[str], kind: str) -> pl.DataFrame:
    """The entries of some lists: columns key (what is compared), entry, list; a row a key.

    Errors: InputError for a list that cannot be read, holds nothing, or has an entry of no use.
    """
    return _read(kind, *((path, *_stamp(path)) for path in paths))


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=8)
def _read(kind: str, *files: tuple[str, int, int]) -> pl.DataFrame:
    frames = [_one(path, kind) for path, _, _ in files]
    return pl.concat(frames).unique("key", keep="first", maintain_order=True)


def _one(path: str, kind: str) -> pl.DataFrame:
    lines = pl.Series("entry", _text(path).split("\n"), dtype=pl.String)
    frame = (
        lines.to_frame()
        .with_row_index("line", offset=1)
        .with_columns(pl.col("entry").str.replace(r"(^|\s)#.*$", "").str.strip_chars())
    )
    frame = frame.filter(pl.col("entry") != "")
    if frame.is_empty():
        raise InputError(f"{path} holds no entry: expected one a line, # before comments")
    form, expected = KINDS[kind]
    frame = frame.with_columns(key=form(frame["entry"]))
    wrong = frame.filter(pl.col("key").is_null())
    if wrong.height:
        line, entry = wrong.row(0)[:2]
        more = f" ({wrong.height:,} entries are not)" if wrong.height > 1 else ""
        raise InputError(f"{path}:{line}: {entry[:80]!r} is no entry: expected {expected}{more}")
    return frame.select("key", "entry", pl.lit(path).alias("list"))


def _text(path: str) -> str:
    with Path(path).open("rb") as file:
        head = file.read(16)
    with ByteStream(path, compression_of(head), None) as stream:
        try:
            data = stream.read(MOST_BYTES + 1)
            broken = stream.is_broken
        except BrokenStreamError:
            broken, data = True, b""
    if broken or len(data) > MOST_BYTES:
        raise InputError(f"{path} is damaged, or holds more than {MOST_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8") from None
