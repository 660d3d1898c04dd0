"""The text of the extra copies that balance asks for, so that no document is written twice alike.

Every choice comes from the document's key and the number of the copy: the same text, seed and copy
give the same result on any machine, in any part, whatever stands beside it.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cleanpipe.augmenting import infill, rewording
from cleanpipe.augmenting.external import External
from cleanpipe.augmenting.likeness import changed_share, similarity
from cleanpipe.augmenting.rearrange import (
    crop,
    mixed,
    paragraph_drop,
    paragraph_shuffle,
    sentence_drop,
    sentence_shuffle,
    word_delete,
    word_swap,
)
from cleanpipe.kernels.hashing import mix_arrays

Operation = Literal[
    "fim",
    "sentence_shuffle",
    "sentence_drop",
    "paragraph_shuffle",
    "paragraph_drop",
    "crop",
    "word_swap",
    "word_delete",
    "synonyms",
    "case",
    "punctuation",
]

TRIES = 4
ORIGINALS = 0x6F726967696E616C
"""Separates the chance that an original is augmented from that of its copies."""

MAKE: dict[str, Callable[[str, int], str | None]] = {
    "sentence_shuffle": sentence_shuffle,
    "sentence_drop": sentence_drop,
    "paragraph_shuffle": paragraph_shuffle,
    "paragraph_drop": paragraph_drop,
    "crop": crop,
    "word_swap": word_swap,
    "word_delete": word_delete,
    "case": rewording.case,
    "punctuation": rewording.punctuation,
}
LEAST: dict[str, float] = {
    **dict.fromkeys(get_args(Operation), 0.0),
    "sentence_drop": 0.5,
    "paragraph_drop": 0.5,
    "crop": 0.4,
    "case": 1.0,
    "punctuation": 1.0,
}
"""The least similarity to its parent that a copy may have, by operation, unless the recipe says so.
Words are folded, so that other case and other quotes leave every shingle as it was. What only moves
text, or touches one word in ten, is bound by that: short sentences keep no five words together."""

ROW_SCHEMA = {
    "id": pl.String,
    "copy": pl.Int32,
    "operations": pl.String,
    "seed": pl.UInt64,
    "changed_share": pl.Float64,
    "similarity": pl.Float64,
    "outcome": pl.String,
    "reason": pl.String,
}
Fails = Callable[[pa.LargeStringArray, npt.NDArray[np.int64]], Sequence[str | None]]
"""The first rule of the filter that each text fails, or None, given the rows of their parents."""


class Alike(BaseModel):
    """How similar a copy may be to its parent, both ends included."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    low: Annotated[float, Field(ge=0, le=1)] = 0
    """The least: below it too little of the parent is left."""
    high: Annotated[float, Field(ge=0, le=1)] = 1
    """The most: above it the copy is nearly a repeat."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}: no copy could pass")
        return self


@dataclass(frozen=True, kw_only=True)
class Augmented:
    """The extra copies of a batch."""

    texts: pa.LargeStringArray
    """The texts of the written copies, in the order they were asked for."""
    written: npt.NDArray[np.bool_]
    """One value for every copy asked for: whether it is among `texts`."""
    rows: pl.DataFrame
    """One row for every copy asked for. operations, seed, changed_share and similarity are null
    where outcome is `left_out`; then reason says why its last try was not taken: `nothing_to_do`,
    `repeated` (equal to its parent or a sibling), `similarity`, or the filter's rule as
    `filter.RULE`. changed_share: the share of the longer text's positions at which the two texts do
    not hold the same character. similarity: Jaccard of the sets of word 5-grams of copy and
    parent; null for `fim`, whose sentinels are no words of a language."""


@dataclass(frozen=True)
class _Made:
    operation: Operation
    seed: int
    text: str
    alike: float | None
    """Its similarity to its parent, where that means something."""


@dataclass
class _Asked:
    """One document of a batch, while its copies are made one after the other."""

    text: str
    key: int
    copy: int
    there: set[str] = field(default_factory=set)
    made: _Made | None = None
    reason: str = "nothing_to_do"


class Augment(BaseModel):
    """What makes an extra copy differ from its original.

    For each copy chance picks an operation; where it cannot apply, or gives a text that is there
    already or not similar enough, the next of the list is tried; where the copy fails the recipe's
    filter, the next seed, four in all; then the copy is left out, with its row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    operations: tuple[Operation, ...] = ()
    """`fim` moves a middle to the end behind sentinels (Bavarian et al. 2022): it teaches infilling
    and needs a tokenizer that knows the sentinels. `sentence_shuffle` permutes the sentences within
    each paragraph: every sentence stays true, the thread between them is lost; `sentence_drop`
    takes one in ten out. `paragraph_shuffle` permutes paragraphs, which keeps the thread within
    each; `paragraph_drop` takes one in ten out; `crop` keeps a run of at least half of the
    sentences. `word_swap` and `word_delete` touch one word in ten (Wei and Zou 2019), with its case
    and punctuation: they break grammar, and find nothing to do in scripts that put no spaces
    between words. `synonyms` puts another word of `wordnet` for one word in ten. `case` makes all
    letters small, or those of one paragraph in ten capital; `punctuation` trades the typewriter's
    quotes, dashes and dots for the printer's: nothing for code. Drops take one at least."""
    similarity: dict[Operation, Alike] = Field(default_factory=dict)
    """Bounds on the similarity of a copy to its parent, by operation, such as `{crop: {low: 0.5}}`:
    the Jaccard similarity of their sets of word 5-grams, exact. Left out: at least 0.5 for the
    drops, 0.4 for `crop`, 1 for `case` and `punctuation`. `fim`, which loses nothing, has none."""
    originals: float = Field(default=0, ge=0, le=1)
    """The share of originals that are augmented, too, in place: 0.5 with `fim` is what trainers of
    code models use. One that no operation can change is written as it is."""
    max_share: float = Field(default=1, gt=0, le=1)
    """The most of the output that may be augmented text, in balance's unit: copies beyond it are
    not asked for, those of the largest hashes first, and an alert says so. Half is what Maini et
    al. 2024 train on."""
    held_out: Annotated[str, Field(min_length=1)] | None = None
    """A column of true and false: a document that is true there is never augmented, and gets no
    extra copy. Null is false."""
    wordnet: Annotated[str, Field(min_length=1)] | None = None
    """A folder of WordNet's database files (index.noun, data.noun, ...), from the recipe's folder;
    `synonyms` takes words of one part of speech only, in their most frequent sense."""
    external: External | None = None
    """Rephrasing by a model of yours: copies that no operation makes are left out, and
    `cleanpipe augment requests` writes a prompt for each; see docs/augment.md."""
    fim_prefix: str = Field(default="<|fim_prefix|>", min_length=1)
    """Stands before the text before the middle."""
    fim_suffix: str = Field(default="<|fim_suffix|>", min_length=1)
    """Stands before the text after the middle."""
    fim_middle: str = Field(default="<|fim_middle|>", min_length=1)
    """Stands before the middle. A text that already holds a sentinel gets no `fim`."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if not self.operations and self.external is None:
            raise ValueError("operations is empty: name at least one, or set external")
        if len(set(self.operations)) < len(self.operations):
            raise ValueError(f"operations {list(self.operations)} name one twice: list each once")
        for one in self._sentinels:
            if sum(one in other for other in self._sentinels) > 1:
                raise ValueError(
                    f"the sentinel {one!r} is found in another of {list(self._sentinels)}: "
                    "fim could not be inverted, choose three that do not hold each other"
                )
        return self

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if ("synonyms" in self.operations) != (self.wordnet is not None):
            move = "set wordnet" if self.wordnet is None else "add synonyms to operations"
            raise ValueError(f"synonyms and wordnet need each other: {move}, or leave both out")
        if "fim" in self.similarity:
            raise ValueError("similarity bounds fim, which loses nothing: take it out")
        unused = [name for name in self.similarity if name not in self.operations]
        if unused:
            raise ValueError(f"similarity bounds {unused[0]}, which operations do not name")
        if self.originals > self.max_share:
            raise ValueError(
                f"originals {self.originals:g} is above max_share {self.max_share:g}: lower it"
            )
        return self

    @property
    def _sentinels(self) -> tuple[str, str, str]:
        return self.fim_prefix, self.fim_suffix, self.fim_middle

    def takes_original(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which originals are augmented: their share is `originals`, by their keys of chance."""
        chance = mix_arrays(keys, np.full(len(keys), ORIGINALS, np.uint64))
        found: npt.NDArray[np.bool_] = chance.astype(np.float64) < self.originals * 2.0**64
        return found

    def augment(
        self,
        texts: pa.LargeStringArray,
        ids: Sequence[str],
        copies: npt.NDArray[np.int32],
        keys: npt.NDArray[np.uint64],
        fails: Fails | None = None,
    ) -> Augmented:
        """Make a batch of copies: row i asks for copy `copies[i]` of `texts[i]`; 0: the original.

        `keys` are the documents' keys of chance; the chance of a copy is mix(key, copy). A copy is
        never equal to its parent nor to a sibling: those before it are made again, wherever they
        are written, so copy n costs n times copy 1. A text that `fails` gives a rule for is not
        taken. Raises ValueError for a copy below 0.

        >>> text = pa.array(["One came. Two went. Three stayed."], pa.large_string())
        >>> made = Augment(operations=("sentence_shuffle",)).augment(
        ...     text, ["a"], np.array([1], np.int32), np.array([7], np.uint64)
        ... )
        >>> made.texts.to_pylist()
        ['Two went. One came. Three stayed.']
        >>> made.rows.select("id", "copy", "operations", "outcome").rows()
        [('a', 1, 'sentence_shuffle', 'written')]
        """
        if len(copies) and int(copies.min()) < 0:
            raise ValueError(f"copy {int(copies.min())} was asked for: expected 0 or more")
        asked = [
            _Asked(text, key, copy, {text})
            for text, key, copy in zip(
                texts.to_pylist(), keys.tolist(), copies.tolist(), strict=True
            )
        ]
        starts = np.where(self.takes_original(keys), 0, 1)
        starts[copies == 0] = 0
        for number in range(int(copies.max(initial=0)) + 1):
            self._make(
                number, asked, np.flatnonzero((starts <= number) & (copies >= number)), fails
            )
        rows = [
            {"id": name, "copy": one.copy} | _described(one)
            for name, one in zip(ids, asked, strict=True)
        ]
        table = pl.DataFrame(rows, schema=ROW_SCHEMA)
        made_texts = [one.made.text for one in asked if one.made is not None]
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
        return infill.invert(text, self._sentinels)

    def _make(
        self, number: int, asked: Sequence[_Asked], rows: npt.NDArray[np.int64], fails: Fails | None
    ) -> None:
        """Make the copy of this number of each of these rows, try after try, all rows at a time."""
        for row in rows:
            asked[row].made, asked[row].reason = None, "nothing_to_do"
        left = rows.tolist()
        for attempt in range(TRIES):
            tried = {row: self._try(asked[row], number, attempt) for row in left}
            found = {row: made for row, made in tried.items() if made is not None}
            for row, rule in zip(found, _refused(found, fails), strict=True):
                one = asked[row]
                if rule is None:
                    one.made = found[row]
                    one.there.add(found[row].text)
                else:
                    one.reason = f"filter.{rule}"
            left = [row for row in left if asked[row].made is None]

    def _try(self, one: _Asked, number: int, attempt: int) -> _Made | None:
        seed = mixed(mixed(one.key, number), attempt)
        first = seed % len(self.operations) if self.operations else 0
        for operation in self.operations[first:] + self.operations[:first]:
            made = self._made(operation, one.text, seed)
            if made is None:
                continue
            if made in one.there:
                one.reason = "repeated"
                continue
            alike = None if operation == "fim" else similarity(one.text, made)
            bounds = self.similarity.get(operation, _usual(operation))
            if alike is None or bounds.low <= alike <= bounds.high:
                return _Made(operation, seed, made, alike)
            one.reason = "similarity"
        return None

    def _made(self, operation: Operation, text: str, seed: int) -> str | None:
        if operation == "fim":
            return infill.fim(text, seed, self._sentinels)
        if operation == "synonyms":
            return rewording.synonyms(text, seed, self._synonyms())
        return MAKE[operation](text, seed)

    def _synonyms(self) -> rewording.Synonyms:
        return rewording.wordnet(self.wordnet) if self.wordnet else {}


@functools.cache
def _usual(operation: str) -> Alike:
    return Alike(low=LEAST[operation])


def _refused(found: dict[int, _Made], fails: Fails | None) -> Iterable[str | None]:
    """The rule that each of these candidates fails, or None."""
    if fails is None or not found:
        return [None] * len(found)
    texts = pa.array([made.text for made in found.values()], pa.large_string())
    return fails(texts, np.array([*found], np.int64))


def _described(one: _Asked) -> dict[str, object]:
    if one.made is None:
        return {"outcome": "left_out", "reason": one.reason}
    text, made = one.text, one.made
    return {
        "operations": made.operation,
        "seed": made.seed,
        "changed_share": changed_share(text, made.text),
        "similarity": made.alike,
        "outcome": "written",
    }


def within_share(
    copies: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int64],
    chances: npt.NDArray[np.uint64],
    share: float,
    originals: float = 0,
) -> npt.NDArray[np.int32]:
    """The copies, of which extra ones go until augmented text is at most this share of the output.

    `sizes` are the documents', in any unit; `originals` is the share of these that are augmented.
    The extra copies of the largest hashes go.

    >>> three = np.full(4, 3, np.int32)
    >>> int(within_share(three, np.full(4, 10), np.arange(4, dtype=np.uint64), 0.5).sum())
    8
    """
    once = int(sizes[copies > 0].sum())
    most = once * (share - originals) / (1 - share) if share < 1 else np.inf
    extra = np.repeat(np.arange(len(copies)), np.maximum(copies - 1, 0))
    if sizes[extra].sum() <= most:
        return copies
    number = np.arange(len(extra)) - np.searchsorted(extra, extra)
    order = np.argsort(mix_arrays(chances[extra], number.astype(np.uint64)), kind="stable")
    inside = extra[order[np.cumsum(sizes[extra[order]]) <= most]]
    kept: npt.NDArray[np.int32] = (copies > 0).astype(np.int32)
    np.add.at(kept, inside, 1)
    return kept
