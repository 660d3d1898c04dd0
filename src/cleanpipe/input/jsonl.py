"""JSON lines -> columns. One bad line is one line of quarantine."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from cleanpipe import plain
from cleanpipe.input import batch
from cleanpipe.input.batch import Bad, Parsed, Place
from cleanpipe.input.bytestream import ByteStream
from cleanpipe.input.draw import Wanted, positions
from cleanpipe.input.lines import TooLong, line_sizes, lines_in, too_long, whole_records

MAX_COLUMNS = 1_000
"""Distinct keys of a batch: every key is a column, with a cell for every document."""
MAX_CELLS = 20_000_000
"""Columns times documents; documents that all have all keys never come near it (6 bytes a cell)."""
BEYOND_DOUBLES = pa.decimal128(19, 0)
"""The type of a batch's integers of which one is beyond 2^53: `settled` must know of them."""
MAX_DEPTH = 32
"""Deeper values are kept as JSON text: writers of Parquet recurse."""

NOT_ARROW = (pa.ArrowException, OverflowError, TypeError, ValueError)


def read_jsonl(
    stream: ByteStream,
    stop: int,
    text: str,
    chunk: int,
    wanted: Wanted,
    place: Place,
) -> Iterator[Parsed]:
    """Batches of about `chunk` bytes; with `wanted` rows, other lines are not parsed."""
    for piece in whole_records(stream, stop, lines_in, chunk, batch.MAX_RECORD):
        place.offset = piece.offset
        if isinstance(piece, TooLong):
            yield too_long(piece, place.row)
            place.row += 1
            continue
        lines = piece.data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if wanted is None:
            yield _parse(lines, range(len(lines)), text, place)
        else:
            sizes = partial(line_sizes, lines)
            inside = positions(wanted, place.row, len(lines), sizes)
            if inside:
                yield _parse(lines, inside, text, place)
        place.row += len(lines)
        place.offset += len(piece.data)


def _parse(lines: list[bytes], chosen: Sequence[int], text: str, place: Place) -> Parsed:
    loads = orjson.loads
    found: list[dict[str, Any]] = []
    kept: list[int] = []
    bad: list[tuple[int, str, str]] = []
    for i in chosen:
        try:
            record = loads(lines[i])
        except orjson.JSONDecodeError as error:
            if lines[i].strip():
                bad.append((i, *_reason(lines[i], error)))
            continue
        if type(record) is dict:
            found.append(record)
            kept.append(i)
        else:
            bad.append((i, "not_an_object", f"a JSON {type(record).__name__}"))
    longest = batch.MAX_RECORD
    if sum(map(len, lines)) > longest and any(len(lines[i]) > longest for i in kept):
        _take_out(found, kept, bad, _too_long(lines, kept))
    texts = [record.pop(text, None) for record in found]
    try:
        array = pa.array(texts, pa.large_string())
    except NOT_ARROW:
        wrong = {
            i: ("text_is_not_a_string", f"{text!r} is a JSON {type(value).__name__}")
            for i, value in enumerate(texts)
            if not (value is None or type(value) is str)
        }
        texts = [value for i, value in enumerate(texts) if i not in wrong]
        _take_out(found, kept, bad, wrong)
        array = pa.array(texts, pa.large_string())
    crowded = _crowded(found)
    if crowded:
        array = array.take([i for i in range(len(found)) if i not in crowded])
        _take_out(found, kept, bad, crowded)
    try:
        names, columns = _columns(found)
    except orjson.JSONEncodeError:
        deep = {place: _TOO_DEEP for place, record in enumerate(found) if _too_deep(record)}
        array = array.take([place for place in range(len(found)) if place not in deep])
        _take_out(found, kept, bad, deep)
        names, columns = _columns(found)
    rows = np.array(kept, dtype=np.uint64) + np.uint64(place.row)
    return Parsed(names, columns, array, rows, _located(lines, bad, place))


def _columns(found: list[dict[str, Any]]) -> tuple[list[str], list[pa.Array]]:
    names = list(dict.fromkeys(chain.from_iterable(found)))
    return names, [json_column([record.get(name) for record in found]) for name in names]


_TOO_DEEP = "too_deep", "a column is nested over 254 deep, which orjson cannot write again"


def _too_deep(record: dict[str, Any]) -> bool:
    try:
        for value in record.values():
            orjson.dumps(value)
    except orjson.JSONEncodeError:
        return True
    return False


def _reason(line: bytes, error: orjson.JSONDecodeError) -> tuple[str, str]:
    if len(line) > batch.MAX_RECORD:
        return "too_long", f"longer than {batch.MAX_RECORD:,} bytes"
    try:
        line.decode()
    except UnicodeDecodeError as wrong:
        return "not_utf8", f"{wrong.reason} at byte {wrong.start}"
    # 1,024: orjson's own limit
    return ("too_deep" if "depth limit" in error.msg else "not_json"), error.msg


def _too_long(lines: list[bytes], kept: list[int]) -> dict[int, tuple[str, str]]:
    reason = "too_long", f"longer than {batch.MAX_RECORD:,} bytes"
    return {place: reason for place, i in enumerate(kept) if len(lines[i]) > batch.MAX_RECORD}


def _crowded(found: list[dict[str, Any]]) -> dict[int, tuple[str, str]]:
    """The records whose keys would make too many columns of the batch."""
    limit = min(MAX_COLUMNS, MAX_CELLS // max(len(found), 1))
    if len(set(chain.from_iterable(found))) <= limit:
        return {}
    keys: set[str] = set()
    crowded = {}
    for place, record in enumerate(found):
        if len(keys | record.keys()) > limit:
            crowded[place] = "too_many_columns", f"more than {limit:,} keys with its batch's"
        else:
            keys |= record.keys()
    return crowded


def _take_out(
    found: list[dict[str, Any]],
    kept: list[int],
    bad: list[tuple[int, str, str]],
    wrong: dict[int, tuple[str, str]],
) -> None:
    bad.extend((kept[place], *why) for place, why in wrong.items())
    found[:] = [record for place, record in enumerate(found) if place not in wrong]
    kept[:] = [i for place, i in enumerate(kept) if place not in wrong]


def _located(lines: list[bytes], bad: list[tuple[int, str, str]], place: Place) -> list[Bad]:
    if not bad:
        return []
    starts = list(accumulate((len(line) + 1 for line in lines), initial=place.offset or 0))
    return [
        Bad(place.row + i, starts[i], reason, detail, lines[i]) for i, reason, detail in sorted(bad)
    ]


def json_column(values: list[Any]) -> pa.Array:
    """A column of what JSON gave; values of unlike types become text, as `plain.as_text` says.

    What a value means does not depend on the documents beside it: an object without a value, as
    {} or {"a": null}, is null, and so are such objects within others. Integers of which one is
    beyond 2^53, which no double holds, come as BEYOND_DOUBLES; beyond 64 bits, as text.

    >>> json_column([1, "a", None, [True], 2.0, {}]).to_pylist()
    ['1', 'a', None, '[true]', '2', None]
    """
    types = set(map(type, values))
    if types & {dict, list}:
        if _unwieldy(values):
            return _as_json(values)
        values = [without_nulls(value) for value in values]
        types = set(map(type, values))
        if types & {dict, list}:
            return pa.array(values) if _alike(values) else _as_json(values)
    types.discard(type(None))
    if len(types) != 1 and types != {int, float}:
        return _as_json(values) if types else pa.nulls(len(values))
    try:
        array = pa.array(values)
    except NOT_ARROW:  # no type holds these integers, or none of these integers and fractions
        return _as_json(values)
    if types == {int}:
        ends = pc.min_max(array)
        if ends["min"].as_py() < -plain.EXACT or ends["max"].as_py() > plain.EXACT:
            return array.cast(BEYOND_DOUBLES)
    return array


def settled(kinds: Iterable[pa.DataType]) -> pa.DataType:
    """The type of a column of JSON lines, from those of its batches, however these were cut.

    JSON declares no types: a column whose values have none in common is text. Fields stand in
    the order of their names.

    >>> settled([pa.int64(), pa.float64()]), settled([pa.int64(), pa.bool_()])
    (DataType(double), DataType(string))
    """
    found = set(kinds)
    if BEYOND_DOUBLES in found:
        if pa.float64() in found:
            return pa.string()
        found = found - {BEYOND_DOUBLES} | {pa.int64()}
    common = plain.common_type(sorted(found, key=str))
    if common is None or _fields(common) > MAX_COLUMNS:
        return pa.string()
    return _in_order(common)


def _fields(kind: pa.DataType) -> int:
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    return (len(inner) if pa.types.is_struct(kind) else 0) + sum(map(_fields, inner))


def _in_order(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_in_order(kind.value_type))
    if pa.types.is_struct(kind):
        fields = sorted(kind, key=lambda field: field.name)
        return pa.struct([(field.name, _in_order(field.type)) for field in fields])
    return kind


def _as_json(values: list[Any]) -> pa.Array:
    return pa.array([plain.json_text(value) for value in values], pa.string())


def _unwieldy(values: list[Any]) -> bool:
    """Whether a column of these would break a limit; never holds more than MAX_CELLS itself."""
    fields = cells = 0
    levels = [(values, 0)]
    while levels:
        level, depth = levels.pop()
        items = [item for value in level if type(value) is list for item in value]
        objects = [value for value in level if type(value) is dict]
        keys = set(chain.from_iterable(objects))
        fields += len(keys)
        cells += len(items) + len(keys) * len(objects)
        if fields > MAX_COLUMNS or cells > MAX_CELLS or depth > MAX_DEPTH:
            return True
        if items:
            levels.append((items, depth + 1))
        levels.extend(([value.get(key) for value in objects], depth + 1) for key in keys)
    return False


def without_nulls(value: Any) -> Any:
    """The value without the null fields of its objects; an object without a field is null.

    >>> without_nulls({"a": None, "b": [{"c": {}}, 1]})
    {'b': [None, 1]}
    """
    if type(value) is dict:
        if value and _VALUES.issuperset(map(type, value.values())):
            return value
        kept = {key: without_nulls(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner is not None} or None
    if type(value) is list and not _SCALARS.issuperset(map(type, value)):
        return [without_nulls(inner) for inner in value]
    return value


_VALUES = {str, int, float, bool}
_SCALARS = {*_VALUES, type(None)}
_KINDS = {dict: 1, list: 2, str: 3, bool: 4, int: 5, float: 5}


def _alike(values: list[Any]) -> bool:
    """Whether the values at each place within these are of one kind, and no integer too large."""
    levels = [values]
    while levels:
        level = levels.pop()
        types = set(map(type, level)) - {type(None)}
        if len({_KINDS[kind] for kind in types}) > 1:
            return False
        if int in types:
            numbers = [value for value in level if type(value) is int]
            if min(numbers) < -plain.EXACT or max(numbers) > plain.EXACT:
                return False
        if dict in types:
            objects = [value for value in level if value is not None]
            keys = set(chain.from_iterable(objects))
            levels.extend([value.get(key) for value in objects] for key in keys)
        elif list in types:
            levels.append([item for value in level if value is not None for item in value])
    return True
