import base64
import bz2
import csv
import gzip
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from cleanpipe.errors import InputError
from cleanpipe.input import batch, bytestream, corpus, readers
from cleanpipe.input.batch import Batch
from cleanpipe.input.corpus import Input

NO_COMPRESSION = {"": lambda data: data}
COMPRESSIONS = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".zst": zstandard.ZstdCompressor(level=1).compress,
    ".bz2": bz2.compress,
}


def read(path: Path, rows=None, **options) -> list[Batch]:
    """All batches of one file, through its blocks."""
    given = Input(path=str(path), **options)
    (shard,) = corpus.find_shards([given])
    index = corpus.index_shard(shard, given)
    return [
        found
        for block in corpus.blocks([index])
        for span in block.spans
        for found in readers.read(span, shard, given, rows)
    ]


def documents(batches: list[Batch]) -> list[tuple]:
    """(row, text, columns) of each document."""
    return [
        (int(row), text, columns)
        for found in batches
        for row, text, columns in zip(
            found.rows, found.texts.to_pylist(), found.table.to_pylist(), strict=True
        )
    ]


def texts(batches: list[Batch]) -> dict[int, str | None]:
    return {row: text for row, text, _ in documents(batches)}


def lost(batches: list[Batch]) -> list[tuple[int, str]]:
    return [(bad.row, bad.reason) for found in batches for bad in found.quarantined]


def as_jsonl(records: list[dict]) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def as_csv(records: list[dict], delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["text", "note"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue().encode()


def as_table(records: list[dict]) -> pa.Table:
    return pa.table({name: [record[name] for record in records] for name in ("text", "note")})


def as_parquet(records: list[dict]) -> bytes:
    out = io.BytesIO()
    pq.write_table(as_table(records), out, row_group_size=3)
    return out.getvalue()


def as_arrow(records: list[dict], new=pa.ipc.new_file) -> bytes:
    out = io.BytesIO()
    table = as_table(records)
    with new(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return out.getvalue()


FORMATS = {
    "jsonl": (as_jsonl, COMPRESSIONS),
    "csv": (as_csv, COMPRESSIONS),
    "tsv": (lambda records: as_csv(records, "\t"), COMPRESSIONS),
    "parquet": (as_parquet, NO_COMPRESSION),
    "arrow": (as_arrow, NO_COMPRESSION),
    "arrows": (lambda records: as_arrow(records, pa.ipc.new_stream), NO_COMPRESSION),
}
TEXT = st.text(max_size=12) | st.sampled_from(
    ["", '"', 'a"b', '"",\n"', "x\r\n\ty,", "\ufeff", "é"]
)
RECORDS = st.lists(st.fixed_dictionaries({"text": TEXT, "note": TEXT}), min_size=1, max_size=12)


@hypothesis_given(
    RECORDS, st.integers(1, 200), st.integers(1, 60), st.lists(st.integers(0, 11), unique=True)
)
@settings(max_examples=60)
def test_same_records_same_rows(records, block, chunk, some):
    """Every format and compression gives the same rows, however it is cut, whole or in part."""
    expected = [
        (row, record["text"], {"note": record["note"]}) for row, record in enumerate(records)
    ]
    wanted = np.array(sorted(row for row in some if row < len(records)), dtype=np.uint64)
    with (
        TemporaryDirectory() as folder,
        patch.object(corpus, "BLOCK", block),
        patch.object(readers, "CHUNK", chunk),
        patch.object(bytestream, "RAW", 64),
    ):
        for ending, (write, compressions) in FORMATS.items():
            for name, compress in compressions.items():
                path = Path(folder) / f"a.{ending}{name}"
                path.write_bytes(compress(write(records)))
                whole = read(path)
                assert documents(whole) == expected, path.name
                assert lost(whole) == []
                part = read(path, wanted)
                assert documents(part) == [expected[int(row)] for row in wanted], path.name
                assert all(len(found.rows) for found in part)


@hypothesis_given(st.lists(st.text(max_size=9)), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60)
def test_lines_of_text(lines, block, chunk):
    """A .txt file read by line gives each line that is not blank, at its place."""
    data = "\n".join(lines).encode()
    expected = {
        row: line.removesuffix(b"\r").decode()
        for row, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
        if line.strip()
    }
    with (
        TemporaryDirectory() as folder,
        patch.object(corpus, "BLOCK", block),
        patch.object(readers, "CHUNK", chunk),
    ):
        path = Path(folder) / "a.txt"
        path.write_bytes(data)
        assert texts(read(path, document="line")) == expected


def test_spans_count_their_rows(tmp_path, monkeypatch):
    """First rows and row counts of spans are exact, blank lines and all."""
    monkeypatch.setattr(corpus, "BLOCK", 40)
    monkeypatch.setattr(bytestream, "RAW", 7)
    lines = [b'{"text": "%d"}' % i if i % 5 else b" " for i in range(50)]
    for ending, compress in COMPRESSIONS.items():
        path = tmp_path / f"a.jsonl{ending}"
        path.write_bytes(compress(b"\n".join(lines)))
        given = Input(path=str(path))
        (shard,) = corpus.find_shards([given])
        spans = corpus.index_shard(shard, given).spans
        assert len(spans) > 3
        assert spans[-1].stop == -1
        assert sum(span.rows for span in spans) == 50
        assert [span.first_row for span in spans] == list(
            np.cumsum([0, *(span.rows for span in spans[:-1])])
        )


JSON_FAULTS = {
    b'{"text": "\xff"}': "not_utf8",
    b'{"text": "\xed\xa0\x80"}': "not_utf8",
    b'{"text": "a"': "not_json",
    b'{"text": "a\x00"}': "not_json",
    b'{"text": NaN}': "not_json",
    b'{"text": "\\ud800"}': "not_json",
    b'{"text": "a"} {"text": "b"}': "not_json",
    b"[" * 100_000: "too_deep",
    b'{"a":' * 100_000: "too_deep",
    b'{"text": "a", "b": ' + b"[" * 500 + b"]" * 500 + b"}": "too_deep",
    b'["text"]': "not_an_object",
    b"7": "not_an_object",
    b'{"text": 7}': "text_is_not_a_string",
    b'{"text": ["a"]}': "text_is_not_a_string",
}


@pytest.mark.parametrize(("line", "reason"), JSON_FAULTS.items(), ids=lambda v: str(v)[:20])
def test_a_bad_line_is_one_line_of_quarantine(tmp_path, line, reason):
    """With its place, its first bytes and its size; the lines beside it are documents."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n\n' + line + b'\r\n{"text": "two"}')
    batches = read(path)
    assert texts(batches) == {0: "one", 3: "two"}
    (bad,) = (bad for found in batches for bad in found.quarantined)
    assert (bad.shard, bad.row, bad.offset, bad.reason) == ("a.jsonl", 2, 17, reason)
    assert base64.b64decode(bad.sample) == (line + b"\r")[:200]
    assert bad.length == len(line) + 1
    assert json.loads(json.dumps(bad.to_json()))["reason"] == reason


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".txt"])
def test_a_record_too_long_is_streamed_past(tmp_path, monkeypatch, ending):
    """It is never held; what stands before and behind it is read."""
    monkeypatch.setattr(batch, "MAX_RECORD", 1_000)
    monkeypatch.setattr(readers, "CHUNK", 100)
    open_, close = (b'{"text": "', b'"}') if ending == ".jsonl" else (b"", b"")
    header = b"text\n" if ending == ".csv" else b""
    records = [open_ + text + close + b"\n" for text in (b"one", b"x" * 5_000, b"two")]
    path = tmp_path / f"a{ending}"
    path.write_bytes(header + b"".join(records))
    batches = read(path, document="line")
    assert texts(batches) == {0: "one", 2: "two"}
    (bad,) = (bad for found in batches for bad in found.quarantined)
    place = len(header + records[0])
    assert (bad.row, bad.offset, bad.reason) == (1, place, "too_long")
    assert bad.length in {len(records[1]), len(records[1]) - 1}
    assert base64.b64decode(bad.sample) == records[1][:200]
    path.write_bytes(header + b"".join(records[:2]))
    assert lost(read(path, document="line")) == [(1, "too_long")]


def test_bad_records_of_csv(tmp_path):
    """Wrong number of fields, broken quotes and bytes; blank lines are rows, no documents."""
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,text\r\n1,a\n2\n3,b,c\n\n4,"d"d\n5,\xff\n6,"e\nf"\n')
    batches = read(path)
    assert documents(batches) == [(0, "a", {"id": "1"}), (6, "e\nf", {"id": "6"})]
    assert lost(batches) == [
        (1, "wrong_number_of_fields"),
        (2, "wrong_number_of_fields"),
        (4, "not_csv"),
        (5, "not_utf8"),
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("ending", ["parquet", "arrow", "dictionary"])
def test_a_row_that_is_not_utf8(tmp_path, kind, ending):
    """Only its row goes to quarantine, whether in the text or in another column."""
    binary = {
        pa.string(): pa.binary(),
        pa.large_string(): pa.large_binary(),
        pa.string_view(): pa.binary_view(),
    }[kind]
    raw = pa.array([b"a", b"\xffb", None, b"d", b"e" * 20], binary).view(kind)
    other = pa.array([b"a", b"b", b"c", b"\xc0\xaf" + b"." * 20, None], binary).view(kind)
    if ending == "dictionary":
        raw, other = (
            pa.DictionaryArray.from_arrays(pa.array(range(5), pa.int8()), values, safe=False)
            for values in (raw, other)
        )
    table = pa.table({"text": raw, "other": other})
    path = tmp_path / "a.x"
    if ending == "parquet":
        try:
            pq.write_table(table, path)
        except pa.ArrowNotImplementedError:
            pytest.skip("this pyarrow writes no views to Parquet")
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    batches = read(path)
    assert documents(batches) == [
        (0, "a", {"other": "a"}),
        (2, None, {"other": "c"}),
        (4, "e" * 20, {"other": None}),
    ]
    assert lost(batches) == [(1, "not_utf8"), (3, "not_utf8")]
    samples = [base64.b64decode(bad.sample) for bad in batches[0].quarantined]
    assert samples == [b"\xffb", b"\xc0\xaf" + b"." * 20]
    for found in batches:
        found.table.validate(full=True)
        found.texts.validate(full=True)


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "é"]),
        pa.array(["a", None, "é"], pa.large_string()),
        pa.array(["a", None, "é"], pa.string_view()),
        pa.array(["a", None, "é"]).dictionary_encode(),
        pa.array([b"a", None, "é".encode()]),
        pa.array([b"a", None, "é".encode()], pa.large_binary()),
        pa.array([b"a", None, "é".encode()], pa.binary_view()),
    ],
    ids=lambda column: str(column.type)[:20],
)
def test_types_of_text(tmp_path, column):
    """Every type of string, of bytes and their dictionary is text; sliced arrays too."""
    table = pa.table({"text": column, "n": [1, 2, 3]})
    with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table.slice(1))
    (found,) = read(tmp_path / "a.arrow")
    assert found.texts.type == pa.large_string()
    assert documents([found]) == [(0, None, {"n": 2}), (1, "é", {"n": 3})]


def test_what_polars_writes(tmp_path):
    """Polars writes views, in lists and structs too, and categories; all are read in part."""
    frame = pl.DataFrame(
        {
            "text": ["a", "b" * 20, None],
            "list": [["x"], [], None],
            "struct": [{"s": "y", "n": 1}, None, {"s": None, "n": 2}],
            "category": pl.Series(["u", None, "v"], dtype=pl.Categorical),
        }
    )
    frame.write_ipc(tmp_path / "a.arrow")
    frame.write_ipc_stream(tmp_path / "b.arrow", compression="zstd")
    frame.write_parquet(tmp_path / "c.parquet")
    for name in ("a.arrow", "b.arrow", "c.parquet"):
        found = documents(read(tmp_path / name, np.array([0, 2], dtype=np.uint64)))
        rows = frame.to_dicts()
        expected = [
            (i, rows[i]["text"], {k: rows[i][k] for k in frame.columns[1:]}) for i in (0, 2)
        ]
        assert found == expected, name


def test_a_long_text_in_a_table(tmp_path, monkeypatch):
    """A row above the limit goes to quarantine; a batch is cut to bounded size."""
    monkeypatch.setattr(batch, "MAX_RECORD", 1_000)
    monkeypatch.setattr(readers, "CHUNK", 500)
    values = ["a", "x" * 2_000, *("y" * 300 for _ in range(9))]
    for write in (as_parquet, as_arrow):
        (tmp_path / "a").write_bytes(write([{"text": text, "note": None} for text in values]))
        batches = read(tmp_path / "a")
        assert texts(batches) == {i: text for i, text in enumerate(values) if i != 1}
        assert lost(batches) == [(1, "too_long")]
        assert max(found.texts.nbytes for found in batches) < 1_100


def test_unlike_values_of_a_key(tmp_path):
    """A column of unlike values is text; an absent key is null; an absent text too."""
    path = tmp_path / "a.jsonl"
    lines = [
        {"text": "a", "m": 1, "s": {"x": [1]}, "e": {}, "f": 1},
        {"text": None, "m": "1", "s": {"y": "b"}, "e": {}, "f": 2.5},
        {"m": [True, None], "u": 2**63, "f": None},
    ]
    path.write_bytes(as_jsonl(lines))
    assert documents(read(path)) == [
        (0, "a", {"m": "1", "s": {"x": [1], "y": None}, "e": None, "f": 1.0, "u": None}),
        (1, None, {"m": "1", "s": {"x": None, "y": "b"}, "e": None, "f": 2.5, "u": None}),
        (2, None, {"m": "[true,null]", "s": None, "e": None, "f": None, "u": str(2**63)}),
    ]


def test_too_deep_a_value_takes_no_other_along(tmp_path):
    """A value of 255 levels is a line of quarantine; one of 254 beside it stays."""
    path = tmp_path / "a.jsonl"
    deep = [b"[" * levels + b"]" * levels for levels in (254, 255)]
    path.write_bytes(b"".join(b'{"text": "a", "d": %s}\n' % value for value in deep))
    batches = read(path)
    assert documents(batches) == [(0, "a", {"d": deep[0].decode()})]
    assert lost(batches) == [(1, "too_deep")]


def test_an_object_without_a_value_is_null(tmp_path):
    """{} and {"a": null} are null wherever they stand, so that other objects' keys add nothing."""
    path = tmp_path / "a.jsonl"
    values = [{}, {"a": None}, {"a": {"b": None}, "c": [{}, {"d": 1}]}]
    path.write_bytes(as_jsonl([{"text": "x", "o": value} for value in values]))
    found = [columns["o"] for _, _, columns in documents(read(path))]
    assert found == [None, None, {"c": [None, {"d": 1}]}]


def test_large_integers_stay_exact(tmp_path):
    """Integers beyond 2^53 are exact, alone, beside others and beside fractions."""
    path = tmp_path / "a.jsonl"
    large = 2**53 + 1
    lines = [{"text": "x", "i": large, "f": large}, {"text": "x", "i": 1, "f": 0.5}]
    path.write_bytes(as_jsonl(lines))
    found = [columns for _, _, columns in documents(read(path))]
    assert found == [{"i": large, "f": str(large)}, {"i": 1, "f": "0.5"}]


def test_keys_without_end_are_bounded(tmp_path):
    """A key of its own in every line, at the top or within, costs neither memory nor the rest."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_jsonl([{"text": "a", f"k{i}": 1} for i in range(1_500)]))
    batches = read(path)
    assert len(texts(batches)) == 1_000
    assert {reason for _, reason in lost(batches)} == {"too_many_columns"}
    deep = "[" * 200 + "]" * 200
    lines = [b'{"text": "a", "o": {"k%d": 1}, "d": %s}' % (i, deep.encode()) for i in range(1_500)]
    path.write_bytes(b"\n".join(lines))
    (found,) = read(path)
    assert found.table.schema.field("o").type == pa.string()
    assert found.table.column("d")[0].as_py() == deep


def test_bom_is_no_text(tmp_path):
    """A byte order mark at the start belongs to no record."""
    mark = b"\xef\xbb\xbf"
    (tmp_path / "a.jsonl").write_bytes(mark + b'{"text": "a"}\n')
    (tmp_path / "b.csv").write_bytes(mark + b'"text","n"\na,1\n')
    (tmp_path / "c.txt").write_bytes(mark + b"a")
    for name in ("a.jsonl", "b.csv", "c.txt"):
        assert texts(read(tmp_path / name)) == {0: "a"}, name


def test_a_file_a_document(tmp_path, monkeypatch):
    """A .txt file is one document, empty or not, in its own bytes; or one line of quarantine."""
    path = tmp_path / "a.txt"
    for content in ("", "a\r\n\n b"):
        path.write_bytes(content.encode())
        (found,) = read(path)
        assert texts([found]) == {0: content}
        assert found.table.num_rows == 1
    path.write_bytes(b"a\xff")
    assert lost(read(path)) == [(0, "not_utf8")]
    monkeypatch.setattr(batch, "MAX_RECORD", 10)
    path.write_bytes(b"x" * 25)
    (bad,) = read(path)[0].quarantined
    assert (bad.row, bad.reason, bad.length) == (0, "too_long", 25)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "shift_jis"])
def test_a_named_encoding(tmp_path, monkeypatch, encoding):
    """Text in another encoding is read where the recipe names it, block by block."""
    monkeypatch.setattr(corpus, "BLOCK", 50)
    word = "ソ" if encoding == "shift_jis" else "é"
    values = [f"{word}{i}" for i in range(30)]
    data = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in values)
    (tmp_path / "a.jsonl").write_bytes(data.encode(encoding))
    assert list(texts(read(tmp_path / "a.jsonl", encoding=encoding)).values()) == values


def test_a_byte_that_the_encoding_lacks(tmp_path):
    """It spoils its own line, and no other."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": "\xc3\xa9"}\n{"text": "b"}\n')
    batches = read(path, encoding="ascii")
    assert (texts(batches), lost(batches)) == ({0: "a", 2: "b"}, [(1, "not_utf8")])


def test_rename(tmp_path):
    """Columns take their new names; a name taken twice is an error that says so."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"body": "a", "copy": 1, "n": 2}\n')
    renamed = read(path, text="body", rename={"copy": "copy_before"})
    assert documents(renamed) == [(0, "a", {"copy_before": 1, "n": 2})]
    with pytest.raises(InputError, match=r"'copy' the name 'n', which another column has"):
        read(path, rename={"copy": "n"})


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow"])
def test_a_shard_without_the_text_column(tmp_path, ending):
    """It is one line of quarantine that names the columns there are, or ends the run."""
    path = tmp_path / f"a.{ending}"
    path.write_bytes(FORMATS[ending][0]([{"text": "a", "note": "b"}]))
    (found,) = read(path, text="body")
    (bad,) = found.quarantined
    assert (bad.row, bad.reason) == (0, "no_text_column")
    assert bad.detail == "no column 'body'; columns are text, note; set input.text"
    with pytest.raises(InputError, match="no column 'body'"):
        read(path, text="body", on_bad_shard="fail")


def test_a_text_column_of_numbers(tmp_path):
    """A table whose text is no string is quarantined in whole."""
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    assert lost(read(tmp_path / "a.parquet")) == [(0, "text_is_not_a_string")]


RECORDS_TO_BREAK = [{"text": f"{i} " + "é" * (i % 40), "note": str(i * i)} for i in range(400)]


@pytest.mark.parametrize("ending", [".gz", ".zst", ".bz2"])
def test_a_truncated_stream(tmp_path, ending):
    """Cut anywhere: what precedes is read, the rest is one line at the next row."""
    whole = COMPRESSIONS[ending](as_jsonl(RECORDS_TO_BREAK))
    path = tmp_path / f"a.jsonl{ending}"
    for cut in range(0, len(whole), max(len(whole) // 32, 1)):
        path.write_bytes(whole[:cut])
        batches = read(path)
        found = texts(batches)
        assert lost(batches) == [(len(found), "broken_shard")]
        assert list(found.values()) == [r["text"] for r in RECORDS_TO_BREAK[: len(found)]]
    path.write_bytes(whole + b"more")
    batches = read(path)
    assert len(texts(batches)) == 400
    assert lost(batches) == [(400, "broken_shard")]
    with pytest.raises(InputError, match=r"broken_shard from row 400 on: .*on_bad_shard"):
        read(path, on_bad_shard="fail")


def test_members_frames_and_padding(tmp_path):
    """Several gzip members or zstd frames are one text; zeros behind gzip are padding."""
    parts = [as_jsonl(RECORDS_TO_BREAK[:200]), as_jsonl(RECORDS_TO_BREAK[200:])]
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
    for ending, before, behind in ((".gz", b"", bytes(600)), (".zst", skippable, skippable)):
        path = tmp_path / f"a.jsonl{ending}"
        path.write_bytes(before + b"".join(map(COMPRESSIONS[ending], parts)) + behind)
        batches = read(path)
        assert (len(texts(batches)), lost(batches)) == (400, [])


def test_a_broken_shard_in_blocks(tmp_path, monkeypatch):
    """Rows up to the break are read once, and the break is told once, however it is cut."""
    monkeypatch.setattr(corpus, "BLOCK", 2_000)
    whole = gzip.compress(as_jsonl(RECORDS_TO_BREAK), mtime=0)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    batches = read(path)
    found = texts(batches)
    assert sum(len(b.rows) for b in batches) == len(found) > 100
    assert lost(batches) == [(len(found), "broken_shard")]


@pytest.mark.parametrize("ending", [".gz", ".zst", ".bz2"])
def test_bombs_are_bounded(tmp_path, monkeypatch, ending):
    """A stream that expands beyond its allowance is broken there, at little time and memory."""
    monkeypatch.setattr(bytestream, "ALLOWANCE", 3_000_000)
    monkeypatch.setattr(bytestream, "RATIO", 10)
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(COMPRESSIONS[ending](b'{"text": "a"}\n' + bytes(100_000_000)))
    start = time.monotonic()
    batches = read(path)
    assert time.monotonic() - start < 5
    assert texts(batches) == {0: "a"}
    assert lost(batches) == [(1, "broken_shard")]
    assert "expand to more than 3,000,000" in batches[-1].quarantined[0].detail


def test_a_window_too_large_is_refused(tmp_path):
    """Zstd may ask for 2 GB of memory by its header: above 128 MB is no shard."""
    options = zstandard.ZstdCompressionParameters(window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=options).compressobj()
    data = compressor.compress(as_jsonl(RECORDS_TO_BREAK)) + compressor.flush()
    (tmp_path / "a.jsonl.zst").write_bytes(data)
    assert lost(read(tmp_path / "a.jsonl.zst")) == [(0, "broken_shard")]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(99), b"PAR1", b"ARROW1"])
def test_foreign_and_empty_tables(tmp_path, name, content):
    """A file that is no table is one line of quarantine, not a crash."""
    (tmp_path / name).write_bytes(content)
    assert lost(read(tmp_path / name)) == [(0, "broken_shard")]


def test_no_rows(tmp_path):
    """Shards without a document are read: one batch of nothing, with its columns."""
    for ending, (write, _) in FORMATS.items():
        path = tmp_path / f"a.{ending}"
        path.write_bytes(write([]))
        (found,) = read(path)
        assert (len(found.texts), found.quarantined) == (0, ())
        if ending in {"parquet", "arrow", "arrows"}:
            assert found.table.column_names == ["note"]
        assert read(path, np.zeros(0, np.uint64)) == []
    pq.write_table(pa.table({"text": pa.nulls(2)}), tmp_path / "n.parquet")
    assert texts(read(tmp_path / "n.parquet")) == {0: None, 1: None}


def test_a_flipped_byte_in_arrow_with_rows_before_it(tmp_path):
    """Record batches before the one that is damaged are read."""
    data = bytearray(as_arrow(RECORDS_TO_BREAK, pa.ipc.new_stream))
    middle = data.find(b"ARROW", 0) if data.startswith(b"ARROW1") else len(data) // 2
    mark = data.find(b"\xff\xff\xff\xff", middle)
    data[mark : mark + 8] = b"\x00\xff\xff\x7f\xff\xff\xff\x7f"
    (tmp_path / "a.arrow").write_bytes(data)
    batches = read(tmp_path / "a.arrow")
    found = texts(batches)
    assert 100 < len(found) < 300
    assert lost(batches) == [(len(found), "broken_shard")]


def test_a_flipped_byte_in_parquet(tmp_path):
    """Page check sums are verified: a flip is told, never read."""
    records = [{"text": f"{i}" * 50, "note": "n"} for i in range(100)]
    path = tmp_path / "a.parquet"
    pq.write_table(
        as_table(records),
        path,
        write_page_checksum=True,
        row_group_size=20,
        use_dictionary=False,
        compression="none",
    )
    data = bytearray(path.read_bytes())
    data[data.find(b"50505050") + 3] ^= 1
    path.write_bytes(data)
    batches = read(path)
    assert len(texts(batches)) == 40
    assert lost(batches) == [(40, "broken_shard")]


def test_a_file_that_changes_is_refused(tmp_path):
    """Between index and reading nothing may write to the input; a row gone is told."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_jsonl(RECORDS_TO_BREAK))
    given = Input(path=str(path))
    (shard,) = corpus.find_shards([given])
    (span,) = corpus.index_shard(shard, given).spans
    with pytest.raises(InputError, match="rows 399 to 400 can no longer be read"):
        list(readers.read(span, shard, given, np.array([399, 400], dtype=np.uint64)))
    path.write_bytes(b"")
    with pytest.raises(InputError, match="changed during the run"):
        list(readers.read(span, shard, given))
    path.unlink()
    with pytest.raises(InputError, match="cannot read"):
        list(readers.read(span, shard, given))


def test_inputs_are_only_read(tmp_path):
    """A file that nobody may write is read, and is the same afterwards."""
    for ending, (write, _) in FORMATS.items():
        path = tmp_path / f"a.{ending}"
        path.write_bytes(write(RECORDS_TO_BREAK))
        path.chmod(0o444)
        before = path.stat()
        assert len(texts(read(path))) == 400
        after = path.stat()
        assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


MUTATE = """
import sys, warnings
from pathlib import Path
from cleanpipe.input import corpus, readers
from cleanpipe.input.corpus import Input
path, step = Path(sys.argv[1]), int(sys.argv[2])
golden = path.read_bytes()
hostile = path.with_suffix(".hostile.arrow")
given = Input(path=str(hostile), format="arrow")
for place in range(0, len(golden) - 3, step):
    for number in (0x7FFFFFFF, 0xFFFFFFFF, 0, 0x10010):
        word = number.to_bytes(4, "little")
        hostile.write_bytes(golden[:place] + word + golden[place + 4 :])
        print(place, word, flush=True)
        (shard,) = corpus.find_shards([given])
        for span in corpus.index_shard(shard, given).spans:
            for batch in readers.read(span, shard, given):
                batch.texts.to_pylist(), batch.table.to_pylist()
"""


KINDS_OF_TABLE = ("file", "stream", "parquet", "dictionary", "view")


@pytest.mark.parametrize("kind", KINDS_OF_TABLE)
def test_hostile_words(tmp_path, kind):
    """Every other word of a small table replaced (offsets, lengths, sizes): never a crash."""
    assert replace_words(tmp_path, kind, step=8) > 300


def replace_words(tmp_path, kind, step):
    """Read a table as often as it has words, one of them replaced; how many files these were."""
    column = pa.array(["one", "two", "a longer text, beyond a view's twelve bytes", None])
    if kind == "dictionary":
        column = column.dictionary_encode()
    if kind == "view":
        column = column.cast(pa.string_view())
    table = pa.table({"text": column, "n": [1, 2, 3, 4], "l": [["a"], [], ["b", "c"], None]})
    path = tmp_path / "golden"
    if kind == "parquet":
        pq.write_table(table, path, compression="none")
    else:
        new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
        with new(path, table.schema) as writer:
            writer.write_table(table)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", MUTATE, str(path), str(step)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, (done.stdout[-80:], done.stderr[-2_000:])
    return done.stdout.count("\n")


def test_a_view_below_a_null(tmp_path):
    """What a null's view points at is never looked at, at any depth: no crash."""
    views = np.zeros((3, 4), dtype=np.int32)
    views[:, 0] = [1, 1_000_000, 2]
    views[1, 2:] = 0x7FFFFFFF
    views[0, 1] = ord("a")
    views[2, 1] = int.from_bytes(b"bc", "little")
    buffers = [pa.py_buffer(bytes([0b101])), pa.py_buffer(views), pa.py_buffer(bytes(20))]
    text = pa.Array.from_buffers(pa.string_view(), 3, buffers)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), text)
    table = pa.table({"text": text, "l": lists, "s": pa.StructArray.from_arrays([text], ["x"])})
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    assert documents(read(tmp_path / "a.arrow")) == [
        (0, "a", {"l": ["a"], "s": {"x": "a"}}),
        (1, None, {"l": [None], "s": {"x": None}}),
        (2, "bc", {"l": ["bc"], "s": {"x": "bc"}}),
    ]


def test_real_text(corpora):
    """A corpus as found: every line a document, none lost, read twice with the same result."""
    path = corpora / "udhr" / "data.jsonl.zst"
    if not path.exists():
        pytest.skip("no udhr in the development corpora")
    first, again = read(path), read(path)
    assert lost(first) == []
    assert sum(len(found.rows) for found in first) == 532
    assert texts(first) == texts(again)
