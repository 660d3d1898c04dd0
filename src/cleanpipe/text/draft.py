"""Texts on their way through the fixes, and every change that was made to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

EXCERPT = 30

Rows = npt.NDArray[np.int64]
"""Ascending places in a column."""


class Step(NamedTuple):
    """One change that a fix made to a text."""

    fix: str
    how: str
    before: str
    after: str

    def __str__(self) -> str:
        """Where the text first changed, and from what to what."""
        pairs = zip(self.before, self.after, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        shown = slice(max(0, same - EXCERPT // 2), same + EXCERPT)
        how = f" ({self.how})" if self.how else ""
        change = f"{self.before[shown]!r} became {self.after[shown]!r}"
        return f"{self.fix}{how}: at character {same}, {change}"


@dataclass(frozen=True, slots=True)
class Change:
    """What one fix did to some of the texts, all of which it changed."""

    fix: str
    rows: Rows
    before: pl.Series
    after: pl.Series


class Draft:
    """A column of texts in which fixes replace single ones.

    `work` says which texts may hold work for a fix; one that any fix changes may hold some for all.

    >>> draft = Draft(pl.Series(["a", "b", "c"]), {})
    >>> draft.put("upper", np.array([0, 2]), pl.Series(["a", "C"])).tolist()
    [2]
    >>> draft.texts.to_list(), [change.fix for change in draft.changes]
    (['a', 'b', 'C'], ['upper'])
    """

    def __init__(self, texts: pl.Series, work: dict[str, npt.NDArray[np.bool_]]) -> None:
        self.texts = texts
        self.changes: list[Change] = []
        self._work = work

    def unseen(self, fix: str) -> Rows:
        """The rows that may hold work for a fix, but for those that it was given before."""
        rows: Rows = np.flatnonzero(self._work[fix])
        self._work[fix][rows] = False
        return rows

    def put(self, fix: str, rows: Rows, fixed: pl.Series) -> Rows:
        """Put the fixed texts in their rows; returns the rows that this changed."""
        before = self.texts[rows]
        differs = before != fixed
        changed: Rows = rows[differs.to_numpy()]
        if changed.size:
            change = Change(fix, changed, before.filter(differs), fixed.filter(differs))
            self.changes.append(change)
            self.texts = self.texts.clone().scatter(changed, change.after)
            for held in self._work.values():
                held[changed] = True
        return changed

    def take_back(self, hopeless: npt.NDArray[np.bool_], came: pl.Series, since: int) -> None:
        """Put some texts back to what they were, and forget all changes to them from `since` on."""
        rows = np.flatnonzero(hopeless)
        if not rows.size:
            return
        self.texts = self.texts.clone().scatter(rows, came[rows])
        kept = [(change, ~hopeless[change.rows]) for change in self.changes[since:]]
        self.changes[since:] = [
            Change(c.fix, c.rows[stay], c.before.filter(stay), c.after.filter(stay))
            for c, stay in kept
        ]

    def changed(self) -> Rows:
        """The rows that any fix has changed."""
        rows: Rows = np.unique(
            np.concatenate([np.zeros(0, np.int64), *(change.rows for change in self.changes)])
        )
        return rows

    def steps(self) -> Iterator[Step]:
        """All changes, text by text."""
        for change in self.changes:
            for before, after in zip(change.before, change.after, strict=True):
                yield Step(change.fix, "", before, after)


def as_arrow(texts: pl.Series) -> pa.LargeStringArray:
    """A column as the kernels take it."""
    return texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
