"""White space squeezed, and changed texts put among those that did not change, in one copy."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from cleanpipe.kernels import clean
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.text.draft import Rows, as_arrow

NO_ROWS: Rows = np.zeros(0, np.int64)
NO_TEXTS = pl.Series(dtype=pl.String)


def flags(fixes: Collection[str]) -> int:
    """What the scan must have found for `spaces` and `blank_lines` to change a text."""
    spaces, lines = "spaces" in fixes, "blank_lines" in fixes
    return clean.HAS_BLANKS * spaces | clean.HAS_BLANK_LINES * lines


def squeeze(
    texts: pa.LargeStringArray,
    fixes: Collection[str],
    dirty: npt.NDArray[np.bool_],
    rows: Rows = NO_ROWS,
    repaired: pl.Series = NO_TEXTS,
) -> tuple[pa.LargeStringArray, npt.NDArray[np.uint8]]:
    """Put repaired texts in their rows, and squeeze the white space of the dirty ones.

    Returns the texts, the very array that came in if nothing changes, and what was squeezed.

    >>> texts = pa.array(["a  b", "c  d", "e"], pa.large_string())
    >>> squeeze(texts, ["spaces"], np.array([True, False, False]))[0].to_pylist()
    ['a b', 'c  d', 'e']
    """
    if not rows.size and not dirty.any():
        return texts, np.zeros(len(texts), np.uint8)
    offsets, data = text_buffers(texts)
    repaired_offsets, repaired_data = text_buffers(as_arrow(repaired))
    kept = offsets[-1] - offsets[0]
    out = np.empty(kept + repaired_offsets[-1] - repaired_offsets[0], np.uint8)
    new_offsets, squeezed = clean.squeeze(
        offsets,
        data,
        dirty,
        rows,
        repaired_offsets,
        repaired_data,
        "spaces" in fixes,
        "blank_lines" in fixes,
        out,
    )
    buffers = pa.py_buffer(new_offsets), pa.py_buffer(out[: new_offsets[-1]])
    return pa.LargeStringArray.from_buffers(len(texts), *buffers), squeezed
