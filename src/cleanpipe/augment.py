"""The text of the extra copies that balance asks for, so that no document is written twice alike.

Every choice comes from the document's key and the number of the copy: the same text, seed and copy
give the same result on any machine, in any part, whatever stands beside it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.hashing import mix, mix_arrays
from cleanpipe.kernels.jaccard import intersection, shingle_sets
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER
from cleanpipe.kernels.unicode import CLOSER, FLAG_PAGES, FLAG_ROWS, SENTENCE_END, SOLO

Operation = Literal["fim", "sentence_shuffle"]

TRIES = 4
SHINGLE = 5
WRAPPED = 40  # text is wrapped at 60 to 80 characters; few headings are longer than 40

ROW_SCHEMA = {
    "id": pl.String,
    "copy": pl.Int32,
    "operations": pl.String,
    "seed": pl.UInt64,
    "changed_share": pl.Float64,
    "similarity": pl.Float64,
    "outcome": pl.String,
}


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


@dataclass(frozen=True, kw_only=True)
class Augmented:
    """The extra copies of a batch."""

    texts: pa.LargeStringArray
    """The texts of the written copies, in the order they were asked for."""
    written: npt.NDArray[np.bool_]
    """One value for every copy asked for: whether it is among `texts`."""
    rows: pl.DataFrame
    """One row for every copy asked for. operations, seed, changed_share and similarity are null
    where outcome is `left_out`. changed_share: the share of the longer text's positions at which
    the two texts do not hold the same character. similarity: Jaccard of the sets of word 5-grams
    of copy and parent; null for `fim`, whose sentinels are no words of a language."""


@dataclass(frozen=True)
class _Made:
    operation: Operation
    seed: int
    text: str


class Augment(BaseModel):
    """What makes an extra copy differ from its original.

    For each copy chance picks an operation; where it cannot apply, or gives a text that is there
    already, the next of the list is tried, then the next seed, four in all; then the copy is left
    out, with its row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    operations: tuple[Operation, ...] = Field(min_length=1)
    """`fim` moves a middle to the end behind sentinels (Bavarian et al. 2022): it teaches infilling
    and needs a tokenizer that knows the sentinels. `sentence_shuffle` permutes the sentences within
    each paragraph: every sentence stays true, the thread between them is lost."""
    fim_prefix: str = Field(default="<|fim_prefix|>", min_length=1)
    """Stands before the text before the middle."""
    fim_suffix: str = Field(default="<|fim_suffix|>", min_length=1)
    """Stands before the text after the middle."""
    fim_middle: str = Field(default="<|fim_middle|>", min_length=1)
    """Stands before the middle. A text that already holds a sentinel gets no `fim`."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if len(set(self.operations)) < len(self.operations):
            raise ValueError(f"operations {list(self.operations)} name one twice: list each once")
        for one in self._sentinels:
            if sum(one in other for other in self._sentinels) > 1:
                raise ValueError(
                    f"the sentinel {one!r} is found in another of {list(self._sentinels)}: "
                    "fim could not be inverted, choose three that do not hold each other"
                )
        return self

    @property
    def _sentinels(self) -> tuple[str, str, str]:
        return self.fim_prefix, self.fim_suffix, self.fim_middle

    def augment(
        self,
        texts: pa.LargeStringArray,
        ids: Sequence[str],
        copies: npt.NDArray[np.int32],
        keys: npt.NDArray[np.uint64],
    ) -> Augmented:
        """Make the extra copies of a batch: row i asks for copy `copies[i]` of `texts[i]`.

        `keys` are the documents' keys of chance; the chance of a copy is mix(key, copy). A copy is
        never equal to its parent nor to a sibling: those before it are made again, wherever they
        are written, so copy n costs n times copy 1. Raises ValueError for copy 0, the original.

        >>> text = pa.array(["One came. Two went. Three stayed."], pa.large_string())
        >>> made = Augment(operations=("sentence_shuffle",)).augment(
        ...     text, ["a"], np.array([1], np.int32), np.array([7], np.uint64)
        ... )
        >>> made.texts.to_pylist()
        ['Two went. One came. Three stayed.']
        >>> made.rows.select("id", "copy", "operations", "outcome").rows()
        [('a', 1, 'sentence_shuffle', 'written')]
        """
        if len(copies) and int(copies.min()) < 1:
            raise ValueError(
                f"copy {int(copies.min())} was asked for: expected 1 or more, 0 is the original"
            )
        made_texts: list[str] = []
        rows: list[dict[str, object]] = []
        for text, name, copy, key in zip(
            texts.to_pylist(), ids, copies.tolist(), keys.tolist(), strict=True
        ):
            made = self._nth_copy(text, key, copy)
            rows.append({"id": name, "copy": copy} | _described(text, made))
            if made is not None:
                made_texts.append(made.text)
        table = pl.DataFrame(rows, schema=ROW_SCHEMA)
        return Augmented(
            texts=pa.array(made_texts, pa.large_string()),
            written=(table["outcome"] == "written").to_numpy(),
            rows=table,
        )

    def invert_fim(self, text: str) -> str:
        """The original of a text that `fim` made; ValueError if it is none.

        >>> augment = Augment(operations=("fim",))
        >>> augment.invert_fim("<|fim_prefix|>to <|fim_suffix|> or not<|fim_middle|>be")
        'to be or not'
        """
        start, prefix_and_rest, rest = text.partition(self.fim_prefix)
        prefix, suffix_mark, rest = rest.partition(self.fim_suffix)
        suffix, middle_mark, middle = rest.partition(self.fim_middle)
        if start or not (prefix_and_rest and suffix_mark and middle_mark):
            raise ValueError(
                f"{text[:40]!r} is no fim text: expected {self.fim_prefix}, then "
                f"{self.fim_suffix}, then {self.fim_middle}"
            )
        return prefix + middle + suffix

    def _nth_copy(self, text: str, key: int, copy: int) -> _Made | None:
        there = {text}
        made = None
        for number in range(1, copy + 1):
            made = self._one_copy(text, _mixed(key, number), there)
            if made is not None:
                there.add(made.text)
        return made

    def _one_copy(self, text: str, chance: int, there: set[str]) -> _Made | None:
        for attempt in range(TRIES):
            seed = _mixed(chance, attempt)
            first = seed % len(self.operations)
            for operation in self.operations[first:] + self.operations[:first]:
                if operation == "fim":
                    made = self._fim(text, seed)
                else:
                    made = _sentence_shuffle(text, seed)
                if made is not None and made not in there:
                    return _Made(operation, seed, made)
        return None

    def _fim(self, text: str, seed: int) -> str | None:
        """Two cuts between characters, then prefix-suffix-middle or suffix-prefix-middle.

        The second is Bavarian et al.'s variant for training on both: the prefix moves behind the
        middle's sentinel, so that one rule reads both orders back.
        """
        if not text or any(sentinel in text for sentinel in self._sentinels):
            return None
        order, first, second = _draws(seed, 3).tolist()
        low = first % (len(text) + 1)
        high = second % len(text)
        high += high >= low  # two different cuts, all pairs equally likely
        low, high = min(low, high), max(low, high)
        prefix, middle, suffix = text[:low], text[low:high], text[high:]
        front, back = (prefix, middle) if order % 2 else ("", prefix + middle)
        made = f"{self.fim_prefix}{front}{self.fim_suffix}{suffix}{self.fim_middle}{back}"
        # A sentinel of one's own choice may arise where text and sentinel meet.
        return made if self.invert_fim(made) == text else None


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


def _sentence_shuffle(text: str, seed: int) -> str | None:
    """Sentences trade places within their paragraph; the space between them stays where it is."""
    pieces = BLANK_LINES.split(text)
    changed = False
    for place in range(0, len(pieces), 2):
        paragraph = pieces[place]
        spans = sentence_spans(paragraph)
        if len(spans) < 2:
            continue
        order = np.argsort(_draws(_mixed(seed, place), len(spans)), kind="stable")
        parts = []
        end = 0
        for (start, stop), other in zip(spans, order.tolist(), strict=True):
            parts += [paragraph[end:start], paragraph[slice(*spans[other])]]
            end = stop
        pieces[place] = "".join([*parts, paragraph[end:]])
        changed |= pieces[place] != paragraph
    return "".join(pieces) if changed else None


def _described(text: str, made: _Made | None) -> dict[str, object]:
    if made is None:
        return {"outcome": "left_out"}
    return {
        "operations": made.operation,
        "seed": made.seed,
        "changed_share": changed_share(text, made.text),
        "similarity": None if made.operation == "fim" else similarity(text, made.text),
        "outcome": "written",
    }


def changed_share(parent: str, child: str) -> float:
    """The share of the longer text's positions that do not hold the same character in both.

    >>> changed_share("abcd", "abdc"), changed_share("ab", "abcd"), changed_share("", "")
    (0.5, 0.5, 0.0)
    """
    one, other = (np.frombuffer(text.encode("utf-32-le"), "<u4") for text in (parent, child))
    longer, shorter = max(len(one), len(other)), min(len(one), len(other))
    same = int(np.count_nonzero(one[:shorter] == other[:shorter]))
    return (longer - same) / longer if longer else 0.0


def similarity(parent: str, child: str) -> float:
    """The Jaccard similarity of the two sets of word 5-grams; a shorter text is one shingle.

    >>> similarity("a b c d e f", "A b, c d e!")
    0.5
    """
    array = pa.array([parent, child], pa.large_string())
    ends, hashes = shingle_sets(*text_buffers(array), SHINGLE, PUBLIC_INIT, PUBLIC_MULTIPLIER)
    one, other = hashes[: ends[1]], hashes[ends[1] :]
    both = int(intersection(one, other, 0))
    return both / (len(one) + len(other) - both)


def _mixed(one: int, other: int) -> int:
    return int(mix(np.uint64(one), np.uint64(other)))


def _draws(seed: int, count: int) -> npt.NDArray[np.uint64]:
    return mix_arrays(seed, np.arange(count, dtype=np.uint64))
