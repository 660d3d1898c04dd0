"""A text from parts of another: sentences, paragraphs and words that trade places or go.

Nothing is cut but at white space or at the end of a sentence, so that no character loses its marks,
and nothing comes in that was not there.
"""

import re

import numpy as np
import numpy.typing as npt

from cleanpipe.kernels.hashing import mix, mix_arrays
from cleanpipe.kernels.unicode import CLOSER, FLAG_PAGES, FLAG_ROWS, SENTENCE_END, SOLO

WRAPPED = 40  # text is wrapped at 60 to 80 characters; few headings are longer than 40
TOUCHED = 10  # one in ten: the alpha of 0.1 of Wei and Zou 2019


def _characters(having: int, lacking: int = 0) -> str:
    """The characters of some classes, escaped for a regular expression's [...]."""
    flags = FLAG_ROWS.reshape(-1, 256)[FLAG_PAGES].ravel()
    wanted = ((flags & having) == having) & ((flags & lacking) == 0)
    return re.escape("".join(map(chr, np.flatnonzero(wanted))))


STOPS = re.compile(f"[{_characters(SENTENCE_END)}]++[{_characters(CLOSER)}]*+")
STOPS_BEFORE_ANYTHING = re.compile(f"[{_characters(SENTENCE_END | SOLO)}]")
SPACES = re.compile(r"\s*")
NEWLINE = re.compile(r"\n")
BLANK_LINES = re.compile(r"(\n[^\S\n]*\n\s*)")
WORD = re.compile(r"\S+")


def sentence_spans(paragraph: str) -> list[tuple[int, int]]:
    r"""Where the sentences are that have an end, in many scripts; headings and lists are none.

    A sentence may go on after a line of 40 characters or more, as in wrapped text; a shorter line
    without an end is a heading or an entry, and what it is part of stays where it is. Wrong where
    an abbreviation is followed by a capital ("Dr. Li" is cut), which costs a strange sentence; a
    full stop after a single letter ("J. Li") or before a small one ("e.g. this") ends none. Thai,
    which marks no ends, has no sentences here.

    >>> sentence_spans("Is it? \u300cYes.\u300d And no end")
    [(0, 6), (7, 13)]
    """
    spans = []
    start = _after_spaces(paragraph, 0)
    for stop in STOPS.finditer(paragraph):
        if stop.start() < start or not _ends_sentence(paragraph, stop):
            continue
        if all(
            _wraps(paragraph, found.start())
            for found in NEWLINE.finditer(paragraph, start, stop.end())
        ):
            spans.append((start, stop.end()))
        start = _after_spaces(paragraph, stop.end())
    return spans


def _wraps(paragraph: str, newline: int) -> bool:
    """Whether a line only breaks here: it is long, and the next starts like running text."""
    long = newline - (paragraph.rfind("\n", 0, newline) + 1) >= WRAPPED
    following = paragraph[newline + 1 : newline + 2]
    return long and (following.isalnum() or following in {'"', "'", "("})


def _ends_sentence(paragraph: str, stop: re.Match[str]) -> bool:
    if STOPS_BEFORE_ANYTHING.search(stop.group()):
        return True
    following = _after_spaces(paragraph, stop.end())
    if following == len(paragraph):
        return True
    if following == stop.end() or paragraph[following].islower():
        return False
    before = paragraph[max(0, stop.start() - 2) : stop.start()]
    return not (stop.group() == "." and before[-1:].isalpha() and not before[:-1].isalnum())


def _after_spaces(text: str, at: int) -> int:
    found = SPACES.match(text, at)
    return found.end() if found else at


def sentence_shuffle(text: str, seed: int) -> str | None:
    """Sentences trade places within their paragraph; the space between them stays where it is."""
    pieces = BLANK_LINES.split(text)
    changed = False
    for place in range(0, len(pieces), 2):
        paragraph = pieces[place]
        spans = sentence_spans(paragraph)
        if len(spans) < 2:
            continue
        order = np.argsort(draws(mixed(seed, place), len(spans)), kind="stable")
        parts = []
        end = 0
        for (start, stop), other in zip(spans, order.tolist(), strict=True):
            parts += [paragraph[end:start], paragraph[slice(*spans[other])]]
            end = stop
        pieces[place] = "".join([*parts, paragraph[end:]])
        changed |= pieces[place] != paragraph
    return "".join(pieces) if changed else None


def paragraph_shuffle(text: str, seed: int) -> str | None:
    r"""Paragraphs trade places; the blank lines between them stay where they are.

    >>> paragraph_shuffle("one\n\ntwo\n\n\nthree", 4)
    'one\n\nthree\n\n\ntwo'
    """
    pieces, places = _paragraphs(text)
    if len(places) < 2:
        return None
    order = np.argsort(draws(seed, len(places)), kind="stable").tolist()
    shuffled = list(pieces)
    for place, other in zip(places, order, strict=True):
        shuffled[place] = pieces[places[other]]
    made = "".join(shuffled)
    return made if made != text else None


def paragraph_drop(text: str, seed: int) -> str | None:
    """One paragraph in ten goes, at least one; each that stays keeps the blank line before it."""
    pieces, places = _paragraphs(text)
    if len(places) < 2:
        return None
    gone = _chosen(seed, len(places), max(1, len(places) // TOUCHED))
    kept = [place for number, place in enumerate(places) if number not in gone]
    first, rest = kept[0], kept[1:]
    return pieces[first] + "".join(pieces[place - 1] + pieces[place] for place in rest)


def sentence_drop(text: str, seed: int) -> str | None:
    """One sentence in ten goes, at least one, with the space before it; never the only one."""
    spans = _all_sentences(text)
    if len(spans) < 2:
        return None
    gone = _chosen(seed, len(spans), max(1, len(spans) // TOUCHED))
    parts, end = [], 0
    for number, (start, stop) in enumerate(spans):
        if number not in gone:
            continue
        before = text[end:start]
        parts.append(before.rstrip(" ") if number else before)
        end = stop if number else _after_spaces(text, stop)
    return "".join([*parts, text[end:]])


def crop(text: str, seed: int) -> str | None:
    """A run of sentences with all that stands between them: at least half, never all."""
    spans = _all_sentences(text)
    if len(spans) < 2:
        return None
    how_many, where = draws(seed, 2).tolist()
    least = (len(spans) + 1) // 2
    count = least + how_many % (len(spans) - least)
    first = where % (len(spans) - count + 1)
    return text[spans[first][0] : spans[first + count - 1][1]]


def word_swap(text: str, seed: int) -> str | None:
    """One word in ten trades places with another, at least one pair; spaces stay."""
    spans = [word.span() for word in WORD.finditer(text)]
    pairs = max(1, len(spans) // (2 * TOUCHED))
    if len(spans) < 2:
        return None
    order = np.argsort(draws(seed, len(spans)), kind="stable").tolist()
    source = list(range(len(spans)))
    for one, other in zip(order[:pairs], order[pairs : 2 * pairs], strict=True):
        source[one], source[other] = other, one
    parts = []
    end = 0
    for (start, stop), other in zip(spans, source, strict=True):
        parts += [text[end:start], text[slice(*spans[other])]]
        end = stop
    made = "".join([*parts, text[end:]])
    return made if made != text else None


def word_delete(text: str, seed: int) -> str | None:
    """One word in ten goes, at least one; of the spaces beside it the one with more lines stays."""
    spans = [word.span() for word in WORD.finditer(text)]
    if len(spans) < 2:
        return None
    gone = _chosen(seed, len(spans), max(1, len(spans) // TOUCHED))
    parts: list[str] = []
    gap = ""
    end = 0
    for number, (start, stop) in enumerate(spans):
        after_deleted = number - 1 in gone
        space = text[end:start]
        gap = max(gap, space, key=_lines) if after_deleted else space
        if number not in gone:
            parts += [gap, text[start:stop]]
        end = stop
    return "".join([*parts, text[end:]])


def _all_sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of all paragraphs are."""
    spans = []
    start = 0
    for place, piece in enumerate(BLANK_LINES.split(text)):
        if place % 2 == 0:
            spans += [(start + low, start + high) for low, high in sentence_spans(piece)]
        start += len(piece)
    return spans


def _paragraphs(text: str) -> tuple[list[str], list[int]]:
    """Paragraphs and the blank lines between them, and the places of those that hold something."""
    pieces = BLANK_LINES.split(text)
    return pieces, [place for place in range(0, len(pieces), 2) if pieces[place].strip()]


def _chosen(seed: int, count: int, wanted: int) -> set[int]:
    return set(np.argsort(draws(seed, count), kind="stable")[:wanted].tolist())


def _lines(space: str) -> int:
    return space.count("\n")


def mixed(one: int, other: int) -> int:
    """A number of chance that two others give."""
    return int(mix(np.uint64(one), np.uint64(other)))


def draws(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """The first numbers of chance of a seed."""
    return mix_arrays(seed, np.arange(count, dtype=np.uint64))
