"""Shards -> batches of documents. What cannot be read goes to quarantine, the rest goes on."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cleanpipe.errors import InputError, RecipeError
from cleanpipe.input import delimited, jsonl, places, tables
from cleanpipe.input.batch import (
    NO_ROWS,
    NO_TEXTS,
    Bad,
    Batch,
    BrokenShardError,
    Parsed,
    Place,
    Quarantine,
    renamed,
    table_of,
)
from cleanpipe.input.bytestream import BrokenStreamError, ByteStream
from cleanpipe.input.columns import NOT_READABLE
from cleanpipe.input.corpus import Input, Shard, Span, check_unchanged
from cleanpipe.input.draw import Draw, Wanted

CHUNK = 8_000_000
"""Bytes of a batch, about. Parsing JSON lines is 1.3 times slower in pieces of 32 MB."""

Rows = npt.NDArray[np.uint64]

__all__ = ["CHUNK", "Batch", "Quarantine", "read"]


def read(span: Span, shard: Shard, given: Input, rows: Wanted = None) -> Iterator[Batch]:
    """The documents of a span, in the order of their rows, and what could not be read.

    There is at least one batch, if of no document. With `rows` (sorted, distinct: documents that
    an earlier read gave) only these are read, there may be no batch, and none is empty. With a
    draw, only what it draws, and what could not be read of that.
    Raises InputError where the file changed since it was found, where one of `rows` cannot be
    read any more, and where the shard breaks off and `given.on_bad_shard` is "fail".
    """
    place = Place(span.first_row)
    if isinstance(rows, Draw):
        yield from _drawn(span, shard, given, rows, place)
        return
    wanted = rows
    if rows is not None and span.rows is not None:
        wanted = rows[slice(*np.searchsorted(rows, _ends(span)))]
    if wanted is not None and not wanted.size:
        return
    check_unchanged(shard)
    left = -1 if wanted is None else wanted.size
    first = True
    for parsed in _whole_or_broken(span, shard, given, wanted, place):
        batch = _named(parsed, shard, given)
        left -= 0 if wanted is None else len(batch.rows)
        if wanted is None or len(batch.rows):
            first = False
            yield batch
        if left == 0:
            break
    check_unchanged(shard)
    if left > 0:
        raise InputError(
            f"{shard.path}: {left} of the rows {wanted[0]} to {wanted[-1]} can no longer be read; "  # type: ignore[index]
            "the file changed during the run"
        )
    if first and wanted is None:
        yield _named(Parsed((), (), NO_TEXTS, NO_ROWS), shard, given)


def _drawn(span: Span, shard: Shard, given: Input, draw: Draw, place: Place) -> Iterator[Batch]:
    check_unchanged(shard)
    for parsed in _whole_or_broken(span, shard, given, draw, place):
        yield _named(parsed, shard, given)
    check_unchanged(shard)
    yield _named(Parsed((), (), NO_TEXTS, NO_ROWS), shard, given)  # at least one, of no document


def _ends(span: Span) -> Rows:
    return np.array([span.first_row, span.first_row + (span.rows or 0)], dtype=np.uint64)


def _named(parsed: Parsed, shard: Shard, given: Input) -> Batch:
    own, columns = parsed.names, parsed.columns
    if given.unnest is not None and given.unnest in own:
        own, columns = _unnested(own, columns, given.unnest, shard.name)
    names = renamed(own, given.rename, shard.name)
    table = table_of(names, columns, len(parsed.texts))
    if given.source is not None:
        table = _with_source(table, given.source, shard.name)
    return Batch(
        shard.number,
        table,
        parsed.texts,
        parsed.rows,
        tuple(bad.quarantine(shard.name) for bad in parsed.bad),
    )


def _unnested(
    names: Sequence[str], columns: Sequence[pa.Array], nested: str, shard: str
) -> tuple[list[str], list[pa.Array]]:
    """The columns, with the fields of one of them in its place."""
    place = list(names).index(nested)
    column = columns[place]
    others = [name for name in names if name != nested]
    if pa.types.is_null(column.type):
        fields: dict[str, pa.Array] = {}
    elif pa.types.is_struct(column.type):
        own = [field.name for field in column.type]
        taken = {name for name in own if name in {*others, "text"}}
        renamed_ = (f"{nested}_{name}" if name in taken else name for name in own)
        fields = dict(zip(renamed_, column.flatten(), strict=True))
    else:
        raise InputError(
            f"{shard}: input.unnest names column {nested!r}, which holds {column.type} and no "
            "objects; leave unnest out"
        )
    rest = [column for name, column in zip(names, columns, strict=True) if name != nested]
    return [*others, *fields], [*rest, *fields.values()]


def _with_source(table: pa.Table, source: str, shard: str) -> pa.Table:
    """The table with the source that the recipe gives; a column of that name is not overruled."""
    named = pa.repeat(pa.scalar(source), table.num_rows)
    if "source" not in table.column_names:
        return (
            table.append_column("source", named)
            if table.num_columns
            else pa.table([named], ["source"])
        )
    place = table.column_names.index("source")
    if pa.types.is_null(table.schema.field(place).type):
        return table.set_column(place, "source", named)
    raise RecipeError(
        f"{shard} has a column 'source', and the recipe gives its input another source "
        f"({source!r}); leave input.source out, or rename the column "
        "(input.rename: {source: input_source})"
    )


def _whole_or_broken(
    span: Span, shard: Shard, given: Input, wanted: Wanted, place: Place
) -> Iterator[Parsed]:
    """What precedes a break, and one line of quarantine for all that follows."""
    try:
        yield from _batches(span, shard, given, wanted, place)
    except (BrokenStreamError, BrokenShardError, *NOT_READABLE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise places.cannot_read(shard.path, error) from error
        check_unchanged(shard)
        reason = error.reason if isinstance(error, BrokenShardError) else "broken_shard"
        detail = str(error) or type(error).__name__
        if given.on_bad_shard == "fail" or isinstance(wanted, np.ndarray):
            raise InputError(
                f"{shard.path}: {reason} from row {place.row} on: {detail}; repair the file or "
                "leave it out, or set input.on_bad_shard: quarantine"
            ) from error
        bad = Bad(place.row, place.offset, reason, detail, b"")
        yield Parsed((), (), NO_TEXTS, NO_ROWS, [bad])


def _batches(
    span: Span, shard: Shard, given: Input, wanted: Wanted, place: Place
) -> Iterator[Parsed]:
    if shard.format in {"parquet", "arrow"}:
        if shard.compression != "none":
            raise BrokenShardError("broken_shard", f"a compressed {shard.format} file")
        read_table = tables.read_parquet if shard.format == "parquet" else tables.read_arrow
        yield from read_table(shard.path, span.start, span.stop, given.text, CHUNK, wanted, place)
        return
    delimiter = {"csv": ",", "tsv": "\t"}.get(shard.format)
    start = span.start
    header: list[str] = []
    if delimiter is not None:
        with _stream(shard, given) as stream:
            header, behind = delimited.read_header(stream, delimiter, given.text)
            start = max(start, behind)
    with _stream(shard, given) as stream:
        place.offset = start
        stream.skip_to(start)
        if shard.format == "jsonl":
            yield from jsonl.read_jsonl(stream, span.stop, given.text, CHUNK, wanted, place)
        elif delimiter is not None:
            yield from delimited.read_csv(
                stream, span.stop, header, given.text, delimiter, CHUNK, wanted, place
            )
        elif given.document == "line":
            yield from delimited.read_lines(stream, span.stop, CHUNK, wanted, place)
        else:
            yield from delimited.read_file(stream, wanted, place)


def _stream(shard: Shard, given: Input) -> ByteStream:
    return ByteStream(shard.path, shard.compression, given.encoding)
