"""Documents that end the process which measures them: the run goes on, and names them."""

import importlib
import math
import os
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe import pool
from cleanpipe.errors import WorkerDiedError
from cleanpipe.input.corpus import Block
from cleanpipe.measures import custom, rescue
from cleanpipe.run import run
from cleanpipe.store import read_lines
from cleanpipe.verify import faults_of

EVIL = """
import os, signal, time
import pyarrow as pa

def look(texts):
    for text in texts.to_pylist():
        if "crash" in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        while "hang" in text:
            time.sleep(1)
    return pa.table({"looked": pa.array([True] * len(texts), pa.bool_())})
"""


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """An installed package whose function dies of some texts and never ends on others."""
    site = tmp_path / "site"
    (site / "evil-1.0.dist-info").mkdir(parents=True)
    (site / "evil.py").write_text(textwrap.dedent(EVIL))
    (site / "evil-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"
    )
    (site / "evil-1.0.dist-info" / "top_level.txt").write_text("evil\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    importlib.invalidate_caches()
    for known in (custom.function, custom.identity, custom.schema):
        known.cache_clear()
    yield
    sys.modules.pop("evil", None)


def corpus(folder, evil, count):
    """Documents in two shards, some of them evil, cleaned with the function above."""
    for shard in range(2):
        texts = [f"text {evil.get((shard, row), '')} {shard} {row}" for row in range(count)]
        lines = [orjson.dumps({"id": f"{shard}-{row}", "text": t}) for row, t in enumerate(texts)]
        (folder / f"{shard}.jsonl").write_bytes(b"\n".join(lines))
    recipe = {
        "version": 1,
        "seed": 1,
        "input": {"path": "*.jsonl", "id": "id"},
        "output": {"path": "out"},
        "max_quarantined": 0.5,
        "measure": {"language": False, "custom": ["evil:look"]},
    }
    (folder / "recipe.yaml").write_bytes(orjson.dumps(recipe))
    return folder / "recipe.yaml"


@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize("way", ["crash", "hang"])
def test_poison_is_named_and_the_rest_of_its_block_is_cleaned(tmp_path, monkeypatch, way):
    """Where a document kills or hangs its worker, it alone goes to quarantine, with its place."""
    monkeypatch.setattr(pool, "DEADLINE", 5.0)
    monkeypatch.setattr(pool, "LEAST_DEADLINE", 5.0)
    where, count = {(1, 0): way}, 2 if way == "crash" else 1
    done = run(corpus(tmp_path, where, count), workers=1)
    kept = set(pl.concat([pl.read_parquet(part) for part in done.parts])["id"])
    assert kept == {f"{s}-{r}" for s in range(2) for r in range(count) if (s, r) not in where}
    assert done.stats["documents"]["quarantined"] == len(where)
    lines = list(read_lines(done.folder / "quarantine" / "block-000000.jsonl.zst"))
    assert {(int(line["shard"][0]), line["row"]) for line in lines} == set(where)
    assert {line["reason"] for line in lines} == {"ends_its_worker"}
    assert faults_of(done.output) == []


class Told:
    """Workers that say of any stretch whether it holds one of `evil`, and count what was asked."""

    def __init__(self, count, evil):
        self.count, self.evil, self.asked, self.named = count, evil, 0, None

    def call(self, function, *arguments):
        if function is rescue.places_of:
            return [(place % 3, place) for place in range(self.count)]
        self.named = {one.row for one in arguments[-1]}
        if self.named != self.evil:
            raise WorkerDiedError("a worker died")
        return {"block": 0}

    def fails(self, share, _function, _task, first, last):
        self.asked += 1
        assert share == (last - first) / self.count
        return "died" if self.evil & set(range(first, last)) else None


@given(st.data(), st.integers(1, 300))
def test_halving_finds_all_poison_and_nothing_else(data, count):
    """Any few documents are found, each in at most two attempts a halving of the block."""
    evil = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=rescue.MOST))
    workers = Told(count, evil)
    task = rescue.Task(Path(), None, 0, Block(0, ()), ())
    assert rescue.measure(workers, task, str) == {"block": 0}
    assert workers.named == evil
    assert workers.asked <= len(evil) * 2 * math.ceil(math.log2(count) + 1)


@pytest.mark.parametrize(
    ("evil", "says"), [(range(rescue.MOST + 1), "more than 20 documents"), ((), "a worker died")]
)
def test_where_no_few_documents_are_to_blame_it_stays_an_error(evil, says):
    """Too many, or none by itself (memory ran out, say): that a worker died is the answer."""
    workers = Told(40, {*evil, -1})  # no halving ever sees -1
    task = rescue.Task(Path(), None, 0, Block(0, ()), (SimpleNamespace(name="a.jsonl"),) * 3)
    with pytest.raises(WorkerDiedError, match=says):
        rescue.measure(workers, task, str)
