import gzip
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cleanpipe.errors import InputError
from cleanpipe.input import corpus
from cleanpipe.input.corpus import Block, Input, Shard, ShardIndex, Span
from cleanpipe.kernels import records

LINE = b'{"text": "a"}\n'


def put(folder: Path, *names: str, content: bytes = LINE) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def names(folder: Path, *inputs: Input) -> list[str]:
    return [shard.name for shard in corpus.find_shards(inputs, folder)]


def test_names_are_paths_below_the_fixed_prefix(tmp_path):
    """A shard is named by its path below the pattern's fixed part, after its source."""
    put(tmp_path, "raw/b/2.jsonl", "raw/a/1.jsonl", "raw/a/x.csv", "raw/top.jsonl")
    assert names(tmp_path, Input(path="raw/*/*.jsonl")) == ["a/1.jsonl", "b/2.jsonl"]
    assert names(tmp_path, Input(path="raw/**/*.jsonl", source="web")) == [
        "web/a/1.jsonl",
        "web/b/2.jsonl",
        "web/top.jsonl",
    ]
    assert names(tmp_path, Input(path="raw/a/1.jsonl")) == ["1.jsonl"]
    assert names(tmp_path, Input(path=str(tmp_path / "raw" / "a"))) == ["1.jsonl", "x.csv"]


def test_shards_are_numbered_by_name(tmp_path):
    """The number of a shard is its place among all names, whatever the inputs' order."""
    put(tmp_path, "z/1.jsonl", "a/2.jsonl")
    shards = corpus.find_shards([Input(path="z/*"), Input(path="a/*")], tmp_path)
    assert [(shard.number, shard.name, shard.input) for shard in shards] == [
        (0, "1.jsonl", 0),
        (1, "2.jsonl", 1),
    ]


def test_hidden_files_are_no_shards(tmp_path):
    """Files and folders that begin with a dot (._x of macOS too) are left out."""
    put(tmp_path, "a.jsonl", "._a.jsonl", ".git/b.jsonl")
    assert names(tmp_path, Input(path=".")) == ["a.jsonl"]
    assert names(tmp_path, Input(path="**/*.jsonl")) == ["a.jsonl"]


def test_odd_names(tmp_path):
    """Blanks, #, percent signs, newlines, emoji and brackets are names like others."""
    odd = ["a b.jsonl", "a#b.jsonl", "a%2Fb.jsonl", "a\nb.jsonl", "\U0001f600.jsonl", "a[1].jsonl"]
    put(tmp_path, *odd)
    assert names(tmp_path, Input(path="*.jsonl")) == sorted(odd)
    assert names(tmp_path, Input(path="a[1].jsonl")) == ["a[1].jsonl"]


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    """It could stand in no table; the message shows its bytes."""
    try:
        Path(os.fsdecode(bytes(tmp_path) + b"/\xff.jsonl")).write_bytes(LINE)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    with pytest.raises(InputError, match=r"\\xff.*not UTF-8; rename"):
        names(tmp_path, Input(path="*.jsonl"))


def test_links_that_loop_are_followed_once(tmp_path):
    """A link to a parent ends; a link to another folder gives its files."""
    put(tmp_path, "in/a.jsonl", "out/b.jsonl")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "0_out").symlink_to(tmp_path / "out")
    assert names(tmp_path, Input(path="in/**")) == ["0_out/b.jsonl", "a.jsonl"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("in/*.parquet", "matches no file.*in, which holds 'a.jsonl', 'n.txt'"),
        ("no/such/*.jsonl", "matches no file.*nearest folder"),
        ("in/b.jsonl", "matches no file"),
        ("hdfs://bucket/x", "give local files"),
        ("dangling.jsonl", "cannot read .*dangling.jsonl"),
        ("fifo.jsonl", "no regular file"),
        ("odd", "it holds 'x.dat'"),
        ("odd/x.dat", "cannot tell the format of .*set input.format to one of parquet"),
    ],
)
def test_errors_name_the_next_move(tmp_path, path, message):
    """What matches nothing or cannot be read is told with what there is instead."""
    put(tmp_path, "in/a.jsonl", "in/n.txt", "odd/x.dat")
    (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo.jsonl")
    with pytest.raises(InputError, match=message):
        names(tmp_path, Input(path=path))


def test_two_shards_of_one_name_are_refused(tmp_path):
    """Tables could not tell them apart; sources make them two."""
    put(tmp_path, "a/1.jsonl", "b/1.jsonl")
    with pytest.raises(InputError, match=r"two shards are named '1.jsonl'.*different sources"):
        names(tmp_path, Input(path="a/*"), Input(path="b/*"))
    both = [Input(path="a/*", source="x"), Input(path="b/*", source="y")]
    assert names(tmp_path, *both) == ["x/1.jsonl", "y/1.jsonl"]


def test_content_tells_format_and_compression(tmp_path):
    """The ending decides only between text formats."""
    table = pa.table({"text": ["a"]})
    pq.write_table(table, tmp_path / "1.jsonl")
    with pa.ipc.new_stream(tmp_path / "2.txt", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_file(tmp_path / "3.csv", table.schema) as writer:
        writer.write_table(table)
    put(tmp_path, "4.tsv", content=gzip.compress(LINE, mtime=0))
    put(tmp_path, "5.jsonl.gz", content=LINE)
    put(tmp_path, "6.jsonl.gz", content=b"")
    put(tmp_path, "7.parquet", content=b"\x89PNG")
    shards = corpus.find_shards([Input(path="*")], tmp_path)
    assert [(shard.format, shard.compression) for shard in shards] == [
        ("parquet", "none"),
        ("arrow", "none"),
        ("arrow", "none"),
        ("tsv", "gzip"),
        ("jsonl", "none"),
        ("jsonl", "gzip"),
        ("parquet", "none"),
    ]


def test_input_refuses_what_cannot_be():
    """Unknown encodings, codecs that are no encodings, and two columns of one name."""
    for wrong in ({"encoding": "utf-9"}, {"encoding": "zlib"}, {"rename": {"a": "c", "b": "c"}}):
        with pytest.raises(ValidationError):
            Input(path="x", **wrong)
    assert Input(path="x", encoding="UTF8").encoding is None
    assert Input(path="x", encoding="Latin-1").encoding == "iso8859-1"


def test_a_changed_shard_is_refused(tmp_path):
    """Between finding and indexing nothing may write to the input."""
    put(tmp_path, "a.jsonl")
    given = Input(path="a.jsonl")
    (shard,) = corpus.find_shards([given], tmp_path)
    put(tmp_path, "a.jsonl", content=LINE * 2)
    with pytest.raises(InputError, match="changed during the run"):
        corpus.index_shard(shard, given)


def test_small_shards_share_a_block():
    """Up to 32 MB or 2,000 shards; a large shard's spans stand alone."""
    small = [ShardIndex(i, "", (Span(i, 0, -1, 0, None, 10),)) for i in range(4_500)]
    large = tuple(Span(4_500, i, i + 1, i, 1, corpus.BLOCK) for i in range(3))
    found = corpus.blocks([*reversed(small), ShardIndex(4_500, "", large)])
    assert [len(block.spans) for block in found] == [2_000, 2_000, 500, 1, 1, 1]
    assert [block.number for block in found] == list(range(6))


def test_blocks_travel():
    """Shards, indexes and blocks survive pickle and JSON."""
    span = Span(0, 0, -1, 0, None, 10)
    for thing in (
        Block(1, (span, span)),
        ShardIndex(0, "ab", (span,)),
        Shard(0, "a", "/a", "jsonl", "none", 1, 2, 0),
    ):
        assert pickle.loads(pickle.dumps(thing)) == thing  # noqa: S301 (our own bytes)
        assert type(thing).from_json(json.loads(json.dumps(thing.to_json()))) == thing


def test_the_hash_is_of_the_files_bytes(tmp_path):
    """Index tells one content by one hash, wherever it lies."""
    put(tmp_path, "a.jsonl", "b.jsonl")
    put(tmp_path, "c.jsonl", content=LINE * 2)
    given = Input(path="*.jsonl")
    a, b, c = (corpus.index_shard(s, given) for s in corpus.find_shards([given], tmp_path))
    assert a.content_hash == b.content_hash != c.content_hash
    assert len(a.content_hash) == 32


@given(st.binary(max_size=60), st.integers(0, 60))
@settings(max_examples=300)
def test_valid_utf8_equals_pythons(data, cut):
    """A row is valid exactly where Python decodes it, for any two rows."""
    cut = min(cut, len(data))
    offsets = np.array([0, cut, len(data)], dtype=np.int64)
    found = records.valid_utf8(offsets, np.frombuffer(data, dtype=np.uint8))
    assert found.tolist() == [_decodes(data[:cut]), _decodes(data[cut:])]


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_valid_utf8_at_every_edge():
    """All leads with the edges of each following byte: overlong, surrogates, above U+10FFFF."""
    edges = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF]
    rows = [bytes([lead]) for lead in range(256)]
    rows += [bytes([lead, a]) for lead in range(0xC0, 256) for a in edges]
    rows += [bytes([lead, a, b]) for lead in range(0xE0, 256) for a in edges for b in edges]
    leads = range(0xF0, 256)
    rows += [bytes([lead, a, b, 0x80]) for lead in leads for a in edges for b in edges]
    offsets = np.cumsum([0, *map(len, rows)])
    found = records.valid_utf8(offsets, np.frombuffer(b"".join(rows), dtype=np.uint8))
    assert found.tolist() == [_decodes(row) for row in rows]
