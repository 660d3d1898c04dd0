"""Killed at any instant, run again: nothing lost, nothing half there, nobody left behind."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import orjson
import pytest
from conftest import digests

from cleanpipe.verify import faults_of

KILLS = 10
WORDS = [f"word{number}" for number in range(2000)] + ["the", "and", "of", "that"] * 100
MARK = "CLEANPIPE_TEST_MARK"
CLI = [sys.executable, "-m", "cleanpipe"]


def a_corpus(folder: Path) -> Path:
    """Four shards of 17 MB, so that there are four blocks, with duplicates of both kinds."""
    chance = random.Random(11)
    folder.mkdir()
    bodies = [" ".join(chance.choices(WORDS, k=150)) for _ in range(3000)]
    for shard in range(4):
        lines = []
        for number in range(15_000):
            text = bodies[chance.randrange(len(bodies))]
            if chance.random() < 0.7:
                start = chance.randrange(400)
                text = text[start:] + f" {shard} {number}. " + chance.choice(bodies)[:300]
            lines.append(orjson.dumps({"id": f"{shard}-{number}", "text": text, "lang": "en"}))
        (folder / f"{shard}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    recipe = folder / "recipe.yaml"
    recipe.write_bytes(
        orjson.dumps(
            {
                "version": 1,
                "seed": 3,
                "input": {"path": "*.jsonl", "id": "id"},
                "measure": {"language": False},
                "filter": {"words": {"low": 20}},
                "balance": {"by": "lang", "strategy": "proportional", "budget": 60_000_000},
                "augment": {"operations": ["fim"]},
                "output": {"path": "out", "shard_size": "8MB"},
            }
        )
    )
    return recipe


def start(recipe: Path, output: Path, mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*CLI, "run", recipe, "--output", output, "--workers", "2"],
        env={**os.environ, MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def processes(mark: str) -> list[int]:
    """The live processes that a run started, itself among them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if marked and state != "Z":
            found.append(int(entry.name))
    return found


def workers(mark: str, parent: int) -> list[int]:
    """The processes that do the work: spawned children, not multiprocessing's own tracker."""
    found = []
    for process in processes(mark):
        if process != parent:
            try:
                line = Path(f"/proc/{process}/cmdline").read_bytes()
            except OSError:
                continue
            if b"spawn_main" in line:
                found.append(process)
    return found


def nobody_is_left(mark: str, within: float) -> bool:
    deadline = time.monotonic() + within
    while processes(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def written(output: Path) -> int:
    """How many files a run has finished: its clock, which tells the pass that it is in."""
    found = (  # os.walk goes on where a folder is deleted under it
        name
        for folder in ("data", "_cleanpipe/runs")
        for _, _, names in os.walk(output / folder)
        for name in names
    )
    return sum(not name.startswith(".tmp-") for name in found)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The recipe, the bytes of a run that nobody disturbed, and how many files it wrote."""
    folder = tmp_path_factory.mktemp("kills")
    recipe, output = a_corpus(folder / "in"), folder / "calm"
    process, most = start(recipe, output, "calm"), 0
    while process.poll() is None:
        most = max(most, written(output))  # scratch goes before the end
        time.sleep(0.01)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return recipe, digests(output), most


def kill_one(
    process: subprocess.Popen[bytes], output: Path, mark: str, files: int, who: int
) -> None:
    """Kill the parent (even `who`) or a worker (odd) once the run has written so many files."""
    while process.poll() is None and written(output) < files:
        time.sleep(0.002)
    victims = [process.pid] if who % 2 == 0 else workers(mark, process.pid)
    if victims and process.poll() is None:
        os.kill(victims[who // 2 % len(victims)], signal.SIGKILL)


@pytest.mark.parametrize("trial", range(KILLS))
def test_killed_and_run_again_gives_the_same_bytes(undisturbed, tmp_path, trial):
    """After kill -9 of the parent or a worker the next run ends with the bytes of a calm one.

    The moments are spread over the files that a run writes, so that each of its passes is hit; no
    process stays behind.
    """
    killed_and_run_again(undisturbed, tmp_path / "out", trial, KILLS)


def killed_and_run_again(undisturbed, output: Path, trial: int, trials: int) -> None:
    recipe, expected, files = undisturbed
    mark = uuid.uuid4().hex
    process = start(recipe, output, mark)
    kill_one(
        process,
        output,
        mark,
        (trial * files + random.Random(trial).randrange(files)) // trials,
        trial,
    )
    if trial % 2 == 0:
        process.wait()
        assert nobody_is_left(mark, within=10)
    _, errors = process.communicate()
    assert trial % 2 == 0 or process.returncode == 0, errors.decode()
    again = start(recipe, output, mark)
    _, errors = again.communicate()
    assert again.returncode == 0, errors.decode()
    assert digests(output) == expected
    assert faults_of(output) == []
    assert nobody_is_left(mark, within=10)
    assert not list(output.rglob(".tmp-*"))
