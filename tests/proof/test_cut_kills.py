"""The pass of cuts, killed with kill -9, and by any number of workers, at some size."""

import os
import random
import signal
import subprocess
import sys
import time

import orjson
import pytest
from conftest import digests

from cleanpipe import store
from cleanpipe.verify import faults_of

CLI = [sys.executable, "-m", "cleanpipe"]


def a_large_corpus(folder):
    """Three shards, a block each, of pages that share lines."""
    chance = random.Random(5)
    words = [f"word{number}" for number in range(500)]
    shared = [" ".join(chance.choices(words, k=14)) for _ in range(50)]
    folder.mkdir()
    for shard in range(3):
        lines = []
        for number in range(12_000):
            own = [" ".join(chance.choices(words, k=60)) for _ in range(4)]
            text = "\n".join([*chance.sample(shared, 3), *own, chance.choice(shared)])
            lines.append(orjson.dumps({"id": f"{shard}-{number}", "text": text}))
        (folder / f"{shard}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    recipe = folder / "recipe.yaml"
    known = {"version": 1, "seed": 3, "input": {"path": "*.jsonl"}, "output": {"path": "out"}}
    recipe.write_bytes(orjson.dumps({**known, "measure": {"language": False}, "cuts": {}}))
    return recipe


@pytest.mark.proof
def test_workers_and_kills_change_no_byte(tmp_path):
    """One worker or two, and kill -9 in the pass of cuts, three times: the same bytes."""
    recipe = a_large_corpus(tmp_path / "in")

    def start(output, workers):
        words = [*CLI, "run", recipe, "--output", output, "--workers", str(workers)]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "one", 1).wait() == 0
    expected = digests(tmp_path / "one")
    assert start(tmp_path / "two", 2).wait() == 0
    assert digests(tmp_path / "two") == expected
    killed = tmp_path / "killed"
    for pattern in ("spans/block-*", "spans/part-*", "receipts/cut-*"):
        process = start(killed, 2)
        while process.poll() is None and not any(killed.rglob(pattern)):
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert store.current_manifest(killed) is None
    assert start(killed, 2).wait() == 0
    assert digests(killed) == expected
    assert faults_of(killed) == []
    assert not list(killed.rglob("spans"))
