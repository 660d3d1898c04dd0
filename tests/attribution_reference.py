"""Attribution, slow and obvious: loops over events, members and draws; and logs of known truth."""

from statistics import fmean, median

import numpy as np
import polars as pl


def ranks_of(members):
    """Ranks from 1; equals share theirs."""
    return [
        fmean([place for place, other in enumerate(sorted(members), 1) if other == one])
        for one in members
    ]


def judged_slowly(sets, seed, draws):
    """(auroc, p, family p) of each number of sets[set][member][number], as lists."""
    numbers = range(len(sets[0][0]))
    members = len(sets[0])
    ranked = [[ranks_of([member[number] for member in one]) for number in numbers] for one in sets]

    def deviation(number, who):
        return sum(
            ranked[place][number][member] - fmean(ranked[place][number])
            for place, member in enumerate(who)
        )

    spread = []
    for number in numbers:
        squares = [
            fmean([(rank - fmean(one[number])) ** 2 for rank in one[number]]) for one in ranked
        ]
        spread.append(sum(squares) ** 0.5 or 1)
    drawn = np.random.default_rng(seed).integers(0, members, (draws, len(sets)))

    def score(number, who):
        return round(abs(deviation(number, who)) / spread[number], 9)

    own = [score(number, [0] * len(sets)) for number in numbers]
    found = [[score(number, who) for number in numbers] for who in drawn]
    p = [(1 + sum(one[n] >= own[n] for one in found)) / (draws + 1) for n in numbers]
    family, least = [0.0] * len(own), 0.0
    left = set(numbers)
    for number in sorted(numbers, key=lambda n: own[n])[::-1]:
        beyond = sum(max(one[n] for n in left) >= own[number] for one in found)
        least = max(least, (1 + beyond) / (draws + 1))
        family[number] = least
        left.discard(number)
    areas = [
        fmean(
            [
                fmean([(one[0][n] > c[n]) + 0.5 * (one[0][n] == c[n]) for c in one[1:]])
                for one in sets
            ]
        )
        for n in numbers
    ]
    return areas, p, family


def rarities_slowly(exposure, documents, name, step, lag):
    """Between what chances the largest and the smallest of so many documents are below."""
    values = dict(zip(documents["id"], documents[name], strict=True))
    rows = exposure.filter(pl.col("step").is_between(step - lag, step))
    found = [values[one] for one in rows["id"]]
    every = documents[name].to_list()

    def share(test):
        return fmean([test(one) for one in every]) ** len(found)

    top, bottom = max(found), min(found)
    largest = share(lambda one: one < top), share(lambda one: one <= top)
    smallest = 1 - share(lambda one: one >= bottom), 1 - share(lambda one: one > bottom)
    return largest, smallest


def level_slowly(losses, place, trailing):
    """The median of up to `trailing` losses before a place; None for fewer than five."""
    before = losses[max(0, place - trailing) : place]
    return median(before) if len(before) >= 5 else None


def made_log(seed, *, steps=1500, events=24, planted=1.0, documents=3000, batch=6, runs=1):
    """A log with events, an order and measures: `planted` of the events have a document of `dirt`.

    `dirt` of all other documents is chance; `noise` always is; `twin` follows dirt loosely. A
    document may stand in `runs` batches in a row, so that neighbours are alike.
    """
    chance = np.random.default_rng(seed)
    measures = pl.DataFrame(
        {
            "id": [f"d{number}" for number in range(documents)],
            "row": np.arange(documents),
            "dirt": chance.exponential(size=documents),
            "noise": chance.standard_cauchy(documents),
            "words": chance.integers(50, 2000, documents),
            "flat": np.ones(documents),
        }
    )
    bad = documents - 10
    dirt = measures["dirt"].to_numpy().copy()
    dirt[bad:] = 30 + chance.random(10)
    measures = measures.with_columns(
        dirt=pl.Series(dirt), twin=pl.Series(np.log(dirt + 0.1) + chance.normal(size=documents))
    )
    drawn = chance.integers(0, bad, (-(-steps // runs), batch))
    order = np.repeat(drawn, runs, axis=0)[:steps]
    happened = np.sort(chance.choice(np.arange(30, steps - 12, 12), events, replace=False))
    happened += chance.integers(0, 9, events)
    hit = happened[chance.random(events) < planted]
    order[hit - 1, 0] = chance.integers(bad, documents, len(hit))
    exposure = pl.DataFrame(
        {
            "step": np.repeat(np.arange(1, steps + 1), batch),
            "id": measures["id"].gather(order.ravel()),
            "tokens": np.full(steps * batch, 100),
        }
    )
    loss = 3 + 4 / np.sqrt(np.arange(1, steps + 1)) + chance.normal(0, 0.02, steps)
    log = pl.DataFrame({"step": np.arange(1, steps + 1), "loss": loss, "lr": np.full(steps, 1e-3)})
    table = pl.DataFrame({"step": happened, "class": ["gradient_spike"] * events})
    return table, log, exposure, measures
