"""`cleanpipe stability order`, `batch` and `skip`: from a trainer's steps to documents."""

import gzip

import numpy as np
import orjson
import polars as pl
import pytest
from exported import made
from test_mappers import LENGTHS, megatron_indices

from cleanpipe.cli.cli import app
from cleanpipe.errors import CleanpipeError, InputError, RecipeError
from cleanpipe.export import mappers


def cleanpipe(*words):
    return app(["stability", *map(str, words)], result_action="return_value")


SIZES = ("--sequences", 4, "--length", 32, "--steps", 5)
OWN = {"sequences": 4, "length": 32, "steps": 5}
ROWS = [5, 6, 8, 7, 0, 9, 1, 2]


def states(folder):
    torch = pytest.importorskip("torch")
    torch.save(torch.get_rng_state(), folder / "kept")
    return torch.get_rng_state()


def tables(folder):
    with gzip.open(folder / "kept.gz", "wt") as file:
        file.write("1\t5\t6\n2\t0\t9\n")


def listed(folder):
    np.save(folder / "kept.npy", np.array(ROWS, np.uint32))


@pytest.mark.parametrize(
    ("words", "kept", "wanted"),
    [
        (
            ("llmc", *SIZES, "--ranks", 2, "--micro-steps", 3),
            None,
            lambda e, _: mappers.llmc(e, **OWN, ranks=2, micro_steps=3),
        ),
        (
            ("llmc", *SIZES, "--no-shuffled"),
            None,
            lambda e, _: mappers.llmc(e, **OWN, shuffled=False),
        ),
        (("train-gpt2", *SIZES), None, lambda e, _: mappers.llmc(e, **OWN, rule="python")),
        (("modded-nanogpt", *SIZES), None, lambda e, _: mappers.llmc(e, **OWN, rule="modded")),
        (
            ("nanogpt", *SIZES, "--state", "kept", "--eval-interval", 2, "--eval-batches", 3),
            states,
            lambda e, state: mappers.nanogpt(e, state, **OWN, eval_interval=2, eval_batches=3),
        ),
        (
            ("olmo", "kept.gz", "--length", 32),
            tables,
            lambda e, _: mappers.instances(e, [5, 6, 0, 9], length=32, per_step=2, first_step=1),
        ),
        (
            ("olmo-core", "--indices", "kept.npy", "--sequences", 2, "--length", 32),
            listed,
            lambda e, _: mappers.instances(e, ROWS, length=32, per_step=2, first_step=1),
        ),
        (
            ("instances", "--rows", "kept.npy", "--sequences", 2, "--length", 32, "--steps", 3),
            listed,
            lambda e, _: mappers.instances(e, ROWS[:6], length=32, per_step=2),
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_order_of_every_trainer_can_be_written(tmp_path, monkeypatch, words, kept, wanted):
    """Its options reach the mapper that is tested against the trainer's own arithmetic."""
    monkeypatch.chdir(tmp_path)
    export = made(tmp_path / "e", LENGTHS)
    state = kept(tmp_path) if kept else None
    name, *more = words
    files = [more.pop(0)] if more[0] == "kept.gz" else []
    assert cleanpipe("order", name, "e", "steps.parquet", *files, *more) == 0
    assert pl.read_parquet("steps.parquet").equals(wanted(export, state))


def test_megatrons_order_and_who_stood_in_a_step(tmp_path, monkeypatch, capfd):
    """Documents of a batch with all tokens of it, the most first, also as JSON."""
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "e", LENGTHS, "megatron")
    megatron_indices(LENGTHS, 64, 3, 5, tmp_path / "cache")
    sizes = ("--sequences", 8, "--length", 64, "--steps", 30, "--consumed", 80)
    cleanpipe("order", "megatron", "e", "o.parquet", "--cache", "cache", *sizes)
    assert capfd.readouterr().out == "o.parquet: 30 steps (10 to 39), 15,360 tokens\n"
    cleanpipe("batch", "e", 12, 39, "--order", "o.parquet", "--json")
    rows = orjson.loads(capfd.readouterr().out)
    assert {row["step"]: 0 for row in rows} == {12: 0, 39: 0}
    assert sum(row["tokens"] for row in rows if row["step"] == 12) == 8 * 64
    most = max((row for row in rows if row["step"] == 12), key=lambda row: row["tokens"])
    cleanpipe("batch", "e", 12, "--order", "o.parquet", "--most", 1)
    first, second, third = capfd.readouterr().out.splitlines()
    assert (
        first == f"step 12: {len({r['id'] for r in rows if r['step'] == 12})} documents, 512 tokens"
    )
    assert second.split()[0] == str(most["tokens"])
    assert third.split()[:2] == ["and", str(sum(row["step"] == 12 for row in rows) - 1)]


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (("batch", "e", "--order", "o.parquet"), RecipeError, "no step is named"),
        (("batch", "e", 9, "--order", "o.parquet"), InputError, "no step 9; its steps are 0 to 4"),
        (("batch", "e", 1, "--order", "none.parquet"), InputError, "none.parquet is no file"),
        (("order", "llmc", "e", "x.csv", *SIZES), RecipeError, r"ends in \.parquet"),
        (("order", "llmc", "e", "x.parquet", *SIZES, "--ranks", 0), RecipeError, "0 is no number"),
        (
            ("order", "instances", "e", "x.parquet", *SIZES, "--rows", "o.parquet"),
            InputError,
            "cannot read o.parquet",
        ),
        (
            ("order", "megatron", "e", "x.parquet", *SIZES, "--cache", "nothing"),
            InputError,
            "cannot read nothing: .*No such file",
        ),
        (("order", "olmo", "e", "x.parquet", "--length", 8), RecipeError, "one a rank"),
        (("skip", "megatron"), RecipeError, "one at least"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, monkeypatch, words, error, says):
    """With the file or the number, and what was expected."""
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "e", LENGTHS)
    cleanpipe("order", "train-gpt2", "e", "o.parquet", *SIZES)
    with pytest.raises(error, match=says):
        cleanpipe(*words)
    assert issubclass(error, CleanpipeError)


def test_a_state_that_is_none_is_refused(tmp_path, monkeypatch):
    """Whatever torch says about it."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "e", LENGTHS)
    (tmp_path / "kept").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="cannot read kept"):
        cleanpipe("order", "nanogpt", "e", "x.parquet", *SIZES, "--state", "kept")


def test_steps_are_left_out_in_the_trainers_own_words(capfd):
    """Megatron's and metaseq's options, Lightning's file."""
    cleanpipe("skip", "megatron", 7, 4)
    cleanpipe("skip", "metaseq", 9, 10, "--begin", 5)
    cleanpipe("skip", "lightning", 3, "--batches-a-step", 2)
    said = capfd.readouterr().out
    assert said.startswith("--iterations-to-skip 4 7\n--skip-batches 10-11\n[")
