"""The Prefect flow, on a real embedded server."""

import json
import os
import subprocess
import sys

import polars as pl
import pytest
from conftest import digests

CLI = [sys.executable, "-m", "cleanpipe"]
# Spans that repeat are cut, too: one more pass for both engines.
CUTS = ("--set", "cuts.min_words=8")
TASKS = {
    "read for repeats",
    "find repeats",
    "mark cuts",
    "normalize and measure",
    "filter",
    "deduplicate",
    "compare candidates",
    "balance",
    "augment and write",
    "statistics",
    "report",
}
ASK = """
import asyncio, json
from cleanpipe.flows import embedded
from prefect import get_client

async def ask():
    async with get_client() as client:
        tasks = await client.read_task_runs(limit=200)
        flows = await client.read_flow_runs()
        artifacts = (await client._client.post("/artifacts/filter", json={})).json()
        print(json.dumps({
            "tasks": sorted({t.name.rsplit("-", 1)[0] for t in tasks}),
            "states": sorted({str(t.state_type.value) for t in tasks}),
            "flows": [(f.name, f.state_type.value) for f in flows],
            "artifacts": sorted({a["key"] for a in artifacts}),
        }))

asyncio.run(ask())
"""


def run(*words, home, **environment):
    known = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return subprocess.run(
        [str(word) for word in words],
        env={**known, "PREFECT_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


@pytest.fixture(scope="module")
def flow(tmp_path_factory, sample_recipe):
    """sample_data/, cleaned by the flow on an embedded server with a history of its own."""
    folder = tmp_path_factory.mktemp("flow")
    words = [*CLI, "run", sample_recipe, *CUTS, "--output", folder / "out", "--prefect"]
    done = run(*words, home=folder / "home")
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.mark.parametrize("workers", [1, 2])
def test_the_flow_and_the_local_engine_write_the_same_bytes(flow, tmp_path, sample_recipe, workers):
    """One worker, two workers and the Prefect flow: the same bytes, the same passes timed."""
    folder, _ = flow
    done = run(
        *CLI,
        "run",
        sample_recipe,
        *CUTS,
        "--output",
        tmp_path / "out",
        "--workers",
        workers,
        home=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == digests(folder / "out")
    assert timed_passes(tmp_path / "out") == timed_passes(folder / "out")


def timed_passes(output):
    """The passes and stages that timing.json has seconds of."""
    known = json.loads((output / "_cleanpipe/runs/0001/timing.json").read_text())["seconds"]
    assert all(seconds >= 0 for seconds in known.values())
    return set(known)


def test_prefect_shows_the_stages_by_their_users_names(flow):
    """Every stage is a task run that completed, with its artifact, and the flow completed."""
    folder, _ = flow
    shown = json.loads(run(sys.executable, "-c", ASK, home=folder / "home").stdout)
    assert set(shown["tasks"]) >= TASKS
    assert shown["states"] == ["COMPLETED"]
    assert [state for _, state in shown["flows"]] == ["COMPLETED"]
    assert {"kept-and-dropped", "report-page", "filter-result"} <= set(shown["artifacts"])


def test_the_flow_is_quiet(flow):
    """No traceback, no lost task runs, no server log on the user's terminal."""
    _, done = flow
    assert "Traceback" not in done.stderr
    assert "ERROR" not in done.stderr
    assert len(done.stderr.splitlines()) < 25  # a line or two a step


def test_prefect_and_the_terminal_learn_no_text(flow):
    """Of a hundred written documents nothing stands in Prefect's files, or was said."""
    folder, done = flow
    written = pl.read_parquet(folder / "out" / "data" / "0001" / "*.parquet")
    texts = [text for text in written["text"].head(100) if len(text) > 60]
    assert len(texts) > 50
    kept = [path.read_bytes() for path in (folder / "home").rglob("*") if path.is_file()]
    assert sum(map(len, kept)) > 100_000, "Prefect's database is not where it was"
    for text in texts:
        inner = text[20:60]
        assert inner not in done.stdout + done.stderr
        assert not any(inner.encode() in content for content in kept)


def test_a_failed_gate_fails_the_flow(flow, sample_recipe):
    """Exit code 1 and the gate's message, and HEAD stays on the run before."""
    folder, _ = flow
    head = (folder / "out" / "_cleanpipe" / "HEAD.json").read_bytes()
    words = [*CLI, "run", sample_recipe, "--output", folder / "out", "--prefect"]
    done = run(*words, "--set", "gates.kept_share.low=0.99", home=folder / "home")
    assert done.returncode == 1, done.stderr
    assert "gate kept_share is" in done.stderr
    assert "Traceback" not in done.stderr.rpartition("cleanpipe: gate")[2]
    assert (folder / "out" / "_cleanpipe" / "HEAD.json").read_bytes() == head
