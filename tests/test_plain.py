import base64
import datetime as dt
import decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import polars as pl
import pyarrow as pa
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cleanpipe import plain, store
from cleanpipe.errors import InputError
from cleanpipe.input import corpus, jsonl, readers
from cleanpipe.input.corpus import Input
from cleanpipe.input.reread import Again
from cleanpipe.measures.measure import _schema_text, carried_schema, given_hash
from cleanpipe.write import cast_column, part_table

NUMBERS = (
    st.integers(-(2**63), 2**64 - 1)
    | st.integers(-5, 5)
    | st.sampled_from(
        [2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63, 0.5, 1.0, -0.0, 1e16, 2e300]
    )
    | st.floats(allow_nan=False, allow_infinity=False)
)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=4)
KEYS = st.sampled_from(["a", "b", ""])


def nested(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=5,
    )


ANYTHING = nested(SCALARS)
COLUMNS = st.one_of(
    st.lists(kind, min_size=1, max_size=5)
    for kind in (
        ANYTHING,
        NUMBERS | st.none(),
        SCALARS,
        st.dictionaries(KEYS, nested(NUMBERS | st.none()), max_size=3),
        st.lists(NUMBERS | st.booleans() | st.none(), max_size=3),
    )
)


def column_of(folder: Path, values: list) -> pa.ChunkedArray:
    """The column `v` that the reader gives of a file with these values."""
    path = folder / "a.jsonl"
    path.write_bytes(b"".join(orjson.dumps({"text": "x", "v": v}) + b"\n" for v in values))
    given = Input(path=str(path))
    (shard,) = corpus.find_shards([given])
    (block,) = corpus.blocks([corpus.index_shard(shard, given)])
    (batch,) = readers.read(block.spans[0], shard, given)
    return batch.table.column("v")


def pieces(values: list, cuts: int) -> list[list]:
    """The values cut wherever a bit of `cuts` is set."""
    found = [[values[0]]]
    for place, value in enumerate(values[1:]):
        if cuts >> place & 1:
            found.append([])
        found[-1].append(value)
    return found


@settings(max_examples=300)
@given(values=COLUMNS)
@example(values=[{}, {"a": 1}, {"a": None}, 3])
@example(values=[[1.5], [True]])
def test_a_value_is_one_text_whatever_stands_beside_it(values):
    """A column's text and hash are those of its slices, and of each value in a file of its own."""
    with TemporaryDirectory() as folder:
        whole = column_of(Path(folder), values)
        alone = [column_of(Path(folder), [value]) for value in values]
    texts = plain.as_text(whole)
    assert texts.type == pa.large_string()
    assert texts.to_pylist() == [plain.as_text(one)[0].as_py() for one in alone]
    assert texts.to_pylist() == [
        plain.as_text(whole.slice(i, 1))[0].as_py() for i in range(len(values))
    ]
    assert texts.to_pylist() == [plain.json_text(value) for value in values]
    hashes = [given_hash(pa.table({"v": one}), 3)[0] for one in alone]
    assert given_hash(pa.table({"v": whole}), 3).tolist() == hashes


@settings(max_examples=300)
@given(values=COLUMNS, cuts=st.integers(0, 15))
@example(values=[2**53 + 1, 1.5], cuts=1)
@example(values=[{"a": {}}, {"a": {"b": 1}}], cuts=1)
def test_batches_cut_anywhere_give_one_type_and_the_same_values(values, cuts):
    """JSON has no declared types: a column's type and what is written follow from its values."""
    whole = jsonl.json_column(values)
    parts = [jsonl.json_column(piece) for piece in pieces(values, cuts)]
    wanted = jsonl.settled([whole.type])
    assert jsonl.settled([part.type for part in parts]) == wanted
    assert [v for part in parts for v in cast_column(part, wanted).to_pylist()] == cast_column(
        whole, wanted
    ).to_pylist()


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([0.1], pa.float32()), "0.10000000149011612"),
        (pa.array([3], pa.uint8()), "3"),
        (pa.array([-(2.0**53) - 2]), "-9.007199254740994e+15"),
        (pa.array([float("nan")]), "nan"),
        (pa.array([decimal.Decimal("1.00")]), "1"),
        (pa.array([decimal.Decimal("0.0000000001")]), "0.0000000001"),
        (pa.array([decimal.Decimal(1200)], pa.decimal128(5, -2)), "1200"),
        (pa.array([b"\xff\x00"]), "/wA="),
        (pa.array([b"ab"], pa.binary(2)), "YWI="),
        (pa.array([1], pa.timestamp("ns")), "1970-01-01T00:00:00.000000001"),
        (
            pa.array([2**63 - 1], pa.int64()).view(pa.timestamp("ns")),
            "2262-04-11T23:47:16.854775807",
        ),
        (pa.array([1500], pa.timestamp("ms", "No/Such_Zone")), "1970-01-01T00:00:01.5Z"),
        (pa.array([dt.date(1, 1, 1)]), "0001-01-01"),
        (pa.array([dt.time(10, 0, 0, 500_000)]), "10:00:00.5"),
        (pa.array([-1500], pa.duration("ms")), "-PT1.5S"),
        (pa.array([0], pa.duration("ns")), "PT0S"),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), "[1,2,3]"),
        (pa.array([[("k", 1.0)]], pa.map_(pa.string(), pa.float64())), '[["k",1]]'),
        (pa.array([{"b": [1, None], "a": {"x": None}}]), '{"b":[1,null]}'),
        (
            pa.array([{"t": 1}], pa.struct([("t", pa.timestamp("ns"))])),
            '{"t":"1970-01-01T00:00:00.000000001"}',
        ),
        (pa.array([[float("inf"), 2.0]]), "[null,2]"),
        (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), "[1,2]"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else value,
)
def test_texts_of_types(array, expected):
    """Every type has a text; a null has none, and a slice has its own values."""
    assert plain.as_text(array).to_pylist() == [expected]
    padded = pa.concat_arrays([pa.nulls(1, array.type), array, pa.nulls(1, array.type)])
    assert plain.as_text(padded).to_pylist() == [None, expected, None]
    assert plain.as_text(padded.slice(1)).to_pylist() == [expected, None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@given(number=st.integers(-(2**63), 2**63 - 1))
def test_no_moment_is_too_far(unit, number):
    """Any 64 bits are some text as a moment and as a duration, and a moment's text is stable."""
    array = pa.array([number], pa.int64())
    for kind in (pa.timestamp(unit), pa.timestamp(unit, "UTC"), pa.duration(unit)):
        assert plain.as_text(array.view(kind))[0].as_py()


def test_the_same_number_of_any_type_is_one_text():
    """1 is 1 as an integer, a float of any width, and a decimal of any scale."""
    one = [decimal.Decimal(1)]
    kinds = [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()]
    arrays = [pa.array([1]).cast(kind) for kind in kinds]
    arrays += [pa.array(one, pa.decimal128(9, scale)) for scale in (0, 3)]
    assert {plain.as_text(array)[0].as_py() for array in arrays} == {"1"}


def receipts(**schemas: pa.DataType) -> list[dict]:
    """What pass 1 leaves of shards that have a column `v` of these types."""
    return [
        {"schemas": {name: [_schema_text(pa.schema([("v", kind)]))]}}
        for name, kind in schemas.items()
    ]


def test_json_needs_no_word_on_conflicts():
    """Unlike types of JSON shards are text, whatever the recipe says; a declared type asks it."""
    known = receipts(a=pa.int64(), b=pa.string(), c=pa.struct([("x", pa.bool_())]))
    for said in ("error", "string"):
        assert carried_schema(known, said, {"a", "b", "c"}).field("v").type == pa.string()
    with pytest.raises(InputError, match=r"'v' is .* in a and .* output\.on_conflict: string"):
        carried_schema(known, "error", {"b", "c"})
    assert carried_schema(known, "string", {"b", "c"}).field("v").type == pa.large_string()
    numbers = receipts(a=pa.int64(), b=pa.float64(), c=pa.null())
    for said in ("error", "string"):
        assert carried_schema(numbers, said, {"a", "b", "c"}).field("v").type == pa.float64()


def test_numbers_of_declared_types_widen_or_are_text():
    """With on_conflict: string, a column is text unless a type holds every value of both."""
    pairs = [
        (pa.int64(), pa.float64(), pa.float64(), pa.large_string()),
        (pa.int32(), pa.float64(), pa.float64(), pa.float64()),
        (pa.int64(), pa.uint64(), pa.int64(), pa.large_string()),
        (pa.uint32(), pa.int64(), pa.int64(), pa.int64()),
        (pa.float32(), pa.float64(), pa.float64(), pa.float64()),
        (pa.list_(pa.int64()), pa.list_(pa.float64()), pa.list_(pa.float64()), pa.large_string()),
        (pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("ns"), pa.large_string()),
        (pa.string(), pa.large_string(), pa.large_string(), pa.large_string()),
    ]
    for one, other, widened, safe in pairs:
        for known in (receipts(a=one, b=other), receipts(b=other, a=one)):
            assert carried_schema(known, "error").field("v").type == widened
            assert carried_schema(known, "string").field("v").type == safe


@given(kinds=st.permutations([pa.int32(), pa.uint32(), pa.float64(), pa.float32(), pa.null()]))
def test_the_order_of_shards_does_not_matter(kinds):
    """Types are widened the same way in whatever order the shards come."""
    known = receipts(**{f"s{place}": kind for place, kind in enumerate(kinds)})
    assert carried_schema(known, "string").field("v").type == pa.float64()


def rows(kind: pa.DataType, *values: object) -> Again:
    wanted = pl.DataFrame(
        {
            "id": [str(i) for i in range(len(values))],
            "shard": [0] * len(values),
            "copy": [0] * len(values),
            "augmented_by": pl.Series([None] * len(values), dtype=pl.String),
        }
    )
    texts = pa.array(["x"] * len(values), pa.large_string())
    return Again(wanted, pa.table({"v": pa.array(values, kind)}), texts, texts)


def test_a_number_that_no_float_equals_is_named():
    """Integers become floats where these equal them; else the column, the shard and the way out."""
    floats = pa.schema([("v", pa.float64())])
    exact = part_table(rows(pa.int64(), 2**53 + 2, 2**60, None), floats, ())
    assert exact.column("v").to_pylist() == [2.0**53 + 2, 2.0**60, None]
    for value in (2**53 + 1, 2**63 - 1):
        with pytest.raises(
            InputError, match=r"column 'v' of 0 .*double.* output\.on_conflict: string"
        ):
            part_table(rows(pa.int64(), 1, value), floats, ())
    with pytest.raises(InputError, match="column 'v'"):
        part_table(rows(pa.uint64(), 2**63), pa.schema([("v", pa.int64())]), ())
    text = part_table(rows(pa.int64(), 2**53 + 1), pa.schema([("v", pa.large_string())]), ())
    assert text.column("v").to_pylist() == [str(2**53 + 1)]


def test_conflicts_become_json():
    """Text of lists, structs and bytes is JSON and base64, never Python's own way to print them."""
    wanted = pa.large_string()
    assert cast_column(pa.array([{"a": True, "b": None}]), wanted).to_pylist() == ['{"a":true}']
    assert cast_column(pa.array([[1.0, None]]), wanted).to_pylist() == ["[1,null]"]
    assert cast_column(pa.array([b"\xff"]), wanted).to_pylist() == ["/w=="]
    assert cast_column(pa.array([True, None]), wanted).to_pylist() == ["true", None]


def test_json_lines_of_any_type(tmp_path):
    """A row is JSON that any reader takes: nanoseconds, bytes, and null for what is no number."""
    table = pa.table(
        {
            "id": ["a", "b"],
            "at": pa.array([1, None], pa.timestamp("ns", "UTC")),
            "raw": [b"\xff", None],
            "took": pa.array([1500, 0], pa.duration("ms")),
            "price": [decimal.Decimal("1.50"), None],
            "score": [float("nan"), 1.0],
            "inner": [{"t": [dt.date(2020, 1, 1)], "f": float("inf")}, None],
            "large": pa.array([2**64 - 1, 0], pa.uint64()),
        }
    )
    record = store.write_table(tmp_path / "part.jsonl.zst", [table], table.schema)
    assert record["rows"] == 2
    data = zstandard.ZstdDecompressor().stream_reader((tmp_path / "part.jsonl.zst").read_bytes())
    first, second = data.read().splitlines()
    assert orjson.loads(first) == {
        "id": "a",
        "at": "1970-01-01T00:00:00.000000001Z",
        "raw": base64.b64encode(b"\xff").decode(),
        "took": "PT1.5S",
        "price": "1.5",
        "score": None,
        "inner": {"t": ["2020-01-01"], "f": None},
        "large": 2**64 - 1,
    }
    assert b'"score":1.0' in second
    assert orjson.loads(second)["inner"] is None


def test_the_depth_of_values_is_bounded():
    """Values of up to 254 levels have a text; deeper ones raise what the reader expects."""
    for depth in (30, 33, 200, 254):
        value: object = 0.5
        for _ in range(depth):
            value = [value]
        assert plain.json_text(value) == orjson.dumps(value).decode()
    with pytest.raises(orjson.JSONEncodeError):
        plain.json_text([value])
