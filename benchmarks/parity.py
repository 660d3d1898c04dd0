"""datatrove's filters beside cleanpipe's measures, document by document: values and decisions.

    make parity CORPORA="FOLDER ..."            # installs datatrove and spaCy beside cleanpipe
    .venv/bin/python benchmarks/parity.py [--lang en] [--limit 2000] CORPUS [CORPUS ...]

A corpus is a folder of JSON lines with `text` and, for --lang, `lang`. Every rule is compared
twice. *Same words*: datatrove's own code is given cleanpipe's words, so that nothing but the rule
itself can differ, and the values must be equal. *Own words*: datatrove splits with spaCy, as it
comes, and the decisions are compared. The values are datatrove's own: its thresholds are replaced
by probes that write down what they are compared with and let the document pass.
"""

import argparse
import io
import itertools
import json
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import zstandard
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)
from datatrove.pipeline.formatters.pii import PIIFormatter
from datatrove.utils.word_tokenizers import load_word_tokenizer
from numba import njit

import cleanpipe
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER, read_token
from cleanpipe.kernels.unicode import SPACE, decode, flags_of
from cleanpipe.text.line_rules import Lines
from cleanpipe.text.normalize import Normalize

BATCH = 500
C4_LINES = Lines(
    citations=True,
    long_word_lines=1000,
    unterminated_lines="c4",
    short_lines=3,
    javascript_lines=True,
    policy_lines=True,
)
PII = Normalize(fixes=(), pii={"email": "<EMAIL>", "ip": "<IP>"})
EXAMPLES = 3


class Probe:
    """A threshold that nothing fails, and that remembers what it was compared with."""

    __array_ufunc__ = None  # numpy's numbers, too, then leave the comparison to it

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __gt__(self, value: float) -> bool:
        self.seen.append(float(value))
        return False

    __lt__ = __gt__


@dataclass(frozen=True)
class Rule:
    """One measure of ours, where datatrove's stands, and the bounds that both have."""

    measure: str
    option: str
    place: int = 0
    """Which comparison with the option's threshold: an option may serve two rules."""
    low: float = -np.inf
    high: float = np.inf
    written: str | None = None
    """The measure to compare with where each side has its own words, if it is another one."""


QUALITY = (
    Rule("words", "min_doc_words", low=50),
    Rule("words", "max_doc_words", high=100_000),
    Rule("mean_word_length", "min_avg_word_length", low=3),
    Rule("mean_word_length", "max_avg_word_length", high=10),
    Rule("hash_word_ratio", "max_symbol_word_ratio", 0, high=0.1),
    Rule("ellipsis_word_ratio", "max_symbol_word_ratio", 1, high=0.1),
    Rule("bullet_line_frac", "max_bullet_lines_ratio", high=0.9),
    Rule("ellipsis_line_frac", "max_ellipsis_lines_ratio", high=0.3),
    Rule("alpha_word_frac", "max_non_alpha_words_ratio", low=0.8, written="alpha_token_frac"),
    Rule("stop_words", "min_stop_words", low=2),
)
REPETITION = (
    Rule("dup_para_frac", "dup_para_frac", high=0.3),
    Rule("dup_para_char_frac", "dup_para_char_frac", high=0.2),
    Rule("dup_line_frac", "dup_line_frac", high=0.3),
    Rule("dup_line_char_frac", "dup_line_char_frac", high=0.2),
    *(
        Rule(f"top_{n}gram_char_frac", f"top_{n}", high=h)
        for n, h in ((2, 0.20), (3, 0.18), (4, 0.16))
    ),
    *(
        Rule(f"dup_{n}gram_char_frac", f"dup_{n}", high=round(0.20 - n / 100, 2))
        for n in range(5, 11)
    ),
)
FINEWEB = (
    Rule("line_punct_frac", "line_punct_thr", low=0.12),
    Rule("short_line_frac", "short_line_threshold", high=0.67),
    Rule("char_dup_frac", "char_duplicates_ratio", high=0.01),
    Rule("newline_word_ratio", "new_line_ratio", high=0.3),
)


def seen(judge: Any, rules: tuple[Rule, ...], text: str) -> dict[str, list[float]]:
    """What a filter compares with each of its thresholds."""
    probes = {rule.option: Probe() for rule in rules}
    for option, probe in probes.items():
        setattr(judge, option, probe)
    judge.filter(Document(text=text, id=""))
    return {option: probe.seen for option, probe in probes.items()}


def quality(text: str, words: list[str]) -> dict[str, list[float]]:
    """The values of datatrove's GopherQualityFilter."""
    gopher_quality_filter.split_into_words = lambda *_: words
    return seen(gopher_quality_filter.GopherQualityFilter(), QUALITY, text)


def repetition(text: str, words: list[str]) -> dict[str, list[float]]:
    """The values of datatrove's GopherRepetitionFilter."""
    gopher_repetition_filter.split_into_words = lambda *_: words
    probes = {rule.option: Probe() for rule in REPETITION}
    judge = gopher_repetition_filter.GopherRepetitionFilter(
        top_n_grams=tuple((n, probes[f"top_{n}"]) for n in range(2, 5)),
        dup_n_grams=tuple((n, probes[f"dup_{n}"]) for n in range(5, 11)),
        **{option: probe for option, probe in probes.items() if option.endswith("_frac")},
    )
    judge.filter(Document(text=text, id=""))
    return {option: probe.seen for option, probe in probes.items()}


def fineweb(text: str, words: list[str]) -> dict[str, list[float]]:
    """The values of datatrove's FineWebQualityFilter."""
    fineweb_quality_filter.split_into_words = lambda *_: words
    return seen(fineweb_quality_filter.FineWebQualityFilter(), FINEWEB, text)


def c4(text: str) -> list[tuple[str, bool, bool, bool]]:
    """(rule, whether both agree, whether ours drops, whether theirs does) of C4's rules.

    The line rules are compared by the lines that stay, each without the white space at its ends,
    which datatrove strips; a document that differs in one line differs.
    """
    kept = C4QualityFilter(
        min_num_sentences=-1, filter_lorem_ipsum=False, filter_curly_bracket=False
    )
    document = Document(text=text, id="")
    kept.filter(document)
    theirs = [line.strip() for line in document.text.split("\n") if line.strip()]
    left = C4_LINES.apply(pa.array([text], pa.large_string())).texts[0].as_py()
    ours = [line.strip() for line in left.split("\n") if line.strip()]
    whole = Document(text=text, id="")
    passes = C4QualityFilter().filter(whole)
    theirs_drops = passes is not True
    table = cleanpipe.measure([left])
    ours_drops = (
        table["sentences"][0] < 5 or table["lorem_ipsum"][0] > 0 or table["curly_brackets"][0] > 0
    )
    return [
        ("lines that stay", ours == theirs, len(ours) == 0, len(theirs) == 0),
        ("all of them", ours_drops == theirs_drops, ours_drops, theirs_drops),
    ]


def pii(text: str) -> list[tuple[str, bool, bool, bool]]:
    """(rule, whether both write the same, whether ours changes, whether theirs does)."""
    theirs = PIIFormatter(email_replacement="<EMAIL>", ip_replacement="<IP>").format(text)
    ours = PII.apply(pa.array([text], pa.large_string())).texts[0].as_py()
    return [("e-mail and IP addresses", ours == theirs, ours != text, theirs != text)]


FILTERS: dict[str, tuple[tuple[Rule, ...], Callable[..., dict[str, list[float]]], bool]] = {
    # Its rules, its values, and whether symbols stand among cleanpipe's words for it: n-grams run
    # over words and symbols, ratios are by words.
    "GopherQuality": (QUALITY, quality, False),
    "GopherRepetition": (REPETITION, repetition, True),
    "FineWebQuality": (FINEWEB, fineweb, False),
}


@njit(nogil=True)
def token_ends(data: Any, start: int, stop: int) -> list[tuple[int, int, bool]]:
    """Where each token of a text begins and ends, and whether it is a word."""
    found = [(0, 0, False)]
    i = start
    while i < stop:
        point, size = decode(data, i)
        if flags_of(point) & SPACE:
            i += size
            continue
        token = read_token(data, i, stop, PUBLIC_INIT, PUBLIC_MULTIPLIER)
        found.append((i, token[0], token[4] < 0))
        i = token[0]
    return found[1:]


def tokens(texts: pa.LargeStringArray) -> Iterator[list[tuple[str, bool]]]:
    """The tokens of each text as cleanpipe's kernels see them."""
    offsets, data = text_buffers(texts)
    for start, stop in itertools.pairwise(offsets):
        places = token_ends(data, start, stop)
        yield [(bytes(data[a:b]).decode(), is_word) for a, b, is_word in places]


@dataclass
class Tally:
    """What the comparison of one rule found."""

    documents: int = 0
    equal: int = 0
    """Documents whose value is the same, given the same words."""
    same: int = 0
    """Documents on which the rule decides alike, given the same words."""
    own: int = 0
    """Documents on which the rule decides alike, each with its own words."""
    ours: int = 0
    theirs: int = 0
    """Documents that the rule drops, each with its own words."""
    examples: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take another batch's findings in."""
        for name in ("documents", "equal", "same", "own", "ours", "theirs"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.examples = (self.examples + other.examples)[:EXAMPLES]


def fails(rule: Rule, value: float) -> bool:
    """Whether the rule drops a document of this value."""
    return value < rule.low or value > rule.high


def compare(texts: list[str]) -> dict[tuple[str, str], Tally]:
    """One batch of documents through all filters, both ways."""
    spacy = load_word_tokenizer("eng")
    array = pa.array(texts, pa.large_string())
    table = cleanpipe.measure(texts)
    found: dict[tuple[str, str], Tally] = {}
    for row, (text, ours) in enumerate(zip(texts, tokens(array), strict=True)):
        own_words = spacy.word_tokenize(text)
        for name, (rules, values, symbols) in FILTERS.items():
            words = [token for token, is_word in ours if is_word or symbols]
            if not words or not own_words:
                continue  # datatrove divides by the number of words
            same, own = values(text, words), values(text, own_words)
            verdicts = Counter[str]()
            for rule in rules:
                label = rule.measure + (f", {rule.written}" if rule.written else "")
                tally = found.setdefault((name, f"{label} ({rule.option})"), Tally())
                given, value = at(same, rule), float(table[rule.measure][row])
                ours_by = fails(rule, float(table[rule.written or rule.measure][row]))
                decided, theirs = fails(rule, value), fails(rule, at(own, rule))
                tally.documents += 1
                tally.equal += given == value
                tally.same += fails(rule, given) == decided
                tally.own += theirs == ours_by
                tally.ours += ours_by
                tally.theirs += theirs
                verdicts["decided"] |= decided
                verdicts["ours"] |= ours_by
                verdicts["theirs"] |= theirs
                verdicts["given"] |= fails(rule, given)
                if given != value and len(tally.examples) < EXAMPLES:
                    tally.examples.append(f"{given!r} != {value!r} in {text[:60]!r}")
            total = found.setdefault((name, "all of them"), Tally())
            total.documents += 1
            total.equal += 1
            total.same += verdicts["given"] == verdicts["decided"]
            total.own += verdicts["theirs"] == verdicts["ours"]
            total.ours += verdicts["ours"]
            total.theirs += verdicts["theirs"]
        for name, results in (("C4Quality", c4(text)), ("PIIFormatter", pii(text))):
            for rule, agree, ours_does, theirs_does in results:
                tally = found.setdefault((name, rule), Tally())
                tally.add(Tally(1, agree, agree, agree, ours_does, theirs_does))
                if not agree and len(tally.examples) < EXAMPLES:
                    tally.examples.append(repr(text[:100]))
    return found


def at(values: dict[str, list[float]], rule: Rule) -> float:
    """The value that a rule's threshold saw; 0 where the filter had none to compare."""
    seen = values[rule.option]
    return seen[rule.place] if rule.place < len(seen) else 0.0


def read(folder: Path, lang: str | None) -> list[str]:
    """The normalized texts of a corpus, empty ones left out."""
    texts: list[str] = []
    for path in sorted(folder.glob("*.jsonl*")):
        with path.open("rb") as file:
            stream: Any = file
            if path.suffix == ".zst":
                stream = zstandard.ZstdDecompressor().stream_reader(file)
            for line in io.TextIOWrapper(stream, encoding="utf-8"):
                document = json.loads(line)
                if lang is None or document.get("lang") == lang:
                    texts.append(document["text"])
    clean: pl.Series = cleanpipe.normalize(texts)
    return [text for text in clean.to_list() if text]


def say(line: str) -> None:
    """A line of the result."""
    sys.stdout.write(line + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--lang", help="only documents of this language")
    parser.add_argument("--limit", type=int, help="at most so many documents, evenly spread")
    given = parser.parse_args()
    for folder in given.corpora:
        texts = read(folder, given.lang)
        texts = texts[:: max(1, len(texts) // given.limit)] if given.limit else texts
        batches = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        found: dict[tuple[str, str], Tally] = {}
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            for batch in pool.map(compare, batches):
                for key, tally in batch.items():
                    found.setdefault(key, Tally()).add(tally)
        say(f"\n{folder.name}, {given.lang or 'every language'}: {len(texts):,} documents\n")
        say("| filter | rule | values equal | same words | own words | ours drops | theirs |")
        say("|---|---|---|---|---|---|---|")
        for (name, rule), tally in found.items():
            shares = [tally.same, tally.own, tally.ours, tally.theirs]
            cells = " | ".join(f"{share / tally.documents:.3%}" for share in shares)
            unequal = tally.documents - tally.equal
            say(f"| {name} | {rule} | {f'all but {unequal}' if unequal else 'all'} | {cells} |")
        for (name, rule), tally in found.items():
            for example in tally.examples:
                say(f"{name} {rule}: {example}")


if __name__ == "__main__":
    main()
