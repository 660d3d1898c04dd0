"""Values of any Arrow type as text and as JSON: one form each, whatever stands beside them.

Columns that a document carries are hashed, turned into text where their types conflict, and
written as JSON lines. What a value becomes depends on it alone: not on its column's type in this
batch, on the other values, or on the keys that other documents' objects have.
"""

import base64
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

EXACT = 2**53
"""A double holds every integer up to this size."""
_PER_SECOND = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}  # decimal digits of an integer of so many bits
_MANTISSA = {16: 11, 32: 24, 64: 53}


def refuse_lone_surrogates(texts: Iterable[str | None]) -> None:
    """Nothing, if all texts can be UTF-8.

    Errors: ValueError names the first that cannot, and what to do.

    >>> refuse_lone_surrogates(["fine", None])
    """
    for number, text in enumerate(texts):
        if text is None:
            continue
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"text {number} has a lone surrogate, U+{ord(text[error.start]):04X}, at character"
                f" {error.start}, which UTF-8 cannot hold:"
                ' replace it, as by text.encode("utf-8", "replace").decode()'
            ) from None


def as_text(column: pa.ChunkedArray | pa.Array) -> pa.LargeStringArray:
    """Each value's one text; nulls stay null.

    Strings stay as they are. Numbers go by value: 1, 1.0 and the decimal 1.00 are `1`; a float
    beyond 2^53 or with a fraction is the shortest decimal that reads back as its double. Booleans
    are `true` and `false`, binary is base64. Dates, times and moments are ISO 8601 without zeros
    at the end of a fraction, moments with a time zone in UTC with a `Z`; what lies beyond Arrow's
    calendar is in Arrow's words. Durations are seconds: `PT1.5S`. Lists and structs are JSON with
    sorted keys, where a null field is left out and a struct without a value is null, since other
    documents' keys add null fields to it; NaN and infinity are null there.

    >>> as_text(pa.array([1.0, 2.5, None, 1e300])).to_pylist()
    ['1', '2.5', None, '1e+300']
    >>> as_text(pa.array([{"b": 1.0, "a": b"!"}, {"b": None, "a": None}])).to_pylist()
    ['{"a":"IQ==","b":1}', None]
    """
    if isinstance(column, pa.ChunkedArray):
        texts = [_texts(chunk) for chunk in column.chunks]
        return pa.concat_arrays(texts) if texts else pa.array([], pa.large_string())
    return _texts(column)


def _texts(array: pa.Array) -> pa.LargeStringArray:
    array = _simple(array)
    kind = array.type
    if pa.types.is_floating(kind):
        return _float_texts(array)
    if pa.types.is_decimal(kind) and kind.scale:
        return _strings(map(_decimal_text, array.to_pylist()))
    if pa.types.is_timestamp(kind):
        # through integers, because Arrow needs a time zone's rules to spell its local time
        plain = array.cast(pa.int64()).cast(pa.timestamp(kind.unit)).cast(pa.large_string())
        texts = pc.replace_substring_regex(plain, r"^(-?\d+-\d\d-\d\d) ", r"\1T")
        texts = _without_zeros(texts)
        ending = pa.scalar("" if kind.tz is None else "Z", pa.large_string())
        return pc.binary_join_element_wise(texts, ending, pa.scalar("", pa.large_string()))
    if pa.types.is_time(kind):
        return _without_zeros(array.cast(pa.large_string()))
    if pa.types.is_duration(kind):
        digits = _PER_SECOND[kind.unit]
        return _strings(_duration_text(n, digits) for n in array.cast(pa.int64()).to_pylist())
    if _is_binary(kind):
        return _strings(
            None if v is None else base64.b64encode(v).decode() for v in array.to_pylist()
        )
    if pa.types.is_nested(kind) or pa.types.is_interval(kind):
        return _strings(map(json_text, json_values(array)))
    return array.cast(pa.large_string())


def _simple(array: pa.Array) -> pa.Array:
    """The values without the ways of storing them: extension, dictionary, runs."""
    while True:
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        elif pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif pa.types.is_run_end_encoded(array.type):
            array = pc.run_end_decode(array)
        else:
            return array


def _float_texts(array: pa.Array) -> pa.LargeStringArray:
    numbers = array.cast(pa.float64())
    whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less_equal(pc.abs(numbers), EXACT))
    integers = pc.if_else(whole, numbers, None).cast(pa.int64()).cast(pa.large_string())
    return pc.coalesce(integers, numbers.cast(pa.large_string()))


def _decimal_text(value: Any) -> str | None:
    if value is None:
        return None
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _duration_text(count: int | None, digits: int) -> str | None:
    if count is None:
        return None
    whole, part = divmod(abs(count), 10**digits)
    fraction = f"{part:0{digits}}".rstrip("0") if part else ""
    return f"{'-' if count < 0 else ''}PT{whole}{'.' if fraction else ''}{fraction}S"


def _without_zeros(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    return pc.replace_substring_regex(texts, r"(\.\d*[1-9])0+$|\.0+$", r"\1")


def _is_binary(kind: pa.DataType) -> bool:
    plain = kind in {pa.binary(), pa.large_binary(), pa.binary_view()}
    return plain or bool(pa.types.is_fixed_size_binary(kind))


def _strings(values: Iterable[str | None]) -> pa.LargeStringArray:
    return pa.array(list(values), pa.large_string())


def json_text(value: Any) -> str | None:
    """The canonical JSON of a value; of a string the string itself, of a null or {} null.

    Raises orjson.JSONEncodeError where it is nested over 254 deep.

    >>> json_text({"b": [1.0, {"x": None}], "a": {}})
    '{"b":[1,null]}'
    """
    if value is None or type(value) is str:
        return value
    if type(value) in {dict, list}:
        orjson.dumps(value)  # first, because this knows a limit and recursion in Python does not
        value = _canonical(value)
    elif type(value) is float:
        text: str | None = _float_texts(pa.array([value]))[0].as_py()
        return text
    return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _canonical(value: Any) -> Any:
    if type(value) is dict:
        found = {}
        for key, inner in value.items():  # a loop: a comprehension is one more frame a level
            settled = _canonical(inner)
            if settled is not None:
                found[key] = settled
        return found or None
    if type(value) is list:
        items = []
        for inner in value:
            items.append(_canonical(inner))  # noqa: PERF401 - as above
        return items
    if type(value) is float:
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) <= EXACT else value
    return value


def json_values(array: pa.Array) -> list[Any]:
    """A column as what JSON has: numbers, strings, Booleans, lists, objects, null.

    Binary, moments, durations and decimals are the strings of `as_text`; a map is a list of
    [key, value] pairs.

    >>> json_values(pa.array([[1], None, []], pa.list_(pa.timestamp("ns"))))
    [['1970-01-01T00:00:00.000000001'], None, []]
    """
    array = _simple(array)
    kind = array.type
    if pa.types.is_struct(kind):
        rows: list[dict[str, Any] | None] = [
            {} if v else None for v in array.is_valid().to_pylist()
        ]
        for field, child in zip(kind, array.flatten(), strict=True):
            for row, value in zip(rows, json_values(child), strict=True):
                if row is not None:
                    row[field.name] = value
        return rows
    if pa.types.is_map(kind):
        keys, items = json_values(array.keys), json_values(array.items)
        pairs = [list(pair) for pair in zip(keys, items, strict=True)]
        edges = pairwise(array.offsets.to_pylist())
        valid = array.is_valid().to_pylist()
        return [pairs[i:j] if v else None for (i, j), v in zip(edges, valid, strict=True)]
    if _is_list(kind):
        flat = iter(json_values(array.flatten()))
        lengths = pc.list_value_length(array).to_pylist()
        return [None if n is None else [next(flat) for _ in range(n)] for n in lengths]
    if pa.types.is_interval(kind):
        return [None if value is None else list(value) for value in array.to_pylist()]
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return list(array.to_pylist())
    return list(_texts(array).to_pylist())


def _is_list(kind: pa.DataType) -> bool:
    views = pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    plain = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(plain or views or pa.types.is_fixed_size_list(kind))


def json_lines(table: pa.Table) -> Iterator[bytes]:
    r"""Each row as a line of JSON; see `json_values`. NaN and infinity are null.

    >>> list(json_lines(pa.table({"n": [1, None], "b": [b"!", b""]})))
    [b'{"n":1,"b":"IQ=="}\n', b'{"n":null,"b":""}\n']
    """
    columns = [
        [value for chunk in column.chunks for value in json_values(chunk)]
        for column in table.columns
    ]
    for row in zip(*columns, strict=True):
        yield orjson.dumps(dict(zip(table.column_names, row, strict=True))) + b"\n"


def common_type(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    """The type that Arrow widens all of these to: fields are merged, null gives way; or None.

    Within lists and structs, a type without a value is string: pyarrow 26 casts nulls there to
    nulls of another number.

    >>> common_type([pa.null(), pa.int8(), pa.float64()]), common_type([pa.bool_(), pa.int8()])
    (DataType(double), None)
    """
    schemas = [pa.schema([pa.field("column", kind)]) for kind in kinds]
    try:
        kind = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowTypeError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return kind if pa.types.is_null(kind) else _without_null_type(kind)


def _without_null_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_null_type(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_null_type(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_without_null_type(kind.value_type)))
    return kind


def always_fits(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a cast to a common type keeps every value that the type can hold.

    >>> always_fits(pa.int32(), pa.float64()), always_fits(pa.int64(), pa.float64())
    (True, False)
    """
    if kind == wanted or pa.types.is_null(kind):
        return True
    if pa.types.is_struct(kind):
        fields = {field.name: field.type for field in wanted}
        return all(always_fits(field.type, fields[field.name]) for field in kind)
    if pa.types.is_map(kind):
        keys = always_fits(kind.key_type, wanted.key_type)
        return keys and always_fits(kind.item_type, wanted.item_type)
    if _is_list(kind):
        return always_fits(kind.value_type, wanted.value_type)
    if pa.types.is_integer(kind):
        return _integer_fits(kind, wanted)
    if pa.types.is_floating(kind):
        return bool(pa.types.is_floating(wanted) and kind.bit_width <= wanted.bit_width)
    if pa.types.is_decimal(kind):
        return bool(
            pa.types.is_decimal(wanted)
            and kind.scale <= wanted.scale
            and kind.precision - kind.scale <= wanted.precision - wanted.scale
        )
    # a moment or a duration in a finer unit may lie beyond what 64 bits hold
    return not (pa.types.is_timestamp(kind) or pa.types.is_duration(kind))


def _integer_fits(kind: pa.DataType, wanted: pa.DataType) -> bool:
    signed = pa.types.is_signed_integer(kind)
    if pa.types.is_floating(wanted):
        return bool(kind.bit_width - signed <= _MANTISSA[wanted.bit_width])
    if pa.types.is_decimal(wanted):
        return bool(_DIGITS[kind.bit_width] <= wanted.precision - wanted.scale)
    if not pa.types.is_integer(wanted) or (signed and not pa.types.is_signed_integer(wanted)):
        return False
    sign = not signed and pa.types.is_signed_integer(wanted)
    return bool(kind.bit_width + sign <= wanted.bit_width)
