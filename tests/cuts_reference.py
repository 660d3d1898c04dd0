"""Cuts in slow and obvious Python: units, forms, repeats, what is left of a text."""

import re
import unicodedata
from collections import defaultdict
from itertools import groupby, pairwise

from reference import SENTENCE_END, SOLO_END, SPACES, fold, tokenize

BLANK = " \t\n\v\f\r"


def units(text, unit):
    """The (start, end) of the units of a text in characters, without blanks around them."""
    ends = {"lines": line_ends, "paragraphs": paragraph_ends, "sentences": sentence_ends}[unit]
    bounds = [0, *ends(text), len(text)]
    for start, end in pairwise(bounds):
        piece = text[start:end]
        left = len(piece) - len(piece.lstrip(BLANK))
        yield start + left, max(start + len(piece.rstrip(BLANK)), start + left)


def line_ends(text):
    return [match.end() for match in re.finditer("\n", text)]


def paragraph_ends(text):
    """The end of each line that holds nothing but blanks."""
    ends = [0, *line_ends(text), len(text)]
    lines = pairwise(ends)
    return [end for start, end in lines if not text[start:end].strip(BLANK)]


def sentence_ends(text):
    found = set(line_ends(text))
    for run in re.finditer(f"[{re.escape(SENTENCE_END)}]+", text):
        end = run.end()
        while end < len(text) and is_closer(text[end]):
            end += 1
        alone = any(char in SOLO_END for char in run.group())
        if alone or end == len(text) or text[end] in SPACES:
            found.add(end)
    return sorted(found)


def is_closer(char):
    return unicodedata.category(char) in {"Pe", "Pf", "Pi"} or char in "\"'"


def form(text, same_digits=True):
    """The words of a text, folded; each digit a 0 if they need not be the same."""
    words = [fold(token) for token, is_word in tokenize(text) if is_word]
    if not same_digits:
        words = [
            "".join("0" if unicodedata.category(c)[0] == "N" else c for c in word) for word in words
        ]
    return words


def spans(text, unit="lines", ngram=1, min_words=1, same_digits=True):
    """The (start, end, form) of all spans of a text, in characters."""
    known = [(*place, form(text[slice(*place)], same_digits)) for place in units(text, unit)]
    known = [one for one in known if one[2]]
    for i in range(len(known) - ngram + 1):
        run = known[i : i + ngram]
        if sum(len(words) for _, _, words in run) >= min_words:
            yield run[0][0], run[-1][1], "\n".join(" ".join(words) for _, _, words in run)


def cuts(texts, keys, min_documents=2, **options):
    """For each text the (start, end) of what is cut, and the number of the text that keeps it."""
    met = defaultdict(list)
    for number, text in enumerate(texts):
        for start, end, same in spans(text, **options):
            met[same].append((keys[number], number, start, end))
    cut = [[] for _ in texts]
    for places in met.values():
        (_, owner, _, _), *others = sorted(places)
        if len({number for _, number, _, _ in places}) >= min_documents:
            for _, number, start, end in others:
                cut[number].append((start, end, owner))
    return [sorted(one) for one in cut]


def left_of(text, cut):
    """The text without what is cut, in the words of the documentation."""
    gone = [False] * len(text)
    for start, end in cut:
        gone[start:end] = [True] * (end - start)
    kinds = [
        "x" if g else "_" if char in BLANK else "." for g, char in zip(gone, text, strict=True)
    ]
    runs = [
        (kind, "".join(char for _, char in run))
        for kind, run in groupby(zip(kinds, text, strict=True), key=lambda pair: pair[0])
    ]
    written = ""
    while runs:
        hole = []
        while runs and runs[0][0] != ".":
            hole.append(runs.pop(0))
        gaps = [blanks for kind, blanks in hole if kind == "_"]
        if not any(kind == "x" for kind, _ in hole):
            written += "".join(gaps)
        elif runs:
            last = gaps[-1] if hole[-1][0] == "_" else ""
            written += between(gaps, last, is_first=not written)
        if runs:
            written += runs.pop(0)[1]
    return written


def between(gaps, last, *, is_first):
    """The white space that stays in place of what is cut; `last` stands before what follows."""
    indentation = last.rpartition("\n")[2] if "\n" in last else ""
    if is_first:
        return indentation
    most = max([gap.count("\n") for gap in gaps], default=0)
    if last.count("\n") == most:
        return last
    widest = next(gap for gap in gaps if gap.count("\n") == most)
    return widest[: widest.rindex("\n") + 1] + indentation
