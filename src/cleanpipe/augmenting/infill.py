"""Fill-in-the-middle: a middle goes to the end, behind sentinels, and back (Bavarian et al. 2022).

The three sentinels are those of a tokenizer: before the prefix, before the suffix, before the
middle.
"""

import numpy as np
import numpy.typing as npt

from cleanpipe.augmenting.rearrange import draws
from cleanpipe.kernels.unicode import FLAG_PAGES, FLAG_ROWS, MARK

Sentinels = tuple[str, str, str]

ZERO_WIDTH_JOINER = 0x200D
FLAGS = (0x1F1E6, 0x1F1FF)  # two regional indicators are one flag
SKIN_TONES = (0x1F3FB, 0x1F3FF)
TAGS = (0xE0020, 0xE007F)
JAMO = (0x1160, 0x11FF)  # vowels and finals join the Hangul letter before them


def fim(text: str, seed: int, sentinels: Sentinels) -> str | None:
    """Two cuts, then prefix-suffix-middle or suffix-prefix-middle; None if it cannot be inverted.

    The second is Bavarian et al.'s variant for training on both: the prefix moves behind the
    middle's sentinel, so that one rule reads both orders back. A text that holds a sentinel is
    left alone. Every pair of places where a text may be cut is equally likely.
    """
    if not text or any(sentinel in text for sentinel in sentinels):
        return None
    order, first, second = draws(seed, 3).tolist()
    places = cuts(text)
    low = first % len(places)
    high = second % (len(places) - 1)
    high += high >= low  # two different cuts
    start, stop = sorted((int(places[low]), int(places[high])))
    prefix, middle, suffix = text[:start], text[start:stop], text[stop:]
    front, back = (prefix, middle) if order % 2 else ("", prefix + middle)
    before, after, between = sentinels
    made = f"{before}{front}{after}{suffix}{between}{back}"
    # A sentinel of one's own choice may arise where text and sentinel meet.
    return made if invert(made, sentinels) == text else None


def invert(text: str, sentinels: Sentinels) -> str:
    """The original of a text that `fim` made.

    Errors: ValueError if it is none.
    """
    before, after, between = sentinels
    start, has_before, rest = text.partition(before)
    prefix, has_after, rest = rest.partition(after)
    suffix, has_between, middle = rest.partition(between)
    if start or not (has_before and has_after and has_between):
        raise ValueError(
            f"{text[:40]!r} is no fim text: expected {before}, then {after}, then {between}"
        )
    return prefix + middle + suffix


def cuts(text: str) -> npt.NDArray[np.int64]:
    r"""Where a text may be cut, both ends among them: never inside of what is drawn as one.

    No letter is parted from its marks, no emoji from its skin tone or from what a joiner ties to
    it, no flag and no "\r\n" in two. (Of Unicode's rules for grapheme clusters those of Indic
    conjuncts are left out.)

    >>> cuts("e\u0301a\U0001f468\u200d\U0001f469").tolist()
    [0, 2, 3, 6]
    """
    if text.isascii() and "\r" not in text:
        return np.arange(len(text) + 1)
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    joins = (FLAG_ROWS[(FLAG_PAGES[points >> 8].astype(np.int64) << 8) | (points & 255)] & MARK) > 0
    for low, high in (SKIN_TONES, TAGS, JAMO):
        joins |= (points >= low) & (points <= high)
    joins[1:] |= points[:-1] == ZERO_WIDTH_JOINER
    joins[1:] |= (points[:-1] == ord("\r")) & (points[1:] == ord("\n"))
    joins |= _second_of_flags(points)
    joins[0] = False
    return np.append(np.flatnonzero(~joins), len(points))


def _second_of_flags(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Every second of regional indicators that follow each other."""
    own = (points >= FLAGS[0]) & (points <= FLAGS[1])
    number = np.arange(len(points))
    begins = np.where(own & ~np.append(False, own[:-1]), number, 0)
    found: npt.NDArray[np.bool_] = own & ((number - np.maximum.accumulate(begins)) % 2 == 1)
    return found
