"""A run on a Dask cluster: a scheduler and two workers, each a process of its own."""

import fcntl
import os
import re
from pathlib import Path

import pytest
from clusters import dask_cluster
from conftest import InProcess, digests

from cleanpipe.errors import CleanpipeError, LockedError, RecipeError
from cleanpipe.machines import serving
from cleanpipe.machines.serving import Call, Ticket
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, compile_for, run
from cleanpipe.verify import faults_of


def test_two_dask_workers_write_the_bytes_of_one_process(tmp_path, sample_recipe):
    """sample_data/, over Dask and in one process: byte-identical, and nobody stays behind."""
    pytest.importorskip("distributed", reason="needs the extra dask")
    with dask_cluster(tmp_path / "dask") as cluster:
        over = {"machines": cluster.address}
        run(load(sample_recipe, over, output=str(tmp_path / "over")))
        fence = os.open(tmp_path / "over" / "_cleanpipe" / "machines", os.O_RDWR)
        fcntl.flock(fence, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where a machine still serves
        os.close(fence)
    here = load(sample_recipe, output=str(tmp_path / "here"))
    all_steps(Work(here, InProcess(), lambda *_: None))
    assert digests(tmp_path / "over") == digests(tmp_path / "here")
    assert faults_of(tmp_path / "over") == []


def test_a_machine_of_an_earlier_run_is_waited_for_and_then_refused(tmp_path):
    """While a machine serves, no run begins; after that its calls come too late."""
    recipe = Recipe(input={"path": "in"}, output={"path": str(tmp_path)})
    fence = tmp_path / "machines"
    early = Ticket(str(fence), serving.take_over(fence, 1), recipe, compile_for)
    lock = serving._share(early)
    with pytest.raises(LockedError, match="served an earlier run"):
        serving.take_over(fence, 0.1)
    os.close(lock)
    late = Ticket(str(fence), serving.take_over(fence, 1), recipe, compile_for)
    with pytest.raises(CleanpipeError, match="another run has begun"):
        serving.serve(early, 1, Call(max, (1, 2)))
    os.close(serving._share(late))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"versions": {"polars": "0"}}, r"machine far has polars 0 \(here 2"),
        ({"sees": False}, "machine far does not see"),
        ({"daemon": True}, "--no-nanny"),
    ],
)
def test_a_machine_that_would_write_other_bytes_is_refused(tmp_path, change, said):
    """Other versions, another folder, no right to start processes: said by the machine's name."""
    recipe = Recipe(input={"path": "in"}, output={"path": str(tmp_path)})
    fence = tmp_path / "_cleanpipe" / "machines"
    fence.parent.mkdir()
    ticket = Ticket(str(fence), serving.take_over(fence, 1), recipe, compile_for)
    fit = serving.introduce(ticket) | {"machine": "far"}
    serving.refuse_unfit(ticket, [fit])
    with pytest.raises(CleanpipeError, match=said):
        serving.refuse_unfit(ticket, [fit | change])


def test_machines_are_named_by_kind_and_address(monkeypatch):
    """In the recipe or, left out, by the environment; they are no part of a run's identity."""
    paths = {"input": {"path": "in"}, "output": {"path": "out"}}
    with pytest.raises(ValueError, match="machines"):
        Recipe(**paths, machines="slurm:1.2.3.4")
    alone = Recipe(**paths)
    monkeypatch.setenv("CLEANPIPE_MACHINES", "dask:tcp://10.0.0.1:8786")
    assert Recipe(**paths).machines == "dask:tcp://10.0.0.1:8786"
    assert Recipe(**paths).identity() == alone.identity()


def test_a_cluster_needs_its_extra(monkeypatch, tmp_path):
    """The message names what to install."""
    import sys

    from cleanpipe.machines import machines

    monkeypatch.setitem(sys.modules, "cleanpipe.machines.over_dask", None)
    recipe = Recipe(
        input={"path": "in"}, output={"path": str(tmp_path)}, machines="dask:tcp://127.0.0.1:1"
    )
    with pytest.raises(RecipeError, match=r"pip install 'cleanpipe\[dask\]'"):
        machines.connect(recipe, compile_for)


def test_the_recipe_of_the_page_is_one(tmp_path):
    """docs/many-machines.md shows a recipe for storage; it loads."""
    page = Path(__file__).parents[1] / "docs" / "many-machines.md"
    (shown,) = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    (tmp_path / "recipe.yaml").write_text(shown, encoding="utf-8")
    recipe = load(tmp_path / "recipe.yaml")
    assert recipe.input[0].path == "s3://raw/news/**/*.jsonl.zst"
    assert recipe.output.publish_to == "s3://clean/news"
