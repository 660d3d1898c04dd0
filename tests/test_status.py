"""`cleanpipe status`: good, too old, failed, stopped and under way are told apart."""

import os
import signal
import subprocess
import sys
import time

import orjson
import polars as pl
import pytest

from cleanpipe import store
from cleanpipe.errors import GateError, RecipeError
from cleanpipe.nights.status import seconds, status_of
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import run

CLI = [sys.executable, "-m", "cleanpipe", "status"]


@pytest.fixture
def night(tmp_path, write_recipe):
    """A function that cleans ten documents, with the given sections in the recipe."""
    words = " ".join(f"word{n}" for n in range(60))
    texts = [f"{words} number {n}" for n in range(10)]
    pl.DataFrame({"text": texts}).write_parquet(tmp_path / "in.parquet")
    output = tmp_path / "out"

    def clean(**sections):
        recipe = write_recipe(input={"path": "in.parquet"}, **sections)
        run(load(recipe, output=str(output)), workers=1)
        return output

    clean.output = output
    return clean


def shown(output, *words):
    done = subprocess.run(
        [*CLI, output, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr
    return done


def test_a_fresh_publication_is_good_and_an_old_one_is_not(night):
    """Exit code 0 within --max-age, 1 beyond it; without --max-age any age is good."""
    output = night()
    assert shown(output, "--max-age", "26h").returncode == 0
    before = time.time() - 27 * 3600
    os.utime(output / "_cleanpipe" / "HEAD.json", (before, before))
    old = shown(output, "--max-age", "26h")
    assert old.returncode == 1
    assert "run 0001 was published or confirmed 27 h ago, and 26h is allowed" in old.stdout
    told = shown(output, "--json")
    known = orjson.loads(told.stdout)
    assert (told.returncode, known["run"], known["faults"]) == (0, "0001", [])
    assert [store.read_json(output / path)["version"] for path in known["stats"]]


def test_nothing_published_is_a_fault(tmp_path):
    """A wrong folder, or a first run that never came, is said, not passed over."""
    (fault,) = status_of(tmp_path / "nowhere").faults
    assert "holds no published run" in fault


def test_a_failed_gate_is_a_fault_until_a_run_is_published(night):
    """The gate is named with its value; the publication before stays; a good run ends the fault."""
    night()
    with pytest.raises(GateError):
        night(gates={"kept_documents": {"low": 11}})
    known = status_of(night.output)
    assert known.run == "0001"
    (fault,) = known.faults
    assert "run 0002 was not published: gate kept_documents is 10, below low 11" in fault
    night(gates={"kept_documents": {"low": 9}})
    known = status_of(night.output)
    assert (known.run, known.faults) == ("0002", ())
    assert len(known.stats) == 2


def test_a_stopped_run_is_a_fault_and_one_under_way_is_none(night):
    """Who holds the lock makes the difference, and a killed holder holds nothing."""
    output = night()
    (output / "_cleanpipe" / "runs" / "0002").mkdir()
    assert "run 0002 stopped before it was published" in status_of(output).faults[0]
    hold = "import sys,time\nfrom pathlib import Path\nfrom cleanpipe import store\n"
    hold += "store.take_lock(Path(sys.argv[1]))\nprint('held', flush=True)\ntime.sleep(60)"
    lock = output / "_cleanpipe" / "lock"
    words = [sys.executable, "-c", hold, str(lock)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        known = status_of(output)
        holder.send_signal(signal.SIGKILL)
    assert known.under_way
    assert known.faults == ()
    assert not status_of(output).under_way


def test_looking_changes_nothing(night):
    """No file is written, and a run can take the lock right after."""
    output = night()
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    status_of(output, "26h")
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before
    os.close(store.take_lock(output / "_cleanpipe" / "lock"))


@pytest.mark.parametrize("wrong", ["26", "h", "-1h", "26 hours", "1e3s", ""])
def test_an_age_that_is_none_is_refused(wrong):
    """A number and a unit, or exit code 2 with an example."""
    with pytest.raises(RecipeError, match="such as 26h"):
        seconds(wrong)
