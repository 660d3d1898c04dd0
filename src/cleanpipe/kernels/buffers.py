"""From Arrow to numpy without a copy."""

from typing import Any

import numpy as np
import numpy.typing as npt


def text_buffers(array: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """The offsets and the bytes of a pyarrow LargeStringArray or LargeBinaryArray, not copied.

    Text i is data[offsets[i]:offsets[i + 1]]. The arrays are views, not writable, that keep the
    Arrow memory alive. A null reads as the bytes under it, usually none: fill nulls before.

    >>> import pyarrow as pa
    >>> texts = pa.array(["one", "", "three"], pa.large_string())
    >>> offsets, data = text_buffers(texts[1:])
    >>> offsets.tolist(), bytes(data[offsets[1]:offsets[2]])
    ([3, 3, 8], b'three')
    """
    if str(array.type) not in {"large_string", "large_binary"}:
        raise TypeError(
            f"expected a large_string or large_binary array (64-bit offsets), found {array.type}:"
            " cast it with array.cast(pyarrow.large_string())"
        )
    _, offsets, data = array.buffers()
    if offsets is None or offsets.size == 0:  # Arrow lets an array of nothing have no offsets
        ends = np.zeros(1, np.int64)
    else:
        ends = np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8)
    texts = np.frombuffer(b"" if data is None or data.size == 0 else data, np.uint8)
    # one kind of array: numba compiles a kernel once more for arrays that can be written to
    ends.flags.writeable = texts.flags.writeable = False
    return ends, texts
