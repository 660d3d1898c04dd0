"""Candidates: which documents of an event's batch have what is associated with events.

A candidate is no culprit. It is asked of each document what its batch would look like beside the
controls by this document alone. (Leaving documents out one at a time would clear both of two equal
ones, since either is enough.)
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.stability.attribution.attribution import Attribution
from cleanpipe.stability.attribution.exposed import FORMS, Column, Feature

Floats = npt.NDArray[np.float64]
MOST = 5
"""Candidates that are named of an event."""
CARRIERS = 12
"""Numbers that documents are judged by: the most deviating ones."""


def carriers(found: Attribution) -> list[int]:
    """The associated numbers that a document can carry into a batch, the most deviating first.

    A largest value that is larger, a smallest that is smaller, a share that is larger: the opposite
    says what a batch lacks, and no document of it can be blamed for that.
    """
    z = found.judged.z
    able = [
        place
        for place in found.order()
        if found.associated[place]
        and (z[place] < 0) == (found.asked.features[place].form == FORMS[2])
    ]
    return able[:CARRIERS]


def candidates(found: Attribution, most: int = MOST) -> list[dict[str, Any]]:
    """For each event that was asked about: step, and its candidates, the likeliest first.

    A candidate has id, tokens, its step, `score` (0.5 is as the controls; 1 beyond all of them, by
    this document alone), and the values of the measures that speak.
    """
    chosen = carriers(found)
    if not chosen:
        return []
    reach = found.asked.features[chosen[0]].lag
    names = list(dict.fromkeys(found.asked.features[place].measure for place in chosen))
    known = (Column.of(name, found.documents[name]) for name in names)
    columns = {column.name: column for column in known if column is not None}
    steps = found.asked.sets.cases
    wanted = np.unique(steps[:, None] - np.arange(reach + 1))
    near = found.batches.named(wanted)
    near = near.with_columns(share=pl.col("tokens") / pl.col("tokens").sum().over("step"))
    near = near.join(found.documents.select("id", *names), on="id", how="left")
    answer = []
    for event, step in enumerate(steps):
        own = near.filter(pl.col("step").is_between(step - reach, step))
        scores = _scores(found, columns, chosen, event, own)
        ranked = (
            own.with_columns(score=pl.Series(scores))
            .sort("score", "tokens", "id", descending=[True, True, False])
            .unique("id", keep="first", maintain_order=True)
            .head(most)
        )
        named = [
            {
                **{name: row[name] for name in ("id", "step", "tokens", "score")},
                "measures": {name: row[name] for name in names},
            }
            for row in ranked.filter(pl.col("score") > 0.5).iter_rows(named=True)
        ]
        answer.append({"step": int(step), "candidates": named})
    return answer


def _scores(
    found: Attribution,
    columns: dict[str, Column],
    chosen: list[int],
    event: int,
    own: pl.DataFrame,
) -> Floats:
    """The share of controls that each document alone would stand beyond; the numbers weighted."""
    total, weights = np.zeros(own.height), 0.0
    for place in chosen:
        feature = found.asked.features[place]
        controls = found.asked.values[event, 1:, place]
        alone = _alone(columns[feature.measure], feature, own)
        if feature.form == FORMS[2]:
            alone, controls = -alone, -controls
        above = (alone[:, None] > controls) + 0.5 * (alone[:, None] == controls)
        weight = abs(float(found.judged.z[place]))
        total += weight * above.mean(axis=1)
        weights += weight
    return total / weights


def _alone(column: Column, feature: Feature, own: pl.DataFrame) -> Floats:
    """The number of a batch in which one document alone is as it is, and nobody more so."""
    values = own[feature.measure].cast(pl.Float64).fill_null(np.nan).to_numpy()
    if feature.cut is None:
        rare = column.rarity(
            column.coded(values), np.full(len(values), float(own.height)), high=feature.high
        )
        return np.where(np.isnan(rare), 1.0 if feature.form == FORMS[2] else 0.0, rare)
    beyond = values > feature.cut if feature.high else values < feature.cut
    return np.where(beyond, own["share"].to_numpy(), 0.0)
