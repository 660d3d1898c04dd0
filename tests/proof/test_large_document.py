"""One document of 100 MB, one of a million lines, and odd ones beside them: a verdict for each."""

import subprocess
import sys
import time
from pathlib import Path

import orjson
import polars as pl
import pytest

from cleanpipe import Run

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]
SENTENCE = "The ferry leaves at seven, and whoever misses it walks round the lake by the old road. "


def test_a_document_of_100_mb_has_its_line_in_the_books(tmp_path):
    """It is longer than a record may be (32 MB) and named so; none of its neighbours is lost."""
    words = [f"word{n} and {n * 7919 % 100_003}" for n in range(5_000_000)]
    large = " ".join(words)[:100_000_000]
    documents = {
        "large": large,
        "long": large[:31_000_000],
        "lines": "".join(f"line {n} of a million\n" for n in range(1_000_000)),
        "one_word": "x" * 10_000_000,
        "flood": "\ufffd" * 3_000_000,
        "marks": "e" + "\u0301" * 5_000_000,
        "plain": SENTENCE * 4,
        "empty": "",
    }
    (tmp_path / "in").mkdir()
    table = pl.DataFrame({"id": [*documents], "text": [*documents.values()]})
    table.write_parquet(tmp_path / "in" / "0.parquet")
    recipe = {
        "input": "in/*.parquet",
        "output": "out",
        "filter": {"words": {"low": 20}},
        "dedup": {},
        "max_quarantined": 1.0,
        "measure": {"language": True},
    }
    path = tmp_path / "recipe.yaml"
    path.write_bytes(orjson.dumps(recipe))
    started = time.monotonic()
    program = Path(sys.executable).with_name("cleanpipe")
    subprocess.run([program, "run", path], check=True, capture_output=True)
    seconds = time.monotonic() - started
    run = Run.load(tmp_path / "out")
    verdicts = run.verdicts.select("id", "verdict", "rule").collect().rows()
    sys.stdout.write(f"\n{seconds:.0f} s: {verdicts}\n")
    assert ("0.parquet:0", "quarantined", "too_long") in verdicts
    measured = {name: verdict for name, verdict, _ in verdicts if verdict != "quarantined"}
    assert set(measured) == {*documents} - {"large"}
    assert measured["plain"] == measured["long"] == "kept"
    assert measured["empty"] == measured["one_word"] == "dropped"
    assert run.stats["documents"]["read"] == len(documents)
    assert seconds < 300
