"""Columns of foreign files: validated before use, told apart row by row, made plain."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cleanpipe.input import batch
from cleanpipe.input.batch import Bad, BrokenShardError, Parsed
from cleanpipe.input.bytestream import ALLOWANCE
from cleanpipe.kernels.records import valid_utf8

NOT_READABLE = (
    pa.ArrowException,
    OSError,
    ValueError,
    OverflowError,
    MemoryError,
    RuntimeError,
)
"""What pyarrow raises on damaged files."""

BYTES_OF = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}
STRINGS = frozenset(BYTES_OF)
BINARIES = frozenset(BYTES_OF.values())
WITHOUT_VIEW = {
    pa.string_view(): pa.large_string(),
    pa.binary_view(): pa.large_binary(),
}
"""What views become: pyarrow can neither filter nor take them."""


def holds_text(kind: pa.DataType) -> bool:
    """Whether a column of this type can be the text: strings, bytes, a dictionary, or nulls.

    >>> holds_text(pa.dictionary(pa.int8(), pa.string())), holds_text(pa.int64())
    (True, False)
    """
    value = _value_type(kind)
    return value in STRINGS or value in BINARIES or pa.types.is_null(value)


def _value_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


@dataclass(frozen=True)
class Sound:
    """Columns that are safe to use, but for the rows in `bad`: row -> reason, detail, column.

    A column with text that is no UTF-8 is held as bytes (`was` tells its type).
    """

    names: list[str]
    columns: list[pa.Array]
    was: list[pa.DataType]
    bad: dict[int, tuple[str, str, int]]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.columns[0]) if self.columns else 0

    def take(self, chosen: npt.NDArray[np.int64]) -> "Sound":
        """Some of the rows."""
        bad = {place: self.bad[row] for place, row in enumerate(chosen.tolist()) if row in self.bad}
        columns = [column.take(pa.array(chosen)) for column in self.columns]
        return Sound(self.names, columns, self.was, bad)

    def parts(self, size: int) -> Iterator[tuple["Sound", int, int]]:
        """Stretches of about `size` bytes of text, and their rows; one where there is no row."""
        sizes = _sizes(self.columns, self.rows)
        too_long = np.flatnonzero(sizes > batch.MAX_RECORD).tolist()
        detail = f"longer than {batch.MAX_RECORD:,} bytes"
        longest = dict.fromkeys(too_long, ("too_long", detail, -1))
        bad = {**self.bad, **longest}
        sizes[too_long] = 0
        before = np.cumsum(sizes) - sizes
        edges = np.flatnonzero(np.diff(before // size)) + 1
        for low, high in zip([0, *edges.tolist()], [*edges.tolist(), self.rows], strict=True):
            inside = {row - low: why for row, why in bad.items() if low <= row < high}
            columns = [column.slice(low, high - low) for column in self.columns]
            yield Sound(self.names, columns, self.was, inside), low, high

    def text_sizes(self, text: str) -> npt.NDArray[np.int64]:
        """The bytes of each row's text; of a null 0."""
        return _lengths(self.columns[self.names.index(text)])

    def parsed(self, text: str, rows: npt.NDArray[np.uint64]) -> Parsed:
        """The rows that are good, in plain columns, and those that are not."""
        place = self.names.index(text)
        bad = []
        for row, (reason, detail, number) in sorted(self.bad.items()):
            head, length = _bytes_at(self.columns[place if number < 0 else number], row)
            bad.append(Bad(int(rows[row]), None, reason, detail, head, length))
        columns = self.columns
        if bad:
            mask = np.ones(self.rows, dtype=bool)
            mask[list(self.bad)] = False
            columns = [column.filter(pa.array(mask)) for column in columns]
            rows = rows[mask]
        columns = [_plain(*pair) for pair in zip(columns, self.was, strict=True)]
        texts = _large_string(columns.pop(place))
        return Parsed([name for name in self.names if name != text], columns, texts, rows, bad)


def sound(found: pa.RecordBatch, text: str) -> Sound:
    """Validate a record batch in full. Text that is no UTF-8 makes its row bad, no other.

    Raises BrokenShardError where anything else is wrong: what is in such columns may not even
    be looked at (offsets that point anywhere).
    """
    columns: list[pa.Array] = []
    was: list[pa.DataType] = []
    bad: dict[int, tuple[str, str, int]] = {}
    for number, (name, given) in enumerate(zip(found.schema.names, found.columns, strict=True)):
        column = given.storage if isinstance(given.type, pa.BaseExtensionType) else given
        was.append(column.type)
        valid = True
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            column = _as_bytes(column, name, error)
            valid = False
        is_bytes = name == text and _value_type(column.type) in BINARIES
        column = _without_views(column, name)
        was[-1] = _viewless(was[-1])
        if not valid or is_bytes:
            for row in np.flatnonzero(~_utf8(column)).tolist():
                bad.setdefault(row, ("not_utf8", f"in column {name!r}", number))
        columns.append(column)
    return Sound(found.schema.names, columns, was, bad)


def _as_bytes(column: pa.Array, name: str, error: pa.ArrowInvalid) -> pa.Array:
    """A column of strings as one of bytes, if bytes are all that is wrong with it."""
    kind = column.type
    try:
        if kind in STRINGS:
            plain = column.view(BYTES_OF[kind])
        elif pa.types.is_dictionary(kind) and kind.value_type in STRINGS:
            values = column.dictionary.view(BYTES_OF[kind.value_type])
            values.validate(full=True)
            plain = pa.DictionaryArray.from_arrays(column.indices, values, safe=False)
        else:
            raise error
        plain.validate(full=True)
    except pa.ArrowInvalid:
        raise BrokenShardError("broken_shard", f"column {name!r}: {error}") from error
    return plain


def _utf8(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Which rows are UTF-8; a null is."""
    if pa.types.is_dictionary(column.type):
        good = pa.array(_utf8(column.dictionary)).take(column.indices)
        found: npt.NDArray[np.bool_] = good.fill_null(True).to_numpy(zero_copy_only=False)
        return found
    large = column.cast(pa.large_binary())
    if not len(large):
        return np.ones(0, dtype=np.bool_)
    _, places, values = large.buffers()
    offsets = np.frombuffer(places, dtype=np.int64)[large.offset : large.offset + len(large) + 1]
    data = np.frombuffer(values or b"", dtype=np.uint8)
    null = large.is_null().to_numpy(zero_copy_only=False)
    valid: npt.NDArray[np.bool_] = valid_utf8(offsets, data) | null
    return valid


def _without_views(column: pa.Array, name: str) -> pa.Array:
    kind = column.type
    wanted = _viewless(kind)
    if wanted == kind:
        return column
    # views may all point at one long value: a file of 1 MB could hold 1 TB
    held = column.get_total_buffer_size()
    length = _viewed(column)
    if length > max(ALLOWANCE, 2 * held):
        raise BrokenShardError(
            "broken_shard", f"column {name!r} expands from {held:,} bytes to {length:,}"
        )
    column = _without_views_of_nulls(column)
    if pa.types.is_dictionary(kind):
        values = column.dictionary.cast(wanted.value_type)
        return pa.DictionaryArray.from_arrays(column.indices, values, safe=False)
    return column.cast(wanted)


def _without_views_of_nulls(column: pa.Array) -> pa.Array:
    """The same values. Validation passes over nulls, but a cast follows their views anywhere."""
    kind = column.type
    if kind in WITHOUT_VIEW and column.null_count:
        validity, views, *rest = column.buffers()
        count = 2 * (column.offset + len(column))
        words = np.frombuffer(views, dtype=np.uint64, count=count).reshape(-1, 2).copy()
        null = column.is_null().to_numpy(zero_copy_only=False)
        words[column.offset : column.offset + len(column)][null] = 0
        calm = [validity, pa.py_buffer(words), *rest]
        return pa.Array.from_buffers(kind, len(column), calm, offset=column.offset)
    if pa.types.is_dictionary(kind):
        values = _without_views_of_nulls(column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, values, safe=False)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        values = _without_views_of_nulls(column.values)
        buffers = column.buffers()[:2]
        return pa.Array.from_buffers(
            kind, len(column), buffers, offset=column.offset, children=[values]
        )
    if pa.types.is_struct(kind):
        fields = [_without_views_of_nulls(column.field(i)) for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=column.is_null())
    return column


def _viewless(kind: pa.DataType) -> pa.DataType:
    """The type with plain strings and bytes for views, in lists and structs too."""
    if kind in WITHOUT_VIEW:
        return WITHOUT_VIEW[kind]
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _viewless(kind.value_type), kind.ordered)
    if pa.types.is_list(kind):
        return pa.list_(_viewless(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_viewless(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_viewless(field.type)) for field in kind])
    return kind


def _viewed(column: pa.Array) -> int:
    kind = column.type
    if kind in WITHOUT_VIEW:
        return int(_lengths(column).sum())
    if pa.types.is_dictionary(kind):
        return _viewed(column.dictionary)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _viewed(column.values)
    if pa.types.is_struct(kind):
        return sum(_viewed(column.field(i)) for i in range(kind.num_fields))
    return 0


def _lengths(column: pa.Array) -> npt.NDArray[np.int64]:
    """The bytes of each value of a column of strings or bytes; 0 for a null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        lengths = pa.array(_lengths(column.dictionary)).take(column.indices)
    elif kind in WITHOUT_VIEW:  # views: pyarrow has no kernel; each begins with its length
        views = np.frombuffer(column.buffers()[1] or b"", dtype=np.int32)[::4]
        lengths = pa.array(views[column.offset : column.offset + len(column)].astype(np.int64))
        lengths = pc.if_else(column.is_valid(), lengths, 0)
    else:
        lengths = pc.binary_length(column).cast(pa.int64())
    found: npt.NDArray[np.int64] = lengths.fill_null(0).to_numpy(zero_copy_only=False)
    return found


def _sizes(columns: list[pa.Array], rows: int) -> npt.NDArray[np.int64]:
    sizes = np.zeros(rows, dtype=np.int64)
    for column in columns:
        value = _value_type(column.type)
        if value in STRINGS or value in BINARIES:
            sizes += _lengths(column)
    return sizes


def _bytes_at(column: pa.Array, row: int) -> tuple[bytes, int]:
    scalar = column[row]
    if pa.types.is_dictionary(column.type):
        scalar = scalar.value
    found = scalar.as_buffer() if scalar.is_valid else pa.py_buffer(b"")
    return found.slice(0, min(batch.SAMPLE, found.size)).to_pybytes(), found.size


def _plain(column: pa.Array, was: pa.DataType) -> pa.Array:
    """Without dictionary, and strings again where invalid ones made it bytes."""
    wanted = _value_type(was)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.type != wanted:
        # take, because only a copy is free of the bytes that stand below nulls
        column = column.take(pa.array(np.arange(len(column)))).view(wanted)
    return column


def _large_string(column: pa.Array) -> pa.LargeStringArray:
    if column.type == pa.binary():
        column = column.cast(pa.large_binary())
    if column.type == pa.large_binary():
        return column.view(pa.large_string())
    return column.cast(pa.large_string())
