"""Cuts: spans of text that repeat across the corpus, cut but from the one document that owns them.

As CCNet does with lines (Wenzek et al. 2020, arXiv 1911.00359), and C4 with runs of three
sentences (Raffel et al. 2020, arXiv 1910.10683, 2.2). The passes that find them are in repeats.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from cleanpipe.kernels import cuts
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.hashing import text_keys
from cleanpipe.rules.filter import OF_CUTS

UNITS = {"lines": cuts.LINES, "paragraphs": cuts.PARAGRAPHS, "sentences": cuts.SENTENCES}
C4_SENTENCES = 3
SPAN = np.dtype([("lo", "u8"), ("hi", "u8"), ("document", "u4"), ("start", "u4"), ("size", "u4")])
"""A span: its hash, the number of its document, its first byte in that, and its bytes."""
MEASURES: Mapping[str, pl.DataType] = {
    name: pl.Float64() if name.endswith("_frac") else pl.Int64() for name in OF_CUTS
}
"""The measures that cuts give, and their types."""
KEY = 0x63757473
"""Keeps the hashes of spans apart from those of texts."""


def _usual(known: Mapping[str, Any]) -> int:
    return C4_SENTENCES if known.get("unit") == "sentences" else 1


class Cuts(BaseModel):
    """Which spans of text are compared across the corpus, and when one of them is cut."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    unit: Literal["lines", "paragraphs", "sentences"] = "lines"
    """What spans are made of. `lines` are what CCNet calls paragraphs, and what most text from the
    web has for them; `paragraphs` stand between blank lines, and are right for text whose lines are
    broken at a width; `sentences` are C4's, and end at a line break, too. A unit without a word is
    none."""
    ngram: Annotated[int, Field(ge=1, le=50, default_factory=_usual)]
    """The units of a span: only a run of so many that repeats is cut. Left out, it is 1, and 3 for
    sentences, as in C4. Larger ones spare what repeats by itself but among other text, and a
    document with fewer units is never cut."""
    min_words: Annotated[int, Field(ge=1)] = 10
    """A span of fewer words is left: the lines of a list, a brace, Yes and No repeat everywhere. 10
    is what FineWeb's ablation of line dedup went by (Penedo et al. 2024, arXiv 2406.17557); CCNet
    has no bound (1), and leaves of a page with a menu only what is not in the menu."""
    min_documents: Annotated[int, Field(ge=1)] = 2
    """Cut a span that stands in so many documents, or more; 1 cuts also what repeats within one
    document alone. Larger ones spare quotations and cut only what a site says on every page."""
    same_digits: bool = True
    """Whether digits must be equal. False takes each for 0, as CCNet does: then lines that differ
    in a date or a count repeat, and so do the rows of a table of numbers."""

    def spans(self, texts: pa.LargeStringArray, seed: int) -> npt.NDArray[Any]:
        """The spans of texts, none of them null, as an array of SPAN, in the order of the texts.

        Equal ones have equal hashes of 128 bits, under a key that only the seed tells: of n
        different spans two have the same with a chance of n squared over 2^129, which is 1.5e-19
        for ten thousand million.
        """
        number, start, size, low, high = cuts.spans(
            *text_buffers(texts),
            UNITS[self.unit],
            self.ngram,
            self.min_words,
            self.same_digits,
            text_keys(np.uint64(seed ^ KEY)),
        )
        found = np.empty(len(low), SPAN)
        for name, values in zip(SPAN.names or (), (low, high, number, start, size), strict=True):
            found[name] = values
        return found


def path_of(folder: Path, name: str) -> Path:
    """What is cut from the documents of a block: shard, row, start, end, hash, and its owner."""
    return folder / "cuts" / f"{name}.parquet"


def load(folder: Path, name: str) -> pl.DataFrame:
    """What is cut from the documents of a block: shard, row, and start and end in bytes."""
    return pl.read_parquet(path_of(folder, name), columns=["shard", "row", "start", "end"])


def of_document(folder: Path, shard: int, row: int) -> pl.DataFrame:
    """What is cut from one document, and whose it is: all columns of the table, a row a span."""
    place = (pl.col("shard") == shard) & (pl.col("row") == row)
    return pl.scan_parquet(sorted((folder / "cuts").glob("*.parquet"))).filter(place).collect()


def remove(
    texts: pa.LargeStringArray, rows: npt.NDArray[np.uint64], cut: pl.DataFrame
) -> pa.LargeStringArray:
    r"""The normalized texts of these rows (ascending) of a shard without what is cut from them.

    `cut` (row, start, end; sorted) may hold other rows of the shard, too.

    >>> cut = pl.DataFrame({"row": [8], "start": [4], "end": [8]})
    >>> texts = pa.array(["one\n", "one\nmenu\ntwo"], pa.large_string())
    >>> remove(texts, np.array([3, 8], np.uint64), cut).to_pylist()
    ['one\n', 'one\ntwo']
    """
    wanted = cut["row"].to_numpy().astype(np.uint64)
    place = np.searchsorted(rows, wanted)
    inside = np.flatnonzero(np.append(rows, np.uint64(0))[place] == wanted)
    inside = inside[place[inside] < len(rows)]
    if not len(inside):
        return texts
    offsets, data = text_buffers(texts)
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    starts, ends = (cut[name].to_numpy()[inside].astype(np.int64) for name in ("start", "end"))
    new_offsets = cuts.remove(offsets, data, place[inside], starts, ends, out)
    buffers = pa.py_buffer(new_offsets), pa.py_buffer(out[: new_offsets[-1]])
    return pa.LargeStringArray.from_buffers(len(texts), *buffers)


def measures(before: pa.LargeStringArray, after: pa.LargeStringArray) -> pl.DataFrame:
    """How much of each text was cut: cut_bytes, cut_chars, and cut_frac of the chars before."""
    texts = pl.DataFrame({"before": pl.Series(before), "after": pl.Series(after)})
    chars = pl.col("before").str.len_chars()
    gone = (chars.cast(pl.Int64) - pl.col("after").str.len_chars()).alias("cut_chars")
    size = pl.col("before").str.len_bytes().cast(pl.Int64) - pl.col("after").str.len_bytes()
    frac = pl.when(chars > 0).then(gone / chars).otherwise(0.0)
    return texts.select(size.alias("cut_bytes"), gone, frac.alias("cut_frac"))
