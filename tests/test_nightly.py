"""What a night finds changed since the published run, and what it does when nothing did."""

import os
import time

import polars as pl
import pytest

from cleanpipe import store
from cleanpipe.errors import LockedError
from cleanpipe.nights.nightly import changes, confirm
from cleanpipe.nights.status import status_of
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import run


@pytest.fixture
def nights(tmp_path, write_recipe):
    """A folder of two shards, the recipe of a published run over them, and the run's output."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "ab":
        shard(folder / f"{name}.parquet", name)

    def recipe(**sections):
        path = write_recipe(input={"path": "in/*.parquet"}, **sections)
        return load(path, output=str(tmp_path / "out"))

    return folder, recipe, tmp_path / "out"


def shard(path, word):
    pl.DataFrame({"text": [f"{word} {n} is a text" for n in range(5)]}).write_parquet(path)


def test_a_night_sees_what_is_new_changed_and_gone(nights):
    """Five nights: the first, a quiet one, one with changed files of each kind, and two after."""
    folder, recipe, _ = nights
    assert changes(recipe()) == ["nothing was published yet"]
    run(recipe(), workers=1)
    assert changes(recipe()) == []
    (folder / "a.parquet").unlink()
    shard(folder / "b.parquet", "other words")
    shard(folder / "c.parquet", "c")
    assert changes(recipe()) == ["1 new shards", "1 gone shards", "1 changed shards"]
    done = run(recipe(), workers=1)
    assert changes(recipe()) == []
    assert done.stats["documents"]["read"] == 10
    assert changes(recipe(filter={"words": {"low": 2}})) == ["another recipe"]


def test_a_gate_alone_is_no_reason_to_clean_again(nights):
    """What is published stays published; only the next cleaning is held to the new gate."""
    _, recipe, _ = nights
    run(recipe(), workers=1)
    assert changes(recipe(gates={"kept_documents": {"low": 1}})) == []


def test_a_quiet_night_keeps_the_publication_fresh(nights):
    """Confirmed tonight is as good as published tonight; a confirmation of another run is not."""
    _, recipe, output = nights
    published = run(recipe(), workers=1)
    control = output / "_cleanpipe"
    old = time.time() - 50 * 3600
    os.utime(control / "HEAD.json", (old, old))
    assert status_of(output, "26h").faults
    head = (control / "HEAD.json").read_bytes()
    assert confirm(recipe()) == published.folder
    assert status_of(output, "26h").faults == ()
    assert (control / "HEAD.json").read_bytes() == head
    store.write_json(control / "confirmed.json", {"run": "0007"})
    assert status_of(output, "26h").faults


def test_a_night_beside_another_confirms_nothing(nights):
    """The other run may be about to publish something else."""
    _, recipe, output = nights
    run(recipe(), workers=1)
    lock = store.take_lock(output / "_cleanpipe" / "lock")
    try:
        with pytest.raises(LockedError):
            confirm(recipe())
    finally:
        os.close(lock)
    assert not (output / "_cleanpipe" / "confirmed.json").exists()
