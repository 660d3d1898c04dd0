"""What is asked of a log and an order, and the numbers of all batches that this concerns."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanpipe.errors import RecipeError
from cleanpipe.nearest import did_you_mean
from cleanpipe.stability.attribution import permutation
from cleanpipe.stability.attribution.exposed import FORMS, Column, Feature, Standing, Windows
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
    """The matched sets, and the numbers of their batches, at all lags."""

    question: Question
    sets: Matched
    features: list[Feature]
    values: Floats
    """(sets, members, features); the event is member 0."""


@dataclass(frozen=True)
class Numbers:
    """All numbers of several families of batches; NaN where nothing is known."""

    features: list[Feature]
    """Without lags."""
    lags: tuple[int, ...]
    vary: npt.NDArray[np.bool_]
    """Whether a number differs between batches."""
    shapes: list[tuple[int, ...]]
    """Of each family's steps."""
    columns: list[list[npt.NDArray[Any]]]
    """Of each family, column by column (steps, lags, FORMS)."""

    def of(self, family: int, kept: list[int], most: int | None = None) -> npt.NDArray[Any]:
        """(*shape of its steps, numbers) of the features kept, at all lags up to `most`."""
        lags = [place for place, lag in enumerate(self.lags) if most is None or lag <= most]
        own = self.columns[family]
        kind = own[0].dtype if own else np.float64
        found = np.empty((math.prod(self.shapes[family]), len(lags), len(kept)), kind)
        for place, number in enumerate(kept):
            found[..., place] = own[number // len(FORMS)][:, lags, number % len(FORMS)]
        return found.reshape(*self.shapes[family], -1)

    def lagged(self, kept: list[int]) -> list[Feature]:
        """What stands in the columns of `of`."""
        own = [self.features[place] for place in kept]
        return [Feature(f.measure, f.form, lag, f.cut) for lag in self.lags for f in own]


def numbers_of(
    columns: Iterable[Column],
    lags: tuple[int, ...],
    families: Sequence[tuple[Standing, Sequence[Steps]]],
    ranked: int,
) -> Numbers:
    """The numbers of families of batches, each with who stood there; a column at a time.

    Whether a number differs is asked of the first of `families`; in the others columns that do not
    differ count for nothing, not even for what is drawn between equal values. From family `ranked`
    on, sets of batches, which are only tested, are kept as their ranks: a byte a number, not eight.
    """
    flat = [np.concatenate([one.ravel() for one in steps]) for _, steps in families]
    windows = [Windows(who, own, lags) for (who, _), own in zip(families, flat, strict=True)]
    features: list[Feature] = []
    vary: list[npt.NDArray[np.bool_]] = []
    cuts = [np.cumsum([one.size for one in steps])[:-1] for _, steps in families]
    shapes = [one.shape for _, steps in families for one in steps]
    found: list[list[npt.NDArray[Any]]] = [[] for _ in shapes]
    for column in columns:
        known = len(FORMS) * sum(bool(one.any()) for one in vary)
        parts: list[Floats] = []
        for place, window in enumerate(windows):
            values, differs = window.numbers(column, known if place else len(features))
            parts += np.split(values, cuts[place])
            if not place:
                vary.append(differs)
        for number, (own, shape, part) in enumerate(zip(found, shapes, parts, strict=True)):
            own.append(part if number < ranked else _ranks(part, shape))
        features += column.features
    every = np.concatenate(vary or [np.zeros(0, np.bool_)])
    return Numbers(features, lags, every, shapes, found)


def _ranks(values: Floats, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Twice the ranks within each set: whole numbers, as equals share the mean of theirs."""
    ranks = permutation.set_ranks(filled(values.reshape(*shape, -1)))
    return (2 * ranks).astype(np.uint8).reshape(values.shape)


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


def kept_of(numbers: Numbers, question: Question) -> list[int]:
    """The family of numbers: those that differ between batches."""
    kept: list[int] = np.flatnonzero(numbers.vary).tolist()
    if question.feature:
        wanted = named(question.feature, [f.measure for f in numbers.features])
        kept = [place for place in kept if numbers.features[place].form == wanted.form]
    return kept


def filled(values: Floats) -> Floats:
    """What is NaN becomes the median of its set: it says nothing then, one way or the other."""
    lost = np.isnan(values)
    if not lost.any():
        return values
    ordered = np.sort(values, axis=1)  # NaN last
    count = (~lost).sum(axis=1, keepdims=True)
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=1)
    return np.where(lost, np.nan_to_num(middle), values)
