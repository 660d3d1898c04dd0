"""fastText models: loaded once a process, after a look at what the file claims to be.

fastText's own reader brings the process down with some damaged files. So a file is checked as far
as its sizes go (fasttext_format.py), and a run tries every model in a worker first.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import numpy.typing as npt

from cleanpipe.errors import RecipeError
from cleanpipe.measures import fasttext_format

PREFIX = fasttext_format.PREFIX.decode()
UNIT = 65536.0
"""Scores are rounded to a 65,536th: the last bits of a float32 sum differ between processors."""


def checked(path: str) -> Path:
    """The path, if its file can be a fastText classifier.

    Errors: RecipeError, with the next move.
    """
    try:
        fault = fasttext_format.fault(Path(path))
    except OSError as error:
        raise RecipeError(f"{path}: the model cannot be read: {error.strerror}") from None
    if fault is not None:
        raise RecipeError(f"{path} {fault}")
    return Path(path)


@functools.lru_cache(maxsize=16)
def loaded(path: str) -> Any:
    """The model of a file, once a process.

    Errors: RecipeError for a file that is no model, or one that ends too early.
    """
    try:
        return fasttext.load_model(str(checked(path)))
    except (ValueError, MemoryError, RuntimeError) as error:
        raise RecipeError(f"{path}: fastText cannot load it: {error}") from None


@functools.lru_cache(maxsize=16)
def labels(path: str) -> tuple[str, ...]:
    """The labels of a model, without their prefix, in its order.

    Errors: RecipeError for a file that is no model.
    """
    return fasttext_format.labels(checked(path))


def samples(
    offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8], most: int
) -> Iterator[str]:
    """Each text; of one longer than `most` bytes head, middle and tail.

    Three pieces of a third of `most` bytes each, so that a header or a footer does not decide
    alone.
    """
    view = memoryview(data)  # type: ignore[arg-type]
    piece = most // 3
    ends = offsets.tolist()
    for start, stop in itertools.pairwise(ends):
        pieces = [view[start:stop]]
        if stop - start > 3 * piece:
            middle = (start + stop - piece) // 2
            pieces = [
                view[start : start + piece],
                view[middle : middle + piece],
                view[stop - piece : stop],
            ]
        # errors="ignore": a cut may fall inside a character
        yield " ".join(str(piece, "utf-8", "ignore") for piece in pieces)


def one_line(text: str) -> str:
    """The text as fastText wants it: a newline would end it."""
    return text.replace("\n", " ")


def probabilities(path: str, label: str, texts: Iterable[str]) -> npt.NDArray[np.float64]:
    """The probability of the label for each text, NaN where the model knows no part of the text."""
    model, wanted = loaded(path), f"{PREFIX}{label}"
    found = []
    for text in texts:
        given, scores = model.predict(one_line(text), -1)
        found.append(float(scores[given.index(wanted)]) if wanted in given else np.nan)
    return np.array(found, np.float64)


def rounded(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores in 65,536ths, from 0 to 1; fastText's own sums may lie 10^-5 above 1."""
    return np.clip(np.round(scores * UNIT) / UNIT, 0, 1)
