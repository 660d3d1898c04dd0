"""Disks that are full, files that cannot be opened, clocks that go back: said, and gone on from."""

import contextlib
import os
import shlex
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import digests
from test_power import clean, recipe  # noqa: F401 - a fixture

from cleanpipe import scratch
from cleanpipe.errors import OutputError
from cleanpipe.store import current_manifest
from cleanpipe.verify import faults_of


@pytest.fixture
def small_disk(tmp_path):
    """A folder, and a function that makes it a disk of so many kilobytes, or makes that larger."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def size(kilobytes: int, *options: str) -> None:
        known = ",".join([f"size={kilobytes}k", *(["remount"] if os.path.ismount(folder) else [])])
        words = ["mount", "-t", "tmpfs", "-o", ",".join([known, *options]), "tmpfs", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk of one's own here: {done.stderr.strip()}")

    yield folder, size
    if os.path.ismount(folder):
        leave(folder)


def leave(folder):
    """Unmount, also while a table of a run before is still mapped."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_said_at_any_size_and_more_room_goes_on(recipe, small_disk, tmp_path):  # noqa: F811
    """From no room to enough: what was published is whole, and with room the bytes are the same."""
    folder, size = small_disk
    clean(recipe, tmp_path / "calm")
    expected = digests(tmp_path / "calm")
    refused = 0
    for kilobytes in (4, 16, 40, 80, 120, 160, 200, 260, 320, 400):
        size(kilobytes)
        output = folder / f"out-{kilobytes}"
        with contextlib.suppress(OutputError):
            clean(recipe, output)
        if current_manifest(output) is None:
            refused += 1
            with pytest.raises(OutputError, match="free some space and run again"):
                clean(recipe, output)
            size(4096)
            clean(recipe, output)
        assert digests(output) == expected
        assert faults_of(output) == []
        leave(folder)
    assert 3 <= refused < 10


def test_room_for_what_is_mapped_is_taken_first(small_disk):
    """A full disk is said before anything is written to the map, which would end the process."""
    folder, size = small_disk
    size(64)
    with pytest.raises(OutputError, match="free some space and run again"):
        scratch.new(folder / "large", np.uint64, 10_000)
    assert list(folder.iterdir()) == []
    scratch.new(folder / "small", np.uint64, 1_000)[:] = 7
    assert scratch.new(folder / "small", np.uint64, 1_000).sum() == 0


def test_a_disk_that_may_not_be_written_is_said(recipe, small_disk):  # noqa: F811
    """On a read-only disk the run says which file it cannot write, before it reads anything."""
    folder, size = small_disk
    size(4096, "ro")
    with pytest.raises(OutputError, match=r"disk/out.* cannot be written: .*make it writable"):
        clean(recipe, folder / "out")


def run_as(recipe, output, limits="true", **environment):  # noqa: F811
    """The command line, in a shell that has changed its limits."""
    words = [sys.executable, "-m", "cleanpipe", "run", recipe, "--output", output, "--workers", "1"]
    command = ["bash", "-c", f"{limits}; exec {shlex.join(map(str, words))}"]
    known = {**os.environ, **environment}
    return subprocess.run(command, env=known, capture_output=True, text=True, check=False)


def test_too_few_open_files_are_said(recipe, tmp_path):  # noqa: F811
    """Where the system lets us open too little: exit code 5, the next move, nothing half there."""
    done = run_as(recipe, tmp_path / "out", "ulimit -n 14")
    assert done.returncode == 5, done.stderr
    assert "ulimit -n" in done.stderr
    assert current_manifest(tmp_path / "out") is None


def test_nothing_hangs_on_clock_zone_locale_or_hash_seed(recipe, tmp_path, monkeypatch):  # noqa: F811
    """Files of the future, a clock in the past, another zone and language: the same bytes."""
    clean(recipe, tmp_path / "calm")
    known = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "17", "PYTHONUTF8": "0"}
    done = run_as(recipe, tmp_path / "there", **known)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "there") == digests(tmp_path / "calm")
    source = recipe.parent / "in.jsonl"
    before = source.stat()
    os.utime(source, (4e9, 4e9))
    monkeypatch.setattr(time, "time", lambda: 1.0)
    try:
        clean(recipe, tmp_path / "past")
    finally:
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digests(tmp_path / "past") == digests(tmp_path / "calm")
