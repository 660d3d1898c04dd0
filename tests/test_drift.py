"""Drift: distances between histograms, held to SciPy's, and gates on them run after run."""

import math
import re

import numpy as np
import orjson
import polars as pl
import pytest
from conftest import ROOT, InProcess
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from scipy import stats as scipy_stats
from scipy.spatial.distance import jensenshannon

from cleanpipe.errors import GateError, RecipeError
from cleanpipe.recipes.recipe_file import load
from cleanpipe.rules.gates import Gates, measure_of, told
from cleanpipe.run import Work, all_steps
from cleanpipe.stats import drift, histograms

SMALL = st.lists(st.integers(0, 4), min_size=1, max_size=60)
"""Values that have a bin each, so that the bins lose nothing."""


def of(values, name="words"):
    return histograms.histogram(name, pl.Series(values))


@given(SMALL, SMALL)
def test_distances_are_those_of_scipy_where_bins_lose_nothing(was, now):
    """Wasserstein in its unit and in deviations, Jensen-Shannon; KS by its definition."""
    found = drift.between("words", of(was), of(now))
    counts = [np.bincount(side, minlength=5) / len(side) for side in (was, now)]
    moved = scipy_stats.wasserstein_distance(was, now)
    apart = [np.mean(np.array(was) <= x) - np.mean(np.array(now) <= x) for x in range(5)]
    assert math.isclose(found["ks"], max(map(abs, apart)), abs_tol=1e-6)
    assert math.isclose(found["wasserstein"], moved, rel_tol=1e-5, abs_tol=1e-9)
    if np.std(was):
        assert math.isclose(found["wasserstein_sd"], moved / np.std(was), rel_tol=1e-5)
    else:
        assert found["wasserstein_sd"] is None
    assert math.isclose(found["js"], jensenshannon(*counts, base=2) ** 2, abs_tol=1e-6)


@given(SMALL, st.integers(1, 3))
def test_a_corpus_does_not_drift_from_itself(values, times):
    """Nor from as many of each: shares are compared, not counts; js, ks and moves are 0."""
    found = drift.between("words", of(values), of(values * times))
    assert (found["js"], found["ks"], found["wasserstein"]) == (0.0, 0.0, 0.0)
    assert found["effect"] == "chance"


def test_psi_by_hand():
    """Over tenths of the earlier run, with half a document added to each cell."""
    was, now = [0] * 50 + [3] * 50, [0] * 20 + [3] * 80
    found = drift.between("words", of(was), of(now))
    p, q = 50.5 / 101, 20.5 / 101
    assert math.isclose(
        found["psi"],
        (q - p) * math.log(q / p) + (p - q) * math.log((1 - q) / (1 - p)),
        rel_tol=1e-5,
    )
    assert drift.word("psi", found["psi"]) == "large"


def test_a_drift_is_told_from_chance():
    """Samples of one distribution are `chance`, mostly; a shift by half a deviation is not."""
    rng = np.random.default_rng(5)
    first = of(rng.normal(100, 20, 5000).round().clip(0).astype(int))
    same = [
        drift.between("words", first, of(rng.normal(100, 20, 5000).round().clip(0).astype(int)))
        for _ in range(20)
    ]
    assert sum(one["effect"] == "chance" for one in same) >= 18
    moved = drift.between("words", first, of(rng.normal(111, 20, 5000).round().astype(int)))
    assert abs(moved["wasserstein_sd"] - 11 / 20) < 0.08
    assert drift.word("wasserstein_sd", moved["wasserstein_sd"]) == "medium"
    assert moved["effect"] == "large"  # by psi: about the square of the shift in deviations


def test_groups_drift_by_their_shares():
    """A language that doubles its share; groups of which one run has none; rare ones together."""
    was, now = {"en": 900, "de": 100}, {"en": 800, "de": 200}
    found = drift.of_groups(was, now)
    p, q = 100.5 / 1001, 200.5 / 1001
    wanted = (q - p) * math.log(q / p) + (p - q) * math.log((1 - q) / (1 - p))
    assert math.isclose(found["psi"], wanted, rel_tol=1e-5)
    assert drift.of_groups({"en": 10}, {"fr": 10})["js"] == 1.0
    assert drift.of_groups({}, now) is None
    many = {f"l{n}": 100 - n for n in range(80)}
    assert drift.of_groups(many, dict(reversed(many.items())))["psi"] == 0.0


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("drift.words.psy", "did you mean 'psi'"),
        ("drift.lang.ks", "'ks' is no statistic of groups"),
        ("drift.psi", "expected drift.MEASURE.STATISTIC"),
    ],
)
def test_a_metric_of_drift_that_is_none_is_refused(metric, said):
    """With the nearest name."""
    with pytest.raises(ValueError, match=re.escape(said)):
        measure_of(metric)
    with pytest.raises(ValueError, match=re.escape(said)):
        Gates({metric: {"high": 1}})


@pytest.fixture
def night(tmp_path, write_recipe):
    """A function that cleans some texts into one output folder, and gives the run."""

    def run(lengths, gates):
        texts = [" ".join(f"w{n}x{place}" for place in range(n)) for n in lengths]
        lines = b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts)
        (tmp_path / "in.jsonl").write_bytes(lines)
        recipe = load(
            write_recipe(
                input={"path": "in.jsonl"},
                measure={"language": False},
                dedup={"exact": False, "near": None},
                gates=gates,
            )
        )
        return all_steps(Work(recipe, InProcess(), lambda *_: None))

    return run


def test_a_gate_holds_a_night_to_the_last_published_one(night):
    """The first passes and says why; the same again passes; another corpus is not published."""
    gates = {"drift.words.psi": {"high": 0.2}}
    first = night(range(20, 120), gates)
    assert first.stats["drift"]["against"] is None
    assert first.stats["drift"]["why_not"] == "this is the first run of its output folder"
    assert told(first.stats["gates"][0]) == "drift.words.psi: nothing to compare with"
    assert "nothing to compare with" in first.report.read_text()
    again = night(range(21, 121), gates)
    assert again.stats["drift"]["against"] == "0001"
    assert again.stats["drift"]["clean"]["words"]["effect"] == "chance"
    with pytest.raises(GateError, match=r"gate drift\.words\.psi is .*, above high 0.2"):
        night(range(200, 300), gates)
    warned = night(range(200, 300), {"drift.raw.words.psi": {"high": 0.2, "on_fail": "warn"}})
    assert warned.stats["drift"]["against"] == "0002"
    assert warned.stats["drift"]["raw"]["words"]["effect"] == "large"
    assert warned.stats["gates"][0]["outcome"] == "warned"
    page = warned.report.read_text(encoding="utf-8")
    assert "Drift from what is published, up to run 0002" in page
    assert 'class="spark"' in page
    assert "What was kept drifted far from what is published in" in page


def test_a_gate_on_what_is_not_measured_is_refused(night):
    """Before anything is measured, where it stands."""
    with pytest.raises(RecipeError, match=r"drift\.wrods\.psi: 'wrods' is not measured.*'words'"):
        night(range(20, 30), {"drift.wrods.psi": {"high": 1}})
    with pytest.raises(RecipeError, match=r"drift\.words\.psy.*did you mean 'psi'"):
        night(range(20, 30), {"drift.words.psy": {"high": 1}})


def test_the_pages_gates_are_gates():
    """The recipe on docs/drift.md is one."""
    text = (ROOT / "docs" / "drift.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(gates:.*?)```", text, re.DOTALL)
    assert [len(Gates(YAML(typ="safe").load(block)["gates"]).root) for block in blocks] == [3]
