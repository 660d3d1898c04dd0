r"""Characters that show nothing: removed where they do nothing, kept where a script needs them.

Which are needed where is said in the Unicode Standard 15.0, sections 23.2 (layout controls), 23.4
(variation selectors) and 23.9 (tags), in UTS #51 (emoji), and for the two joiners in RFC 5892,
appendix A. That invisible characters also hide code is told by Boucher and Anderson, "Trojan
Source" (arXiv 2111.00169).
"""

import polars as pl

from cleanpipe.kernels.make_unicode import code_points

ZERO_WIDTH = "AD 180E 200B-200D 2060-2064 FE00-FE0F FEFF E0001 E0020-E007F E0100-E01EF"
"""Soft hyphen, Mongolian vowel separator, zero width space and joiners, word joiner and invisible
mathematics, variation selectors, byte order mark, tags, variation selectors of ideographs."""
EXPLICIT = "202A-202E 2066-2069"
"""Embeddings, overrides and isolates: they change the order of display, not that of reading."""
MARKS = "200E 200F 61C"
"""Left-to-right, right-to-left and Arabic letter mark."""

# Scripts whose letters join or form conjuncts: a joiner beside them changes what is shown.
_JOINING = "".join(
    rf"\p{{scx={script}}}"
    for script in (
        *("Adlam", "Arabic", "Hanifi_Rohingya", "Mandaic", "Manichaean", "Nko", "Phags_Pa"),
        *("Sogdian", "Syriac", "Bengali", "Brahmi", "Chakma", "Devanagari", "Grantha", "Gujarati"),
        *("Gurmukhi", "Kaithi", "Kannada", "Malayalam", "Meetei_Mayek", "Modi", "Newa", "Oriya"),
        *("Saurashtra", "Sharada", "Siddham", "Sinhala", "Sundanese", "Takri", "Tamil", "Telugu"),
        "Tirhuta",
    )
)
# Scripts that are written without spaces: a zero width space parts their words.
_UNSPACED = r"\p{Thai}\p{Lao}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Viet}\p{Ahom}"
# Scripts that are both.
_BOTH = r"\p{Balinese}\p{Cham}\p{Javanese}\p{Khmer}\p{Lepcha}\p{Myanmar}\p{Tai_Tham}\p{Tibetan}"
_MONGOLIAN = r"\x{1807}\x{1820}-\x{18AA}"
_EMOJI = r"\p{Extended_Pictographic}[\x{1F3FB}-\x{1F3FF}]?[\x{FE0E}\x{FE0F}]?"
_SELECTORS = r"\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}"


def _beside(letters: str, invisible: str) -> str:
    """A stretch of letters with something invisible among them and at both ends.

    Of that at most three in a row, as in Arabic's joiner, non-joiner, joiner; without a bound, an
    expression would read long runs again and again.
    """
    few = f"{invisible}{{0,3}}"
    return f"{few}[{letters}](?:{few}[{letters}])*{few}"


_NOTHING_SHOWN = (
    rf"\x{{AD}}\x{{180E}}\x{{200B}}-\x{{200F}}\x{{2060}}-\x{{206F}}{_SELECTORS}"
    r"\x{E0000}-\x{E007F}"
)

_NEEDED = "|".join(
    (
        r"\x{1F3F4}[\x{E0020}-\x{E007E}]+\x{E007F}",  # the flag of Wales
        rf"{_EMOJI}(?:\x{{200D}}{_EMOJI})*",
        rf"[{_MONGOLIAN}][{_MONGOLIAN}\x{{180B}}-\x{{180F}}\x{{200C}}\x{{200D}}]*",
        _beside(_BOTH, r"[\x{200B}-\x{200D}]"),
        _beside(_UNSPACED, r"\x{200B}"),
        _beside(_JOINING, r"[\x{200C}\x{200D}]"),
        r"\p{Han}[\x{E0100}-\x{E01EF}]",  # a variant of the character
        rf"[^\s{_NOTHING_SHOWN}][\x{{FE00}}-\x{{FE0F}}]",
        r"\x{AD}(?:\s|\z)",  # shown as a hyphen
    )
)

_RIGHT_TO_LEFT = (
    r"[\pL&&[\p{Hebrew}\p{Arabic}\p{Syriac}\p{Thaana}\p{Nko}\p{Samaritan}\p{Mandaic}\p{Adlam}"
    r"\p{Mende_Kikakui}\x{10800}-\x{10FFF}]]"
)


def one_of(ranges: str) -> str:
    r"""An expression for one of these code points.

    >>> print(one_of("61C 2066-2067"))
    [\x{61c}\x{2066}\x{2067}]
    """
    members = (rf"\x{{{code:x}}}" for code in sorted(code_points(ranges)))
    return f"[{''.join(members)}]"


def zero_width(texts: pl.Series) -> pl.Series:
    r"""Remove what has no width, but for what an emoji or a script needs where it stands.

    - The zero width space stays beside Thai, Lao, Khmer, Burmese, Tibetan and their kin.
    - The joiners stay beside letters of joining and Indic scripts, and within emoji.
    - The soft hyphen goes within a line, and stays at its end, where it is shown.
    - The first variation selector after a character stays, tags stay in flags.
    - The Mongolian vowel separator stays after a Mongolian letter.

    Wrong where joiners part letters of a Latin ligature on purpose (German `Auf\u200clage`).

    >>> zero_width(pl.Series(["in\u00advis\u200bible", "ไทย\u200bไทย", "👩\u200d👧"])).to_list()
    ['invisible', 'ไทย\u200bไทย', '👩\u200d👧']
    """
    return texts.str.replace_all(f"({_NEEDED})|{one_of(ZERO_WIDTH)}", "${1}")


def bidi(texts: pl.Series) -> pl.Series:
    r"""Remove controls of writing direction.

    Embeddings, overrides and isolates always go: the text reads on in the order in which it is
    stored, and nothing hides behind its display. The three marks go where the text has no letter
    that is written from right to left; beside such letters they place punctuation.

    >>> bidi(pl.Series(["a\u202eb\u202c\u200e", "אבג!\u200f"])).to_list()
    ['ab', 'אבג!\u200f']
    """
    plain = texts.str.replace_all(one_of(EXPLICIT), "")
    rtl = plain.str.contains(_RIGHT_TO_LEFT)
    return plain.zip_with(rtl, plain.str.replace_all(one_of(MARKS), ""))
