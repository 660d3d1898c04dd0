"""Pieces of documents that fit on a screen: round what a rule saw, what changed, what differs.

An excerpt is a list of [kind, text]: "" for what is as it is, "mark" for what to look at, "gone"
for what only the other text has, "gap" for what was left out. Nothing here takes longer than the
text is long, but comparisons of a thousand characters.
"""

import difflib
import itertools
import re
from typing import Literal

import re2
from pydantic import BaseModel, ConfigDict

ROUND = 240
"""Characters shown before and after what is marked."""
LOOKED_AT = 20_000
"""Characters in which repeats are looked for."""
MOST_PERIOD = 13
"""Tokens of the longest period that repeat_run counts (OLMo 2's rule)."""
LONGEST_MASK = 300
"""Characters beyond an excerpt in which a mask may begin or end."""
MOST = 1_200
"""Characters of a text that are compared with another."""
Excerpt = list[list[str]]

_MASKS = (
    (re2.compile(r"[\w.+\-]{1,64}@[\w\-]+(?:\.[\w\-]+)+"), "[e-mail]"),
    (re2.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), "[IP]"),
    (re2.compile(r"\b(?:[A-Fa-f0-9]{32,}|[\w\-]{12,}\d[\w\-]{12,})\b"), "[key]"),
    (re2.compile(r"\+?\d(?:[ \-./]?\d){6,}"), "[number]"),
)
_KEYS_OF_MAKERS = re2.compile(
    r"\b(?:sk-|ghp_|gho_|github_pat_|glpat-|xox[abp]-|AKIA|ASIA|AIza|hf_|eyJ)[\w\-.]{12,}"
)
_IN_NAMES = ((_MASKS[0][0], "e-mail"), (_MASKS[1][0], "IP"), (_KEYS_OF_MAKERS, "key"))
_SEEN = {
    "curly_brackets": r"[{}]",
    "lorem_ipsum": r"(?i)lorem ipsum",
    "replacement_chars": "\ufffd+",
    "control_chars": r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+",
    "alpha_word_frac": r"[^\p{L}\s]+",
    "hash_word_ratio": r"#+",
    "ellipsis_word_ratio": r"\.\.\.|…",
    "ellipsis_line_frac": r"(?m)(?:\.\.\.|…)$",
    "bullet_line_frac": r"(?m)^\s*[•●■*\-].*$",
    "digit_char_frac": r"\d[\d .,/:\-]*",
    "upper_char_frac": r"\p{Lu}{3,}[\p{Lu} ]*",
    "base64_frac": r"[A-Za-z0-9+/=]{40,}",
    "hex_frac": r"[0-9a-fA-F]{16,}",
    "non_ascii_frac": r"[^\x00-\x7f]+",
}
_PATTERNS = {name: re2.compile(pattern) for name, pattern in _SEEN.items()}
_LONGEST = {"unbroken_run": r"\S+", "max_word_length": r"\S+", "mean_word_length": r"\S+"}
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xa0\xad\u034f\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


Samples = Literal["none", "masked", "full"]


class Report(BaseModel):
    """What the report page shows of the documents themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    samples: Samples = "masked"
    """Excerpts of documents that rules dropped, fixes changed and dedup found similar: `masked`
    puts signs for e-mail and IP addresses, long numbers and what looks like a key; `full` shows
    them; `none` shows no text at all."""


def masked(text: str) -> str:
    """The text with signs for what may be somebody's: addresses, keys, long numbers.

    >>> masked("call +49 170 1234567 or write to jo@example.org")
    'call [number] or write to [e-mail]'
    """
    for pattern, sign in _MASKS:
        text = pattern.sub(sign, text)
    return text


class NameMask:
    """Signs in ids and names of sources for e-mail and IP addresses and keys of known makers.

    A page has one: the same address is the same sign all over it, another one another, so that two
    sources stay two. Long numbers and hexadecimal stay: ids are made of them, and a page must say
    which document it means.

    >>> mask = NameMask()
    >>> mask("jo@example.org/7f83b1657ff1fc53b92dc18148a1d65d")
    '[e-mail]/7f83b1657ff1fc53b92dc18148a1d65d'
    >>> mask("al@example.org"), mask("10.0.0.1"), mask("jo@example.org")
    ('[e-mail 2]', '[IP]', '[e-mail]')
    """

    def __init__(self) -> None:
        self._signs: dict[str, dict[str, str]] = {}

    def __call__(self, name: str) -> str:
        for pattern, word in _IN_NAMES:
            signs = self._signs.setdefault(word, {})
            for found in pattern.findall(name):
                number = f" {len(signs) + 1}" if signs else ""
                signs.setdefault(found, f"[{word}{number}]")
            name = pattern.sub(lambda found, signs=signs: signs[found[0]], name)
        return name


def visible(text: str, *, spaces: bool = False) -> str:
    r"""The text with characters that nobody sees written as their code points; on request spaces.

    >>> visible("a\u200bb"), visible(" \t\n", spaces=True)
    ('a[U+200B]b', '·→↵\n')
    """
    if spaces:
        text = text.replace(" ", "·").replace("\t", "→").replace("\n", "↵\n")
    return _INVISIBLE.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def triggered(rule: str, text: str, *, mask: bool = False) -> Excerpt:
    """A piece of a text round what a rule counts, or its beginning where nothing can be pointed at.

    With `mask` it has the signs of `masked`, each of them whole, marked or not.

    >>> triggered("lorem_ipsum", "So: Lorem ipsum dolor")
    [['', 'So: '], ['mark', 'Lorem ipsum'], ['', ' dolor']]
    """
    found = _place(rule, text)
    start, end = found or (0, 0)
    end = min(end, start + 2 * ROUND)
    first, last = max(start - ROUND, 0), min(end + (ROUND if found else 2 * ROUND), len(text))
    signs = _signs(text, first, last) if mask else []
    for begin, stop, _ in signs:  # no cut goes through what is hidden
        first, start = (begin if begin < at < stop else at for at in (first, start))
        end, last = (stop if begin < at < stop else at for at in (end, last))
    pieces = [
        ["", _hidden(text, first, start, signs)],
        ["mark", _hidden(text, start, end, signs)],
        ["", _hidden(text, end, last, signs)],
    ]
    kept = [[kind, visible(piece)] for kind, piece in pieces if piece] or [["", ""]]
    return _whole(kept, before=first > 0, after=last < len(text))


def _signs(text: str, first: int, last: int) -> list[tuple[int, int, str]]:
    """What is masked between two places, or across them: (start, end, sign), none twice."""
    begin = max(first - LONGEST_MASK, 0)
    near = text[begin : last + LONGEST_MASK]
    found: list[tuple[int, int, str]] = []
    for pattern, sign in _MASKS:
        for match in pattern.finditer(near):
            start, end = begin + match.start(), begin + match.end()
            if not any(start < stop and other < end for other, stop, _ in found):
                found.append((start, end, sign))
    return sorted(found)


def _hidden(text: str, first: int, last: int, signs: list[tuple[int, int, str]]) -> str:
    """A stretch of a text with signs for what is masked in it."""
    shown, at = [], first
    for start, end, sign in signs:
        if first <= start and end <= last:
            shown += [text[at:start], sign]
            at = end
    return "".join([*shown, text[at:last]])


def _place(rule: str, text: str) -> tuple[int, int] | None:
    """Where a text shows what a rule counts: start and end, in characters."""
    if rule.startswith(("dup_line", "char_dup")):
        return _repeated(text, "\n")
    if rule.startswith("dup_para"):
        return _repeated(text, "\n\n")
    if rule in _LONGEST:
        runs = re.finditer(_LONGEST[rule], text)
        longest = max(runs, key=lambda run: run.end() - run.start(), default=None)
        return longest.span() if longest else None
    if rule.endswith("gram_char_frac"):
        return _repeated_words(text, int(re.findall(r"\d+", rule)[0]))
    if rule in {"repeat_run", "repeat_tokens", "same_token_run", "window_period_max"}:
        return _period(text)
    if rule in _PATTERNS:
        found = _PATTERNS[rule].search(text)
        return (found.start(), found.end()) if found else None
    return None


def _repeated(text: str, between: str) -> tuple[int, int] | None:
    """The first piece that stood before."""
    seen, start = set(), 0
    for piece in text.split(between):
        if piece.strip() and piece in seen:
            return start, start + len(piece)
        seen.add(piece)
        start += len(piece) + len(between)
    return None


def _repeated_words(text: str, ngram: int) -> tuple[int, int] | None:
    """The first run of so many words that stood before."""
    words = [(word[0].casefold(), *word.span()) for word in re.finditer(r"\w+", text[:LOOKED_AT])]
    seen = set()
    for place in range(len(words) - ngram + 1):
        run = tuple(word for word, _, _ in words[place : place + ngram])
        if run in seen:
            return words[place][1], words[place + ngram - 1][2]
        seen.add(run)
    return None


def _period(text: str) -> tuple[int, int] | None:
    """The longest run in which each token is the one of a period before, of 1 to 13 tokens."""
    tokens = [(token[0], *token.span()) for token in re.finditer(r"\w+|\S", text[:LOOKED_AT])]
    best = (0, 0, 0)
    for period in range(1, MOST_PERIOD + 1):
        run = 0
        for place in range(period, len(tokens)):
            run = run + 1 if tokens[place][0] == tokens[place - period][0] else 0
            if run >= 2 * period:
                best = max(best, (run, place - run - period + 1, place))
    return (tokens[best[1]][1], tokens[best[2]][2]) if best[0] else None


def changed(before: str, after: str) -> tuple[Excerpt, Excerpt]:
    """Two pieces round the first change, with what is only in one of them marked.

    >>> changed("one  two", "one two")
    ([['', 'one '], ['mark', '·'], ['', 'two']], [['', 'one two']])
    """
    start = next(
        (k for k, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    first = max(start - ROUND // 2, 0)
    old, new = before[first : first + 2 * ROUND], after[first : first + 2 * ROUND]
    one, other = _differences(list(old), list(new), spaces=True)
    cut = len(before) > first + len(old), len(after) > first + len(new)
    return (
        _whole(one, before=first > 0, after=cut[0]),
        _whole(other, before=first > 0, after=cut[1]),
    )


def side_by_side(best: str, other: str) -> Excerpt:
    """The beginning of a text against another that stands for it: words of its own, words it lacks.

    >>> side_by_side("one two three", "one four three")
    [['', 'one '], ['gone', 'two'], ['mark', 'four'], ['', ' three']]
    """
    pattern = re.compile(r"\s+|\S+")
    old, new = pattern.findall(best[:MOST]), pattern.findall(other[:MOST])
    steps = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    if max(len(best), len(other)) > MOST and len(steps) > 1 and steps[-1][0] != "equal":
        # where a text was cut off it differs from the other by that alone
        del steps[-1]
    shown: Excerpt = []
    for kind, a, b, c, d in steps:
        if kind != "equal":
            shown.append(["gone", visible("".join(old[a:b]))])
        shown.append(["" if kind == "equal" else "mark", visible("".join(new[c:d]))])
    return _whole(_joined(shown), before=False, after=len(other) > MOST)


def _differences(old: list[str], new: list[str], *, spaces: bool) -> tuple[Excerpt, Excerpt]:
    one: Excerpt = []
    other: Excerpt = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        sign = "" if kind == "equal" else "mark"
        shown = spaces and sign == "mark"
        one.append([sign, visible("".join(old[a:b]), spaces=shown)])
        other.append([sign, visible("".join(new[c:d]), spaces=shown)])
    return _joined(one), _joined(other)


def _joined(pieces: Excerpt) -> Excerpt:
    """Neighbours of one kind as one, and none that is empty."""
    groups = itertools.groupby((piece for piece in pieces if piece[1]), key=lambda piece: piece[0])
    return [[kind, "".join(text for _, text in group)] for kind, group in groups]


def _whole(pieces: Excerpt, *, before: bool, after: bool) -> Excerpt:
    """With a sign where the text goes on."""
    gap = [["gap", "…"]]
    return [*(gap if before else []), *pieces, *(gap if after else [])]
