"""Documents for an experiment: texts of corpora, in two halves, and excerpts of equal length."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanpipe.errors import InputError
from cleanpipe.input import corpus, readers
from cleanpipe.kernels import hashing
from cleanpipe.kernels.buffers import text_buffers

Ids = npt.NDArray[np.int64]
MOST = 20_000
"""Characters of a document that are looked at."""
WINDOWS = 3
"""Sequences of an excerpt."""
OFFERED = 12_000
"""Texts of a corpus and half that are kept, drawn by their hash."""


@dataclass(frozen=True)
class Halves:
    """Texts of one corpus: what models train on, by language, and what is asked about."""

    train: Mapping[str, list[str]]
    test: list[str]


def halves(path: str, seed: int, text: str = "text") -> Halves:
    """The texts of a path or pattern, in halves by the hash of the text: equal texts stand in one.

    Errors: InputError if nothing can be read.
    """
    train_half: dict[int, tuple[str, str]] = {}
    test_half: dict[int, tuple[str, str]] = {}
    for lang, found, chance in texts(path, seed, text):
        half = train_half if chance % 2 == 0 else test_half
        half[chance] = (lang, found)
        if len(half) > 2 * OFFERED:
            _thin(half)
    _thin(train_half)
    _thin(test_half)
    if not train_half and not test_half:
        raise InputError(f"{path}: no text in column '{text}'")
    train = defaultdict(list)
    for lang, found in train_half.values():
        train[lang].append(found)
    return Halves(dict(train), [found for _, found in test_half.values()])


def _thin(half: dict[int, tuple[str, str]]) -> None:
    """Leave the texts of the least hashes, in their order: the same for any order of reading."""
    kept = sorted(half.items())[:OFFERED]
    half.clear()
    half.update(kept)


def texts(path: str, seed: int, text: str) -> Iterator[tuple[str, str, int]]:
    """(language, text, hash); equal texts have equal hashes."""
    given = corpus.Input(path=path, text=text)
    for shard in corpus.find_shards([given]):
        for span in corpus.index_shard(shard, given).spans:
            for batch in readers.read(span, shard, given):
                whole = batch.texts.fill_null("")
                hashes, _ = hashing.hash_texts(*text_buffers(whole), np.uint64(seed))
                known = "lang" in batch.table.column_names
                langs = batch.table["lang"].to_pylist() if known else [None] * len(whole)
                for found, lang, chance in zip(
                    whole.to_pylist(), langs, hashes.tolist(), strict=True
                ):
                    if found:
                        yield str(lang or ""), found[:MOST], chance


def excerpts(tokenizer: Any, texts: list[str], length: int, count: int) -> tuple[list[str], Ids]:
    """Texts of exactly WINDOWS sequences, (n, WINDOWS, length + 1) tokens; one of a document.

    From a document's middle: headers and licences at the beginning are much the same everywhere.
    """
    size = WINDOWS * length + 1
    found: list[str] = []
    rows: list[Ids] = []
    for text in texts:
        if len(rows) == count:
            break
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        first = max(0, len(ids) - size) // 2
        chosen = np.array(ids[first : first + size], np.int64)
        if len(chosen) == size:
            rows.append(chosen[np.arange(WINDOWS)[:, None] * length + np.arange(length + 1)])
            found.append(tokenizer.decode(chosen.tolist()).strip("\ufffd"))
    return found, np.stack(rows) if rows else np.zeros((0, WINDOWS, length + 1), np.int64)


def script(text: str) -> str:
    """The script of most letters, by the first word of their names in Unicode.

    >>> script("Где you are"), script("日本語")
    ('LATIN', 'CJK')
    """
    names = (unicodedata.name(letter, "").split(" ")[0] for letter in text if letter.isalpha())
    return Counter(names).most_common(1)[0][0] if any(map(str.isalpha, text)) else "NONE"
