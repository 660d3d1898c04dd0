"""A disk that fails to read: the run says which file and what to do, and publishes nothing half."""

import pytest
from bad_disks import library, run_on
from conftest import digests
from test_power import clean, recipe  # noqa: F401 - a fixture

from cleanpipe import read_errors
from cleanpipe.errors import InputError, OutputError
from cleanpipe.store import current_manifest


def test_a_mapped_table_that_its_disk_fails_to_give_is_named(recipe, tmp_path):  # noqa: F811
    """SIGBUS in the run itself: its file, the next move, exit code 5; a whole disk goes on."""
    clean(recipe, tmp_path / "calm")
    output = tmp_path / "out"
    table = output / "_cleanpipe/runs/0001/measures/block-000000.parquet"
    written = output / "_cleanpipe/runs/0001/receipts/measure-block-000000.json"
    faults = {"BAD_PATH": str(table), "BAD_ONCE": str(written)}
    done = run_on(library(tmp_path), recipe, output, **faults)
    assert done.returncode == OutputError.exit_code, done.stderr
    assert f"the disk fails to read {table}" in done.stderr
    assert "run again" in done.stderr
    assert current_manifest(output) is None
    clean(recipe, output)
    assert digests(output) == digests(tmp_path / "calm")


def test_what_is_said_already_is_not_said_again(tmp_path):
    """An input's read error keeps its own message; another error is none of a disk's."""
    for error in (InputError("said"), OSError(2, "no such file"), ValueError("os")):
        with pytest.raises(type(error)) as raised, read_errors.named(tmp_path):
            raise error
        assert raised.value is error
    with pytest.raises(OutputError, match="the disk fails"), read_errors.named(tmp_path):
        raise OSError(5, "Input/output error")
