"""End to end: planted faults, a run, an export, a small GPT, its events, and what stood in them."""

import numpy as np
import orjson
import polars as pl
import pytest

pytest.importorskip("torch", reason="the extra probe is not installed")
pytest.importorskip("tokenizers", reason="the extra probe is not installed")

from planted_training import (
    KINDS,
    PLACEBO,
    Plan,
    generated_texts,
    made,
    score,
)

from cleanpipe.cli.cli_stability import stability as app
from cleanpipe.errors import InputError, RecipeError
from cleanpipe.stability.attribution import trained_order
from cleanpipe.stability.attribution.answer import answered, events_of, one_log
from cleanpipe.stability.attribution.question import Question
from cleanpipe.stability.spikes.events import Bounds

PLAN = Plan(batch=8, each=9, dose=0.2, width=24, layers=1, vocabulary=512)
BOUNDS = Bounds(grad_norm=5.0)
"""Of spreads; the trainings are so short that 8 would leave too few events to ask about."""


@pytest.fixture(scope="module", params=[0, 1, 2], ids=lambda seed: f"seed {seed}")
def known(request, tmp_path_factory):
    """One training a seed, and its events."""
    texts = generated_texts(request.param, PLAN.steps * PLAN.tokens // 50 + 400)
    found = made(tmp_path_factory.mktemp("planted"), texts, request.param, PLAN)
    return found, events_of(one_log(found.log_path), BOUNDS)


def asked(found, events, **given):
    opened = trained_order.export_of(found.order, None)
    who, proof, _ = trained_order.read(found.order, opened, found.log)
    return answered(events, found.log, (who, proof), found.run, Question(), **given)


def test_from_events_back_to_planted_documents(known):
    """Most events are planted documents'; the true measures and documents come first, no placebo.

    All bounds are for a seed; tests/proof has ten, and docs/attribution.md the numbers.
    """
    found, events = known
    answer = asked(found, events)
    assert answer["order"]["how"] == "digest"
    assert answer["status"] == "attributed"
    assert answer["rung"] == "R1"
    told = score(found, events, answer)
    assert told.true_events >= 0.8 * told.events
    assert sum(told.raised[kind] for kind in KINDS) >= 0.4 * sum(told.planted[k] for k in KINDS)
    assert told.raised[PLACEBO] <= 2  # those beside a planted document
    assert told.rank <= 3
    assert told.five >= 0.8 * told.asked
    assert told.placebo <= max(1, 0.05 * told.events)
    assert [rule["exact"] for rule in answer["rules"]] == [True] * len(answer["rules"])
    assert answer["rules"][0]["token_share"] < 0.05


def test_events_that_are_none_have_no_candidates(known):
    """The same log and order, as many steps drawn by chance: nothing is associated."""
    found, events = known
    steps = found.log["step"].filter(~found.log["step"].is_in(events["step"].implode()))
    late = steps.filter(steps > 80).to_numpy()
    drawn = np.sort(np.random.default_rng(3).choice(late[::8], 24, replace=False))
    none = pl.DataFrame({"step": drawn, "class": ["gradient spike"] * len(drawn)})
    answer = asked(found, none)
    assert answer["status"] == "nothing associated"
    assert answer["candidates"] == answer["rules"] == []
    assert answer["rung"] == "R0"


def test_an_order_that_is_not_proved_names_nobody(known, tmp_path):
    """The step log of another order: its digests differ, and no attribution is made."""
    found, events = known
    text = found.order.read_text(encoding="ascii").splitlines()
    wrong = found.order.with_name("wrong.jsonl")
    digit = "1" if '"digest":"0' in text[0] else "0"
    place = text[0].index('"digest":"') + len('"digest":"')
    shifted = text[0][:place] + digit + text[0][place + 1 :]
    wrong.write_text("\n".join([shifted, *text[1:]]) + "\n", encoding="ascii")
    opened = trained_order.export_of(wrong, None)
    who, proof, _ = trained_order.read(wrong, opened, found.log)
    answer = answered(events, found.log, (who, proof), found.run, Question())
    assert answer["status"] == "order not verified"
    assert answer["findings"] == answer["candidates"] == []
    with pytest.raises(InputError, match="--export FOLDER"):
        trained_order.export_of(tmp_path / "order.jsonl", None)


@pytest.mark.parametrize("known", [0], indirect=True, ids=["seed 0"])
def test_the_verb_says_it_all(known, capsys, monkeypatch):
    """`cleanpipe stability attribute`, in a table and as JSON: the same answer as in Python."""
    monkeypatch.setenv("COLUMNS", "200")
    found, events = known
    files = {"log": found.log_path, "order": found.order, "run": found.run.folder}
    words = [word for name, path in files.items() for word in (f"--{name}", str(path))]

    def verb(*more):
        assert app(["attribute", *words, *more], result_action="return_value") == 0
        return capsys.readouterr().out

    shown = verb("--grad-norm", "5", "--twin", str(found.log_path))
    told = orjson.loads(verb("--grad-norm", "5", "--json"))
    again = asked(found, events)
    features = [one["feature"] for one in again["findings"]]
    assert [one["feature"] for one in told["findings"]] == features
    assert told["candidates"] == again["candidates"]
    assert told["rules"] == again["rules"]
    assert told["rung"] == "R1"
    assert "measures of chance" in shown
    assert "rung R2, replication" in shown
    assert told["rules"][0]["set"] in shown
    assert "cause" not in shown
    assert "too few events" in verb("--grad-norm", "40")
    with pytest.raises(RecipeError, match="--kind spike: expected one of"):
        verb("--kind", "spike")
