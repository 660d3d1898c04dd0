"""The statistics of attribution: against loops, and against chance, whose law is known."""

import numpy as np
import pytest
from attribution_reference import judged_slowly
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cleanpipe.stability.attribution import permutation
from cleanpipe.stability.attribution.permutation import auroc, detectable, interval, judged


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(2, 6),
    st.integers(1, 5),
    st.sampled_from([3, 100]),
)
def test_p_values_are_those_of_loops(seed, sets, members, numbers, levels):
    """AUROC, p-values and step-down family p-values equal a count over the same draws."""
    values = np.random.default_rng(seed).integers(0, levels, (sets, members, numbers)) * 1.0
    found = judged(values, seed=7, draws=60)
    areas, p, family = judged_slowly(values.tolist(), 7, 60)
    assert found.auroc == pytest.approx(areas)
    assert found.p.tolist() == pytest.approx(p)
    assert found.p_family.tolist() == pytest.approx(family)


def test_families_larger_than_a_piece_are_tested_as_one(monkeypatch):
    """How many numbers are held in memory at once changes no p-value."""
    values = np.random.default_rng(1).normal(size=(9, 6, 40))
    whole = judged(values, seed=1, draws=200)
    monkeypatch.setattr(permutation, "PIECE", 7)
    pieces = judged(values, seed=1, draws=200)
    assert whole.p.tolist() == pieces.p.tolist()
    assert whole.p_family.tolist() == pieces.p_family.tolist()


def test_p_values_are_uniform_where_nothing_is_to_be_found():
    """Under the null, p-values of one number are uniform (Kolmogorov-Smirnov, 400 logs)."""
    chance = np.random.default_rng(3)
    p = [judged(chance.normal(size=(20, 11, 1)), seed, draws=299).p[0] for seed in range(400)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "poisson"])
def test_a_family_is_falsely_rejected_at_the_level_only(draw):
    """With 30 correlated numbers, whatever their tails and ties, 5 % of logs have a finding."""
    chance = np.random.default_rng(11)
    wrong = 0
    for seed in range(300):
        law = chance.poisson if draw == "poisson" else getattr(chance, draw)
        size = (20, 11, 30)
        own, shared = (
            (law(0.3, size), law(0.3, (20, 11, 1))) if draw == "poisson" else (law(size=size), 0)
        )
        wrong += judged(own + shared * 1.0, seed, draws=199).p_family.min() <= 0.05
    low, high = stats.binom.interval(0.999, 300, 0.05)
    assert wrong <= high
    assert draw == "poisson" or wrong >= low


def test_what_is_there_is_found_among_much_else():
    """A shift of one deviation in one of 100 numbers, 30 events: found in most logs, and alone."""
    chance = np.random.default_rng(5)
    hits, others = 0, 0
    for seed in range(20):
        values = chance.normal(size=(30, 21, 100))
        values[:, 0, 17] += 1.2
        p = judged(values, seed, draws=999).p_family
        hits += p[17] <= 0.05
        others += (np.delete(p, 17) <= 0.05).any()
    assert hits >= 18
    assert others <= 4


def test_only_ranks_within_a_set_count():
    """A monotone change of a number, another in each set, changes nothing."""
    values = np.random.default_rng(2).normal(size=(8, 6, 3))
    bent = np.exp(values * np.arange(1, 9)[:, None, None])
    assert judged(bent, 1, draws=99).p.tolist() == judged(values, 1, draws=99).p.tolist()
    assert auroc(bent).tolist() == auroc(values).tolist()


def test_intervals_hold_the_mean():
    """BCa bounds of a skewed mean over 30 events hold it in 91 to 98 of 100 logs."""
    chance = np.random.default_rng(8)
    each = chance.beta(4, 1, (400, 30))  # like AUROCs: near 1, long to the left
    held = 0
    for seed, events in enumerate(each):
        low, high = interval(events[:, None], seed, resampled=500)
        held += low[0] <= 0.8 <= high[0]
    assert 0.90 <= held / 400 <= 0.98


def test_intervals_of_events_that_agree_are_points():
    """Nothing to draw from: both bounds are the mean."""
    low, high = interval(np.ones((5, 2)), 0)
    assert low.tolist() == high.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("events", "numbers", "least"),
    [(5, 1, 0.87), (8, 10, 0.88), (10, 30, 0.87), (20, 1, 0.69), (50, 10, 0.65), (100, 30, 0.62)],
)
def test_what_can_be_detected(events, numbers, least):
    """The least AUROC that is detectable, with 20 controls, agrees with known figures to 0.03."""
    assert detectable(events, 20, numbers) == pytest.approx(least, abs=0.03)


def test_four_in_five_are_found_at_the_detectable_effect():
    """Simulated power at detectable(20, 20, 1): 0.7 to 0.9."""
    chance = np.random.default_rng(4)
    far = stats.norm.ppf(detectable(20, 20, 1)) * 2**0.5
    found = 0
    for seed in range(200):
        values = chance.normal(size=(20, 21, 1))
        values[:, 0] += far
        found += judged(values, seed, draws=399).p[0] <= 0.05
    assert 0.7 <= found / 200 <= 0.9
