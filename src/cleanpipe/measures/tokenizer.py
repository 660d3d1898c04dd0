"""A document's tokens, by the tokenizer of the model that is to be trained on it.

Without one, words and symbols stand for tokens. A tokenizer is a Hugging Face tokenizer.json, read
by the package tokenizers; special tokens in a text are what they are to the tokenizer, none are
added, and nothing is truncated, padded, or drawn by chance, whatever the file says.
"""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanpipe.errors import RecipeError

BATCH = 1_000_000
"""Bytes of text that are encoded together: 70 MB of memory with GPT-2's tokenizer on English, and
three times that where every byte is a token (docs/numbers.md)."""
NEAR = 4096
"""A longer document is cut before a blank among the last bytes of a batch, if there is one: so no
word is cut, and most tokenizers find the same tokens on both sides."""
MOST_BYTES = 256_000_000
"""Of a file: the largest in use have some 40 MB."""

Ids = npt.NDArray[np.uint32]


def loaded(path: str) -> Any:
    """The tokenizer of a file, once a process for as long as the file is the same.

    Errors: RecipeError for a file that is no tokenizer.json, or without the package tokenizers.
    """
    status = _status(path)
    return _loaded(path, (status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=4)
def _loaded(path: str, _stamp: tuple[int, int]) -> Any:
    # one process is one worker: threads of its own would only wait for the other workers'
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import tokenizers  # noqa: PLC0415 - an extra
    except ImportError:
        raise RecipeError(
            "measure.tokenizer needs the package tokenizers: pip install 'cleanpipe[tokens]'"
        ) from None
    with _told(path):
        content = Path(path).read_bytes()
    with _told(path, "is no tokenizer.json"):
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None
    return tokenizer


def _status(path: str) -> os.stat_result:
    with _told(path):
        status = Path(path).stat()
    if status.st_size > MOST_BYTES:
        raise RecipeError(
            f"measure.tokenizer: {path} has {status.st_size:,} bytes, more than any "
            f"tokenizer.json ({MOST_BYTES:,} at most)"
        )
    return status


@contextmanager
def _told(path: str, what: str = "") -> Iterator[None]:
    """Make a RecipeError of what goes wrong: the library raises bare errors, and panics of Rust."""
    try:
        yield
    except OSError as error:
        what, said = "cannot be read", f"{error.strerror}; name a tokenizer.json"
    except Exception as error:  # noqa: BLE001 - it has no narrower class
        said = str(error)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3's, which cannot be imported
            raise
        said = str(error)
    else:
        return
    raise RecipeError(f"measure.tokenizer: {path} {what}: {' '.join(said.split())[:200]}")


def encode(
    path: str, offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], Ids]:
    """(places, ids): the tokens of text i are ids[places[i]:places[i + 1]].

    Errors: RecipeError if the tokenizer cannot be had, or fails on a text.
    """
    tokenizer = loaded(path)
    counts = np.zeros(len(offsets), np.int64)
    found: list[Ids] = [np.zeros(0, np.uint32)]
    for rows, texts in _batches(offsets, memoryview(data)):  # type: ignore[arg-type]
        with _told(path, "cannot encode a text"):
            encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        for row, encoding in zip(rows, encodings, strict=True):
            ids = np.array(encoding.ids, np.uint32)
            counts[row + 1] += len(ids)
            found.append(ids)
    return np.cumsum(counts), np.concatenate(found)


def _batches(
    offsets: npt.NDArray[np.int64], data: memoryview
) -> Iterator[tuple[list[int], list[str]]]:
    """Rows and pieces of texts, in order; together at most BATCH bytes, the last one aside."""
    rows: list[int] = []
    texts: list[str] = []
    size = 0
    ends = offsets.tolist()
    for row in range(len(ends) - 1):
        for start, stop in _pieces(data, ends[row], ends[row + 1]):
            rows.append(row)
            texts.append(str(data[start:stop], "utf-8"))
            size += stop - start
            if size >= BATCH:
                yield rows, texts
                rows, texts, size = [], [], 0
    if rows:
        yield rows, texts


def _pieces(data: memoryview, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A text in pieces of at most BATCH bytes, cut before a blank where one is near."""
    while stop - start > BATCH:
        end = start + BATCH
        blank = bytes(data[end - NEAR : end]).rfind(b" ")
        if blank >= 0:
            end += blank - NEAR
        while data[end] & 0xC0 == 0x80:
            end -= 1
        yield start, end
        start = end
    if stop > start:
        yield start, stop
