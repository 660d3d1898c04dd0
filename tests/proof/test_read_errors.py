"""Read errors at every kind of file that a run reads, and a real disk that has them."""

from pathlib import Path

import pytest
from bad_disks import library, run_on, torn_disk
from conftest import digests
from test_power import clean, recipe  # noqa: F401 - a fixture

from cleanpipe.errors import InputError, OutputError
from cleanpipe.recipes.recipe_file import load
from cleanpipe.store import current_manifest
from cleanpipe.verify import faults_of

pytestmark = pytest.mark.proof
MEASURED = "receipts/measure-block-000000.json"
OWN = {
    "measures": ("measures/", "0", MEASURED),
    "receipts": ("receipts/", "0", MEASURED),
    "ids of the run": ("identity.json", "0", MEASURED),
    "scratch, read": ("scratch/", "0", MEASURED),
    "scratch, mapped": ("scratch/", "9000", MEASURED),
    "verdicts": ("verdicts/", "0", "verdicts/block-000000.parquet"),
    "statistics": ("stats.json", "0", "stats.json"),
}


@pytest.fixture(scope="module")
def calm(sample_recipe, tmp_path_factory):
    """What a run on a whole disk publishes; a library that makes disks bad."""
    folder = tmp_path_factory.mktemp("calm")
    clean(sample_recipe, folder / "out")
    return digests(folder / "out"), library(folder)


@pytest.mark.parametrize("name", OWN)
def test_a_file_of_its_own_that_a_run_cannot_read_is_named(name, calm, sample_recipe, tmp_path):
    """Exit code 5, the file and the next move; with the disk whole again it goes on."""
    expected, made = calm
    (path, first, once), output = OWN[name], tmp_path / "out"
    folder = output / "_cleanpipe/runs/0001"
    bad = f"{folder}/{path}"
    faults = {"BAD_PATH": bad, "BAD_FROM": first, "BAD_ONCE": str(folder / once)}
    done = run_on(made, sample_recipe, output, **faults)
    assert done.returncode == OutputError.exit_code, done.stderr
    assert f"the disk fails to read {bad}" in done.stderr
    assert "another --output" in done.stderr
    assert current_manifest(output) is None
    clean(sample_recipe, output)
    assert digests(output) == expected
    assert faults_of(output) == []


def inputs(sample_recipe):
    found = [Path(given.path) for given in load(sample_recipe).input]
    return sorted({file for path in found for file in files_of(path)})


def files_of(path):
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    return [path] if path.exists() else list(path.parent.glob(path.name))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_an_input_that_its_disk_fails_to_give_is_named(share, calm, sample_recipe, tmp_path):
    """Every format, from its beginning, middle and end on: exit code 3, the file, nothing there."""
    expected, made = calm
    for number, file in enumerate(inputs(sample_recipe)):
        output = tmp_path / f"out-{number}"
        faults = {"BAD_PATH": str(file), "BAD_FROM": str(int(file.stat().st_size * share))}
        done = run_on(made, sample_recipe, output, **faults)
        assert done.returncode == InputError.exit_code, (file, done.stderr)
        assert f"cannot read {file}" in done.stderr
        assert "its disk fails" in done.stderr
        assert current_manifest(output) is None
    clean(sample_recipe, output)
    assert digests(output) == expected


def test_a_real_disk_that_lost_its_end(recipe, tmp_path):  # noqa: F811
    """ext4 on a loop device whose image is cut: the kernel's own errors, then the disk is whole."""
    lines = recipe.with_name("in.jsonl").read_bytes()
    filler = {f"{number}": bytes(3_000_000) for number in range(8)}
    with torn_disk(tmp_path, {**filler, "in.jsonl": lines}) as (disk, tear):
        words = ["--input", str(disk / "in.jsonl"), "--set", "input.0.id=id"]
        whole = run_on(None, recipe, tmp_path / "calm", *words)
        assert whole.returncode == 0, whole.stderr
        tear(0.1)
        done = run_on(None, recipe, tmp_path / "out", *words)
        assert done.returncode == InputError.exit_code, done.stderr
        assert f"cannot read {disk / 'in.jsonl'}: Input/output error: its disk fails" in done.stderr
        assert current_manifest(tmp_path / "out") is None
        (tmp_path / "image").write_bytes((tmp_path / "whole").read_bytes())
        again = run_on(None, recipe, tmp_path / "out", *words)
        assert again.returncode == 0, again.stderr
        assert digests(tmp_path / "out") == digests(tmp_path / "calm")
