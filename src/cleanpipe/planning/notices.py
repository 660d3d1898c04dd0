"""What a sample shows that the corpus' owner may want to know before the run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.decide import Decisions
from cleanpipe.planning.intervals import Sample
from cleanpipe.recipes.recipe import Recipe

Flags = npt.NDArray[np.bool_]

MANY = 0.5
"""A rule that drops more than this share, of all documents or of a language, is worth a word."""
SOME = 0.05
"""So is a rule that this share of all documents passes because of their language."""
ENOUGH = 30
"""Documents of a language in the sample, to say something about it."""


@dataclass(frozen=True)
class Drawn:
    """The documents of a sample, all that was measured of them, and what the rules say."""

    decisions: Decisions
    table: pl.DataFrame
    """Every measure and column, a row a document."""
    failures: pl.DataFrame
    """A Boolean column a rule, a row a readable document."""

    @classmethod
    def of(cls, decisions: Decisions) -> Self:
        """What is known of the documents that were decided about."""
        documents = decisions.documents
        return cls(decisions, documents.columns([*documents.kinds]), decisions.failures())


def notices(recipe: Recipe, drawn: Drawn, sample: Sample) -> list[str]:
    """Sentences: what the recipe gave to tell, then the weightiest first."""
    decisions, table = drawn.decisions, drawn.table
    weights = 1 / (sample.chance * sample.held)
    judged = decisions.readable
    failures = {}
    for failed in drawn.failures:
        failures[failed.name] = np.zeros(len(judged), dtype=np.bool_)
        failures[failed.name][judged] = failed.to_numpy()
    said = [
        *recipe.notices,
        *_quarantine(recipe, decisions, sample),
        *_large(failures, judged, weights),
    ]
    if sample.share < 1 and recipe.dedup is not None and recipe.order[0] == "dedup":
        said.append(
            "dedup decides before the rules here: what they drop is counted as if there were no "
            "duplicates"
        )
    if "lang" in table.columns:
        lang = table["lang"].cast(pl.String)
        said += [
            *_unseen(recipe, lang, judged, weights),
            *_by_language(failures, lang, judged, weights),
        ]
    return said


def _share(flags: Flags, of: Flags, weights: npt.NDArray[np.float64]) -> float:
    return float(weights[flags & of].sum() / max(weights[of].sum(), 1e-9))


def _quarantine(recipe: Recipe, decisions: Decisions, sample: Sample) -> Iterator[str]:
    if not decisions.quarantined.any():
        return
    lost, allowed = sample.count(decisions.quarantined), recipe.max_quarantined
    read = max(sample.documents.estimate, 1.0)
    low, high = lost.low / read, min(lost.high / read, 1.0)
    if high > allowed:
        will = "will" if low > allowed else "may"
        yield (
            f"the run {will} fail: {low:.1%} to {high:.1%} of the documents cannot be read, and "
            f"max_quarantined allows {allowed:.2%}"
        )


def _large(
    failures: dict[str, Flags], judged: Flags, weights: npt.NDArray[np.float64]
) -> Iterator[str]:
    for name, failed in failures.items():
        share = _share(failed, judged, weights)
        if share > MANY:
            yield f"{name} drops {share:.0%} of all documents: is its bound meant for such text?"


def _unseen(
    recipe: Recipe, lang: pl.Series, judged: Flags, weights: npt.NDArray[np.float64]
) -> Iterator[str]:
    for name, rule in recipe.filter.rules.items():
        if rule.langs is not None:
            others = ~lang.is_in(list(rule.langs)).fill_null(value=False).to_numpy()
            share = _share(others, judged, weights)
            if share > SOME:
                yield (
                    f"{name} is about {', '.join(rule.langs)} only: {share:.0%} of the documents "
                    "pass it, being of another language"
                )


def _by_language(
    failures: dict[str, Flags], lang: pl.Series, judged: Flags, weights: npt.NDArray[np.float64]
) -> Iterator[str]:
    counts = lang.filter(pl.Series(judged)).value_counts(sort=True)
    for value, count in counts.iter_rows():
        if value is None or count < ENOUGH:
            continue
        mine = judged & (lang == value).fill_null(value=False).to_numpy()
        for name, failed in failures.items():
            inside, everywhere = (_share(failed, of, weights) for of in (mine, judged))
            if inside > MANY > 2 * everywhere:
                yield (
                    f"{name} drops {inside:.0%} of {value} and {everywhere:.0%} of all: it may "
                    f"want other bounds there ({name}.by_lang)"
                )
