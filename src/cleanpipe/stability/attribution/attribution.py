"""From a training log's events to what their batches have in common: associations, no causes.

Each event's batch is compared with matched batches of the same log (`matching`), in numbers of the
documents that stood in them (`exposed`), by ranks within each set (`permutation`). What is called
associated has passed two nulls: the event drawn again within its set, over all numbers, forms and
lags at once; and all events shifted in time by the same steps, which leaves both the events' and
the batches' own rhythm as it was. Three negative controls, of which nothing may come out, stand in
every answer: shifted events, measures that are chance, and the documents' measures dealt again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.errors import RecipeError
from cleanpipe.nearest import did_you_mean
from cleanpipe.stability.attribution import nulls, permutation
from cleanpipe.stability.attribution.batches import Batches, batches_of
from cleanpipe.stability.attribution.exposed import (
    Column,
    Standing,
    known_documents,
    numeric,
    rows_of,
)
from cleanpipe.stability.attribution.matching import Log, matched
from cleanpipe.stability.attribution.permutation import LEVEL, Judged
from cleanpipe.stability.attribution.question import (
    Asked,
    Question,
    filled,
    kept_of,
    named,
    numbers_of,
    refusal,
    windows,
)

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
Tell = Callable[[str, int, int], None]
MOST_SHOWN = 100


@dataclass(frozen=True)
class Attribution:
    """An answer: what was asked, and what is found."""

    log: Log
    batches: Batches
    documents: pl.DataFrame
    """A row a document that was trained on, with its measures."""
    asked: Asked
    judged: Judged
    p_shift: Floats
    """Of each number, under shifted events."""
    controls: list[dict[str, Any]]
    """The negative controls: how often each was significant, and whether it holds."""

    @property
    def associated(self) -> npt.NDArray[np.bool_]:
        """The numbers that both nulls reject."""
        found: npt.NDArray[np.bool_] = (self.judged.p_family <= LEVEL) & (self.p_shift <= LEVEL)
        return found

    @property
    def clean(self) -> bool:
        """Whether no negative control comes out more often than the level allows."""
        return all(control["holds"] for control in self.controls)

    def order(self) -> npt.NDArray[np.int64]:
        """The numbers from the most deviating one to the least."""
        return np.argsort(-np.abs(self.judged.z), kind="stable")

    def findings(self) -> list[dict[str, Any]]:
        """The numbers that deviate most, with effect, interval and p-values."""
        each = permutation.auroc(self.asked.values)
        low, high = permutation.interval(each, self.asked.question.seed)
        judged = self.judged
        return [
            {
                "feature": str(feature := self.asked.features[place]),
                "measure": feature.measure,
                "form": feature.form,
                "cut": feature.cut,
                "lag": feature.lag,
                "auroc": float(judged.auroc[place]),
                "low": float(low[place]),
                "high": float(high[place]),
                "cliffs_delta": float(judged.cliffs_delta[place]),
                "p": float(judged.p[place]),
                "p_family": float(judged.p_family[place]),
                "q": float(judged.q[place]),
                "p_shift": float(self.p_shift[place]),
                "associated": bool(self.associated[place]),
            }
            for place in self.order()[:MOST_SHOWN]
        ]


def attribute(
    events: Steps,
    log: pl.DataFrame,
    exposure: pl.DataFrame | Batches,
    measures: pl.DataFrame,
    question: Question,
    tell: Tell = lambda *_: None,
) -> Attribution:
    """Ask what the batches of events (steps) have in common.

    `log` has step, and may have loss and lr; `exposure` step, id, tokens, or is `Batches`;
    `measures` id and numbers. Errors: InputError where the three do not fit, or leave no room for
    controls; RecipeError for an unknown measure or form, and for too few events (see `refusal`).
    """
    names = _names(measures, question)
    _enough(len(np.unique(events)), question)
    batches = batches_of(exposure)
    documents = known_documents(batches, measures.select("id", *names))
    del measures  # so that they are there once, if the caller does not keep them
    read = Log.of(log, batches)
    lags = (0,) if question.feature else question.lags
    sets = matched(read, events, lags, question.seed)
    _enough(len(sets.cases), question)
    question = replace(question, lags=tuple(lag for lag in lags if lag <= sets.memory))
    chance = np.random.default_rng([question.seed, 1])
    shifted = nulls.shifted_events(read, sets.cases, chance)
    others = list(nulls.sets_of(read, shifted, question))
    every = [sets.steps, shifted, *(other.steps for other in others)]
    rows = rows_of(batches, documents)
    standing = Standing.of(batches, rows, windows(every, question))
    own = Standing.of(batches, rows, windows([sets.steps], question))
    noise = nulls.noise_control(own, sets, documents.height, question, chance)
    dealt = [(who, [sets.steps]) for who in nulls.dealt(own, documents.height, chance)]
    columns = _columns(documents, names, tell)
    numbers = numbers_of(columns, question.lags, [(standing, every), *dealt], ranked=2)
    kept = kept_of(numbers, question)
    asked = Asked(question, sets, numbers.lagged(kept), filled(numbers.of(0, kept)))
    judged = permutation.judged(asked.values, question.seed)
    elsewhere = (numbers.of(2 + n, kept, other.memory) for n, other in enumerate(others))
    again = (numbers.of(2 + len(others) + n, kept) for n in range(len(dealt)))
    return Attribution(
        read,
        batches,
        documents,
        asked,
        judged,
        nulls.shift_p(asked, numbers.of(1, kept), judged.auroc),
        [
            nulls.control("shifted events", elsewhere),
            noise,
            nulls.control("measures dealt again", again),
        ],
    )


def _columns(documents: pl.DataFrame, names: list[str], tell: Tell) -> Iterator[Column]:
    """The measures that are known of any document."""
    for number, name in enumerate(names):
        tell("measures", number, len(names))
        column = Column.of(name, documents[name])
        if column is not None:
            yield column


def _names(measures: pl.DataFrame, question: Question) -> list[str]:
    """The measures that are asked about."""
    known = numeric(measures)
    wanted = question.measures
    if question.feature:
        feature = named(question.feature, known)
        wanted = (feature.measure,)
    for name in wanted:
        if name not in known:
            near = did_you_mean(name, known)
            raise RecipeError(f"the run has no measure {name!r}{near}")
    return list(wanted or known)


def _enough(events: int, question: Question) -> None:
    told = refusal(events, question)
    if told:
        raise TooFewEventsError(told)


class TooFewEventsError(RecipeError):
    """So few events that a test would say nothing."""
