"""ftfy's question whether a text may be mojibake, asked of a whole column at once.

ftfy repairs the encoding of a text only if its BADNESS_RE matches somewhere in it. Here the same
expression is said in the syntax of Polars' regular expressions (Rust's `regex`), which answers for
about 500 MB/s a core where Python's `re` reads 15.
"""

import re
import sys
from functools import cache

import polars as pl
from ftfy.badness import BADNESS_RE

# One piece of a verbose Python expression. Anything that matches none of these is unknown.
PIECE = re.compile(
    r"""
      (?P<nothing> \s+ | \#[^\n]* )
    | (?P<operator> [|^?.] )
    | (?P<escape> \\[sw] )
    | \[ (?P<negated> \^? ) (?P<members> (?: (?!--) [^][\\] | \\x[0-9a-f]{2} )+ ) \]
    | (?P<literal> [A-Za-z0-9] | [^\x00-\x7f] )
    """,
    re.VERBOSE,
)
MEMBER = re.compile(r"\\x(?P<code>[0-9a-f]{2})|(?P<range>-)|(?P<character>.)", re.DOTALL)


@cache
def badness_in_rust() -> str:
    r"""BADNESS_RE for Polars: it matches where Python's does, and hardly ever elsewhere.

    `\s` is spelled out, since Python counts U+001C to U+001F as white space and Rust does not.
    `\w` is Rust's with all numbers added, which holds all that is a word character in Python, and
    marks besides: a text flagged in vain costs time, one missed would change the result.

    Raises:
        ValueError: if ftfy's expression holds something that this translation does not know.

    """
    return translated(BADNESS_RE)


def translated(expression: "re.Pattern[str]") -> str:
    r"""A verbose Python expression in Rust's syntax.

    >>> print(translated(re.compile("[a-z] [ÃÂ][ ]  # a comment", re.VERBOSE)))
    [\x{61}-\x{7a}][\x{c3}\x{c2}][\x{20}]
    """
    if expression.flags != re.VERBOSE | re.UNICODE:
        raise ValueError(
            f"the expression has flags {expression.flags}, expected VERBOSE and UNICODE alone: "
            f"translate the new flag in {__name__}, or pin ftfy to the last version that worked"
        )
    pattern, position, pieces = expression.pattern, 0, []
    while position < len(pattern):
        piece = PIECE.match(pattern, position)
        if piece is None:
            raise ValueError(
                f"the expression holds {pattern[position : position + 20]!r} at {position}, which "
                f"has no translation: add it to {__name__}, or pin ftfy to the last version that "
                "worked"
            )
        pieces.append(_rust(piece))
        position = piece.end()
    return "".join(pieces)


def _rust(piece: "re.Match[str]") -> str:
    if piece["nothing"]:
        return ""
    if piece["operator"]:
        return piece["operator"]
    if piece["escape"]:
        return _white_space() if piece["escape"] == r"\s" else r"[\w\pN]"
    if piece["literal"]:
        return _escaped(piece["literal"])
    return f"[{piece['negated']}{''.join(_member(m) for m in MEMBER.finditer(piece['members']))}]"


def _member(member: "re.Match[str]") -> str:
    if member["range"]:
        return "-"
    return _escaped(chr(int(member["code"], 16)) if member["code"] else member["character"])


def _escaped(character: str) -> str:
    return rf"\x{{{ord(character):x}}}"


@cache
def _white_space() -> str:
    r"""Python's `\s`, which is `str.isspace`, code point by code point."""
    spaces = (character for character in map(chr, range(sys.maxunicode + 1)) if character.isspace())
    return f"[{''.join(map(_escaped, spaces))}]"


def may_be_mojibake(texts: pl.Series) -> pl.Series:
    """Whether ftfy would look at the encoding of each text; one Boolean each.

    >>> may_be_mojibake(pl.Series(["schön", "schÃ¶n"])).to_list()
    [False, True]
    """
    return texts.str.contains(badness_in_rust())
