"""Ten trainings on novels with planted faults, and doses of them: what is found, and how often."""

import sys
from collections import Counter

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("torch", reason="the extra probe is not installed")
pytest.importorskip("tokenizers", reason="the extra probe is not installed")

from planted_training import (
    KINDS,
    PLACEBO,
    Plan,
    clean_texts,
    made,
    score,
)

from cleanpipe.stability.attribution import trained_order
from cleanpipe.stability.attribution.answer import answered, events_of, one_log
from cleanpipe.stability.attribution.question import Question
from cleanpipe.stability.spikes.events import Bounds

pytestmark = pytest.mark.proof
SEEDS = 10


def tell(line):
    sys.stdout.write(f"\n{line}\n")


def scored(corpora, folder, seed, plan, bounds):
    """One training and its score."""
    path = corpora / "novels_en" / "data.jsonl.zst"
    texts = clean_texts(path, seed, plan.steps * plan.tokens // 45 + 2000)
    known = made(folder, texts, seed, plan)
    opened = trained_order.export_of(known.order, None)
    who, proof, _ = trained_order.read(known.order, opened, known.log)
    events = events_of(one_log(known.log_path), bounds)
    answer = answered(events, known.log, (who, proof), known.run, Question(seed=seed))
    return score(known, events, answer), answer


def summed(scores):
    """Counts over seeds."""
    planted, raised, controls, of = Counter(), Counter(), Counter(), Counter()
    for one in scores:
        planted.update(one.planted)
        raised.update(one.raised)
        controls.update({name: pair[0] for name, pair in one.controls.items()})
        of.update({name: pair[1] for name, pair in one.controls.items()})
    names = ("events", "true_events", "first", "five", "placebo", "asked")
    known = {name: sum(getattr(one, name) for one in scores) for name in names}
    recall = {kind: f"{raised[kind]}/{planted[kind]}" for kind in planted}
    return {
        **known,
        "ranks": [one.rank for one in scores],
        "recall": recall,
        "controls": {name: f"{controls[name]}/{of[name]}" for name in of},
    }


def test_ten_seeds(corpora, tmp_path):
    """Most events are planted ones; in most a planted document comes first; no placebo is named.

    Seeds with too few events to be asked about are counted, and are no failure.
    """
    found = [scored(corpora, tmp_path / str(n), n, Plan(), Bounds()) for n in range(SEEDS)]
    scores = [one for one, _ in found]
    known = summed(scores)
    tell(f"10 seeds, 6 kinds, dose 15 %: {known}")
    tell(f"status: {Counter(answer['status'] for _, answer in found)}")
    attributed = [one for one, answer in found if answer["status"] == "attributed"]
    assert len(attributed) >= SEEDS // 2
    assert known["true_events"] >= 0.85 * known["events"]
    assert known["five"] >= 0.8 * known["asked"]
    named = sum(one.events for one in attributed)
    assert known["placebo"] <= stats.binom.ppf(0.999, named, 0.05)
    assert np.median([one.rank for one in attributed]) <= 3


@pytest.mark.parametrize("dose", [0.005, 0.01, 0.03, 0.1])
def test_doses(corpora, tmp_path, dose):
    """Batches of 3,072 tokens, of which a planted document has this share: what raises an event.

    It is reported, not asserted: where nothing is raised there is nothing to attribute.
    """
    plan = Plan(steps=700, batch=48, length=64, dose=dose, each=5)
    found = [scored(corpora, tmp_path / str(n), n, plan, Bounds(grad_norm=5)) for n in range(5)]
    known = summed([one for one, _ in found])
    tell(f"dose {dose:.1%}: {known}; {Counter(answer['status'] for _, answer in found)}")
    assert known["placebo"] <= stats.binom.ppf(0.999, max(known["events"], 1), 0.05)
    raised = [one.raised.get(PLACEBO, 0) for one, _ in found]
    assert sum(raised) <= 5
    assert set(found[0][0].planted) <= {*KINDS, PLACEBO}
