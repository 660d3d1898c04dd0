"""What goes wrong in corpora, planted into sequences of tokens; and what does not, as a placebo.

The kinds are those that people found in batches before a spike (runs, short periods: OLMo 2,
BigScience), or that a controlled study found to make training diverge (noise of few tokens,
inserted: Zhang et al. 2026, arXiv 2602.02400), and those that cleaning removes.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Chance = np.random.Generator


@dataclass(frozen=True)
class Ground:
    """What faults are made of."""

    sequences: Ids
    """(n, length + 1): clean ones, which training does not see otherwise."""
    tokenizer: Any
    """Of `tokenizers`, or what encodes and decodes as it does."""
    rare: Ids
    """Tokens that the training text has hardly or never."""

    @classmethod
    def of(cls, tokenizer: Any, sequences: Ids, trained_on: Ids) -> "Ground":
        """`trained_on` is the stream of tokens that a model is trained on."""
        vocabulary = tokenizer.get_vocab_size()
        counts = np.bincount(trained_on, minlength=vocabulary)
        rare = np.argsort(counts, kind="stable")[: max(8, vocabulary // 100)]
        return cls(sequences, tokenizer, rare)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return int(self.tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """The text of tokens."""
        return str(self.tokenizer.decode(ids))

    def drawn(self, count: int, chance: Chance) -> Ids:
        """Clean sequences, none twice as long as there are enough."""
        few = count <= len(self.sequences)
        return self.sequences[chance.choice(len(self.sequences), count, replace=not few)]


def placebo(ground: Ground, count: int, chance: Chance) -> Ids:
    """Other clean documents: what a swap alone does."""
    return ground.drawn(count, chance)


def single_token(ground: Ground, count: int, chance: Chance) -> Ids:
    """One token without end, the same in all sequences: a million backslashes."""
    token = chance.integers(1, ground.vocabulary)
    return np.full((count, ground.sequences.shape[1]), token)


def own_token(ground: Ground, count: int, chance: Chance) -> Ids:
    """One token without end, another in each sequence."""
    tokens = chance.integers(1, ground.vocabulary, (count, 1))
    return np.repeat(tokens, ground.sequences.shape[1], axis=1)


def _periodic(ground: Ground, count: int, chance: Chance, period: int) -> Ids:
    """A stretch of clean text, another in each sequence, again and again."""
    length = ground.sequences.shape[1]
    stretch = ground.drawn(count, chance)[:, :period]
    return np.tile(stretch, (1, length // period + 1))[:, :length]


def period_4(ground: Ground, count: int, chance: Chance) -> Ids:
    """Four tokens, again and again: g4ODg4OD (OLMo 2)."""
    return _periodic(ground, count, chance, 4)


def period_13(ground: Ground, count: int, chance: Chance) -> Ids:
    """Thirteen tokens, again and again: the longest that OLMo's filter sees."""
    return _periodic(ground, count, chance, 13)


def inserted(sequences: Ids, few: Ids, share: float, chance: Chance) -> Ids:
    """The sequences, between whose tokens stand some of a few, in this share of the places."""
    found = sequences.copy()
    for row in range(len(found)):
        noise = chance.random(found.shape[1]) < share
        found[row, ~noise] = sequences[row, : np.count_nonzero(~noise)]
        found[row, noise] = chance.choice(few, np.count_nonzero(noise))
    return found


def noise_5(ground: Ground, count: int, chance: Chance, share: float = 0.5) -> Ids:
    """Tokens of a vocabulary of five, the same for all, inserted between those of clean text."""
    few = chance.integers(1, ground.vocabulary, 5)
    return inserted(ground.drawn(count, chance), few, share, chance)


def random_tokens(ground: Ground, count: int, chance: Chance) -> Ids:
    """Any tokens."""
    return chance.integers(1, ground.vocabulary, (count, ground.sequences.shape[1]))


def rare_tokens(ground: Ground, count: int, chance: Chance) -> Ids:
    """Tokens that training hardly sees otherwise."""
    return chance.choice(ground.rare, (count, ground.sequences.shape[1]))


def _of_text(ground: Ground, count: int, made: Callable[[int], str]) -> Ids:
    """Sequences of the tokens of texts that are long enough."""
    length = ground.sequences.shape[1]
    rows = []
    for row in range(count):
        size, ids = 4 * length, list[int]()
        while len(ids) < length:
            ids = ground.encode(made(row)[:size])
            size *= 2
        rows.append(ids[:length])
    return np.array(rows, np.int64)


def base64_blob(ground: Ground, count: int, chance: Chance) -> Ids:
    """A file that was attached."""
    length = ground.sequences.shape[1]
    return _of_text(
        ground, count, lambda _: base64.b64encode(chance.bytes(16 * length)).decode("ascii")
    )


def digits(ground: Ground, count: int, chance: Chance) -> Ids:
    """A table of numbers."""
    length = ground.sequences.shape[1]

    def table(_: int) -> str:
        rows = chance.integers(0, 1000, (2 * length, 8))
        return "\n".join(", ".join(map(str, row)) for row in rows)

    return _of_text(ground, count, table)


def mojibake(ground: Ground, count: int, chance: Chance) -> Ids:
    """Clean text, its bytes read as Latin-1, twice: what is not ASCII becomes other letters."""
    clean = [ground.decode(list(ids)) for ids in ground.drawn(4 * count, chance).tolist()]

    def spoilt(row: int) -> str:
        text = "".join(clean[4 * row : 4 * row + 4])
        text = text.translate(dict(zip(map(ord, "aeiou"), "äéîöü", strict=True)))
        for _ in range(2):
            text = text.encode("utf-8").decode("latin-1")
        return text * 8

    return _of_text(ground, count, spoilt)


def duplicate(ground: Ground, count: int, chance: Chance) -> Ids:
    """One clean sequence, as often as there is room."""
    return np.repeat(ground.drawn(1, chance), count, axis=0)


FAULTS: dict[str, Callable[[Ground, int, Chance], Ids]] = {
    made.__name__: made
    for made in (
        *(placebo, single_token, own_token, period_4, period_13, noise_5, random_tokens),
        *(rare_tokens, base64_blob, digits, mojibake, duplicate),
    )
}
"""Functions of (ground, count, chance) that give (count, length + 1) token ids."""
