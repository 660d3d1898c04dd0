"""A machine lost in the middle of a run, on clusters of real processes."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from clusters import dask_cluster
from conftest import digests
from storage import a_store, client
from test_kills import CLI, a_corpus

from cleanpipe.errors import WorkerDiedError
from cleanpipe.machines.machines import connect
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import compile_for
from cleanpipe.verify import faults_of

pytestmark = pytest.mark.proof
STEPS = ("measure", "write")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Four blocks of 17 MB, and what one local worker makes of them."""
    folder = tmp_path_factory.mktemp("machines")
    recipe = a_corpus(folder / "in")
    clean(recipe, folder / "alone", "--workers", "1")
    return recipe, folder, digests(folder / "alone")


def clean(recipe: Path, output: Path, *options: str) -> None:
    subprocess.run([*CLI, "run", recipe, "--output", output, *options], check=True, timeout=500)


def receipts(output: Path, step: str) -> int:
    return len(list(output.glob(f"_cleanpipe/runs/*/receipts/{step}-*.json")))


@pytest.fixture
def ray_cluster(monkeypatch):
    """A Ray cluster of two nodes of one processor each, all of them processes of this machine."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported
    pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    del options["include_dashboard"]
    cluster.add_node(**options)
    yield cluster
    cluster.shutdown()


@pytest.mark.parametrize("step", STEPS)
def test_a_dask_worker_that_is_killed_costs_its_block(corpus, tmp_path, step):
    """Kill -9 of one of two workers while a pass is under way: the run ends, byte-identical."""
    pytest.importorskip("distributed", reason="needs the extra dask")
    recipe, _, expected = corpus
    output = tmp_path / "out"
    words = [*CLI, "run", recipe, "--output", output]
    with dask_cluster(tmp_path / "dask") as cluster:
        running = subprocess.Popen([*words, "--set", f"machines={cluster.address}"])
        while receipts(output, step) < 1:
            assert running.poll() is None
            time.sleep(0.01)
        cluster.kill(cluster.workers[0])
        killed_after = receipts(output, step)
        assert running.wait(500) == 0
    assert killed_after < receipts(output, step), "the pass was over before the kill"
    assert digests(output) == expected
    assert faults_of(output) == []


def test_a_killed_run_is_gone_on_with_by_the_next(corpus, tmp_path):
    """Kill -9 of the run itself: its machines leave, and the next run does only what is missing."""
    pytest.importorskip("distributed", reason="needs the extra dask")
    recipe, _, expected = corpus
    output = tmp_path / "out"
    words = [*CLI, "run", recipe, "--output", output]
    with dask_cluster(tmp_path / "dask") as cluster:
        words += ["--set", f"machines={cluster.address}"]
        running = subprocess.Popen(words)
        while receipts(output, "measure") < 1:
            assert running.poll() is None
            time.sleep(0.01)
        running.kill()
        running.wait()
        done = {path: path.stat().st_mtime_ns for path in output.rglob("receipts/*.json")}
        subprocess.run(words, check=True, timeout=500)
        assert len(list(output.glob("_cleanpipe/runs/*"))) == 1
        assert {path: path.stat().st_mtime_ns for path in done} == done
    assert digests(output) == expected


def test_storage_under_a_cluster_that_loses_a_worker(corpus, tmp_path, monkeypatch):
    """Input and publication on storage, one of two workers killed: byte-identical, also fetched."""
    for extra in ("distributed", "moto", "boto3"):
        pytest.importorskip(extra, reason="needs the extras dask and s3, and moto")
    recipe, _, expected = corpus
    output, place = tmp_path / "out", "s3://corpora/clean"
    with a_store("corpora") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for path in recipe.parent.glob("*.jsonl"):
            client(environment).upload_file(str(path), "corpora", f"raw/{path.name}")
        with dask_cluster(tmp_path / "dask") as cluster:
            words = [*CLI, "run", recipe, "--output", output, "--input", "s3://corpora/raw/*.jsonl"]
            words += ["--set", "input.0.id=id", "--set", f"output.publish_to={place}"]
            running = subprocess.Popen([*words, "--set", f"machines={cluster.address}"])
            while receipts(output, "measure") < 1:
                assert running.poll() is None
                time.sleep(0.01)
            cluster.kill(cluster.workers[0])
            assert running.wait(500) == 0
        subprocess.run([*CLI, "fetch", place, tmp_path / "fetched"], check=True, timeout=500)
    assert digests(output) == expected
    assert digests(tmp_path / "fetched") == expected
    assert faults_of(tmp_path / "fetched") == []


def test_a_lost_scheduler_ends_the_run_and_one_machine_goes_on(corpus, tmp_path):
    """Exit code 6 and what to do; the next run, without a cluster, keeps what was done."""
    pytest.importorskip("distributed", reason="needs the extra dask")
    recipe, _, expected = corpus
    output = tmp_path / "out"
    words = [*CLI, "run", recipe, "--output", output]
    with dask_cluster(tmp_path / "dask") as cluster:
        over = ["--set", f"machines={cluster.address}"]
        running = subprocess.Popen([*words, *over], stderr=subprocess.PIPE, text=True)
        while receipts(output, "measure") < 1:
            assert running.poll() is None
            time.sleep(0.01)
        cluster.scheduler.kill()
        said = running.communicate(timeout=200)[1]
        assert running.returncode == 6, said
        assert "the Dask scheduler is gone" in said
        assert "Traceback" not in said
    done = {path: path.stat().st_mtime_ns for path in output.rglob("receipts/*.json")}
    subprocess.run(words, check=True, timeout=500)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert digests(output) == expected


def test_a_call_that_ends_its_process_ends_no_machine(tmp_path, sample_recipe):
    """As in the local pool: WorkerDiedError, how it ended, and the next call is served."""
    pytest.importorskip("distributed", reason="needs the extra dask")
    (tmp_path / "_cleanpipe").mkdir()
    with dask_cluster(tmp_path / "dask") as cluster:
        recipe = load(sample_recipe, {"machines": cluster.address}, output=str(tmp_path))
        machine = connect(recipe, compile_for)
        try:
            with pytest.raises(WorkerDiedError, match="died: Abnormal termination in _exit"):
                machine.call(os._exit, 9)
            assert "Abnormal termination" in machine.fails(0.1, os._exit, 9)
            assert machine.fails(0.1, max, 1, 2) is None
            assert machine.call(max, 1, 2) == 2
        finally:
            machine.close()
        assert [worker.poll() for worker in cluster.workers] == [None, None]


@pytest.mark.parametrize("step", STEPS)
def test_a_ray_node_that_is_killed_costs_its_block(corpus, tmp_path, ray_cluster, step):
    """One of two nodes is killed while a pass is under way: the run ends, byte-identical."""
    recipe, _, expected = corpus
    output = tmp_path / "out"
    words = [*CLI, "run", recipe, "--output", output]
    running = subprocess.Popen([*words, "--set", f"machines=ray:{ray_cluster.address}"])
    while receipts(output, step) < 1:
        assert running.poll() is None
        time.sleep(0.01)
    ray_cluster.remove_node(next(iter(ray_cluster.worker_nodes)), allow_graceful=False)
    killed_after = receipts(output, step)
    assert running.wait(500) == 0
    assert killed_after < receipts(output, step), "the pass was over before the kill"
    assert digests(output) == expected
    assert faults_of(output) == []


def test_the_flow_runs_on_dask(corpus, tmp_path):
    """The Prefect flow gives its blocks to the same machines: byte-identical."""
    pytest.importorskip("distributed", reason="needs the extra dask")
    recipe, _, expected = corpus
    with dask_cluster(tmp_path / "dask", 2) as cluster:
        options = ("--set", f"machines={cluster.address}", "--prefect")
        clean(recipe, tmp_path / "out", *options)
    assert digests(tmp_path / "out") == expected
