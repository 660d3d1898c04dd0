"""Events of logs made for the test: what is planted is found, called by its name, and no more."""

import numpy as np
import polars as pl
import pytest

from cleanpipe.stability.logs.log import Log, logs
from cleanpipe.stability.spikes.events import Bounds, find, look

LENGTH = 6000
PLACE = 4000


def made(plant=lambda *_: None, *, length: int = LENGTH, seed: int = 0) -> Log:
    """A log that falls like a real one, with noise, and with what `plant` does to it."""
    chance = np.random.default_rng(seed)
    steps = np.arange(1, length + 1)
    loss = 3 + 7 * steps**-0.4 + chance.normal(0, 0.03, length)
    norm = np.exp(chance.normal(-1, 0.1, length))
    plant(loss, norm)
    rows = pl.DataFrame({"step": steps, "loss": loss, "grad_norm": norm})
    [log] = logs(rows, "made", "test")
    return log


def add(channel: str, size: float, count: int):
    """A plant that raises `count` rows from PLACE on."""

    def plant(loss, norm):
        (loss if channel == "loss" else norm)[PLACE : PLACE + count] += size

    return plant


def lose(loss, _norm):
    """A plant after which the loss is no number."""
    loss[PLACE:] = np.nan


def burst(loss, norm):
    """A plant as in BLOOM-176B: the norm first, the loss four steps later."""
    norm[PLACE : PLACE + 9] *= [4, 10, 60, 600, 4000, 1500, 1500, 2700, 50]
    loss[PLACE + 4 : PLACE + 9] += [2.9, 1.3, 1.0, 0.6, 0.4]


@pytest.mark.parametrize(
    ("plant", "kind", "channel"),
    [
        (add("loss", 0.5, 1), "content outlier", "loss"),
        (add("loss", 0.5, 2), "content outlier", "loss"),
        (add("norm", 3.0, 1), "gradient spike", "grad_norm"),
        (add("loss", 0.5, 20), "instability", "loss"),
        (add("loss", 0.2, LENGTH), "level shift", "loss"),
        (add("loss", 3.0, LENGTH), "divergence", "loss"),
        (lose, "divergence", "loss"),
        (burst, "instability", "both"),
    ],
)
def test_a_planted_event_is_found_where_it_is_and_called_by_its_class(plant, kind, channel):
    """Exactly one event, within two rows of the plant."""
    events = find(made(plant))
    assert events["class"].to_list() == [kind]
    assert events["channel"].to_list() == [channel]
    assert abs(events["step"][0] - (PLACE + 1)) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_events(seed):
    """Normal noise around a falling curve is not out by 6 and 8 spreads."""
    assert find(made(seed=seed)).is_empty()


def test_an_outlier_leaves_nothing_behind_and_an_instability_takes_its_time():
    """`back_after` and `next` tell the two from each other."""
    outlier, lasting = find(made(add("loss", 0.5, 1))), find(made(add("loss", 0.5, 20)))
    assert (outlier["back_after"][0], lasting["back_after"][0]) == (1, 20)
    assert abs(outlier["next"][0]) < 4


def test_decoys_count_what_is_as_far_out_below():
    """Two rows above and one below: one half of the alarms may be chance."""

    def plant(loss, _norm):
        loss[[2000, 3000]] += 1
        loss[4000] -= 1

    found = look(made(plant), Bounds())
    assert found.alarms["loss"] == {"bound": 6.0, "events": 2, "decoys": 1, "false_share": 0.5}


def test_what_is_printed_coarsely_is_no_event():
    """Where most norms are printed alike the spread is that of the digits, not nothing."""
    steps = np.arange(1, 3001)
    norm = np.where(steps % 7 == 0, 0.23, 0.22)
    [log] = logs(pl.DataFrame({"step": steps, "grad_norm": norm}), "coarse", "test")
    assert log.resolution["grad_norm"] == 0.01
    assert find(log).is_empty()


@pytest.mark.parametrize("length", [1, 2, 5, 50, 150, 399, 401])
def test_short_logs_are_logs(length):
    """Nothing breaks where there are fewer rows than a window has."""
    assert find(made(length=length)).height <= 1


def test_nothing_counts_before_the_first_step_that_may():
    """`since` leaves earlier events out."""
    log = made(add("loss", 0.5, 1))
    assert look(log, Bounds(since=PLACE + 2)).events.is_empty()
    assert look(log, Bounds(since=PLACE + 1)).events.height == 1
