"""Files are whole or not there."""

import os
import subprocess
import sys
import time
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe import store
from cleanpipe.errors import LockedError, OutputError


def a_table(rows: int) -> pa.Table:
    return pa.table(
        {"n": pa.array(range(rows), pa.int64()), "t": [f"text {i} " * 300 for i in range(rows)]}
    )


@given(cuts=st.lists(st.integers(0, 2500), max_size=6))
def test_bytes_depend_on_rows_alone(tmp_path_factory, cuts):
    """However a table comes in batches, its Parquet file has the same bytes."""
    folder = tmp_path_factory.mktemp("tables")
    table = a_table(2500)
    edges = [0, *sorted(cuts), 2500]
    pieces = [table.slice(a, b - a) for a, b in pairwise(edges)]
    whole = store.write_table(folder / "whole.parquet", [table], table.schema)
    cut = store.write_table(folder / "cut.parquet", pieces, table.schema)
    assert whole["xxh3_128"] == cut["xxh3_128"]
    assert cut["rows"] == 2500


@pytest.mark.parametrize("ending", ["parquet", "arrow", "jsonl.zst"])
def test_a_writer_that_fails_leaves_nothing(tmp_path, ending):
    """An error while writing leaves neither the file nor a temporary one."""

    def broken():
        yield a_table(1500)
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        store.write_table(tmp_path / f"x.{ending}", broken(), a_table(1).schema)
    assert list(tmp_path.iterdir()) == []


def test_row_groups_hold_a_thousand_documents(tmp_path):
    """Single documents can be read back cheaply: row groups are small and fixed."""
    store.write_table(tmp_path / "x.parquet", [a_table(2500)], a_table(1).schema)
    metadata = pq.read_metadata(tmp_path / "x.parquet")
    assert [metadata.row_group(i).num_rows for i in range(3)] == [1000, 1000, 500]


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path):
    """A path below a file names the path and what to do."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="choose another --output"):
        store.write_json(tmp_path / "file" / "x.json", {})


def test_a_folder_of_a_later_version_is_refused(tmp_path):
    """Before anything in it is read: what a later version means by its files is not known here."""
    control = tmp_path / "_cleanpipe"
    store.publish(control, {"number": 1, "run": "0001"})
    assert store.current_manifest(tmp_path) == {"number": 1, "run": "0001"}
    store.write_json(control / "HEAD.json", {"format": 2, "manifest": "manifest-1.json"})
    for read in (lambda: store.current_manifest(tmp_path), lambda: store.last_number(control)):
        with pytest.raises(OutputError, match=r"has the format 2, .* install the later one"):
            read()


def test_check_files_names_what_changed(tmp_path):
    """A flipped byte and a missing file are each named."""
    records = [
        store.write_json(tmp_path / name, {"a": 1}) for name in ("a.json", "b.json", "c.json")
    ]
    assert store.check_files(tmp_path, records) == []
    data = bytearray((tmp_path / "a.json").read_bytes())
    data[3] ^= 1
    (tmp_path / "a.json").write_bytes(data)
    (tmp_path / "b.json").unlink()
    faults = store.check_files(tmp_path, records)
    assert len(faults) == 2
    assert "a.json differs" in faults[0]
    assert "b.json is missing" in faults[1]


def test_quarantine_lines_come_back_and_are_private(tmp_path):
    """Lines round-trip, and only their owner may read a file that holds documents."""
    lines = [{"reason": "not_json", "row": 3}, {"reason": "too_long", "row": 9}]
    store.write_lines(tmp_path / "q.jsonl.zst", lines)
    assert list(store.read_lines(tmp_path / "q.jsonl.zst")) == lines
    assert (tmp_path / "q.jsonl.zst").stat().st_mode & 0o077 == 0


HOLD = """
import sys, time
from pathlib import Path
from cleanpipe.store import take_lock
take_lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_run_is_refused_and_a_killed_one_holds_nothing(tmp_path):
    """The lock names its holder, and the kernel frees it when the holder is killed."""
    lock = tmp_path / "_cleanpipe" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid}"):
            store.take_lock(lock)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    started = time.monotonic()
    os.close(store.take_lock(lock))
    assert time.monotonic() - started < 1
