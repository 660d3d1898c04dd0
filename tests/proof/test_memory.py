"""What deciding takes of ten million documents, held by the system where it can hold it."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parents[2]
CGROUPS = Path("/sys/fs/cgroup/memory")
LIMIT = 4_000_000_000


@contextlib.contextmanager
def limited(name):
    """A function for a child to enter a memory cgroup of LIMIT bytes; None if none can be made."""
    group = CGROUPS / name
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))

        def enter():
            (group / "tasks").write_text(str(os.getpid()))

        yield enter
    finally:
        group.rmdir()


def test_ten_million_documents_are_deduplicated_within_the_recipes_memory(tmp_path):
    """All members of known clusters are found, none wrongly, within `memory: 4GB`.

    The processes' own memory is sampled; where a cgroup can be made, the system ends what takes
    more, the page cache included, which it shrinks first.
    """
    command = [sys.executable, ROOT / "benchmarks" / "simulate_dedup.py"]
    command += ["--documents", "10000000", "--memory", "4GB", "--folder", tmp_path]
    with limited(f"cleanpipe-{os.getpid()}") as enter:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=enter,  # writes one file, before any thread is there
        )
    sys.stdout.write(f"\n{done.stdout}{'in a cgroup' if enter else 'no cgroup could be made'}\n")
    found, members, wrong = re.search(
        r"([\d,]+) of ([\d,]+) members found, (\d+) wrongly", done.stdout
    ).groups()
    assert (found, wrong) == (members, "0")
    peak = int(re.search(r"peak ([\d,]+) MB; ", done.stdout)[1].replace(",", ""))
    assert peak < LIMIT / 1e6
