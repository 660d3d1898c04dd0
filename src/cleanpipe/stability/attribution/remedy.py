"""What to do about candidates: the rule that would remove them, and what it would cost.

The rule bounds one measure that is associated, so far that it drops the first candidate of enough
events. What else it drops is answered from the run's tables as `cleanpipe decide` does, without
reading a text; the tokens are those that the order trained on. The bound is chosen by the same
events that it is judged by, so its share of them is the best case.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.outcome import Run
from cleanpipe.recipes.recipe_file import load
from cleanpipe.stability.attribution.attribution import Attribution
from cleanpipe.stability.attribution.exposed import numeric
from cleanpipe.stability.attribution.naming import carriers

Floats = npt.NDArray[np.float64]
SHARES = (0.5, 0.8, 1.0)
"""Of the events, whose first candidate the rule would drop."""
MEASURES = 5
"""Measures that a rule is sought for."""


def measured(run: Path) -> pl.DataFrame:
    """The measures of a run's kept documents: id, and a column for each that is a number."""
    recipe = load(run / "recipe.yaml")
    names = list(recipe.measured())
    frames = []
    for path in sorted((run / "measures").glob("*.parquet")):
        verdict = pl.read_parquet(run / "verdicts" / path.name, columns=["verdict"]).to_series()
        known = pl.read_parquet_schema(path)
        columns = ["id", *(name for name in names if name in known)]
        frames.append(pl.read_parquet(path, columns=columns).filter(verdict == "kept"))
    found = pl.concat(frames, how="diagonal_relaxed")
    return found.select("id", *numeric(found))


def rules(found: Attribution, named: list[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    """For each share of events the rule that costs the fewest tokens; none without candidates.

    Keys: rule (measure, and low or high), set (what `cleanpipe decide --set` takes), share, events;
    tokens and token_share of the order; documents and bytes, the least and the most.
    """
    first = [event["candidates"][0]["id"] for event in named if event["candidates"]]
    if not first:
        return []
    wanted = [found.asked.features[place] for place in carriers(found)]
    kept = found.documents
    numbered = kept.select("id").with_row_index("place")
    place = pl.DataFrame({"id": first}).join(numbered, on="id")["place"].to_numpy()
    measures = list(dict.fromkeys((f.measure, f.high) for f in wanted))
    whole = int(kept["exposed_tokens"].sum())
    answer = []
    for share in SHARES:
        choices = []
        for measure, high in measures[:MEASURES]:
            values = kept[measure].cast(pl.Float64).fill_null(np.nan).to_numpy()
            own = values[place]
            bound = _bound(values, own, share, high=high)
            if bound is None:
                continue
            drops = values > bound if high else values < bound
            tokens = int(kept["exposed_tokens"].to_numpy()[drops].sum())
            hit = int((own > bound).sum() if high else (own < bound).sum())
            choices.append((tokens, measure, "high" if high else "low", bound, hit))
        if not choices:
            continue
        tokens, measure, side, bound, hit = min(choices)
        option = f"filter.{measure}.{side}"
        would = run.decide({option: repr(bound)})
        answer.append(
            {
                "rule": {"measure": measure, side: bound},
                "set": f"{option}={bound!r}",
                "share": hit / len(named),
                "events": hit,
                "tokens": tokens,
                "token_share": tokens / whole,
                "documents": would["newly_dropped"]["documents"],
                "bytes": would["newly_dropped"]["bytes"],
                "exact": would["exact"],
            }
        )
    return answer


def _bound(values: Floats, own: Floats, share: float, *, high: bool) -> float | None:
    """The loosest bound that drops this share of the candidates' values; None if there is none.

    It is the nearest value of a document that stays, so that it reads as one of the corpus.

    >>> _bound(np.array([1.0, 2, 5, 7, 9]), np.array([5.0, 9.0]), 1.0, high=True)
    2.0
    """
    sign = 1.0 if high else -1.0
    known = np.sort(sign * own[~np.isnan(own)])[::-1]
    count = int(np.ceil(share * len(own)))
    if not 0 < count <= len(known):
        return None
    below = sign * values[sign * values < known[count - 1]]
    return float(sign * below.max()) if len(below) else None
