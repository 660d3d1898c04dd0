"""Replaying a batch: norms are those of the whole batch's gradient, and planted rows stand out."""

import doctest
import re
from pathlib import Path

import numpy as np
import orjson
import pytest

torch = pytest.importorskip("torch", reason="the extra probe is not installed")

from cleanpipe.cli.cli_stability import stability as app  # noqa: E402
from cleanpipe.errors import InputError, RecipeError  # noqa: E402
from cleanpipe.stability.attribution.replay import (  # noqa: E402
    Asked,
    Replay,
    array,
    function,
    own_loss,
    own_model,
    replayed,
)
from cleanpipe.stability.probe.model import Shape  # noqa: E402
from cleanpipe.stability.probe.training import Optimizer, Trainer  # noqa: E402

SHAPE = Shape(vocabulary=64, width=16, layers=2, heads=2, length=24)


def text(chance, rows):
    """Rows whose tokens mostly follow from the one before, so that there is something to learn."""
    found = np.zeros((rows, 25), np.int64)
    for place in range(1, 25):
        random = chance.integers(1, 64, rows)
        found[:, place] = np.where(
            chance.random(rows) < 0.7, found[:, place - 1] * 7 % 63 + 1, random
        )
    return found


@pytest.fixture(scope="module")
def trainer():
    chance = np.random.default_rng(0)
    trainer = Trainer.begin(SHAPE, Optimizer(lr=1e-2, warmup=5), seed=0)
    for _ in range(60):
        trainer.take(text(chance, 12))
    return trainer


@pytest.fixture(scope="module")
def batch():
    """Twelve rows; rows 3 and 8 are one token without end."""
    found = text(np.random.default_rng(1), 12)
    found[[3, 8]] = 5
    return found


def mean_loss(model, rows):
    return model.losses(rows).mean()


def norm_of(model, batch):
    loss = model.losses(torch.from_numpy(batch)).mean()
    parts = torch.autograd.grad(loss, list(model.parameters()))
    return sum(float((part**2).sum()) for part in parts) ** 0.5


def test_norms_are_those_of_the_whole_gradient(trainer, batch):
    """Of the batch, without each sequence and without two: as if they were taken anew."""
    replay = Replay(trainer.model, own_loss, batch)
    replay.run()
    assert replay.norm == pytest.approx(norm_of(trainer.model, batch), rel=1e-4)
    for row, norm in enumerate(replay.without_each()):
        rest = np.delete(batch, row, axis=0)
        assert norm == pytest.approx(norm_of(trainer.model, rest), rel=1e-3)
    two = replay.without([3, 8])["norm"]
    assert two == pytest.approx(norm_of(trainer.model, np.delete(batch, [3, 8], axis=0)), rel=1e-4)


def test_planted_sequences_come_first_and_are_no_chance(trainer, batch):
    """Without the two planted rows the norm falls by a quarter, without two others it stays."""
    found = replayed(trainer.model, own_loss, Asked(batch, (3, 8)))
    assert {one["row"] for one in found["sequences"][:2]} == {3, 8}
    assert found["without_suspects"]["ratio"] > 1.25
    assert found["without_suspects"]["p"] <= 0.05
    innocent = replayed(trainer.model, own_loss, Asked(batch, (0, 1)))["without_suspects"]
    assert innocent["ratio"] < 1.1
    assert innocent["p"] > 0.05


def test_masked_suspects_are_as_good_as_removed(trainer, batch):
    """All tokens of a row masked: the norm without the row. A loss a token is needed."""
    mask = np.zeros((12, 24), bool)
    mask[[3, 8]] = True
    found = replayed(trainer.model, own_loss, Asked(batch, (3, 8), mask))
    assert found["masked"] == pytest.approx(found["without_suspects"]["norm"], rel=1e-4)
    with pytest.raises(RecipeError, match="needs a loss function that gives a loss for each"):
        replayed(trainer.model, mean_loss, Asked(batch, (3,), mask))


def test_suspects_in_a_control_batch(trainer, batch):
    """They raise the norm of a batch in which nothing happened."""
    control = text(np.random.default_rng(2), 12)
    found = replayed(trainer.model, own_loss, Asked(batch, (3, 8), None, control))["control"]
    assert found["norm"] == pytest.approx(norm_of(trainer.model, control), rel=1e-4)
    assert found["norm_with_suspects"] > 1.2 * found["norm"]
    refilled = batch.copy()
    refilled[[3, 8]] = control[:2]
    assert found["norm_of_batch_refilled"] == pytest.approx(
        norm_of(trainer.model, refilled), rel=1e-4
    )


def test_a_mean_loss_is_enough(trainer, batch):
    """A function that gives one number has the same norms."""
    one = replayed(trainer.model, mean_loss, Asked(batch, (3,)))
    assert one["norm"] == pytest.approx(norm_of(trainer.model, batch), rel=1e-4)


def test_checkpoints_of_a_probe_are_read_back(trainer, batch, tmp_path):
    """The same norm from the file; another file is refused with the option that helps."""
    torch.save(trainer.state(), tmp_path / "checkpoint.pt")
    model = own_model(tmp_path / "checkpoint.pt")
    assert norm_of(model, batch) == pytest.approx(norm_of(trainer.model, batch), rel=1e-6)
    (tmp_path / "other.pt").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="--load module:function"):
        own_model(tmp_path / "other.pt")


def test_the_verb_replays_a_batch_at_several_checkpoints(
    trainer, batch, tmp_path, monkeypatch, capsys
):
    """By the probe's own functions, and by functions that people name; in words and as JSON."""
    monkeypatch.chdir(tmp_path)
    torch.save(trainer.state(), "late.pt")
    torch.save(Trainer.begin(SHAPE, Optimizer(), seed=0).state(), "early.pt")
    np.save("batch.npy", batch.astype(np.uint16))
    np.save("control.npy", text(np.random.default_rng(2), 12))
    Path("my_model.py").write_text(
        "from cleanpipe.stability.attribution.replay import own_model as load\n"
        "def loss(model, batch):\n"
        "    return model.losses(batch).mean()\n",
        encoding="utf-8",
    )

    def verb(command):
        files = "replay --checkpoint late.pt --checkpoint early.pt --batch batch.npy"
        assert app([*files.split(), *command.split()], result_action="return_value") == 0
        return capsys.readouterr().out

    suspects = "--suspect 3 --suspect 8 --control control.npy"
    shown = verb(suspects)
    assert "rung R3, its first part: at" in shown
    assert "control batch" in shown
    named = orjson.loads(verb(f"{suspects} --loss my_model:loss --load my_model:load --json"))
    own = orjson.loads(verb(f"{suspects} --json"))
    for one, other in zip(named["checkpoints"], own["checkpoints"], strict=True):
        assert one["norm"] == pytest.approx(other["norm"], rel=1e-5)
        assert one["without_suspects"]["p"] == other["without_suspects"]["p"]
    assert "no suspects were named" in verb("")


def test_the_page_shows_what_is_printed(trainer, batch, tmp_path, monkeypatch, capsys):
    """The functions and the command of docs/attribution.md, with what stands below it."""
    page = (Path(__file__).parents[1] / "docs" / "attribution.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    torch.save(trainer.state(), "before.pt")
    np.save("batch.npy", batch.astype(np.uint16))
    np.save("control.npy", text(np.random.default_rng(2), 12))
    (program,) = re.findall(r"```python\n(# mine.py\n.*?)```", page, re.DOTALL)
    Path("mine.py").write_text(program, encoding="utf-8")
    command, wanted = re.search(
        r"\$ cleanpipe stability (replay .*?)\n(.*?)```", page, re.DOTALL
    ).groups()
    assert app(command.replace("\\\n", " ").split(), result_action="return_value") == 0
    said = capsys.readouterr().out
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.OutputChecker().check_output(wanted, said, options), said


def test_batches_that_are_none_are_refused(tmp_path):
    """No .npy file; and numbers that are no token ids."""
    (tmp_path / "x.npy").write_text("no", encoding="ascii")
    with pytest.raises(InputError, match=r"no .npy file"):
        array(tmp_path / "x.npy")
    with pytest.raises(RecipeError, match="expected whole numbers, a row a sequence"):
        Asked(np.zeros((2, 3))).check()
    with pytest.raises(RecipeError, match="expected whole numbers, a row a sequence"):
        Asked(np.zeros(3, np.int64)).check()


@pytest.mark.parametrize(
    "name", ["math", "math:", "no_such_module:loss", "math:no_such", "math:pi"]
)
def test_functions_that_are_none_are_refused(name):
    """By their name."""
    with pytest.raises(RecipeError, match=name.split(":")[0]):
        function(name)


@pytest.mark.parametrize("rows", [[12], [-1], list(range(12))])
def test_rows_that_the_batch_has_not_are_refused(trainer, batch, rows):
    """And all of them at once: nothing would be left."""
    with pytest.raises(RecipeError, match="expected some of the rows 0 to 11"):
        replayed(trainer.model, own_loss, Asked(batch, tuple(rows)))
