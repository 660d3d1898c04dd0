"""The raw and the cleaned form of the same documents, and orders of them to train on.

A document is known by its letters and digits, so that one of which cleaning changed only white
space, marks or case counts as kept. One in eight is held out, of both forms.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from cleanpipe.errors import InputError
from cleanpipe.stability.probe import packing
from cleanpipe.stability.probe.excerpts import OFFERED, texts

Ids = npt.NDArray[np.int64]
LETTERS = 8_000
"""Letters and digits of a document that are compared."""
HELD = 8
"""One document in so many is held out."""
ORDERS = ("raw", "clean", "random_removed", "spread", "gathered", "repeats")
EPOCHS = 4
"""How often the arm of repeats sees its text."""
MIX = 0x9E3779B97F4A7C15


def key(text: str) -> int:
    """What equal documents share.

    >>> key("A b, c: 1.") == key("a  B c1")
    True
    """
    letters = "".join(itertools.islice(filter(str.isalnum, text), LETTERS))
    return xxhash.xxh3_64_intdigest((letters.casefold() or text).encode())


@dataclass(frozen=True)
class Pool:
    """Documents by key: their text, and how often they stand in the corpus."""

    raw: dict[int, tuple[str, int]]
    clean: dict[int, tuple[str, int]]

    def held(self, form: str) -> list[str]:
        """The texts of one form that nothing is trained on."""
        found: dict[int, tuple[str, int]] = getattr(self, form)
        return [text for each, (text, _) in sorted(found.items()) if each % HELD == 0]

    def sample(self) -> list[str]:
        """Texts of both forms alike, for a tokenizer that favours neither."""
        both = [
            text
            for form in (self.raw, self.clean)
            for each, (text, _) in sorted(form.items())[:2000]
            if each % HELD
        ]
        return both[::2]


def read(raw: Iterable[str], clean: Iterable[str]) -> Pool:
    """The documents of both forms with the least keys, as many as are whole in memory."""
    forms = [_form(paths) for paths in (raw, clean)]
    full = [max(form) for form in forms if len(form) >= OFFERED]
    bound = min(full, default=2**64)
    return Pool(*({k: v for k, v in form.items() if k <= bound} for form in forms))


def _form(paths: Iterable[str]) -> dict[int, tuple[str, int]]:
    found: dict[int, tuple[str, int]] = {}
    bound = 2**64
    for path in paths:
        for _, text, _ in texts(path, 0, "text"):
            name = key(text)
            if name > bound:
                continue
            first, times = found.get(name, (text, 0))
            found[name] = (first, times + 1)
            if len(found) > 2 * OFFERED:
                kept = sorted(found)[:OFFERED]
                found, bound = {each: found[each] for each in kept}, kept[-1]
    return found


@dataclass(frozen=True)
class Text:
    """The training text of a seed: documents in the order of each arm."""

    raw: list[tuple[int, str]]
    """In random order; duplicates stand where chance put them."""
    clean: list[tuple[int, str]]
    """In the order of the raw ones."""
    tokens: tuple[int, int]
    """Of the raw and of the cleaned documents, whole: cleaning lost the difference."""


def chosen(pool: Pool, tokenizer: Any, seed: int, tokens: int) -> Text:
    """Documents of a seed's draw, just enough that every arm has `tokens` without repeats.

    Errors: InputError if there are not so many.
    """
    names = sorted(
        (each for each in {*pool.raw, *pool.clean} if each % HELD),
        key=lambda each: (each ^ (seed * MIX)) * MIX % 2**64,
    )
    count, last = 256, None
    while last is None:
        sums = [_sums(form, tokenizer, names[:count]) for form in (pool.raw, pool.clean)]
        last = _enough(sums, tokens)
        if last is None and count >= len(names):
            had = [int(each[-1]) if names else 0 for each, _ in sums]
            raise InputError(
                f"{had[0]:,} tokens of raw and {had[1]:,} of cleaned text, expected "
                f"{tokens:,} and a tenth more of each: give more text, or train for fewer steps"
            )
        count *= 2
    some = set(names[: last + 1])
    (raw, _), (clean, _) = sums
    chance = np.random.default_rng([seed, 1])
    whole = _listed(pool.raw, some)
    whole = [whole[number] for number in chance.permutation(len(whole))]
    place: dict[int, float] = {}
    for rank, (name, _) in enumerate(whole):
        place.setdefault(name, float(rank))
    cleaned = _listed(pool.clean, some)
    new = chance.random(len(cleaned)) * len(whole)  # documents that cleaning changed have a new key
    ranks = [place.get(name, other) for (name, _), other in zip(cleaned, new, strict=True)]
    cleaned = [cleaned[number] for number in np.argsort(ranks, kind="stable")]
    return Text(whole, cleaned, (int(raw[last]), int(clean[last])))


def _listed(form: dict[int, tuple[str, int]], some: set[int]) -> list[tuple[int, str]]:
    """Those of some names, each as often as it stands in the corpus."""
    return [
        (name, text)
        for name, (text, times) in sorted(form.items())
        if name in some
        for _ in range(times)
    ]


def _sums(form: dict[int, tuple[str, int]], tokenizer: Any, names: list[int]) -> tuple[Ids, Ids]:
    """Tokens, and documents, of the first so many names."""
    found = [form.get(name, ("", 0)) for name in names]
    encoded = tokenizer.encode_batch_fast([text for text, _ in found], add_special_tokens=False)
    times = np.array([times for _, times in found], np.int64)
    return np.cumsum([len(each.ids) + 1 for each in encoded] * times), np.cumsum(times)


def _enough(sums: list[tuple[Ids, Ids]], tokens: int) -> int | None:
    """The first place at which every arm has its tokens, with a tenth to spare.

    Also the raw text of whose documents as many went by chance as cleaning dropped.
    """
    (raw, documents), (clean, kept) = sums
    left = raw * np.minimum(1, kept / np.maximum(1, documents))
    places = np.flatnonzero((clean > 1.02 * tokens) & (left > 1.1 * tokens))
    return int(places[0]) if len(places) else None


def sequences(text: Text, order: str, tokenizer: Any, form: tuple[int, int, int], seed: int) -> Ids:
    """(steps * batch, length + 1): the sequences of an arm, in the order of training.

    `form` is (steps, batch, length); `order` is one of ORDERS.
    """
    steps, batch, length = form
    count = steps * batch
    chance = np.random.default_rng([seed, 2])
    if order == "clean":
        return _packed(tokenizer, text.clean, length)[0][:count]
    if order == "repeats":
        once = _packed(tokenizer, text.clean, length)[0][: -(-count // EPOCHS)]
        epochs = [once[chance.permutation(len(once))] for _ in range(EPOCHS - 1)]
        return np.concatenate([once, *epochs])[:count]
    documents = text.raw
    if order == "random_removed":
        gone = max(0, len(text.raw) - len(text.clean))
        left = np.sort(chance.permutation(len(documents))[gone:])
        documents = [documents[place] for place in left]
    found, risky = _packed(tokenizer, documents, length, {name for name, _ in text.clean})
    found, risky = found[:count], risky[:count]
    if len(found) < count:
        raise InputError(f"{len(found)} sequences of text for '{order}', expected {count}")
    return found[_placed(risky, order)]


def _placed(risky: npt.NDArray[np.bool_], order: str) -> Ids:
    """Where sequences go: risky ones evenly between the others, or all together in the middle.

    >>> _placed(np.array([True, True, False, False, False, False]), "spread").tolist()
    [2, 0, 3, 4, 1, 5]
    >>> _placed(np.array([True, True, False, False, False, False]), "gathered").tolist()
    [2, 3, 0, 1, 4, 5]
    """
    bad, good = np.flatnonzero(risky), np.flatnonzero(~risky)
    if order == "gathered":
        half = len(good) // 2
        return np.concatenate([good[:half], bad, good[half:]])
    if order != "spread":
        return np.arange(len(risky))
    at = [(np.arange(len(some)) + 0.5) / max(1, len(some)) for some in (bad, good)]
    return np.concatenate([bad, good])[np.argsort(np.concatenate(at), kind="stable")]


def _packed(
    tokenizer: Any,
    documents: list[tuple[int, str]],
    length: int,
    kept: set[int] | None = None,
) -> tuple[Ids, npt.NDArray[np.bool_]]:
    """Sequences; and of which most tokens are of documents that cleaning dropped or changed.

    A document that stands in the text again is one of them from its second time on.
    """
    packed = packing.packed(tokenizer, [text for _, text in documents], length)
    seen: set[int] = set()
    bad = np.zeros(len(documents), bool)
    for place, (name, _) in enumerate(documents):
        bad[place] = name in seen or (kept is not None and name not in kept)
        seen.add(name)
    marks = np.concatenate([[False], np.repeat(bad, np.diff(packed.starts))])
    shares = marks[1 : len(packed) * length + 1].reshape(len(packed), length).mean(axis=1)
    return packed.sequences(), shares >= 0.5
