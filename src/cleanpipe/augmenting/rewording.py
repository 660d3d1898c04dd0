r"""Other words, quotes or case for the same text: what a copy may differ in besides its order.

Synonyms come from files in WordNet's format (wndb(5WN)), which the user has: nothing is shipped.
"""

import functools
import re
import sys
import unicodedata
from pathlib import Path

import numpy as np

from cleanpipe.augmenting.rearrange import BLANK_LINES, TOUCHED, draws

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
LATIN_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
OPENING = re.compile(r"(^|[\s(\[{\u201c\u2018\u2014\u2013-])([\"'])", re.MULTILINE)
CURLED = {'"': "\u201c", "'": "\u2018"}
STRAIGHT = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        "\u2026": "...",
        "\u2014": "--",
        "\u2013": "-",
    }
)
TYPEWRITTEN = re.compile(r"[\"']|\.{3}|--")

Synonyms = dict[str, tuple[str, ...]]


@functools.cache
def _one_to_one() -> tuple[dict[int, int], dict[int, int]]:
    """Small to capital letters and back, of pairs that name nothing but each other."""
    small, capital = {}, {}
    for number in range(sys.maxunicode + 1):
        char = chr(number)
        if unicodedata.category(char) != "Ll":
            continue
        upper = char.upper()
        if len(upper) == 1 and upper != char and upper.lower() == char:
            small[number], capital[ord(upper)] = ord(upper), number
    return small, capital


def case(text: str, seed: int) -> str | None:
    """The whole text in small letters, or one paragraph in ten, at least one, in capitals.

    Letters without exactly one other case stay: the German sharp s has none, the dotted I two.
    """
    which, chance = draws(seed, 2).tolist()
    to_capital, to_small = _one_to_one()
    if which % 2:
        made = text.translate(to_small)
        return made if made != text else None
    pieces = BLANK_LINES.split(text)
    raised = {
        place: raised
        for place in range(0, len(pieces), 2)
        if (raised := pieces[place].translate(to_capital)) != pieces[place]
    }
    if not raised:
        return None
    order = np.argsort(draws(chance, len(raised)), kind="stable")
    places = [*raised]
    for number in order[: max(1, len(raised) // TOUCHED)].tolist():
        pieces[places[number]] = raised[places[number]]
    return "".join(pieces)


def punctuation(text: str, _seed: int) -> str | None:
    r"""Typewriter's quotes, dashes and dots for the printer's; where there are none, the reverse.

    >>> punctuation("\u201cYes\u201d \u2014 he said\u2026", 0)
    '"Yes" -- he said...'
    >>> punctuation('"It\'s here" -- she said...', 0)
    '\u201cIt\u2019s here\u201d \u2014 she said\u2026'
    """
    typed = text.translate(STRAIGHT)
    if typed != text:
        return typed
    if not TYPEWRITTEN.search(text):
        return None
    opened = OPENING.sub(lambda found: found[1] + CURLED[found[2]], text)
    opened = OPENING.sub(lambda found: found[1] + CURLED[found[2]], opened)  # "'nested
    closed = opened.replace('"', "\u201d").replace("'", "\u2019")
    return closed.replace("...", "\u2026").replace("--", "\u2014")


def synonyms(text: str, seed: int, known: Synonyms) -> str | None:
    """One word in ten, at least one, becomes another word of its synset, in its own case."""
    words = [*LATIN_WORD.finditer(text)]
    able = [word for word in words if word[0].lower() in known]
    if not able:
        return None
    order = np.argsort(draws(seed, len(able)), kind="stable")
    chosen = sorted(order[: max(1, len(words) // TOUCHED)].tolist())
    picks = draws(seed + 1 & (1 << 64) - 1, len(able)).tolist()
    parts, end = [], 0
    for number in chosen:
        word = able[number]
        others = known[word[0].lower()]
        parts += [text[end : word.start()], _cased(others[picks[number] % len(others)], word[0])]
        end = word.end()
    return "".join([*parts, text[end:]])


def _cased(other: str, word: str) -> str:
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


def wordnet_files(folder: str) -> list[str]:
    """The database files of a folder that `wordnet` reads."""
    names = (f"{kind}.{part}" for part in PARTS_OF_SPEECH for kind in ("data", "index"))
    return [str(path) for name in names if (path := Path(folder) / name).is_file()]


@functools.lru_cache(maxsize=4)
def wordnet(folder: str) -> Synonyms:
    """The synonyms of each lemma in its most frequent sense, from index.* and data.* files.

    Lemmas of several parts of speech have none here, since nothing tells which is meant; nor have
    lemmas of one or two letters. Errors: ValueError naming the file and line that is no WordNet.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    there = [part for part in PARTS_OF_SPEECH if (Path(folder) / f"index.{part}").is_file()]
    if not there:
        raise ValueError(
            f"{folder} holds no index.noun, index.verb, index.adj or index.adv: expected the "
            "folder of WordNet's database files (dict/)"
        )
    for part in there:
        senses = _synsets(Path(folder) / f"data.{part}")
        for fields in _lines(Path(folder) / f"index.{part}", least=7):
            lemma, first = fields[0], fields[-int(fields[2])]
            others = tuple(word for word in senses.get(first, ()) if word.lower() != lemma)
            found.setdefault(lemma, []).append(others)
    return {
        lemma: tuple(word.replace("_", " ") for word in senses[0])
        for lemma, senses in sorted(found.items())
        if len(senses) == 1 and senses[0] and len(lemma) > 2 and "_" not in lemma
    }


def _synsets(path: Path) -> dict[str, tuple[str, ...]]:
    found = {}
    for fields in _lines(path, least=6):
        count = int(fields[3], 16)
        words = fields[4 : 4 + 2 * count : 2]
        # an adjective may end in its place, such as (a): galore(ip)
        found[fields[0]] = tuple(word.partition("(")[0] for word in words)
    return found


def _lines(path: Path, least: int) -> list[list[str]]:
    lines = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("  "):  # the licence
                continue
            fields = line.split()
            counts = (fields[2:3], 10) if path.name.startswith("index") else (fields[3:4], 16)
            try:
                fits = len(fields) >= least and int(counts[0][0], counts[1]) < len(fields)
            except ValueError:
                fits = False
            if not fits:
                found = f"{path} line {number}: found {line[:60]!r}"
                raise ValueError(f"{found}, expected a line of a WordNet database file")
            lines.append(fields)
    return lines
