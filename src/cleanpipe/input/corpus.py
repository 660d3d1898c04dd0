"""The input as a set of shards, and the blocks into which its text is cut."""

import codecs
import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import xxhash
from pydantic import BaseModel, ConfigDict, Field, field_validator

from cleanpipe.errors import InputError
from cleanpipe.input import cutting, places, tables
from cleanpipe.input.bytestream import compression_of, hash_and_size
from cleanpipe.input.globbing import check_name, matching_files

BLOCK = 32_000_000
"""Bytes of text in a block, about: what a worker does between two receipts."""
SHARDS_IN_BLOCK = 2_000
EXPANSION = 4
"""How many bytes of text one compressed byte is taken for (zstd and gzip on prose: 3 to 4)."""

Format = Literal["parquet", "arrow", "jsonl", "csv", "tsv", "txt"]

ENDINGS: dict[str, Format] = {
    "parquet": "parquet",
    "arrow": "arrow",
    "arrows": "arrow",
    "feather": "arrow",
    "ipc": "arrow",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "txt": "txt",
    "text": "txt",
    "md": "txt",
}
COMPRESSED = {"gz": "gzip", "zst": "zstd", "zstd": "zstd", "bz2": "bz2"}


class Input(BaseModel):
    """One entry of the recipe's `input`: where documents are, and which column is what.

    >>> Input(path="news/*.jsonl.zst", source="news").text
    'text'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    path: Annotated[str, Field(min_length=1)]
    """A file, a folder or a pattern (`*`, `?`, `[a-z]`, `**`), from the recipe's folder."""
    format: Literal["auto", "parquet", "arrow", "jsonl", "csv", "tsv", "txt"] = "auto"
    """What files are whose content does not tell; auto goes by their ending."""
    source: str | None = None
    """A name for these documents: their shards' names begin with it, and it is their column
    `source`, which they may then not have themselves."""
    text: str = "text"
    """The column that holds the text."""
    id: str | None = None
    """The column that holds each document's id. Left out, it is a column named `id`; where there is
    none, the id is `<shard>:<row>`."""
    encoding: str | None = None
    """Of text files; without it, what is not UTF-8 goes to quarantine."""
    document: Literal["file", "line"] = "file"
    """Whether a .txt file is one document, or each of its lines."""
    rename: dict[str, str] = {}
    """New names for columns, old: new; the text column keeps out of it."""
    unnest: str | None = None
    """A column of objects, such as datatrove's `metadata`, whose fields become columns, before any
    is renamed; one whose name another column has is `metadata_NAME` then."""
    on_bad_shard: Literal["quarantine", "fail"] = "quarantine"
    """A shard that breaks off goes on in quarantine, or ends the run."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            known = codecs.lookup(value)
            b"?".decode(value)  # refuses codecs that are no encodings of text, such as zlib
        except LookupError:
            raise ValueError(
                f"no encoding is named {value!r}; Python's names hold, such as latin-1 or cp1252"
            ) from None
        except UnicodeDecodeError:
            pass
        return None if known.name == "utf-8" else known.name

    @field_validator("rename")
    @classmethod
    def _distinct_names(cls, value: dict[str, str]) -> dict[str, str]:
        twice = sorted({new for new in value.values() if list(value.values()).count(new) > 1})
        if twice:
            raise ValueError(f"two columns would be named {twice[0]!r}")
        return value


@dataclass(frozen=True)
class Shard:
    """A file of documents. `number` is its place among all shards, sorted by name."""

    number: int
    name: str
    path: str
    format: Format
    compression: str
    size: int
    mtime_ns: int
    input: int

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Make it again from `to_json`."""
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for receipts."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Span:
    """A stretch of a shard, from one record boundary to another.

    `start` and `stop` (-1: to the end) count bytes of the decompressed, decoded text; rows of a
    Parquet shard; record batches of an Arrow shard. `rows` counts its records, blank lines too,
    and is None where nobody has counted; `text_bytes` is about the size of its text.
    """

    shard: int
    start: int
    stop: int
    first_row: int
    rows: int | None
    text_bytes: int


@dataclass(frozen=True)
class ShardIndex:
    """What a look through a shard's bytes tells: their XXH3-128, and where to cut."""

    shard: int
    content_hash: str
    spans: tuple[Span, ...]

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Make it again from `to_json`."""
        return cls(**{**fields, "spans": tuple(Span(**span) for span in fields["spans"])})

    def to_json(self) -> dict[str, Any]:
        """Plain values, for receipts."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Block:
    """The unit of work: one span of a large shard, or several small shards."""

    number: int
    spans: tuple[Span, ...]

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Make it again from `to_json`."""
        return cls(fields["number"], tuple(Span(**span) for span in fields["spans"]))

    def to_json(self) -> dict[str, Any]:
        """Plain values, for receipts."""
        return dataclasses.asdict(self)


def find_shards(inputs: Sequence[Input], folder: Path = Path()) -> list[Shard]:
    """All shards of the inputs, sorted by name; paths go from `folder`.

    A shard's name is its path below the fixed part of the input's path, after `<source>/` where
    the input has one. Raises InputError where an input matches nothing or cannot be read, and
    where two shards would have one name.
    """
    folder = folder.absolute()
    found: dict[str, Shard] = {}
    for number, given in enumerate(inputs):
        prefix, files = matching_files(given.path, folder, any_ending=given.format != "auto")
        for file in files:
            name = file.removeprefix(prefix).lstrip("/")
            name = f"{given.source}/{name}" if given.source else name
            check_name(name)
            shard = _shard(name, file, given, number)
            if name in found:
                raise InputError(
                    f"two shards are named {name!r}: {found[name].path} and {shard.path}; "
                    "give their inputs different sources (input.source)"
                )
            found[name] = shard
    return [
        dataclasses.replace(found[name], number=place) for place, name in enumerate(sorted(found))
    ]


def _shard(name: str, file: str, given: Input, number: int) -> Shard:
    try:
        status = places.status(file)
        with places.open_bytes(file) as opened:
            head = opened.read(10)
    except OSError as error:
        raise places.cannot_read(file, error) from error
    endings = [ending.lower() for ending in file.rpartition("/")[2].split(".")[1:]]
    compression = compression_of(head)
    if endings and endings[-1] in COMPRESSED:
        # an empty .gz is no gzip file, and an empty corpus neither
        compression = compression if head else COMPRESSED[endings[-1]]
        endings.pop()
    told: Format | None = tables.format_of(head)
    if told is None and given.format != "auto":
        told = given.format
    if told is None and endings:
        told = ENDINGS.get(endings[-1])
    if told is None:
        raise InputError(
            f"cannot tell the format of {file} by its content or its ending; "
            f"set input.format to one of {', '.join(get_args(Format))}"
        )
    return Shard(0, name, file, told, compression, status.size, status.mtime_ns, number)


def index_shard(shard: Shard, given: Input) -> ShardIndex:
    """Hash a shard and cut it. Runs where a crash is survived: the file may be hostile.

    A shard that is damaged is cut as far as it goes; reading says what is wrong with it.
    """
    digest = xxhash.xxh3_128()
    hash_and_size(shard.path, digest.update)
    check_unchanged(shard)
    spans = tuple(Span(shard.number, *cut) for cut in _cuts(shard, given))
    return ShardIndex(shard.number, digest.hexdigest(), spans)


def glance(shard: Shard, given: Input) -> ShardIndex:
    """Cut a shard where it can be read from its middle, and hash nothing: no text is read."""
    if shard.format in {"parquet", "arrow"}:
        cuts = _cuts(shard, given)
    else:
        size = shard.size * (1 if shard.compression == "none" else EXPANSION)
        cuts = [(0, -1, 0, None, size)]
    return ShardIndex(shard.number, "", tuple(Span(shard.number, *cut) for cut in cuts))


def _cuts(shard: Shard, given: Input) -> list[cutting.Cut]:
    if shard.format == "parquet":
        return tables.cut_parquet(shard.path, BLOCK)
    if shard.format == "arrow":
        return tables.cut_arrow(shard.path, given.text, BLOCK)
    size = shard.size * (1 if shard.compression == "none" else EXPANSION)
    if size < BLOCK or (shard.format == "txt" and given.document == "file"):
        return [(0, -1, 0, None, size)]
    delimiter = {"csv": ",", "tsv": "\t"}.get(shard.format)
    return cutting.cut_text(shard.path, shard.compression, given.encoding, delimiter, BLOCK)


def check_unchanged(shard: Shard) -> None:
    """Raise InputError where the file is no longer the one that was found."""
    try:
        status = places.status(shard.path)
    except OSError as error:
        raise places.cannot_read(shard.path, error) from error
    if (status.size, status.mtime_ns) != (shard.size, shard.mtime_ns):
        raise InputError(
            f"{shard.path} changed during the run: {status.size:,} bytes now, {shard.size:,} "
            "when it was found; run again when nothing writes to the input"
        )


def as_it_is_now(shard: Shard) -> Shard:
    """The shard with its file's size and time of now; raises InputError where it is gone."""
    try:
        status = places.status(shard.path)
    except OSError as error:
        raise places.cannot_read(shard.path, error) from error
    return dataclasses.replace(shard, size=status.size, mtime_ns=status.mtime_ns)


def blocks(indexes: Iterable[ShardIndex]) -> list[Block]:
    """Number the blocks of a corpus: small whole shards together, each other span by itself.

    >>> small = [ShardIndex(i, "", (Span(i, 0, -1, 0, None, 9_000_000),)) for i in range(4)]
    >>> [len(block.spans) for block in blocks(small)]
    [3, 1]
    """
    groups: list[list[Span]] = []
    room = -1
    for index in sorted(indexes, key=lambda index: index.shard):
        for span in index.spans:
            small = len(index.spans) == 1
            if small and span.text_bytes <= room and len(groups[-1]) < SHARDS_IN_BLOCK:
                groups[-1].append(span)
                room -= span.text_bytes
            else:
                groups.append([span])
                room = max(BLOCK - span.text_bytes, -1) if small else -1
    return [Block(number, tuple(spans)) for number, spans in enumerate(groups)]
