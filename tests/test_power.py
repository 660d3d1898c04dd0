"""Power that goes between any two steps of a run's files: nothing half there, nothing lost."""

import contextlib

import orjson
import pytest
from conftest import InProcess, digests
from power import Disk, PowerGone

from cleanpipe import store
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps
from cleanpipe.verify import faults_of

# where the power goes, folders that are being listed stay open
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PROSE = "It was a quiet morning, and the people who lived by the river had begun to open doors"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe with every stage, over a few documents of which some are alike."""
    folder = tmp_path_factory.mktemp("power")
    texts = [f"{PROSE} of house {number % 7} in street {number % 5}." for number in range(12)]
    lines = [orjson.dumps({"id": str(n), "text": t}) for n, t in enumerate([*texts, "", "short"])]
    (folder / "in.jsonl").write_bytes(b"\n".join([*lines, b"no json"]) + b"\n")
    known = {
        "version": 1,
        "seed": 5,
        "input": {"path": "in.jsonl", "id": "id"},
        "max_quarantined": 0.5,
        "measure": {"language": False},
        "filter": {"words": {"low": 5}},
        "dedup": {},
        "output": {"path": "out"},
    }
    (folder / "recipe.yaml").write_bytes(orjson.dumps(known))
    return folder / "recipe.yaml"


def clean(recipe, output):
    settings = load(recipe, {}, output=str(output))
    return all_steps(Work(settings, InProcess(), lambda *_: None))


@pytest.fixture(scope="module")
def calm(recipe, tmp_path_factory):
    """The bytes of a run with power, and each step of its files."""
    output = tmp_path_factory.mktemp("calm")
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        clean(recipe, output)
    return digests(output), disk.steps


def power_goes(recipe, expected, output, *, last, keeps):
    """Let the power go at a step; readers see a whole run or none, and the next run has it all."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, last, keeps=keeps)
        with pytest.raises(PowerGone):
            clean(recipe, output)
    assert len(disk.steps) == last
    if (output / "_cleanpipe" / "HEAD.json").exists():
        assert faults_of(output) == []
        assert digests(output) == expected
    store.remove_leftovers(output)
    clean(recipe, output)
    assert digests(output) == expected
    assert faults_of(output) == []
    assert not list(output.rglob(".tmp-*"))


def test_power_may_go_at_any_kind_of_file(recipe, calm, tmp_path):
    """At the renaming of each kind of file that a run writes, and at each step of publication."""
    expected, steps = calm
    kinds = {step: number for number, step in enumerate(steps, 1) if step[0] == "rename"}
    assert {"_cleanpipe/HEAD.json", "_cleanpipe/manifest", "nnnn/part"} <= {k for _, k in kinds}
    published = kinds["rename", "_cleanpipe/manifest"] - 1
    for last in sorted({*kinds.values(), *range(published, len(steps) + 1)}):
        power_goes(recipe, expected, tmp_path / str(last), last=last, keeps=False)


@pytest.mark.proof
@pytest.mark.parametrize("keeps", [True, False], ids=["killed", "no power"])
def test_every_step_survives(recipe, calm, tmp_path, keeps):
    """All steps of a run, killed there or without power from there on."""
    expected, steps = calm
    for last in range(1, len(steps) + 1):
        power_goes(recipe, expected, tmp_path / str(last), last=last, keeps=keeps)


def test_a_file_renamed_before_it_is_synced_would_be_seen(tmp_path, monkeypatch):
    """The disk above is no easy one: it tears what was not synced, and undoes what was renamed."""
    disk = Disk(monkeypatch)
    (tmp_path / "new").write_bytes(b"12345678")
    (tmp_path / "new").replace(tmp_path / "old")
    store.sync_folder(tmp_path)
    disk.last = len(disk.steps) + 3
    with contextlib.suppress(PowerGone):
        store.write_json(tmp_path / "other.json", 1)
    assert disk.off
    assert (tmp_path / "old").read_bytes() == b"1234"
    assert not (tmp_path / "other.json").exists()
