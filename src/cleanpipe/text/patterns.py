"""The fixes that look for something in a text, each applied only to texts that hold it."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.kernels import clean
from cleanpipe.text import markup, placeholders
from cleanpipe.text.draft import Draft, Rows
from cleanpipe.text.invisible import EXPLICIT, MARKS, ZERO_WIDTH, bidi, one_of, zero_width
from cleanpipe.text.placeholders import Pii, UnbrokenRuns


class Pattern(NamedTuple):
    """A fix, what a text must hold for it to change anything, and what it then does."""

    fix: str
    holds: str | Callable[[pl.Series], pl.Series]
    apply: Callable[[pl.Series], pl.Series]
    flag: int = 0
    """What the scan says of every text that `holds` is true of."""

    def found_in(self, texts: pl.Series) -> npt.NDArray[np.bool_]:
        """Which texts an expression matches, or a function names."""
        holds = self.holds
        found = texts.str.contains(holds) if isinstance(holds, str) else holds(texts)
        return found.to_numpy()

    def put(self, draft: Draft) -> Rows:
        """Apply it to the texts of a draft that it has not seen as they stand.

        Returns the rows that it changed.
        """
        rows = draft.unseen(self.fix)
        rows = rows[self.found_in(draft.texts[rows])]
        if not rows.size:
            return rows
        return draft.put(self.fix, rows, self.apply(draft.texts[rows]))


# They take away what stands between or around text. What is left may be work for ftfy.
REVEALING = (
    Pattern(
        "zero_width",
        one_of(ZERO_WIDTH),
        zero_width,
        clean.HAS_ZERO_WIDTH | clean.HAS_CONTROL,  # a byte order mark is a control to ftfy
    ),
    Pattern("bidi", one_of(f"{EXPLICIT} {MARKS}"), bidi, clean.HAS_DIRECTION),
    Pattern("html", markup.HTML, markup.html),
    Pattern("broken_entities", markup.BROKEN_ENTITY, markup.broken_entities),
)


def revealing(fixes: Collection[str]) -> list[Pattern]:
    """Those of REVEALING that are asked for."""
    return [pattern for pattern in REVEALING if pattern.fix in fixes]


def hiding(urls: str | None, pii: Pii | None, runs: UnbrokenRuns | None) -> Iterator[Pattern]:
    """The fixes that put a placeholder where something was."""
    if urls is not None:
        without = partial(placeholders.without_urls, placeholder=urls)
        yield Pattern("urls", placeholders.MAY_BE_URL, without)
    if pii is not None and pii.email is not None:
        yield Pattern("email", "@", pii.emails)
    if pii is not None and pii.ip is not None:
        yield Pattern("ip", r"[0-9]\.[0-9]", pii.ips)
    if runs is not None:
        yield Pattern("unbroken_runs", runs.may_hold, runs)
