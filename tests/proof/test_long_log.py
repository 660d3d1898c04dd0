"""A log of ten million steps: 60 s of processor time, 2 GiB, and what was planted is found."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

STEPS = 10_000_000
PART = 1_000_000
PLANTED = (3_000_000, 7_654_321)
MEASURED = """
import resource, sys
from cleanpipe.cli.cli import app
app(sys.argv[1:], result_action="return_value")
used = resource.getrusage(resource.RUSAGE_SELF)
sys.stderr.write(f"{used.ru_utime + used.ru_stime} {used.ru_maxrss}")
"""

pytestmark = pytest.mark.proof


def write_log(path: Path, steps: int) -> None:
    """Lines as llm.c writes them, with a hundredfold norm at the planted steps."""
    with path.open("wb") as file:
        for start in range(0, steps, PART):
            chance = np.random.default_rng(start)
            step = np.arange(start, min(start + PART, steps))
            loss = 2 + 6 * (step + 1.0) ** -0.2 + chance.normal(0, 0.03, len(step))
            norm = np.exp(chance.normal(-1, 0.1, len(step)))
            norm[np.isin(step, PLANTED)] *= 100
            table = pl.DataFrame({"s": step, "l": loss.round(4), "n": norm.round(2)})
            line = pl.format("s:{} trl:{} lr:0.000600 norm:{}", "s", "l", "n")
            file.write(("\n".join(table.select(line).to_series()) + "\n").encode())


def test_ten_million_steps(tmp_path):
    """Reading, events, scores, replays, JSON and a page, in a process of its own."""
    path = tmp_path / "main.log"
    write_log(path, STEPS)
    words = ["stability", "spikes", str(path), "--json", "--html", str(tmp_path / "page.html")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], capture_output=True, check=True, text=True
    )
    [log] = json.loads(done.stdout)["logs"]
    assert log["rows"] == STEPS
    assert [event["step"] for event in log["events"]] == list(PLANTED)
    seconds, largest = (float(word) for word in done.stderr.split()[-2:])
    sys.stderr.write(f"{seconds:.1f} s, {largest / (1 << 20):.2f} GiB\n")
    assert seconds < 60
    assert largest < 2 << 20  # KiB
    assert (tmp_path / "page.html").stat().st_size < 1_000_000
