"""Which batches an event's batch is compared with: alike in all but that nothing happened there.

Each event gets as many controls as every other, and no batch is a control of two: a batch in two
sets would make them vary together, and p-values too small. So a short log gives few controls.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.errors import InputError
from cleanpipe.stability.attribution.batches import Batches, batches_of

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
WANTED = 20
"""Controls of an event: more gain little, as the event's own batch then is what varies."""
FEWEST = 5
RATE = 0.05
"""How far the logarithms of two learning rates may lie apart."""
NEARBY = 0.1
"""The part of a log, without learning rates, within which batches are alike."""
SIZE = 0.1
"""By which part the tokens of two batches may differ."""
TRAILING = 101
"""Steps of whose losses the median is a step's level."""
LADDER = ((100, 1), (50, 1), (25, 2), (12, 3), (6, 3))
"""Steps that a control stays away from any event, and tenths of the losses it may be apart."""
MOST_LOOKED_AT = 200_000
"""Batches of a longer log that are looked at for controls, drawn by chance."""
MOST_CANDIDATES = 20_000
MOST_EVENTS = 100
"""Events of such a log that are asked about, drawn by chance where there are more: each asks for
199 places that it is shifted to, with what stood before them, and for the numbers of all these."""
GOOD = 10
"""Controls below which looking back less far is better: batches looked at then overlap less."""
CROWDED = 0.1
"""The share of events, left out since they follow another, above which it is better, too."""


@dataclass(frozen=True)
class Matched:
    """Events and their controls: `controls[event, number]`, steps."""

    cases: Steps
    controls: Steps
    distance: int
    """Of any control to any event, in steps; the largest that gave the most controls."""
    tenths: int
    """The levels of loss of event and control are at most so many tenths apart."""
    memory: int
    """Steps before a batch that may be counted with it, without any batch being counted twice."""
    left_out: dict[str, int]
    """Events that could not be asked about, by the reason."""

    @property
    def steps(self) -> Steps:
        """(events, controls + 1): the event's own step first."""
        return np.column_stack([self.cases, self.controls])


@dataclass(frozen=True)
class Log:
    """What a log says of each step, in ascending order; NaN where it says nothing."""

    steps: Steps
    loss: Floats
    rate: Floats
    tokens: Floats
    """Of the batch, from the order; NaN where the order does not have it."""

    @classmethod
    def of(cls, log: pl.DataFrame, exposure: pl.DataFrame | Batches) -> "Log":
        """A log has step, and may have loss and lr; of a step that was repeated, the last counts.

        Errors: InputError if less than 99 of 100 steps of the log stand in the order.
        """
        table = log
        if not (log["step"].diff().drop_nulls() > 0).all():
            table = log.unique("step", keep="last").sort("step")
        steps = table["step"].cast(pl.Int64).to_numpy()
        order = batches_of(exposure).sizes()
        own, sizes = (order[name].to_numpy() for name in ("step", "batch"))
        place = np.minimum(np.searchsorted(own, steps), len(own) - 1)
        known = own[place] == steps if len(own) else np.zeros(len(steps), bool)
        if known.sum() < 0.99 * len(steps):
            first = steps[~known][0]
            raise InputError(
                f"the order has {known.sum():,} of the log's {len(steps):,} steps (no step "
                f"{first}): it is not the order of this training, or its first step is another"
            )
        tokens = np.where(known, sizes[place].astype(np.float64), np.nan)

        def column(name: str) -> Floats:
            if name not in table.columns:
                return np.full(table.height, np.nan)
            return table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()

        return cls(steps, column("loss"), column("lr"), tokens)

    @cached_property
    def levels(self) -> Floats:
        """Where the median of the losses before a step stands among all: 0 to 1, else NaN."""
        finite = pl.Series(self.loss).replace([np.inf, -np.inf], None).fill_nan(None)
        before = finite.rolling_median(TRAILING, min_samples=5).shift(1)
        found = (before.rank() / max(before.len() - before.null_count(), 1)).to_numpy()
        return np.asarray(found, np.float64)

    @cached_property
    def rateless(self) -> bool:
        """Whether the log tells no learning rate at all."""
        return bool(np.isnan(self.rate).all())

    def alike(
        self, one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """(len(one), len(other)): whether rate and batch size are as good as the same."""
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.abs(np.log(self.rate[one])[:, None] - np.log(self.rate[other])[None, :])
        if self.rateless:
            reach = NEARBY * (self.steps[-1] - self.steps[0])
            near = np.abs(self.steps[one][:, None] - self.steps[other][None, :]) <= reach
        else:
            near = apart <= RATE
        ratio = np.abs(self.tokens[one][:, None] / self.tokens[other][None, :] - 1)
        found: npt.NDArray[np.bool_] = near & (ratio <= SIZE)
        return found


def matched(log: Log, events: Steps, lags: tuple[int, ...], seed: int) -> Matched:
    """Controls for events (steps): all batches that are looked at, `memory` steps back, differ.

    `memory` is the largest of `lags` that leaves every event GOOD controls, and few events out: an
    event within `memory` steps of an earlier one would share its batches. Errors: InputError where
    the log has no room for FEWEST controls.
    """
    events = np.unique(events)
    place = np.minimum(np.searchsorted(log.steps, events), len(log.steps) - 1)
    lost = events[log.steps[place] != events]
    if len(lost):
        raise InputError(f"an event at step {lost[0]}, which the log does not have")
    best: Matched | None = None
    for memory in sorted(lags, reverse=True):
        found = _with_memory(log, place, memory, seed)
        count = found.controls.shape[1]
        if best is None or count > best.controls.shape[1] or not len(best.cases):
            best = found
        crowded = found.left_out["soon after another"] > CROWDED * len(events)
        if count >= GOOD and (not crowded or memory == min(lags)):
            return found
    if best is None or best.controls.shape[1] < FEWEST:
        count = 0 if best is None else best.controls.shape[1]
        raise InputError(
            f"{len(events)} events in {len(log.steps):,} steps leave room for {count} controls of "
            f"each, expected {FEWEST}: give a longer log, or fewer events (a higher threshold)"
        )
    return best


def _with_memory(log: Log, place: npt.NDArray[np.int64], memory: int, seed: int) -> Matched:
    """The most controls, and of those at the largest distance, with this memory."""
    alone = np.ones(len(place), np.bool_)
    last = -np.inf
    for number, step in enumerate(log.steps[place]):
        alone[number] = step - last > memory
        last = step if alone[number] else last
    known = ~np.isnan(log.tokens[place])
    left_out = {
        "soon after another": int((~alone).sum()),
        "not in the order": int((alone & ~known).sum()),
    }
    asked = place[alone & known]
    if len(asked) > MOST_EVENTS and len(log.steps) > MOST_LOOKED_AT:
        left_out["more than can be asked"] = len(asked) - MOST_EVENTS
        drawn = np.random.default_rng([seed, 7]).choice(len(asked), MOST_EVENTS, replace=False)
        asked = asked[np.sort(drawn)]
    nothing = np.zeros((len(asked), 0), np.int64)
    best = Matched(log.steps[asked], nothing, 0, 0, memory, left_out)
    for distance, tenths in LADDER:
        found = _drawn(log, asked, log.steps[place], (distance, tenths, memory), seed)
        if distance > memory and found.shape[1] > best.controls.shape[1]:
            controls = log.steps[found]
            best = Matched(log.steps[asked], controls, distance, tenths, memory, left_out)
        if best.controls.shape[1] == WANTED:
            break
    return best


def _drawn(
    log: Log,
    cases: npt.NDArray[np.int64],
    events: Steps,
    apart: tuple[int, int, int],
    seed: int,
) -> npt.NDArray[np.int64]:
    """(cases, M): places of controls; in turns, so that all have as many as the poorest."""
    distance, tenths, memory = apart
    chance = np.random.default_rng([seed, distance])
    every = np.arange(len(log.steps))
    if len(every) > MOST_LOOKED_AT:
        every = np.sort(chance.choice(len(every), MOST_LOOKED_AT, replace=False, shuffle=False))
    looked = log.steps[every]
    after = np.searchsorted(events, looked)
    far = np.full(len(looked), np.inf)
    for side in (after - 1, after):
        inside = (side >= 0) & (side < len(events))
        away = np.abs(looked - events[np.clip(side, 0, len(events) - 1)])
        far = np.where(inside, np.minimum(far, away), far)
    free = every[(far >= distance) & (looked - log.steps[0] >= memory)]
    if len(free) > MOST_CANDIDATES:
        free = np.sort(chance.choice(free, MOST_CANDIDATES, replace=False))
    free = chance.permutation(free)
    levels = log.levels
    off = np.abs(levels[cases][:, None] - levels[free][None, :])
    fits = log.alike(cases, free) & ((off <= tenths / 10) | np.isnan(off))
    stands = log.steps[free]
    ascending = np.argsort(stands)
    ordered = stands[ascending]
    counts = fits.sum(axis=1)
    reach = max(memory, 1)
    rounds: list[npt.NDArray[np.int64]] = []
    # the poorest first: whoever has few to choose from must not find them taken
    for _ in range(WANTED):
        taken = np.full(len(cases), -1)
        for case in np.argsort(counts, kind="stable"):
            if not counts[case]:
                return _columns(rounds, len(cases))
            chosen = int(fits[case].argmax())
            taken[case] = free[chosen]
            low = np.searchsorted(ordered, stands[chosen] - reach, side="left")
            high = np.searchsorted(ordered, stands[chosen] + reach, side="right")
            closed = ascending[low:high]
            counts -= fits[:, closed].sum(axis=1)
            fits[:, closed] = False
        rounds.append(taken)
    return _columns(rounds, len(cases))


def _columns(rounds: list[npt.NDArray[np.int64]], cases: int) -> npt.NDArray[np.int64]:
    return np.column_stack(rounds) if rounds else np.zeros((cases, 0), np.int64)
