"""What is asked of a log and an order, and the numbers of all batches that this concerns."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cleanpipe.errors import RecipeError
from cleanpipe.nearest import did_you_mean
from cleanpipe.stability.attribution import permutation
from cleanpipe.stability.attribution.exposed import FORMS, Exposed, Feature
from cleanpipe.stability.attribution.matching import Matched

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
LEAST = 8
"""Events below which nothing is tested: the least detectable effect would be an AUROC of 0.79."""
ENOUGH = 20
"""Events below which only one number is tested, which is named beforehand."""


@dataclass(frozen=True)
class Question:
    """What is asked of a log and an order; chosen before anything is looked at."""

    feature: str | None = None
    """One number, such as "largest repeat_run"; a bare measure means its largest value."""
    measures: tuple[str, ...] = ()
    """Which measures; all, if none is named."""
    lags: tuple[int, ...] = (0, 2, 10)
    """Steps before an event whose documents count: 10 is how far Adam's mean looks back."""
    seed: int = 0


@dataclass(frozen=True)
class Asked:
    """The matched sets, and the numbers of all batches concerned, at all lags."""

    question: Question
    sets: Matched
    exposed: Exposed
    features: list[Feature]
    values: Floats
    """(sets, members, features); the event is member 0."""


def refusal(events: int, question: Question) -> str | None:
    """Why so few events are not tested; None where they are.

    >>> refusal(30, Question()) is None, refusal(10, Question(feature="repeat_run")) is None
    (True, True)
    """
    if events >= ENOUGH or (events >= LEAST and question.feature):
        return None
    if events < LEAST:
        least = permutation.detectable(max(events, 1), 20, 1)
        could = "nothing could be found" if least > 1 else f"an AUROC under {least:.2f} is missed"
        return f"too few events: {events}, expected {LEAST} at least; of one number {could}"
    return (
        f"too few events: {events}, expected {ENOUGH} for many numbers at once; name one "
        "beforehand (--feature 'largest repeat_run'), from what you knew before you saw this log"
    )


def named(feature: str, measures: list[str]) -> Feature:
    """A number by its name.

    >>> named("smallest words", ["words"]), named("words", ["words"]).form
    (Feature(measure='words', form='smallest', lag=0, cut=None), 'largest')
    """
    for form in FORMS:
        if feature.startswith(f"{form} "):
            return Feature(feature.removeprefix(f"{form} "), form)
    if " " in feature:
        raise RecipeError(f"{feature!r}: expected a measure, or {', '.join(FORMS)} and a measure")
    if feature not in measures:
        raise RecipeError(f"the run has no measure {feature!r}{did_you_mean(feature, measures)}")
    return Feature(feature, FORMS[0])


def windows(steps: Iterable[Steps], question: Question) -> Steps:
    """All steps whose documents count for these steps, each once."""
    every = np.concatenate([one.ravel() for one in steps])
    return np.unique(every[:, None] - np.arange(max(question.lags) + 1))


def asked_of(numbers: Exposed, question: Question, sets: Matched) -> Asked:
    """The family of numbers: those that differ between batches, at all lags."""
    low, high = (f(numbers.values, axis=0) for f in (np.fmin.reduce, np.fmax.reduce))
    vary = low < high  # NaN where nothing is known
    kept = np.flatnonzero(vary).tolist()
    if question.feature:
        wanted = named(question.feature, [f.measure for f in numbers.features])
        kept = [place for place in kept if numbers.features[place].form == wanted.form]
    features, values = lagged(numbers, question.lags, sets.steps, kept)
    return Asked(question, sets, numbers, features, values)


def lagged(
    numbers: Exposed, lags: tuple[int, ...], steps: Steps, kept: list[int]
) -> tuple[list[Feature], Floats]:
    """Numbers of batches at all lags; unknown ones are the median of their set."""
    features = [
        Feature(f.measure, f.form, lag, f.cut)
        for lag in lags
        for f in (numbers.features[k] for k in kept)
    ]
    values = np.concatenate([numbers.within(steps, lag, kept) for lag in lags], axis=-1)
    return features, filled(values)


def filled(values: Floats) -> Floats:
    """What is NaN becomes the median of its set: it says nothing then, one way or the other."""
    lost = np.isnan(values)
    if not lost.any():
        return values
    ordered = np.sort(values, axis=1)  # NaN last
    count = (~lost).sum(axis=1, keepdims=True)
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=1)
    return np.where(lost, np.nan_to_num(middle), values)


def places(numbers: Exposed, asked: Asked) -> list[int]:
    """Where the family's measures and forms stand among numbers of batches."""
    wanted = {(f.measure, f.form) for f in asked.features}
    return [p for p, f in enumerate(numbers.features) if (f.measure, f.form) in wanted]
