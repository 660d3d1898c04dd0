"""The text of the extra copies that balance asks for, so that no document is written twice alike.

Every choice comes from the document's key and the number of the copy: the same text, seed and copy
give the same result on any machine, in any part, whatever stands beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.jaccard import intersection, shingle_sets
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER
from cleanpipe.rearrange import (
    crop,
    draws,
    mixed,
    paragraph_drop,
    paragraph_shuffle,
    sentence_shuffle,
    word_delete,
    word_swap,
)

Operation = Literal[
    "fim",
    "sentence_shuffle",
    "paragraph_shuffle",
    "paragraph_drop",
    "crop",
    "word_swap",
    "word_delete",
]

TRIES = 4
SHINGLE = 5

ROW_SCHEMA = {
    "id": pl.String,
    "copy": pl.Int32,
    "operations": pl.String,
    "seed": pl.UInt64,
    "changed_share": pl.Float64,
    "similarity": pl.Float64,
    "outcome": pl.String,
}


MAKE: dict[str, Callable[[str, int], str | None]] = {
    "sentence_shuffle": sentence_shuffle,
    "paragraph_shuffle": paragraph_shuffle,
    "paragraph_drop": paragraph_drop,
    "crop": crop,
    "word_swap": word_swap,
    "word_delete": word_delete,
}


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
    each paragraph: every sentence stays true, the thread between them is lost. `paragraph_shuffle`
    permutes paragraphs, which keeps the thread within each. `paragraph_drop` takes one paragraph
    in ten out, at least one; `crop` keeps a run of at least half of the sentences. `word_swap` and
    `word_delete` touch one word in ten (Wei and Zou 2019), with its case and punctuation: they
    break grammar, and find nothing to do in scripts that put no spaces between words."""
    min_similarity: float = Field(default=0, ge=0, le=1)
    """A copy whose similarity to its parent is below is tried again, then left out: the Jaccard
    similarity of their sets of word 5-grams. Not asked of `fim`, which loses nothing."""
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
            made = self._one_copy(text, mixed(key, number), there)
            if made is not None:
                there.add(made.text)
        return made

    def _one_copy(self, text: str, chance: int, there: set[str]) -> _Made | None:
        for attempt in range(TRIES):
            seed = mixed(chance, attempt)
            first = seed % len(self.operations)
            for operation in self.operations[first:] + self.operations[:first]:
                made = self._fim(text, seed) if operation == "fim" else MAKE[operation](text, seed)
                if made is None or made in there:
                    continue
                if operation == "fim" or self._is_near_enough(text, made):
                    return _Made(operation, seed, made)
        return None

    def _is_near_enough(self, text: str, made: str) -> bool:
        return not self.min_similarity or similarity(text, made) >= self.min_similarity

    def _fim(self, text: str, seed: int) -> str | None:
        """Two cuts between characters, then prefix-suffix-middle or suffix-prefix-middle.

        The second is Bavarian et al.'s variant for training on both: the prefix moves behind the
        middle's sentinel, so that one rule reads both orders back.
        """
        if not text or any(sentinel in text for sentinel in self._sentinels):
            return None
        order, first, second = draws(seed, 3).tolist()
        low = first % (len(text) + 1)
        high = second % len(text)
        high += high >= low  # two different cuts, all pairs equally likely
        low, high = min(low, high), max(low, high)
        prefix, middle, suffix = text[:low], text[low:high], text[high:]
        front, back = (prefix, middle) if order % 2 else ("", prefix + middle)
        made = f"{self.fim_prefix}{front}{self.fim_suffix}{suffix}{self.fim_middle}{back}"
        # A sentinel of one's own choice may arise where text and sentinel meet.
        return made if self.invert_fim(made) == text else None


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
