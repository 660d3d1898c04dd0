"""What must not come out: other nulls of attribution, and the negative controls of every answer.

A control is asked CONTROLS times, with few draws, and counts how often any number of its family was
significant: of twenty at a level of 0.05 one is expected, and six or more are a surprise (p below
0.001), after which no finding of the answer is to be believed. The bound is strict, since the
twenty share their batches and so come out together.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from cleanpipe.errors import InputError
from cleanpipe.stability.attribution import permutation
from cleanpipe.stability.attribution.batches import Batches
from cleanpipe.stability.attribution.exposed import exposed
from cleanpipe.stability.attribution.matching import RATE, Log, Matched, matched
from cleanpipe.stability.attribution.permutation import LEVEL
from cleanpipe.stability.attribution.question import (
    Asked,
    Question,
    filled,
    lagged,
    places,
    windows,
)

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
Tell = Callable[[str, int, int], None]
SHIFTS = 199
CONTROLS = 20
"""How often each negative control is repeated."""
SURPRISE = 0.001
DRAWS = 999
"""Of a negative control."""


def noise_measures(documents: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
    """Measures that are chance, some with long tails: a negative control."""
    count = documents.height
    return pl.DataFrame(
        {
            f"chance {number}": (
                chance.standard_exponential(count) ** (1 + number % 3)
                if number % 4
                else chance.random(count)
            )
            for number in range(CONTROLS)
        }
    )


def shifted_events(log: Log, cases: Steps, chance: np.random.Generator) -> Steps:
    """(SHIFTS, cases): all events moved by the same steps, around within their phase.

    A phase is a stretch whose learning rates are alike; a tenth of the log where it has none.
    """
    place = np.searchsorted(log.steps, cases)
    if np.isnan(log.rate).all():
        phase = np.arange(len(log.steps)) * 10 // len(log.steps)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            bins = np.floor(np.nan_to_num(np.log(log.rate), neginf=0.0) / (2 * RATE))
        phase = np.concatenate([[0], np.cumsum(bins[1:] != bins[:-1])])
    first = np.searchsorted(phase, phase[place], side="left")
    length = np.searchsorted(phase, phase[place], side="right") - first
    count = len(log.steps)  # not so far that events come to stand beside themselves
    offsets = chance.integers(count // 10 + 1, count - count // 10 + 1, SHIFTS)
    moved = first + (place - first + offsets[:, None]) % length
    return np.asarray(log.steps[moved], np.int64)


def shift_p(asked: Asked, shifted: Steps, own: Floats) -> Floats:
    """How often shifted events stand as far from the same controls as the events do."""
    kept = places(asked.exposed, asked)
    moved = np.concatenate(
        [asked.exposed.within(shifted, lag, kept) for lag in asked.question.lags], axis=-1
    )
    far = np.abs(own - 0.5) - 1e-12
    values = asked.values.copy()
    above = np.zeros(len(own))
    for cases in moved:
        values[:, 0] = cases
        above += np.abs(permutation.auroc(filled(values)).mean(axis=0) - 0.5) >= far
    return np.asarray((1 + above) / (len(shifted) + 1), np.float64)


def sets_of(log: Log, shifted: Steps, question: Question) -> Iterator[Matched]:
    """Matched sets of events that are none, where there is room for their controls."""
    for number, cases in enumerate(shifted[:CONTROLS]):
        try:
            yield matched(log, cases, question.lags, question.seed + number + 1)
        except InputError:
            continue


def shift_control(asked: Asked, others: list[Matched]) -> dict[str, Any]:
    """Events that are no events: where they come to stand after a shift, and their controls."""
    kept = places(asked.exposed, asked)
    p = []
    for number, sets in enumerate(others):
        lags = tuple(lag for lag in asked.question.lags if lag <= sets.memory)
        p.append(_least(lagged(asked.exposed, lags, sets.steps, kept)[1], number))
    return _control("shifted events", p)


def noise_control(asked: Asked, batches: Batches, noise: pl.DataFrame) -> dict[str, Any]:
    """Measures that are chance: each with its forms and lags is a family."""
    names = noise.columns[1:]
    steps = windows([asked.sets.steps], asked.question)
    numbers = exposed(batches, noise, steps, names)
    found = []
    for number, name in enumerate(names):
        kept = [place for place, f in enumerate(numbers.features) if f.measure == name]
        if asked.question.feature:
            kept = kept[:1]
        _, values = lagged(numbers, asked.question.lags, asked.sets.steps, kept)
        found.append(_least(values, number))
    return _control("measures of chance", found)


def dealt_control(
    asked: Asked,
    batches: Batches,
    documents: pl.DataFrame,
    chance: np.random.Generator,
    tell: Tell,
) -> dict[str, Any]:
    """The same batches and events, the documents' measures dealt again: another order."""
    names = list(dict.fromkeys(feature.measure for feature in asked.features))
    steps = windows([asked.sets.steps], asked.question)
    own = Batches.whole(batches.of(steps))
    p = []
    for number in range(CONTROLS):
        dealt = documents.select(names)[chance.permutation(documents.height)]
        again = exposed(own, documents.select("id").hstack(dealt), steps, names)
        kept = places(again, asked)
        _, values = lagged(again, asked.question.lags, asked.sets.steps, kept)
        p.append(_least(values, number))
        tell("negative controls", number + 1, CONTROLS)
    return _control("measures dealt again", p)


def _least(values: Floats, seed: int) -> float:
    return float(permutation.judged(values, seed, DRAWS).p_family.min())


def _control(name: str, p: list[float]) -> dict[str, Any]:
    """How often a negative control came out, and whether chance at the level explains it."""
    wrong = sum(one <= LEVEL for one in p)
    surprise = stats.binomtest(wrong, len(p), LEVEL, alternative="greater").pvalue
    return {
        "control": name,
        "p": sorted(p),
        "significant": wrong,
        "of": len(p),
        "holds": bool(surprise > SURPRISE),
    }
