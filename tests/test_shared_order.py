"""Several logs, replays, and others' scores: on logs made for the test, and on the real ones."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanpipe.stability.logs.log import Log, logs
from cleanpipe.stability.logs.logs import read
from cleanpipe.stability.spikes.events import Bounds, Found, look
from cleanpipe.stability.spikes.replays import replays
from cleanpipe.stability.spikes.scores import clipped, core_score, loss_ratio, spike_score
from cleanpipe.stability.spikes.shared_order import common, compared, intraclass

LENGTH = 5000


def run(batches, own: int, *, norm=None, scale: float = 0.005) -> Log:
    """A run whose losses are a falling curve, its batches, and noise of its own."""
    chance = np.random.default_rng(own)
    steps = np.arange(1, len(batches) + 1)
    loss = 3 + 5 * steps**-0.4 + batches + chance.normal(0, scale, len(batches))
    columns = {"step": steps, "loss": loss}
    if norm is not None:
        columns["grad_norm"] = norm
    [log] = logs(pl.DataFrame(columns), f"run {own}", "test")
    return log


def batches(seed: int, length: int = LENGTH):
    return np.random.default_rng(seed).normal(0, 0.05, length)


def told(*made: Log):
    found = [look(log, Bounds()) for log in made]
    return compared([log.name for log in made], found, [Bounds().first(log) for log in made])


def test_runs_of_one_order_are_told_from_others():
    """Two share their batches, the third has its own; the group is the two."""
    same = batches(1)
    answer = told(run(same, 10), run(same, 11), run(batches(2), 12))
    assert [pair["same_order"] for pair in answer["pairs"]] == [True, False, False]
    [group] = answer["groups"]
    assert group["logs"] == ["run 10", "run 11"]
    assert group["intraclass"]["loss"] == pytest.approx(0.99, abs=0.005)


def test_what_only_one_of_the_twins_has_is_its_state():
    """A batch that is hard for both is no state event; a loss that rises in one of them is."""
    same = batches(1)
    same[3000] += 1
    alone = same.copy()
    alone[4000] += 0.2
    [group] = told(run(alone, 10), run(same, 11))["groups"]
    assert group["state_only"]["loss"] == {"run 10": [4001], "run 11": []}


def test_events_that_recur_are_more_than_chance_and_events_that_do_not_are_not():
    """Ten gradient spikes at the same steps, against ten elsewhere."""
    spikes = np.arange(1000, 4900, 400)

    def norms(seed, at):
        norm = np.exp(np.random.default_rng(seed).normal(-1, 0.1, LENGTH))
        norm[at] *= 20
        return norm

    same = [run(batches(1), n, norm=norms(n, spikes)) for n in (10, 11)]
    other = run(batches(2), 12, norm=norms(12, spikes + 150))
    first, second, third = told(*same, other)["recurring"]
    assert (first["shared"], first["p"]) == (10, 0.001)
    assert first["expected"] < 0.5
    assert second["shared"] == third["shared"] == 0
    assert min(second["p"], third["p"]) > 0.05


@settings(max_examples=50)
@given(st.integers(2, 5), st.integers(3, 40), st.integers(0, 2**32 - 1))
def test_intraclass_correlation_is_that_of_the_textbook(runs, steps, seed):
    """One-way analysis of variance, sums written out."""
    rest = np.random.default_rng(seed).normal(size=(steps, runs))
    rest += np.random.default_rng(seed + 1).normal(size=(steps, 1))
    total = rest.mean()
    between = sum(runs * (row.mean() - total) ** 2 for row in rest) / (steps - 1)
    within = sum((x - row.mean()) ** 2 for row in rest for x in row) / (steps * (runs - 1))
    expected = (between - within) / (between + (runs - 1) * within)
    assert intraclass(rest) == pytest.approx(expected)


def _again(start: int, lag: int, count: int) -> Log:
    again = batches(3)
    again[start : start + count] = again[start - lag : start - lag + count]
    return run(again, 10, scale=0.02)


@pytest.mark.parametrize(
    ("start", "lag", "count"), [(2500, 2500, 2500), (3000, 1200, 600), (4000, 3000, 900)]
)
def test_data_that_came_again_are_found_with_their_lag(start, lag, count):
    """A second epoch, and loaders that were resumed too early; the stretch holds the replay."""
    log = _again(start, lag, count)
    first, *others = replays(look(log, Bounds()).channels["loss"], 500, 1)
    assert first["lag"] == lag
    assert 0.3 <= first["correlation"] <= 1
    assert first["first"] < start + count
    assert first["last"] > start
    assert not others


@pytest.mark.parametrize("seed", range(10))
def test_fresh_data_are_no_replay(seed):
    """Nor are batches that are alike for a while, in hills that come again and again."""
    hills = 0.1 * np.sin(np.arange(LENGTH) / 12)
    log = run(batches(seed) + hills, seed)
    assert replays(look(log, Bounds()).channels["loss"], 500, 1) == []


def test_others_scores_are_as_they_define_them():
    """Against loops that say the definitions word by word."""
    values = np.random.default_rng(0).standard_t(3, 3000) + 20
    out = [
        abs(values[t] - values[t - 1000 : t].mean()) >= 7 * values[t - 1000 : t].std()
        for t in range(1000, 3000)
    ]
    assert spike_score(values) == pytest.approx(100 * np.mean(out))
    out = [
        values[t] > values[t - 128 : t].mean() + 6 * values[t - 128 : t].std()
        for t in range(128, 3000)
    ]
    [log] = logs(pl.DataFrame({"step": np.arange(3000), "loss": values}), "a", "test")
    assert core_score(log) == pytest.approx(100 * np.mean(out))
    ratios = [values[t] / values[:t].min() for t in range(1, 3000)]
    assert loss_ratio(values) == {
        "steps": sum(ratio > 1.2 for ratio in ratios),
        "largest": pytest.approx(max(ratios)),
    }


def test_zclip_clips_what_its_authors_would():
    """The recursion as in the paper: the clipped norm enters the means, the mean first."""
    norms = np.exp(np.random.default_rng(0).normal(size=500))
    mean, variance = norms[:25].mean(), norms[:25].var()
    expected = [False] * 25
    for norm in norms[25:]:
        z = (norm - mean) / (variance**0.5 + 1e-6)
        expected.append(z > 2.5)
        kept = mean + 2.5 * variance**0.5 / (z / 2.5) if z > 2.5 else norm
        mean = 0.97 * mean + 0.03 * kept
        variance = 0.97 * variance + 0.03 * (kept - mean) ** 2
    assert clipped(norms).tolist() == expected
    assert 0 < sum(expected) < 100


def _real(folder, pattern: str, since: int | None = None) -> tuple[list[Log], list[Found]]:
    read_logs = [read(path)[0] for path in sorted(folder.glob(pattern))]
    return read_logs, [look(log, Bounds(since=since)) for log in read_logs]


def test_public_runs_that_share_an_order_and_one_that_does_not(corpora):
    """15, 24 and 21 gradient events; 9 of 15 recur; correlations 0.997 and -0.02."""
    real, found = _real(corpora / "training_logs", "build-nanogpt*")
    gradient = [each.events.filter(pl.col("channel") != "loss").height for each in found]
    assert gradient == [15, 24, 21]
    answer = compared(["epoch", "no_warmup", "shuffled"], found, [1500] * 3)
    correlations = [round(pair["correlation"], 3) for pair in answer["pairs"]]
    assert correlations == [0.997, -0.018, -0.019]
    recurring = {tuple(one["logs"]): one for one in answer["recurring"]}
    twins = recurring["epoch", "no_warmup"]
    assert (twins["shared"], twins["p"]) == (9, 0.001)
    assert 0.05 < twins["expected"] < 0.25
    assert recurring["epoch", "shuffled"]["shared"] == 0
    assert [Bounds().first(log) for log in real] == [1500] * 3
    assert all(not replays(each.channels["loss"], 1500, 1) for each in found)


@pytest.mark.parametrize("pattern", ["2024-10-[12][89]*", "2024-10-20*"])
def test_public_runs_of_one_order_are_one_batch_effect(pattern, corpora):
    """The intraclass correlation is 0.998, and what stands out is over at the next step."""
    _, found = _real(corpora / "training_logs", pattern, 1000)
    shared = common(found, "loss", 1000)
    assert shared is not None
    assert intraclass(shared.rest) == pytest.approx(0.998, abs=6e-4)
    for each in found:
        assert set(each.events["class"]) == {"content outlier"}
        assert abs(each.events["next"].median()) < 0.6


def test_published_spike_scores_of_public_logs(corpora):
    """OLMo 2's score of llm.c's log: 0.011 % of losses, 0.151 % of norms."""
    [log] = read(corpora / "training_logs" / "llmc_124M_main.log.zst")
    scores = [spike_score(log.steps[name].to_numpy()) for name in ("loss", "grad_norm")]
    assert [round(score, 3) for score in scores if score is not None] == [0.011, 0.151]
