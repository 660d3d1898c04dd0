"""The names of the fixes, and their order."""

from typing import Literal, get_args

from cleanpipe.nearest import did_you_mean
from cleanpipe.text.line_rules import LINE_FIXES

FixName = Literal[
    "encoding",
    "entities",
    "terminal_escapes",
    "control_characters",
    "newlines",
    "nfc",
    "nfkc",
    "zero_width",
    "bidi",
    "html",
    "broken_entities",
    "spaces",
    "blank_lines",
]
"""Fixes without options: `normalize.fixes` switches them."""

DEFAULT: tuple[FixName, ...] = (
    "encoding",
    "entities",
    "terminal_escapes",
    "control_characters",
    "newlines",
    "nfc",
    "spaces",
    "blank_lines",
)
"""The fixes of a recipe that names none: hardly anyone wants what they take away."""

WITH_OPTIONS = ("urls", "email", "ip", "unbroken_runs")
"""Fixes that their own options switch on, as do the line rules."""

_NAMES: tuple[FixName, ...] = get_args(FixName)

FIXES: tuple[str, ...] = (*_NAMES[:-2], *WITH_OPTIONS, *LINE_FIXES, *_NAMES[-2:])
"""All fixes, in the order of the bits in `Normalized.fixes` and of application.

ftfy's come first, in rounds of their own, since what they repair may be what the others look for;
then those that reveal text; then those that put placeholders in its place, addresses before runs,
so that a long address is an address; then the line rules; then `spaces`, and `blank_lines`, which
counts the lines that `spaces` has emptied and that a dropped line has left.
"""

SCHEMA = {
    "type": "array",
    "items": {"enum": [f"{sign}{name}" for sign in ("", "+", "-") for name in _NAMES]},
}
"""What JSON Schema can say of the lists that `with_signs` takes."""

BITS: dict[str, int] = {fix: 1 << place for place, fix in enumerate(FIXES)}


def in_order(fixes: tuple[FixName, ...]) -> tuple[FixName, ...]:
    """Each of the fixes once, in the one order; `nfkc` includes `nfc`.

    >>> in_order(("spaces", "nfkc", "nfc", "spaces"))
    ('nfkc', 'spaces')
    """
    included = {"nfc"} if "nfkc" in fixes else set()
    return tuple(fix for fix in _NAMES if fix in fixes and fix not in included)


def with_signs(given: object) -> object:
    """The fixes that a list of signed names asks for: the default, and more or fewer.

    Any other list, and what is no list, is left to validation as it is.

    >>> with_signs(["+html", "-spaces", "-newlines", "-nfc", "-encoding", "-control_characters"])
    ('entities', 'terminal_escapes', 'blank_lines', 'html')

    Raises:
        ValueError: if one of them is no fix.

    """
    if not isinstance(given, list | tuple) or not given:
        return given
    if not all(isinstance(name, str) and name[:1] in {"+", "-"} for name in given):
        return given
    fixes = dict.fromkeys(DEFAULT)
    for sign, name in ((name[0], name[1:]) for name in given):
        if name not in _NAMES:
            raise ValueError(f"there is no fix {name!r}{did_you_mean(name, _NAMES)}")
        fixes.pop(name, None)
        if sign == "+":
            fixes[name] = None
    return tuple(fixes)
