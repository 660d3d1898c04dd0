"""Attribution on logs whose truth is known: what was planted is found, and nothing else."""

import numpy as np
import polars as pl
import pytest
from attribution_reference import made_log
from scipy import stats

from cleanpipe.errors import InputError, RecipeError
from cleanpipe.stability.attribution import nulls
from cleanpipe.stability.attribution.attribution import TooFewEventsError, attribute
from cleanpipe.stability.attribution.naming import candidates
from cleanpipe.stability.attribution.question import Question, refusal


def asked(seed, question=None, **made):
    events, log, exposure, measures = made_log(seed, **made)
    steps = events["step"].to_numpy()
    return attribute(steps, log, exposure, measures, question or Question(seed=seed))


@pytest.fixture(scope="module")
def planted():
    return asked(1)


def test_a_planted_measure_is_the_first_finding(planted):
    """`dirt` in every event's batch: first, with an AUROC whose interval is above 0.9."""
    first = planted.findings()[0]
    assert first["measure"] == "dirt"
    assert first["associated"]
    assert 0.9 < first["low"] <= first["auroc"] <= first["high"] <= 1
    assert first["cliffs_delta"] == pytest.approx(2 * first["auroc"] - 1)
    assert planted.clean


def test_what_only_follows_is_associated_and_what_is_chance_is_not(planted):
    """`twin` follows dirt and comes out as well: an association. noise and words do not."""
    named = {finding["measure"] for finding in planted.findings() if finding["associated"]}
    assert named <= {"dirt", "twin"}
    assert "flat" not in {feature.measure for feature in planted.asked.features}


def test_a_planted_document_is_the_first_candidate(planted):
    """Of every event; and its score says that it alone stands beyond most controls."""
    found = candidates(planted)
    assert len(found) == len(planted.asked.sets.cases)
    first = [event["candidates"][0] for event in found]
    assert all(int(one["id"][1:]) >= 2990 for one in first)
    assert min(one["score"] for one in first) > 0.7


def test_half_of_the_events_are_enough():
    """60 % of 24 events with a planted document: dirt is still found, the others have none."""
    found = asked(2, planted=0.6)
    assert found.findings()[0]["measure"] == "dirt"
    assert found.findings()[0]["associated"]
    named = [event["candidates"] for event in candidates(found)]
    hits = [bool(one) and int(one[0]["id"][1:]) >= 2990 for one in named]
    assert 10 <= sum(hits) <= 20


@pytest.mark.parametrize("made", [{}, {"runs": 4}], ids=["mixed", "documents over four batches"])
def test_nothing_is_found_where_nothing_is(made, monkeypatch):
    """30 logs without a plant: associations, at the level of 0.05, in no more than chance has."""
    monkeypatch.setattr(nulls, "CONTROLS", 2)  # they cost more than all the rest
    wrong = 0
    for seed in range(30):
        found = asked(100 + seed, planted=0, documents=800, **made)
        wrong += bool(found.associated.any())
        assert candidates(found) == [] or found.associated.any()
    assert wrong <= stats.binom.ppf(0.999, 30, 0.05)


def test_negative_controls_hold_where_something_is_found(planted):
    """Each is asked twenty times, comes out about once, and says so."""
    assert [control["control"] for control in planted.controls] == [
        *("shifted events", "measures of chance", "measures dealt again")
    ]
    for control in planted.controls:
        assert control["of"] == len(control["p"]) <= 20
        assert control["significant"] == sum(p <= 0.05 for p in control["p"]) <= 5
        assert control["holds"]


def test_a_trend_is_no_finding():
    """Documents that grow dirtier over the log, and events in its second half: nothing comes out.

    Against the whole log, every event's batch is dirtier than most.
    """
    events, log, exposure, measures = made_log(5, steps=6000, planted=0)
    late = events["step"].to_numpy() // 2 + 2900
    ordered = measures.sort("dirt")["id"]
    place = np.arange(exposure.height) * measures.height // exposure.height
    trend = exposure.with_columns(id=ordered.gather(place))
    rates = pl.Series(1e-3 * np.exp(-np.arange(6000) / 2000))
    found = attribute(late, log.with_columns(lr=rates), trend, measures, Question())
    dirt = [f for f in found.findings() if f["measure"] == "dirt" and f["lag"] == 0]
    assert not any(f["associated"] for f in dirt)
    rest = trend.group_by("step").agg(pl.col("id").first()).join(measures, on="id")
    inside = rest["step"].is_in(pl.Series(late).implode())
    whole = stats.mannwhitneyu(rest.filter(inside)["dirt"], rest.filter(~inside)["dirt"])
    assert whole.pvalue < 1e-3


def test_the_same_question_has_the_same_answer():
    """Whatever order the tables' rows are in."""
    events, log, exposure, measures = made_log(3)
    steps = events["step"].to_numpy()
    one = attribute(steps, log, exposure, measures, Question())
    mixed = [table.sample(fraction=1.0, shuffle=True, seed=5) for table in (exposure, measures)]
    other = attribute(steps[::-1], log.reverse(), *mixed, Question())
    assert one.findings() == other.findings()
    assert one.controls == other.controls
    assert candidates(one) == candidates(other)


@pytest.mark.parametrize(
    ("events", "feature", "told"),
    [
        (5, None, "too few events: 5, expected 8 at least"),
        (5, "dirt", "too few events: 5, expected 8 at least"),
        (12, None, "expected 20 for many numbers at once; name one"),
        (12, "dirt", None),
        (20, None, None),
    ],
)
def test_few_events_are_not_asked_about_many_numbers(events, feature, told):
    """Under 20 events one number that was named beforehand, under 8 none."""
    found = refusal(events, Question(feature=feature))
    assert (found is None) == (told is None)
    assert told is None or told in found
    if told:
        with pytest.raises(TooFewEventsError, match="too few events"):
            asked(1, Question(feature=feature), events=events)


def test_one_number_named_beforehand_is_found_with_twelve_events():
    """The family is that number, at lag 0."""
    found = asked(4, Question(feature="largest dirt"), events=12)
    (only,) = found.findings()
    assert only["feature"] == "largest dirt"
    assert only["associated"]
    assert only["p"] == only["p_family"] == only["q"]


@pytest.mark.parametrize("feature", ["dirtt", "largest dirtt", "mean dirt"])
def test_unknown_numbers_are_refused_by_name(feature):
    """With the nearest measure, or the forms that there are."""
    with pytest.raises(RecipeError, match=r"dirt|expected a measure, or largest"):
        asked(1, Question(feature=feature))


def test_an_order_that_does_not_fit_is_refused():
    """Steps that the order does not have; events that the log does not have."""
    events, log, exposure, measures = made_log(6)
    steps = events["step"].to_numpy()
    with pytest.raises(InputError, match="not the order of this training"):
        attribute(steps, log, exposure.with_columns(pl.col("step") + 500), measures, Question())
    with pytest.raises(InputError, match="event at step 99999, which the log does not have"):
        attribute(np.append(steps, 99_999), log, exposure, measures, Question())


def test_measures_that_are_null_or_nan_say_nothing():
    """A fifth of the values lost, as null or NaN: dirt is found all the same."""
    events, log, exposure, measures = made_log(7)
    chance = np.random.default_rng(0).random(measures.height)
    holed = measures.with_columns(
        dirt=pl.when(pl.Series(chance < 0.1)).then(None).otherwise("dirt"),
        twin=pl.when(pl.Series(chance > 0.9)).then(float("nan")).otherwise("twin"),
    )
    found = attribute(events["step"].to_numpy(), log, exposure, holed, Question())
    assert found.findings()[0]["measure"] == "dirt"
    assert np.isfinite([one["p_family"] for one in found.findings()]).all()
