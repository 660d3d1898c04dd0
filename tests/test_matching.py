"""Controls of events: alike, far from any event, each of one event only."""

import numpy as np
import polars as pl
import pytest
from attribution_reference import level_slowly, made_log, rarities_slowly
from scipy import stats

from cleanpipe.errors import InputError
from cleanpipe.stability.attribution.batches import batches_of
from cleanpipe.stability.attribution.exposed import Column, Standing, known_documents, rows_of
from cleanpipe.stability.attribution.matching import FEWEST, TRAILING, Log, matched
from cleanpipe.stability.attribution.question import numbers_of


def read(seed, **made):
    events, log, exposure, measures = made_log(seed, **made)
    return events["step"].to_numpy(), Log.of(log, exposure), log, exposure, measures


@pytest.mark.parametrize("memory", [0, 2, 10])
def test_controls_are_far_from_events_and_from_each_other(memory):
    """No control is another's, near another's, near an event, or before the log can look back."""
    events, log, *_ = read(1, steps=8000)
    found = matched(log, events, (memory,), seed=0)
    controls = np.sort(found.controls.ravel())
    assert np.diff(controls).min() > memory
    assert np.abs(controls[:, None] - events[None, :]).min() >= found.distance > memory
    assert controls[0] >= log.steps[0] + memory
    assert found.controls.shape == (len(found.cases), 20)


def test_controls_have_the_rate_and_the_level_of_their_event():
    """Rates differ by a twentieth at most; levels of loss by the tenths that are told."""
    events, log, table, exposure, _ = read(2, steps=6000)
    rates = 1e-3 * np.exp(-np.arange(6000) / 3000)
    log = Log.of(table.with_columns(lr=pl.Series(rates)), exposure)
    found = matched(log, events, (2,), seed=0)
    cases, controls = found.cases[:, None] - 1, found.controls - 1
    assert np.abs(np.log(rates[cases] / rates[controls])).max() <= 0.05 + 1e-12
    levels = [level_slowly(log.loss.tolist(), place, TRAILING) for place in range(6000)]
    order = np.argsort([np.inf if level is None else level for level in levels], kind="stable")
    rank = np.argsort(order) / 6000
    late = found.cases > 5
    assert np.abs(rank[cases] - rank[controls])[late].max() <= found.tenths / 10 + 0.002


def test_batches_of_another_size_are_no_controls():
    """Where a run's batches grew, events are compared with batches of their own size."""
    events, log, table, exposure, _ = read(3, steps=4000)
    grown = exposure.with_columns(
        tokens=pl.when(pl.col("step") > 2000).then(200).otherwise(pl.col("tokens"))
    )
    log = Log.of(table, grown)
    found = matched(log, events, (0,), seed=0)
    assert ((found.controls > 2000) == (found.cases > 2000)[:, None]).all()


def test_a_short_log_gives_every_event_the_same_few_controls():
    """Less room than 20 controls each: as many as there is room for, at less distance."""
    events, log, *_ = read(4, steps=700, events=16)
    found = matched(log, events, (0,), seed=0)
    assert FEWEST <= found.controls.shape[1] < 20
    assert found.distance < 100


def test_a_short_log_is_looked_back_less_far():
    """The largest lag that leaves ten controls: 10 in a long log, less in a short one."""
    events, log, *_ = read(4, steps=8000)
    assert matched(log, events, (0, 2, 10), seed=0).memory == 10
    events, log, *_ = read(4, steps=1500)
    found = matched(log, events, (0, 2, 10), seed=0)
    assert found.memory < 10
    assert found.controls.shape[1] >= 10


def test_no_room_is_an_error_that_says_what_to_do():
    """Events everywhere leave no batch to compare with."""
    _, log, *_ = read(5, steps=300, events=4)
    with pytest.raises(InputError, match=r"room for 0 controls.*longer log"):
        matched(log, np.arange(50, 300, 8), (2,), seed=0)


def test_events_that_share_batches_count_once():
    """An event within the memory of an earlier one is left out, and counted."""
    events, log, *_ = read(6, steps=8000)
    close = np.sort(np.concatenate([events, events[:3] + 2]))
    found = matched(log, close, (10,), seed=0)
    assert found.left_out["soon after another"] == len(close) - len(found.cases)
    assert np.diff(found.cases).min() > 10


def test_the_same_seed_gives_the_same_controls():
    """Chance is the seed's."""
    events, log, *_ = read(7)
    one, same, other = (matched(log, events, (2,), seed=seed).controls for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_an_order_of_another_run_is_refused():
    """Fewer than 99 of 100 steps in the order: the first step that is not there is named."""
    _, log, exposure, _ = made_log(8)
    with pytest.raises(InputError, match=r"order has 1,000 of the log's 1,500 steps .no step 1001"):
        Log.of(log, exposure.filter(pl.col("step") <= 1000))


def test_a_few_missing_steps_are_left_out():
    """A step that the order lacks is no control; an event there is counted as left out."""
    events, log, exposure, _ = made_log(9)
    lost = [int(events["step"][3]), 200, 201]
    steps = Log.of(log, exposure.filter(~pl.col("step").is_in(lost)))
    found = matched(steps, events["step"].to_numpy(), (2,), seed=0)
    assert found.left_out["not in the order"] == 1
    assert not np.isin(found.steps, lost).any()


def test_losses_that_are_no_numbers_do_no_harm():
    """NaN and inf in the log: levels are unknown there, and matching goes on."""
    events, log, exposure, _ = made_log(10)
    broken = log.with_columns(
        loss=pl.when(pl.col("step").is_between(100, 300)).then(float("nan")).otherwise("loss")
    ).with_columns(loss=pl.when(pl.col("step") == 700).then(float("inf")).otherwise("loss"))
    found = matched(Log.of(broken, exposure), events["step"].to_numpy(), (2,), seed=0)
    assert len(found.cases) == events.height


def test_a_step_that_was_trained_again_counts_as_it_was_last():
    """A resumed run writes steps twice: the later line is the one that stayed."""
    _, log, exposure, _ = made_log(11, steps=400)
    again = log.filter(pl.col("step") > 390).with_columns(loss=pl.lit(9.0))
    assert (Log.of(pl.concat([log, again]), exposure).loss[390:] == 9).all()


def standing_of(exposure, documents, steps):
    batches = batches_of(exposure)
    return Standing.of(batches, rows_of(batches, documents), np.asarray(steps))


def numbers(exposure, documents, asked, names, lags=(0,)):
    """(steps, lags, numbers), and what the numbers are."""
    columns = [Column.of(name, documents[name]) for name in names]
    standing = standing_of(exposure, documents, range(asked.max() + 1))
    found = numbers_of(columns, lags, [(standing, [asked])], ranked=1)
    every = found.of(0, list(range(len(found.features))))
    return every.reshape(*asked.shape, len(lags), -1), found.features


def test_numbers_of_batches_are_those_of_loops():
    """Largest and smallest values in windows, and shares above the cut, against loops."""
    _, _, exposure, measures = made_log(12, steps=120, events=6, documents=200)
    documents = known_documents(exposure, measures)
    asked = np.array([[20, 33], [64, 119]])
    names = ["dirt", "noise", "words", "flat"]
    values, features = numbers(exposure, documents, asked, names, (0, 2, 10))
    for place, step in np.ndenumerate(asked):
        for lagged, lag in zip(values[place], (0, 2, 10), strict=True):
            for number, name in enumerate(["dirt", "noise", "words"]):
                pair = rarities_slowly(exposure, documents, name, step, lag)
                for (low, high), own in zip(pair, lagged[4 * number :: 2], strict=False):
                    assert low - 1e-9 <= own <= high + 1e-9
    high = documents.filter(pl.col("dirt") > features[1].cut)["id"].to_list()
    own = exposure.filter(pl.col("step") == 64)
    assert values[1, 0, 0, 1] == pytest.approx(own["id"].is_in(high).mean())


def test_many_documents_are_not_rarer_than_few():
    """Of batches of 2 and of 40 documents drawn by chance, neither stands above the other.

    Their largest values as such would: 40 documents have a larger one than 2 nearly always.
    """
    chance = np.random.default_rng(1)
    sizes = np.where(np.arange(400) % 2, 2, 40)
    step = np.repeat(np.arange(400), sizes)
    documents = pl.DataFrame({"id": [f"d{n}" for n in range(len(step))]}).with_columns(
        tailed=pl.Series(chance.standard_cauchy(len(step))),
        counted=pl.Series(chance.poisson(0.1, len(step))),
    )
    exposure = documents.select("id", step=pl.Series(step), tokens=pl.lit(10))
    values, _ = numbers(exposure, documents, np.arange(400), ["tailed", "counted"])
    for number in values[:, 0, [0, 2, 4]].T:
        few, many = number[1::2], number[::2]
        assert stats.mannwhitneyu(few, many).statistic / 200**2 == pytest.approx(0.5, abs=0.1)
    standing = standing_of(exposure, documents, range(400))
    raw = standing.numbers(Column.of("tailed", documents["tailed"]))[0]
    assert stats.mannwhitneyu(raw[1::2], raw[::2]).statistic / 200**2 < 0.1


def test_a_sliver_of_a_document_is_not_the_most_extreme_one():
    """A document of less than a thousandth of a batch's tokens does not decide its largest."""
    exposure = pl.DataFrame({"step": [1, 1], "id": ["a", "b"], "tokens": [5000, 4]})
    documents = pl.DataFrame({"id": ["a", "b"], "dirt": [1.0, 9.0]})
    column = Column.of("dirt", documents["dirt"])
    largest = standing_of(exposure, documents, [1]).numbers(column)[0, 0]
    assert column.spread[int(largest)] == 1


def test_documents_without_measures_are_refused_or_counted_out():
    """Many: the order is of another corpus. An id that stands twice is nobody's."""
    _, _, exposure, measures = made_log(13, steps=100, events=4)
    with pytest.raises(InputError, match="of which the run has no measures"):
        known_documents(exposure, measures.filter(pl.col("row") % 2 == 0))
    twice = pl.concat([measures, measures.head(1)])
    rare = exposure.filter(pl.col("id") != "d0")
    one = pl.concat([rare, pl.DataFrame({"step": [1], "id": ["d0"], "tokens": [1]})])
    found = known_documents(one, twice)
    assert found.filter(pl.col("id") == "d0")["dirt"].to_list() == [None]
