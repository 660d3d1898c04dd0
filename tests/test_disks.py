"""Disks that are full or may not be written: said, and gone on from."""

import contextlib
import os
import subprocess

import pytest
from conftest import digests
from test_power import clean, recipe  # noqa: F401 - a fixture

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


def test_a_disk_that_may_not_be_written_is_said(recipe, small_disk):  # noqa: F811
    """On a read-only disk the run says which file it cannot write, before it reads anything."""
    folder, size = small_disk
    size(4096, "ro")
    with pytest.raises(OutputError, match=r"disk/out.* cannot be written: .*make it writable"):
        clean(recipe, folder / "out")
