"""What must not come out: other nulls of attribution, and the negative controls of every answer.

A control is asked CONTROLS times, with few draws, and counts how often any number of its family was
significant: of twenty at a level of 0.05 one is expected, and six or more are a surprise (p below
0.001), after which no finding of the answer is to be believed. The bound is strict, since the
twenty share their batches and so come out together.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from cleanpipe.errors import InputError
from cleanpipe.stability.attribution import permutation
from cleanpipe.stability.attribution.exposed import FORMS, Column, Standing
from cleanpipe.stability.attribution.matching import RATE, Log, Matched, matched
from cleanpipe.stability.attribution.permutation import LEVEL
from cleanpipe.stability.attribution.question import Asked, Question, filled, numbers_of

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
Chance = np.random.Generator
SHIFTS = 199
CONTROLS = 20
"""How often each negative control is repeated."""
SURPRISE = 0.001
DRAWS = 999
"""Of a negative control."""


def shifted_events(log: Log, cases: Steps, chance: Chance) -> Steps:
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


def shift_p(asked: Asked, shifted: Floats, own: Floats) -> Floats:
    """How often shifted events stand as far from the same controls as the events do.

    `shifted` are the numbers of (SHIFTS, cases).
    """
    far = np.abs(own - 0.5) - 1e-12
    values = asked.values.copy()
    above = np.zeros(len(own))
    for cases in shifted:
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


def noise_control(
    standing: Standing, sets: Matched, documents: int, question: Question, chance: Chance
) -> dict[str, Any]:
    """Measures that are chance, some with long tails: each with its forms and lags is a family."""

    def columns() -> Iterator[Column | None]:
        for number in range(CONTROLS):
            if number % 4:
                values = chance.standard_exponential(documents) ** (1 + number % 3)
            else:
                values = chance.random(documents)
            yield Column.of(f"chance {number}", pl.Series(values))

    numbers = numbers_of(
        filter(None, columns()), question.lags, [(standing, [sets.steps])], ranked=0
    )
    forms = 1 if question.feature else len(FORMS)
    families = [
        numbers.of(0, list(range(first, first + forms)))
        for first in range(0, len(numbers.features), len(FORMS))
    ]
    return control("measures of chance", families)


def dealt(standing: Standing, documents: int, chance: Chance) -> list[Standing]:
    """The same batches, the documents' measures dealt again: another order."""
    return [
        replace(standing, document=np.append(chance.permutation(documents), -1)[standing.document])
        for _ in range(CONTROLS)
    ]


def control(name: str, families: Iterable[Floats]) -> dict[str, Any]:
    """How often a negative control came out, and whether chance at the level explains it."""
    p = [
        float(permutation.judged(values, seed, DRAWS).p_family.min())
        for seed, values in enumerate(families)
    ]
    wrong = sum(one <= LEVEL for one in p)
    surprise = stats.binomtest(wrong, len(p), LEVEL, alternative="greater").pvalue
    return {
        "control": name,
        "p": sorted(p),
        "significant": wrong,
        "of": len(p),
        "holds": bool(surprise > SURPRISE),
    }
