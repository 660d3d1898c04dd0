"""Texts as training sees them: tokens of a tokenizer of one's own, packed into sequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
END = 0
"""The token after a document."""


def mixed(groups: Mapping[str, Sequence[str]], characters: int, seed: int) -> list[str]:
    """Texts of all groups in turn, until each gave the same number of characters or has no more.

    A group is a language or a source: a tokenizer or a model that saw mostly one of them would
    find the others strange, and their gradients large.

    >>> mixed({"en": ["one", "two", "three"], "de": ["eins"]}, 12, seed=1)
    ['eins', 'one', 'two']
    """
    chance = np.random.default_rng(seed)
    share = characters / max(1, len(groups))
    chosen: list[tuple[float, int, str]] = []
    for number, name in enumerate(sorted(groups)):
        taken = 0
        for place in chance.permutation(len(groups[name])):
            if taken >= share:
                break
            text = groups[name][place]
            chosen.append((taken / share, number, text))
            taken += len(text)
    return [text for _, _, text in sorted(chosen, key=lambda entry: entry[:2])]


def trained_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer (tokenizers.Tokenizer), whose token 0 ends a document."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@dataclass(frozen=True)
class Packed:
    """Documents in one stream of tokens, each ended by token 0, cut into sequences."""

    ids: Ids
    starts: Ids
    """Where each document begins in the stream; one entry more than documents."""
    length: int
    """Tokens that a sequence trains on; it holds one more, to begin with."""

    def __len__(self) -> int:
        """Sequences; what remains at the end of the stream is in none."""
        return max(0, (len(self.ids) - 1) // self.length)

    def sequences(self, numbers: Ids | None = None) -> Ids:
        """(n, length + 1): the sequences of these numbers, or all."""
        chosen = np.arange(len(self)) if numbers is None else numbers
        found: Ids = self.ids[chosen[:, None] * self.length + np.arange(self.length + 1)]
        return found

    def documents(self, number: int) -> list[tuple[int, int]]:
        """(document, tokens) of each document that a sequence trains on."""
        first = number * self.length + 1
        begin = int(np.searchsorted(self.starts, first, side="right")) - 1
        found = []
        while begin < len(self.starts) - 1 and self.starts[begin] < first + self.length:
            low = max(first, int(self.starts[begin]))
            high = min(first + self.length, int(self.starts[begin + 1]))
            found.append((begin, high - low))
            begin += 1
        return found


def packed(tokenizer: Any, texts: Sequence[str], length: int) -> Packed:
    """Texts, in their order, as one stream of tokens."""
    encoded = [
        np.array([*encoding.ids, END], np.int64)
        for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    ]
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in encoded])]).astype(np.int64)
    ids = np.concatenate([np.array([END], np.int64), *encoded])  # a sequence begins with one
    return Packed(ids, starts + 1, length)
