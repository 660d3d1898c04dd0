r"""The fixes: what is wrong or unwanted in the text of documents, put right in one fixed order.

First come ftfy's fixes, with exactly the result of `ftfy.fix_and_explain` (repair.py); then
patterns, each a function of its own that sees only the texts that hold what it looks for
(patterns.py); then rules about lines (line_rules.py) and white space, by kernels. One fix can open
the way to another (without its tags, a text's entities are read), so a text that changed goes round
again until nothing changes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, field_validator

from cleanpipe.kernels import clean
from cleanpipe.plain import refuse_lone_surrogates
from cleanpipe.text import white_space
from cleanpipe.text.draft import Draft, Rows, Step, as_arrow
from cleanpipe.text.fixes import BITS, DEFAULT, FIXES, SCHEMA, FixName, in_order, with_signs
from cleanpipe.text.line_rules import LINE_FIXES, Lines
from cleanpipe.text.patterns import Pattern, hiding, revealing
from cleanpipe.text.placeholders import Off, Pii, UnbrokenRuns, UrlPlaceholder, off_if_false
from cleanpipe.text.repair import (
    MOST_PASSES,
    Flags,
    could_change,
    how_decoded,
    look,
    repair,
)
from cleanpipe.text.white_space import squeeze

ROUNDS = 8
"""So often the fixes go over a document that they go on changing; real text needs two or three."""


@dataclass(frozen=True, slots=True)
class Normalized:
    """What `Normalize.apply` returns."""

    texts: pa.LargeStringArray
    """The clean texts: the very array that came in, if nothing changed."""
    fixes: npt.NDArray[np.uint32]
    """The fixes that changed each document: bit i stands for FIXES[i]."""
    unsettled: npt.NDArray[np.bool_]
    """Documents on which ftfy would be at work for hours: its fixes left them as they came."""
    words: npt.NDArray[np.int64]
    """The words of each document before the line rules; 0 where these are off."""
    removed: npt.NDArray[np.int64]
    """How many of them the line rules removed."""

    @property
    def removed_word_frac(self) -> npt.NDArray[np.float64]:
        """The share of each document's words that the line rules removed."""
        removed = np.minimum(self.removed, self.words)
        return removed / np.maximum(self.words, 1)


def _null_is_off(value: object) -> object:
    return {} if value is None or value is False else value


class Normalize(BaseModel):
    r"""Repair the characters, the lines and the white space of texts.

    >>> Normalize().apply(pa.array(["schÃ¶n &amp; gut  \r\n"], pa.large_string())).texts.to_pylist()
    ['schön & gut']
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    fixes: Annotated[
        tuple[FixName, ...],
        BeforeValidator(with_signs),
        WithJsonSchema(SCHEMA, mode="validation"),
    ] = DEFAULT
    """The fixes to apply, in any order; or changes to the default, such as [+html, -spaces].

    On by default:

    - `encoding`: text decoded with the wrong encoding (mojibake) is decoded anew, and the controls
      U+0080 to U+009F become what Windows-1252 means by them. Rarely wrong, where unusual
      typography looks like mojibake.
    - `entities`: `&eacute;` becomes `é`, unless a `<` shows that the text is HTML or code.
    - `terminal_escapes`: colours and cursor movements (ESC [ ... letter) go.
    - `control_characters`: those without a visible effect go, the byte order mark among them.
    - `newlines`: CR LF, CR, U+0085, U+2028 and U+2029 become a line feed.
    - `nfc`: Unicode's composed form, so that equal texts are equal bytes.
    - `spaces`: blanks (spaces and tabs) at the end of a line go, two or more within a line become
      one space; indentation stays. This flattens tables that are aligned with spaces.
    - `blank_lines`: two or more empty lines become one; newlines at the start of the text and all
      blanks and newlines at its end go.

    On request:

    - `nfkc`: Unicode's compatible form, in place of `nfc`, which it includes. Distinctions are
      lost: x² becomes x2, ﬁ becomes fi, an ellipsis three full stops, full width forms ASCII.
    - `zero_width`: soft hyphens, zero width spaces and joiners, variation selectors and tags go
      where no emoji and no script needs them.
    - `bidi`: controls of writing direction go, but for marks in text written from right to left.
    - `html`: tags and comments go; blocks become lines. Text about HTML suffers.
    - `broken_entities`: `#39;s` and `amp;T`, which lost their `&`, are read where that is safe.
    """
    urls: Annotated[
        UrlPlaceholder | None, BeforeValidator(off_if_false, json_schema_input_type=str | Off)
    ] = None
    """What stands for a web address; the empty text removes it. Left out, or null or false, they
    stay."""
    pii: Annotated[Pii | None, BeforeValidator(off_if_false, json_schema_input_type=Pii | Off)] = (
        None
    )
    """Personal data replaced, such as {email: "<EMAIL>", ip: "<IP>"}; null and false leave
    it."""
    unbroken_runs: Annotated[
        UnbrokenRuns | None,
        BeforeValidator(off_if_false, json_schema_input_type=UnbrokenRuns | Off),
    ] = None
    """Long stretches without white space removed, such as {longer_than: 1000}; null and
    false leave them."""
    lines: Annotated[
        Lines,
        BeforeValidator(_null_is_off, json_schema_input_type=Lines | Literal[False] | None),
    ] = Lines()
    """Rules that cut and drop lines, after all fixes of characters; off unless given."""

    @field_validator("fixes")
    @classmethod
    def _in_order(cls, fixes: tuple[FixName, ...]) -> tuple[FixName, ...]:
        return in_order(fixes)

    @cached_property
    def _revealing(self) -> list[Pattern]:
        return revealing(self.fixes)

    @cached_property
    def _hiding(self) -> list[Pattern]:
        return list(hiding(self.urls, self.pii, self.unbroken_runs))

    def apply(self, texts: pa.LargeStringArray) -> Normalized:
        """Apply the fixes to many texts, none of them null.

        A document that needs nothing costs one scan of its bytes, one of each pattern that is on,
        and at most one copy.
        """
        return self._apply(texts, ROUNDS)

    def _apply(self, texts: pa.LargeStringArray, rounds: int) -> Normalized:
        found = look(texts, self.fixes)
        fixes = np.zeros(len(texts), np.uint32)
        unsettled = np.zeros(len(texts), np.bool_)
        draft, rows, hopeless = self._fix(texts, found)
        unsettled[rows[hopeless]] = True
        for change in draft.changes:
            fixes[rows[change.rows]] |= BITS[change.fix]
        touched = draft.changed()
        repaired = rows[touched], draft.texts[touched]
        squeezing = white_space.flags(self.fixes)
        dirty = (found & squeezing) != 0
        dirty[repaired[0]] = squeezing != 0
        words = removed = np.zeros(len(texts), np.int64)
        if self.lines:
            texts, _ = squeeze(texts, (), np.zeros_like(dirty), *repaired)
            repaired = white_space.NO_ROWS, white_space.NO_TEXTS
            ruled = self.lines.apply(texts)
            texts, words, removed = ruled.texts, ruled.words, ruled.removed
            fixes |= ruled.fixes << np.uint32(FIXES.index(LINE_FIXES[0]))
            dirty |= (ruled.fixes != 0) & (squeezing != 0)
        texts, squeezed = squeeze(texts, self.fixes, dirty, *repaired)
        fixes[(squeezed & clean.SQUEEZED_SPACES) != 0] |= BITS["spaces"]
        fixes[(squeezed & clean.SQUEEZED_LINES) != 0] |= BITS["blank_lines"]
        done = Normalized(texts, fixes, unsettled, words, removed)
        again = np.flatnonzero(self._may_go_on(fixes, squeezed) & ~unsettled)
        return self._again(done, again, rounds - 1) if again.size and rounds > 1 else done

    def _may_go_on(
        self, fixes: npt.NDArray[np.uint32], squeezed: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.bool_]:
        """Which documents a second round could change: ftfy's fixes alone need none."""
        if self._revealing or self._hiding or self.lines:
            return np.not_equal(fixes, 0)
        beside: npt.NDArray[np.bool_] = (squeezed & clean.SQUEEZED_BESIDE) != 0
        return beside if "encoding" in self.fixes else np.zeros_like(beside)

    def _again(self, done: Normalized, rows: Rows, rounds: int) -> Normalized:
        """What became of the texts, with some of them fixed once more."""
        some = done.texts.take(pa.array(rows))
        more = self._apply(some, rounds)
        done.fixes[rows] |= more.fixes
        done.unsettled[rows] |= more.unsettled
        done.removed[rows] += more.removed
        if more.texts is some:
            return done
        mask = np.zeros(len(done.texts), np.bool_)
        mask[rows] = True
        texts = pc.replace_with_mask(done.texts, pa.array(mask), more.texts)
        return replace(done, texts=texts)

    def explain(self, text: str) -> list[str]:
        """What each fix did to one text, a line a change, in the order they were made.

        >>> for line in Normalize().explain("fÃ¼r  &amp;"):
        ...     print(line)
        entities: at character 7, 'fÃ¼r  &amp;' became 'fÃ¼r  &'
        encoding (encode latin-1, decode utf-8): at character 1, 'fÃ¼r  &' became 'für  &'
        spaces: at character 4, 'für  &' became 'für &'
        """
        lines: list[str] = []
        for _ in range(ROUNDS):
            before, hopeless = text, False
            for step in self._steps(text):
                hopeless |= step.fix == "unsettled"
                lines.append(str(step) if step.fix != "unsettled" else f"unsettled: {step.how}")
                text = step.after
            if hopeless or text == before:
                break
        return lines

    def _steps(self, text: str) -> Iterator[Step]:
        """One round over one text."""
        texts = pa.array([text], pa.large_string())
        draft, _, hopeless = self._fix(texts, look(texts, self.fixes))
        if hopeless.any():
            how = f"{MOST_PASSES} passes of ftfy over the text do not suffice"
            yield Step("unsettled", how, text, text)
        for step in draft.steps():
            yield from how_decoded(step) if step.fix == "encoding" else [step]
            text = step.after
        for step in self.lines.steps(text):
            yield step
            text = step.after
        for fix in ("spaces", "blank_lines"):
            if fix in self.fixes:
                texts = pa.array([text], pa.large_string())
                before, text = text, squeeze(texts, (fix,), np.ones(1, np.bool_))[0][0].as_py()
                if text != before:
                    yield Step(fix, "", before, text)

    def _fix(
        self, texts: pa.LargeStringArray, found: Flags
    ) -> tuple[Draft, Rows, npt.NDArray[np.bool_]]:
        """All fixes but white space.

        Returns a draft of the texts that they could change, their rows, and which ftfy gave up.
        """
        column = pl.Series(pl.from_arrow(texts))
        due = could_change(found, self.fixes)
        work = {}
        for pattern in (*self._revealing, *self._hiding):
            flagged = (found & pattern.flag) != 0
            work[pattern.fix] = flagged if pattern.flag else pattern.found_in(column)
            due |= work[pattern.fix]
        rows = np.flatnonzero(due)
        draft = Draft(column[rows], {fix: held[rows] for fix, held in work.items()})
        found = found[rows]
        hopeless = np.zeros(len(rows), np.bool_)
        # Before anything is hidden, since the "<" of a placeholder would keep entities from ftfy.
        for _ in range(ROUNDS):
            hopeless |= repair(draft, found, self.fixes)
            changed = [pattern.put(draft) for pattern in self._revealing]
            again = np.unique(np.concatenate([white_space.NO_ROWS, *changed]))
            again = again[~hopeless[again]]
            if not again.size:
                break
            found = np.zeros(len(rows), np.int32)
            found[again] = look(as_arrow(draft.texts[again]), self.fixes)
        for pattern in self._hiding:
            pattern.put(draft)
        return draft, rows, hopeless


def _series(texts: list[str | None]) -> pl.Series:
    try:
        return pl.Series(texts, dtype=pl.String)
    except UnicodeEncodeError:
        refuse_lone_surrogates(texts)
        raise


def normalize(
    texts: Iterable[str | None] | pl.Series, fixes: Iterable[str] = DEFAULT, **options: Any
) -> pl.Series:
    r"""The texts with the default fixes applied, or with those that `fixes` names; null stays null.

    `options` are those of a recipe's `normalize`: urls, pii, unbroken_runs.

    >>> normalize(["schÃ¶n", "a  b \r\n\r\n", "&lt;b&gt;"]).to_list()
    ['schön', 'a b', '<b>']
    >>> normalize(["a  b &amp; c"], fixes=["entities"]).to_list()
    ['a  b & c']
    >>> normalize(["<br>by me@a.org"], fixes=["+html"], pii={"email": "<EMAIL>"}).to_list()
    ['by <EMAIL>']

    Raises:
        TypeError: if `texts` is a Series of anything but strings.
        ValueError: if a text has a lone surrogate, which UTF-8 cannot hold.
        pydantic.ValidationError: if a fix has no such name.

    """
    series = texts if isinstance(texts, pl.Series) else _series(list(texts))
    if series.dtype != pl.String:
        raise TypeError(f"texts are {series.dtype}, expected String: cast the Series first")
    array = series.rechunk().fill_null("").to_arrow(compat_level=pl.CompatLevel.oldest())
    model = Normalize.model_validate({"fixes": tuple(fixes)} | options)
    clean_texts = pl.Series(series.name, model.apply(array).texts)
    return clean_texts.set(series.is_null(), None)
