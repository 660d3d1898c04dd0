"""Which tokens are repeats: train.repeats.parquet, and masks of it for a loss.

The table has a row a stretch of 32 tokens or more in which a span of 1 to 13 tokens stands three
times or more in a row: token_start, token_end (among all tokens), period. OLMo 2 leaves out whole
sequences with 32 repeats; here the tokens of the repeats are masked, and what stands around them is
still learnt, as is the first time the span is said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from cleanpipe.export.exposure import Export
from cleanpipe.training.callback import DOCUMENT

FILE = "train.repeats.parquet"
TIMES, LEAST = 3, 32
IGNORED = -100
"""The label that torch's cross entropy leaves out."""
STRETCH = pa.schema([(name, pa.int64()) for name in ("token_start", "token_end", "period")])
Places = npt.NDArray[np.int64]


def table(spans: Places, rows: Places, lengths: Places) -> pa.Table:
    """The stretches of documents (document, start, end, period) in the documents' final order.

    `rows` are the documents in that order, `lengths` their tokens, in that order, too.
    """
    starts = np.empty(len(rows), np.int64)
    starts[rows] = np.cumsum(lengths) - lengths
    at = starts[spans[:, 0]]
    columns = [at + spans[:, 1], at + spans[:, 2], spans[:, 3]]
    return pa.table(columns, schema=STRETCH).sort_by("token_start")


@dataclass(frozen=True)
class Repeats:
    """The tokens to mask, as stretches that do not overlap, in order."""

    starts: Places
    ends: Places
    first: Places
    """The number of each token file's first token; see `Export`."""
    bounds: Places
    """Where documents begin; see `Export`."""

    @classmethod
    def open(cls, folder: Path, times: int = 32) -> "Repeats":
        """Those of an export where a span stands so many times or more: 32 is OLMo 2's bound."""
        export = Export.open(folder)
        known = pl.read_parquet(folder / FILE)
        size = pl.col("token_end") - pl.col("token_start")
        chosen = known.filter(size >= times * pl.col("period"))
        starts, ends, period = (chosen[name].to_numpy() for name in STRETCH.names)
        return cls(starts + period, ends, export.first, export.bounds)

    def mask(self, starts: npt.ArrayLike, length: int, file: int = 0) -> npt.NDArray[np.bool_]:
        """(n, length): whether each token is a repeat, of sequences that begin at these tokens."""
        at = self.first[file] + np.asarray(starts, np.int64)[:, None] + np.arange(length)
        stretch = np.searchsorted(self.starts, at, side="right") - 1
        inside: npt.NDArray[np.bool_] = stretch >= 0
        inside[inside] = at[inside] < self.ends[stretch[inside]]
        return inside

    def collator(
        self, collate: Callable[[Sequence[dict[str, Any]]], dict[str, Any]]
    ) -> Callable[[Sequence[dict[str, Any]]], dict[str, Any]]:
        """A Hugging Face collator whose labels leave repeats out.

        For rows of an exported dataset, which have the column `document`, and labels that stand
        where the input does, from its left: as with DataCollatorForLanguageModeling. The column is
        taken away.
        """

        def masked(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
            documents = np.array([int(row[DOCUMENT]) for row in rows])
            bare = [{name: row[name] for name in row if name != DOCUMENT} for row in rows]
            batch = collate(bare)
            labels = batch["labels"]
            marked = self.mask(self.bounds[documents], int(labels.shape[1]))
            for line, row in enumerate(rows):
                marked[line, len(row["input_ids"]) :] = False  # of the document after it
            for line, place in np.argwhere(marked).tolist():
                labels[line, place] = IGNORED
            return batch

        return masked
