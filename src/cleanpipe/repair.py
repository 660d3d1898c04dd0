"""One text and ftfy: its options, its patience, and what it did."""

import unicodedata
from collections.abc import Collection, Iterator
from itertools import takewhile
from typing import Any, NamedTuple, Self

import ftfy

# The fix behind a step of ftfy's explanations; all other steps are about the encoding.
FIX_OF_STEP = {
    "unescape_html": "entities",
    "remove_terminal_escapes": "terminal_escapes",
    "remove_control_chars": "control_characters",
    "fix_line_breaks": "newlines",
    "NFC": "nfc",
}

# ftfy repeats itself until nothing changes, and texts can be built in which a pass changes one
# character: "Ã" and then a million "ƒ" take a day. Real text was seen to take at most 8.
MOST_PASSES = 64

EXCERPT = 30


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


class Repair(NamedTuple):
    """What became of a text, and ftfy's account of it."""

    before: str
    after: str
    plan: list[ftfy.ExplanationStep]

    def fixes(self) -> set[str]:
        """The fixes that changed the text."""
        if any(step.action == "transcode" for step in self.plan):
            # Such a step may have changed nothing: U+FFFD becomes U+FFFD, U+009D stays U+009D.
            return {step.fix for step in self.steps()}
        return {FIX_OF_STEP.get(step.parameter, "encoding") for step in self.plan}

    def steps(self) -> Iterator[Step]:
        """The changes, one by one: ftfy's plan once more."""
        text, value = self.before, self.before
        how: list[str] = []
        for action, name in self.plan:
            if action == "normalize":
                value = unicodedata.normalize("NFC", value)
            else:
                value = ftfy.apply_plan(value, [(action, name)])  # bytes between encode and decode
            fix = FIX_OF_STEP.get(name, "encoding")
            if fix == "encoding":
                how.append(name if action == "apply" else f"{action} {name}")
            if isinstance(value, str):
                if value != text:
                    yield Step(fix, ", ".join(how), text, value)
                text = value
                how.clear()


class ImpatientError(Exception):
    """ftfy wants more than MOST_PASSES passes over one text."""


class PatientConfig(ftfy.TextFixerConfig):
    """ftfy's options, which count how often they are asked and stop a text that never settles.

    Every round of ftfy reads `fix_line_breaks`. Within a round, a pass over the encoding reads
    `decode_inconsistent_utf8`, or decodes the text as a whole, which leaves half as many non-ASCII
    characters and so ends by itself.
    """

    patience: Iterator[int]

    def _replace(self, **changes: Any) -> Self:
        config = super()._replace(**changes)
        config.patience = self.patience
        return config

    def _lose_patience(self) -> None:
        if next(self.patience, None) is None:
            raise ImpatientError

    @property
    def fix_line_breaks(self) -> bool:
        self._lose_patience()
        return super().fix_line_breaks

    @property
    def decode_inconsistent_utf8(self) -> bool:
        self._lose_patience()
        return super().decode_inconsistent_utf8


def options(fixes: Collection[str]) -> PatientConfig:
    """The fixes as ftfy's options, good for one text."""
    config = PatientConfig(
        unescape_html="auto" if "entities" in fixes else False,
        remove_terminal_escapes="terminal_escapes" in fixes,
        fix_encoding="encoding" in fixes,
        restore_byte_a0="encoding" in fixes,
        replace_lossy_sequences="encoding" in fixes,
        decode_inconsistent_utf8="encoding" in fixes,
        fix_c1_controls="encoding" in fixes,
        # These three change typography and East Asian widths, which are no damage.
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks="newlines" in fixes,
        remove_control_chars="control_characters" in fixes,
        normalization="NFC" if "nfc" in fixes else None,
    )
    config.patience = iter(range(MOST_PASSES))
    return config


def repair(text: str, fixes: Collection[str]) -> Repair | None:
    """What ftfy makes of a text; None if it asks for more than MOST_PASSES passes.

    >>> repair("fÃ¼r", ["encoding"])
    Repair(before='fÃ¼r', after='für', plan=[('encode', 'latin-1'), ('decode', 'utf-8')])
    """
    try:
        after, plan = ftfy.fix_and_explain(text, options(fixes))
    except ImpatientError:
        return None
    return Repair(text, after, plan or [])


def repair_singly(text: str, fixers: Collection[str]) -> Repair:
    r"""The text after some of ftfy's fixers, each applied once, in the order given.

    >>> repair_singly("a\r\n", ["fix_line_breaks", "remove_control_chars"])
    Repair(before='a\r\n', after='a\n', plan=[('apply', 'fix_line_breaks')])
    """
    plan, after = [], text
    for fixer in fixers:
        before, after = after, ftfy.FIXERS[fixer](after)
        if after != before:
            plan.append(ftfy.ExplanationStep("apply", fixer))
    return Repair(text, after, plan)
