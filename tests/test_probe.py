"""Twins: exact tests on known answers, what branches share, and a small probe from end to end."""

import io
from dataclasses import replace

import numpy as np
import orjson
import pytest
from rich.console import Console

torch = pytest.importorskip("torch", reason="the extra probe is not installed")
pytest.importorskip("tokenizers", reason="the extra probe is not installed")

from cleanpipe.cli.cli_stability import stability  # noqa: E402
from cleanpipe.errors import InputError, RecipeError  # noqa: E402
from cleanpipe.stability.probe import exact, proxies, shown, twins  # noqa: E402
from cleanpipe.stability.probe.model import Shape  # noqa: E402

PLAN = proxies.Plan(shape=Shape(vocabulary=300, width=16, layers=2, heads=2, length=32), batch=8)
FORM = replace(
    twins.QUICK, plan=PLAN, seeds=2, school=2, checkpoints=(4,), kinds=("noise_5",), after=8
)
WORDS = np.array(["red", "green", "blue", "ten", "cat", "dog", "sat", "on"])


def test_sign_flips_are_exact():
    """All of one sign: 2 in 2^n; none at all: 1; the answer does not depend on the scale."""
    assert exact.sign_flip(np.full(6, 0.3)) == 2 / 64
    assert exact.sign_flip(np.zeros(6)) == 1
    assert exact.sign_flip(np.array([3.0, -1, 2, 1])) == exact.sign_flip(np.array([6.0, -2, 4, 2]))
    assert exact.sign_flip(np.array([1.0, -1])) == 1


def test_sign_flips_hold_their_level():
    """Without an effect at most one p-value in twenty is under 0.05."""
    chance = np.random.default_rng(0)
    found = [exact.sign_flip(chance.normal(size=8)) for _ in range(1000)]
    assert np.mean(np.array(found) <= 0.05) < 0.07


def test_several_kinds_together_hold_their_level():
    """Of five kinds without an effect, seldom more than one time in twenty any is under 0.05."""
    chance = np.random.default_rng(0)
    least = [min(exact.together(chance.normal(size=(5, 8)))) for _ in range(500)]
    alone = [min(map(exact.sign_flip, chance.normal(size=(5, 8)))) for _ in range(100)]
    assert np.mean(np.array(least) <= 0.05) < 0.075
    assert np.mean(np.array(alone) <= 0.05) > 0.12


def test_excess_and_recovery_of_a_bump():
    """A bump of 1 over ten of a hundred steps is an excess of 0.1, and is over after it."""
    steps = list(range(101))
    base = {"steps": steps, "losses": [2.0] * 101}
    bump = {"steps": steps, "losses": [2.0] * 10 + [3.0] * 10 + [2.0] * 81}
    assert exact.excess(bump, base) == pytest.approx(0.1)
    assert exact.excess(base, base) == 0
    assert exact.recovery(bump, base, 0.01) == 20
    assert exact.recovery(base, base, 0.01) == 0
    assert exact.excess({**bump, "losses": [2.0] * 5}, base) == float("inf")


def arm(kind, seed, over, *, diverged=False):
    peaks = dict.fromkeys(("grad_norm", "update_norm", "max_attn_logit", "second_moment"), 1 + over)
    losses = [3.0, 3.0 + over, 3.0 + over]
    return {"kind": kind, "seed": seed, "steps": [0, 50, 100], "losses": losses,
            "diverged": diverged, "peaks": peaks}  # fmt: skip


def test_kinds_are_compared_with_the_placebo_of_their_seed():
    """A kind that is worse in every seed is told from one that is not; p-values are adjusted."""
    arms = []
    for seed in range(6):
        own = 0.1 * seed  # a seed's own level, which pairs cancel
        arms += [arm("placebo", seed, own), arm("placebo_again", seed, own + 0.001 * (-1) ** seed)]
        arms += [arm("bad", seed, own + 0.5 + seed / 100, diverged=True)]
        arms += [arm("fine", seed, own + 0.01 * (1 + seed) * (-1) ** seed)]
    found = exact.compared(arms, ["placebo", "placebo_again", "bad", "fine"])["kinds"]
    assert found["bad"]["excess_loss"]["p"] == 2 / 64
    assert found["bad"]["excess_loss"]["p_of_all"] == 2 / 64
    assert found["fine"]["excess_loss"]["p_of_all"] > 0.5
    assert found["bad"]["excess_loss"]["low"] > 0
    assert found["bad"]["diverged"] == 6
    assert found["bad"]["diverged_p"] == 2 / 64
    assert found["fine"]["excess_loss"]["p"] > 0.5
    assert orjson.loads(orjson.dumps(found)) == found  # no number of NumPy's, which JSON has not
    assert found["fine"]["diverged_p"] == 1
    assert found["placebo_again"]["recovery_steps"] == 0
    assert found["bad"]["recovery_steps"] == 100


def written(path, count, words, seed):
    chance = np.random.default_rng(seed)
    with path.open("wb") as file:
        for number in range(count):
            text = " ".join(chance.choice(words, chance.integers(120, 150)))
            file.write(orjson.dumps({"id": str(number), "text": text, "lang": "en"}) + b"\n")
    return str(path)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("texts")
    clean = written(tmp_path / "clean.jsonl", 200, WORDS, 0)
    raw = tmp_path / "raw.jsonl"
    written(raw, 60, np.array(["-", "="]), 1)
    raw.write_bytes(raw.read_bytes() + (tmp_path / "clean.jsonl").read_bytes())
    return str(raw), clean


def test_twins_differ_where_the_fault_stands_and_nowhere_else(texts):
    """After the planted batches all kinds see the same; in them half of the sequences differ."""
    data = twins.read(*texts, FORM)
    made = {
        kind: np.stack(list(twins.batches(FORM, data, kind, 0, 10)))
        for kind in (*twins.PLACEBOS, "noise_5", twins.REMOVED)
    }
    for batches in made.values():
        assert (batches[FORM.batches :] == made["placebo"][FORM.batches :]).all()
        assert (batches[:, 4:] == made["placebo"][:, 4:]).all()
        if batches is not made["placebo"]:
            assert (batches[: FORM.batches, :4] != made["placebo"][: FORM.batches, :4]).any()
    spread = np.stack(list(twins.batches(FORM, data, "noise_5" + twins.SPREAD, 0, 10)))
    usual = np.stack(list(twins.batches(replace(FORM, batches=0), data, "placebo", 0, 10)))
    changed = (spread != usual).any(axis=2).sum(axis=1)
    assert changed.sum() == 4 * FORM.batches  # as many as together, and no two steps far apart
    assert changed.max() - changed.min() <= 1
    trained = {tuple(row) for row in data.stream.sequences()}
    clean = {tuple(row) for row in data.ground.sequences}
    assert {tuple(row) for row in made["placebo"][: FORM.batches, :4].reshape(-1, 33)} <= clean
    assert not {tuple(row) for row in data.fixed} & trained


def test_a_probe_runs_and_goes_on_where_it_was_stopped(texts, tmp_path):
    """Every kind is compared, every twin leaves its log; what was run is not run again."""
    said = []
    result = twins.probe(*texts, tmp_path / "out", FORM, lambda *told: said.append(told))
    (setting,) = result["settings"]
    assert setting["kinds"].keys() == {
        *("placebo_again", "noise_5", "removed", "noise_5, spread", "removed, spread")
    }
    assert setting["kinds"]["noise_5"]["excess_loss"]["seeds"] == 2
    assert not result["copies"]
    page = (tmp_path / "out" / "probe.json").read_bytes()
    assert orjson.loads(page) == orjson.loads(orjson.dumps(result))
    page = io.StringIO()
    shown.show_probe(Console(file=page, width=120), result)
    assert "noise_5" in page.getvalue()
    assert "cannot copy" in page.getvalue()
    assert len(shown.rows(result)) == 5
    logs = sorted((tmp_path / "out" / "twins").glob("*.jsonl"))
    assert len(logs) == 2 * 6
    lines = [orjson.loads(line) for line in logs[0].read_bytes().splitlines()]
    assert [line["step"] for line in lines] == list(range(7, 15))
    for path in list((tmp_path / "out" / "twins").glob("*seed-1*")):
        path.unlink()
    assert twins.probe(*texts, tmp_path / "out", FORM, lambda *_: None) == result
    with pytest.raises(RecipeError, match="other settings"):
        twins.probe(*texts, tmp_path / "out", replace(FORM, seeds=3), lambda *_: None)


def test_trainings_side_by_side_change_nothing(texts, tmp_path):
    """One worker and three give the same result, and every log but its times is the same."""
    alone = twins.probe(*texts, tmp_path / "alone", FORM, lambda *_: None, workers=1)
    assert twins.probe(*texts, tmp_path / "three", FORM, lambda *_: None, workers=3) == alone
    logs = sorted((tmp_path / "alone").rglob("*.jsonl"))
    assert len(logs) == 2 * 6 + 2
    for log in logs:
        other = tmp_path / "three" / log.relative_to(tmp_path / "alone")
        assert losses(log) == losses(other)
    with pytest.raises(RecipeError, match="--workers 0: expected 1 at least"):
        twins.probe(*texts, tmp_path / "none", FORM, lambda *_: None, workers=0)


def losses(log):
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    return [(line["step"], line["loss"], line["grad_norm"]) for line in lines]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["probe", "--raw", "a", "--clean", "b", "--form", "long"], "one of quick, standard"),
        (["calibrate", "a"], "1 corpora, expected two at least"),
    ],
)
def test_what_a_verb_cannot_do_is_refused_at_once(words, told):
    """A wrong form, or one corpus where two are compared: the message says what is expected."""
    with pytest.raises(RecipeError, match=told):
        stability(words, result_action="return_value")


def test_too_little_text_is_refused(tmp_path):
    """The message says how much there was and how much is needed."""
    few = written(tmp_path / "few.jsonl", 4, WORDS, 0)
    with pytest.raises(InputError, match=r"sequences of 32 tokens to train on.*expected 8 and 64"):
        twins.read(few, few, FORM)
