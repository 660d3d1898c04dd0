"""A night's cost is set by what is new: against ten million documents, and against a tenth."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "nights.py"
NIGHT = re.compile(
    r"night 1: ([\d,]+) documents in ([\d.]+) s; ([\d,]+) of ([\d,]+) planted duplicates; "
    r"largest process of any run ([\d,]+) MB"
)


@pytest.mark.parametrize(
    ("documents", "seconds"),
    [(1_000_000, 60), pytest.param(10_000_000, 60, marks=pytest.mark.proof)],
    ids=["a tenth", "in full"],
)
def test_a_night_against_millions(tmp_path, documents, seconds):
    """A hundredth more, every twentieth of it a duplicate: all are found, in time and memory.

    The seconds are those of the first night, which makes the index as well.
    """
    words = ["--documents", str(documents), "--nights", "1", "--folder", str(tmp_path / "nights")]
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    night = NIGHT.search(done.stdout)
    assert night is not None, done.stdout
    count, took, found, planted, megabytes = (float(x.replace(",", "")) for x in night.groups())
    assert (count, found) == (documents // 100, planted)
    assert planted == documents // 2000
    assert took < seconds
    assert megabytes < 3000
