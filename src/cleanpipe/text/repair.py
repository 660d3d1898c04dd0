"""ftfy's fixes over a column of texts: its fixers, its order and rounds, each where it can act.

`ftfy.fix_and_explain` applies its fixers one after another, and again until a whole round changes
nothing; each looks at the whole text in Python, at 2 to 5 MB/s in all. Here the same rounds go over
many texts at once, and a fixer sees a text only if a scan of the text as it stands says that the
fixer could change it. A fixer that could not is the identity, so the result is ftfy's.
"""

import unicodedata
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from typing import Any, Literal, NamedTuple, Self

import ftfy
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from ftfy.chardata import CONTROL_CHARS

from cleanpipe.kernels import clean
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.make_unicode import code_points
from cleanpipe.text.draft import Draft, Step, as_arrow
from cleanpipe.text.invisible import EXPLICIT, MARKS, ZERO_WIDTH
from cleanpipe.text.mojibake import may_be_mojibake

# ftfy repeats itself until nothing changes, and texts can be built in which a pass changes one
# character: "Ã" and then a million "ƒ" take a day. Real text was seen to take at most 8.
MOST_PASSES = 64

# What `look` finds besides the flags of the scan.
MAY_BE_MOJIBAKE = 1 << 16

FLAGS = {
    "encoding": MAY_BE_MOJIBAKE | clean.HAS_C1,
    "entities": clean.HAS_ENTITY,
    "terminal_escapes": clean.HAS_ESCAPE,
    "control_characters": clean.HAS_CONTROL,
    "newlines": clean.HAS_LINE_BREAK,
    "nfc": clean.MAY_NOT_BE_NFC,
    "nfkc": clean.MAY_NOT_BE_NFC,
}
"""What `look` must have found for ftfy to change anything by each fix."""

ENDLESS = clean.MAY_NOT_BE_NFC | clean.HAS_LONG_MARKS
"""Flags of a text that would take minutes or days to compose."""

Flags = npt.NDArray[np.int32]
Texts = Callable[[pl.Series], pl.Series]


class Fixer(NamedTuple):
    """One of ftfy's fixers: the fix that it belongs to, what calls for it, what it does."""

    fix: str
    flag: int
    apply: Texts


class ImpatientError(Exception):
    """ftfy wants more than MOST_PASSES passes over one text."""


class PatientConfig(ftfy.TextFixerConfig):
    """ftfy's options, which stop a text that never settles.

    A pass over the encoding reads `decode_inconsistent_utf8`, or decodes the text as a whole, which
    leaves half as many non-ASCII characters and so ends by itself.
    """

    patience: Iterator[int]

    def _replace(self, **changes: Any) -> Self:
        config = super()._replace(**changes)
        config.patience = self.patience
        return config

    @property
    def decode_inconsistent_utf8(self) -> bool:
        if next(self.patience, None) is None:
            raise ImpatientError
        return super().decode_inconsistent_utf8


def look(texts: pa.LargeStringArray, fixes: Collection[str]) -> Flags:
    """What could be changed in each text: the flags of `clean.scan`, and MAY_BE_MOJIBAKE."""
    form = form_of(fixes)
    found = clean.scan(*text_buffers(texts), code_point_classes(form or "NFC"))
    if "encoding" in fixes:
        rows = np.flatnonzero(found & clean.HAS_NON_ASCII)
        bad = may_be_mojibake(pl.Series(pl.from_arrow(texts))[rows]).to_numpy()
        found[rows[bad]] |= MAY_BE_MOJIBAKE
    if form is not None:
        for row in np.flatnonzero((found & ENDLESS) == clean.MAY_NOT_BE_NFC).tolist():
            if unicodedata.is_normalized(form, texts[row].as_py()):
                found[row] &= ~clean.MAY_NOT_BE_NFC
    return found


def could_change(found: Flags, fixes: Collection[str]) -> npt.NDArray[np.bool_]:
    """Whether ftfy could change each text, by what `look` found in it."""
    wanted = 0
    for fix in fixes:
        wanted |= FLAGS.get(fix, 0)
    # ftfy leaves entities alone wherever the text holds a "<".
    html = (found & clean.HAS_LESS_THAN) != 0
    due: npt.NDArray[np.bool_] = (np.where(html, found & ~clean.HAS_ENTITY, found) & wanted) != 0
    return due


def repair(draft: Draft, found: Flags, fixes: Collection[str]) -> npt.NDArray[np.bool_]:
    """Do to each text what `ftfy.fix_and_explain` does; `found` is what `look` says of them.

    Returns which texts would keep ftfy at work for hours: they are left as they came.
    """
    came, since, found = draft.texts.clone(), len(draft.changes), found.copy()
    html = (found & clean.HAS_LESS_THAN) != 0
    active, hopeless = np.ones(len(came), np.bool_), np.zeros(len(came), np.bool_)
    decode = _Decoder(len(came))
    for _ in range(MOST_PASSES):
        start, touched = draft.texts.clone(), np.zeros(len(came), np.bool_)
        for fix, flag, apply in fixers(fixes):
            due = active & ~hopeless & ((found & flag) != 0)
            if fix == "entities":
                due &= ~html
            if flag == clean.MAY_NOT_BE_NFC:
                hopeless |= due & ((found & ENDLESS) == ENDLESS)
                due &= ~hopeless
            rows = np.flatnonzero(due)
            if not rows.size:
                continue
            if flag == MAY_BE_MOJIBAKE:
                fixed = decode(draft.texts[rows], rows)
                hopeless |= decode.gave_up
            else:
                fixed = apply(draft.texts[rows])
            rows = draft.put(fix, rows, fixed)
            found[rows] = look(as_arrow(draft.texts[rows]), fixes)
            touched[rows] = True
        rows = np.flatnonzero(touched)
        active = np.zeros(len(came), np.bool_)
        active[rows] = (start[rows] != draft.texts[rows]).to_numpy()
        if not active.any():
            break
    hopeless |= active
    draft.take_back(hopeless, came, since)
    return hopeless


class _Decoder:
    """The encoding put right, text by text, with patience for MOST_PASSES passes over each."""

    def __init__(self, texts: int) -> None:
        self.gave_up = np.zeros(texts, np.bool_)
        self._patience: dict[int, Iterator[int]] = {}

    def __call__(self, texts: pl.Series, rows: npt.NDArray[np.int64]) -> pl.Series:
        decoded = [self._decoded(*one) for one in zip(texts, rows.tolist(), strict=True)]
        return pl.Series(decoded, dtype=pl.String)

    def _decoded(self, text: str, row: int) -> str:
        patience = self._patience.setdefault(row, iter(range(MOST_PASSES)))
        try:
            return ftfy.fix_encoding_and_explain(text, _options(patience)).text
        except ImpatientError:
            self.gave_up[row] = True
            return text


def _options(patience: Iterator[int]) -> PatientConfig:
    """All of ftfy's options for the encoding on; `fix_text` would ignore three of them."""
    config = PatientConfig()
    config.patience = patience
    return config


def fixers(fixes: Collection[str]) -> Iterator[Fixer]:
    """Ftfy's fixers for these fixes, in ftfy's order."""
    if "entities" in fixes:
        yield Fixer("entities", clean.HAS_ENTITY, _each(ftfy.fixes.unescape_html))
    if "encoding" in fixes:
        yield Fixer("encoding", MAY_BE_MOJIBAKE, lambda texts: texts)  # see _Decoder
        yield Fixer("encoding", clean.HAS_C1, _each(ftfy.fixes.fix_c1_controls))
    if "newlines" in fixes:
        yield Fixer("newlines", clean.HAS_LINE_BREAK, line_breaks)
    if "terminal_escapes" in fixes:
        escapes = _each(ftfy.fixes.remove_terminal_escapes)
        yield Fixer("terminal_escapes", clean.HAS_ESCAPE, escapes)
    if "control_characters" in fixes:
        yield Fixer("control_characters", clean.HAS_CONTROL, without_controls)
    if form := form_of(fixes):
        fix = form.lower()
        yield Fixer(fix, clean.MAY_NOT_BE_NFC, _each(partial(unicodedata.normalize, form)))


def _each(fixer: Callable[[str], str]) -> Texts:
    return lambda texts: pl.Series([fixer(text) for text in texts], dtype=pl.String)


def line_breaks(texts: pl.Series) -> pl.Series:
    r"""Ftfy's `fix_line_breaks`.

    >>> line_breaks(pl.Series(["a\r\nb\rc\u2028d\u2029e\x85f\n\r"])).to_list()
    ['a\nb\nc\nd\ne\nf\n\n']
    """
    return texts.str.replace_all("\r\n?|[\u2028\u2029\x85]", "\n")


def without_controls(texts: pl.Series) -> pl.Series:
    r"""Ftfy's `remove_control_chars`.

    >>> without_controls(pl.Series(["\ufeffa\x00b\tc"])).to_list()
    ['ab\tc']
    """
    controls = "".join(rf"\x{{{code:x}}}" for code in CONTROL_CHARS)
    return texts.str.replace_all(f"[{controls}]", "")


def form_of(fixes: Collection[str]) -> Literal["NFC", "NFKC"] | None:
    """The normalization form that is asked for; NFKC includes NFC."""
    return "NFKC" if "nfkc" in fixes else "NFC" if "nfc" in fixes else None


@cache
def code_point_classes(form: Literal["NFC", "NFKC"] = "NFC") -> npt.NDArray[np.uint8]:
    """What each code point means to the scan; made in 0.1 s, once a process."""
    return clean.code_point_classes(
        CONTROL_CHARS, code_points(ZERO_WIDTH), code_points(f"{EXPLICIT} {MARKS}"), form
    )


def how_decoded(step: Step) -> Iterator[Step]:
    """Ftfy's account of a step of `encoding`, part by part.

    >>> [str(part) for part in how_decoded(Step("encoding", "", "fÃ¼r", "für"))]
    ["encoding (encode latin-1, decode utf-8): at character 1, 'fÃ¼r' became 'für'"]
    """
    text: str = step.before
    value: Any = text  # bytes between encode and decode
    how: list[str] = []
    fixed, plan = ftfy.fix_encoding_and_explain(text, _options(iter(range(MOST_PASSES))))
    if fixed != step.after:
        plan = [ftfy.ExplanationStep("apply", "fix_c1_controls")]
    for action, name in plan or ():
        value = ftfy.apply_plan(value, [(action, name)])
        how.append(name if action == "apply" else f"{action} {name}")
        if isinstance(value, str):
            if value != text:
                yield Step(step.fix, ", ".join(how), text, value)
            text = value
            how.clear()
