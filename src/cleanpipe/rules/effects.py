"""What each rule does beside the others, and what it would do with its bounds a tenth away.

Every rule's failures are known for every document, so all of this is counting: nothing is drawn,
nothing is fitted, and the counts of two runs add up.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.rules.filter import MEASURES, Bounds, Filter, Rule

TENTH = Fraction(1, 10)
RULES_IN_WORD = 64

Counts = npt.NDArray[np.int64]


def together(failures: pl.DataFrame) -> Counts:
    """(rules, rules): documents that fail both; on the diagonal those that fail the one.

    `failures` has a Boolean column a rule. Documents that fail the same rules are counted as one
    row with a weight, so that a million documents cost no more than a few thousand.

    >>> together(pl.DataFrame({"words": [True, True], "lines": [False, True]})).tolist()
    [[2, 1], [1, 1]]
    """
    count = failures.width
    if not count or not failures.height:
        return np.zeros((count, count), dtype=np.int64)
    words = _words(failures)
    sets = words.group_by(words.columns).len()
    fails = np.empty((sets.height, count))
    for number in range(count):
        word, bit = divmod(number, RULES_IN_WORD)
        fails[:, number] = (sets[str(word)].to_numpy() >> np.uint64(bit)) & np.uint64(1)
    weighted = fails * sets["len"].to_numpy()[:, None]
    # whole numbers below 2^53: floating point adds them exactly, in any order
    both: Counts = (fails.T @ weighted).astype(np.int64)
    return both


def _words(failures: pl.DataFrame) -> pl.DataFrame:
    """The rules that each document fails as bits of a few integers."""
    words = [
        np.zeros(failures.height, dtype=np.uint64)
        for _ in range(-(-failures.width // RULES_IN_WORD))
    ]
    for number, failed in enumerate(failures):
        word, bit = divmod(number, RULES_IN_WORD)
        words[word] |= failed.to_numpy().astype(np.uint64) << np.uint64(bit)
    return pl.DataFrame({str(number): word for number, word in enumerate(words)})


def pairs(names: Sequence[str], both: Counts) -> list[dict[str, Any]]:
    """Two rules and how many documents fail both, in the order of rules; without those of none.

    `both` is what `together` counts, of some documents or added up.

    >>> failures = pl.DataFrame({"words": [True, True], "lines": [False, True]})
    >>> pairs(failures.columns, together(failures))
    [{'rule': 'words', 'other': 'lines', 'documents': 1}]
    """
    return [
        {"rule": names[i], "other": names[j], "documents": int(both[i, j])}
        for i, j in zip(*np.nonzero(np.triu(both, 1)), strict=True)
    ]


def applies(chosen: Filter, table: pl.DataFrame) -> dict[str, int]:
    """How many documents each rule can judge: of its languages, and with a value."""
    asked = []
    for name, rule in chosen.rules.items():
        has_value = pl.col(name).cast(pl.Float64).fill_nan(None).is_not_null()
        asked.append((has_value & rule.applies()).sum().alias(name))
    counts = table.select(asked).row(0, named=True) if asked else {}
    counts |= {} if chosen.urls is None else chosen.urls.judged(table)
    return counts if chosen.where is None else {**counts, "where": table.height}


def moves(
    chosen: Filter, table: pl.DataFrame, failures: pl.DataFrame
) -> dict[str, list[dict[str, Any]]]:
    """For each rule and each of its bounds: what the bound a tenth lower and higher would do.

    `failed` documents would fail the rule, `passed` would pass it and all other rules, which stay
    as they are. A rule's bounds by language move with its own; a bound of 0 has no tenth.

    >>> chosen, table = Filter(words={"low": 10}), pl.DataFrame({"words": [8, 9, 10, 11]})
    >>> moves(chosen, table, chosen.failures(table))["words"][0]
    {'side': 'low', 'change': -10, 'bound': 9.0, 'failed': 1, 'passed': 3}
    """
    asked = [move for name, rule in chosen.rules.items() for move in _moves_of(name, rule)]
    counts = np.zeros((len(asked), 2), dtype=np.int64)
    frame = pl.DataFrame([*table.select(list(chosen.rules)), *_no_other_fails(failures)])
    for lang, part in _by_language(chosen, table, frame):
        found = [move.counts(lang) for move in asked]
        counts += part.select(one for pair in found for one in pair).to_numpy().reshape(-1, 2)
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in failures.columns}
    for move, (failed, passed) in zip(asked, counts.tolist(), strict=True):
        told[move.name].append(
            {
                "side": move.side,
                "change": 10 * move.sign,
                "bound": getattr(move.rule, move.side),
                "failed": failed,
                "passed": passed,
            }
        )
    return told


@dataclass(frozen=True)
class Move:
    """A rule, one of whose bounds is a tenth lower (-1) or higher (1) than the recipe's."""

    name: str
    side: str
    sign: int
    rule: Rule

    def counts(self, lang: str | None) -> tuple[pl.Expr, pl.Expr]:
        """Documents of one language that would fail the rule; that would pass all rules."""
        bounds = self.rule if lang is None else self.rule.by_lang.get(lang, self.rule)
        value = pl.col(self.name).cast(pl.Float64).fill_nan(None)
        fails = [value < bounds.low] if bounds.low is not None else []
        fails += [value > bounds.high] if bounds.high is not None else []
        if not fails or (self.rule.langs is not None and lang not in self.rule.langs):
            fails = [pl.lit(value=False)]
        failed = pl.any_horizontal(fails).fill_null(value=False)
        passed = pl.col(_others(self.name)) & ~failed
        named = f"{self.name} {self.side} {self.sign}"
        return failed.sum().alias(f"{named} failed"), passed.sum().alias(f"{named} passed")


def _others(name: str) -> str:
    return f"passes all but {name}"


def _no_other_fails(failures: pl.DataFrame) -> list[pl.Series]:
    """For each rule, whether a document passes all others."""
    times = np.zeros(failures.height, dtype=np.int16)
    for failed in failures:
        times += failed.to_numpy()
    return [pl.Series(_others(f.name), times == f.to_numpy()) for f in failures]


def _by_language(
    chosen: Filter, table: pl.DataFrame, frame: pl.DataFrame
) -> Iterator[tuple[str | None, pl.DataFrame]]:
    """The rows of each language that a rule names, in which every rule has plain bounds; the rest.

    Looking up each document's bound by its language costs thirty times as much.
    """
    named = {
        lang for rule in chosen.rules.values() for lang in (*rule.by_lang, *(rule.langs or ()))
    }
    if not named:
        yield None, frame
        return
    lang = table["lang"].cast(pl.String)
    known = pl.when(lang.is_in(sorted(named))).then(lang)
    for (name,), part in frame.group_by(known.alias("lang")):
        yield name, part


def _moves_of(name: str, rule: Rule) -> Iterator[Move]:
    """The rule with one of its bounds, its own and all languages', a tenth lower and higher."""
    whole = MEASURES.get(name, pl.Float64()).is_integer()
    for side in ("low", "high"):
        for sign in (-1, 1):

            def change(bounds: Bounds, side: str = side, sign: int = sign) -> dict[str, Any]:
                bound = getattr(bounds, side)
                return {side: None if bound is None else away(bound, sign, whole=whole)}

            # model_copy does not validate: a low above a high is a bound that nothing passes
            others = {lang: b.model_copy(update=change(b)) for lang, b in rule.by_lang.items()}
            moved = rule.model_copy(update={**change(rule), "by_lang": others})
            if moved != rule:
                yield Move(name, side, sign, moved)


def away(bound: float, sign: int, *, whole: bool) -> float:
    """A bound a tenth lower (-1) or higher (1); of an integer measure the next integer beyond.

    >>> away(50, -1, whole=True), away(3, 1, whole=True), away(0.8, -1, whole=False)
    (45.0, 4.0, 0.72)
    """
    exact = Fraction(str(bound))
    exact += sign * abs(exact) * TENTH
    if whole:
        exact = Fraction(math.ceil(exact) if sign > 0 else math.floor(exact))
    return float(exact)
