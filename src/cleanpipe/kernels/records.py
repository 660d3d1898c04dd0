"""Where records end in raw bytes, and which of many byte strings are valid UTF-8."""

import numba
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

NEWLINE = 10
CARRIAGE_RETURN = 13
QUOTE = 34

# The states of RFC 4180, as Python's csv module sees them: a quote is special only where a
# field starts, so 5" in the middle of a field opens nothing.
FIELD_START, IN_FIELD, IN_QUOTES, AFTER_QUOTE = 0, 1, 2, 3


@numba.njit(cache=True, nogil=True)
def count_newlines(data: Bytes) -> int:
    """How many newlines stand in `data`.

    >>> count_newlines(np.frombuffer(b"a" + bytes([10, 10]), dtype=np.uint8))
    2
    """
    count = 0
    for i in range(data.size):
        count += data[i] == NEWLINE
    return count


@numba.njit(cache=True, nogil=True)
def quoted_record_ends(data: Bytes, delimiter: int, state: int) -> tuple[Places, int]:
    """Where CSV records end (after the newline), and the state in which `data` ends.

    `state` is 0 (FIELD_START) at the start of a record, and what the last call returned where
    `data` goes on from its bytes. Newlines in quoted fields end nothing.

    >>> text = b'a,"b' + bytes([10]) + b'c"' + bytes([10]) + b"d,e" + bytes([10])
    >>> ends, state = quoted_record_ends(np.frombuffer(text, dtype=np.uint8), ord(","), 0)
    >>> ends.tolist(), state
    ([8, 12], 0)
    """
    ends = np.empty(count_newlines(data), dtype=np.int64)
    found = 0
    for i in range(data.size):
        byte = data[i]
        if state == IN_QUOTES:
            if byte == QUOTE:
                state = AFTER_QUOTE
        elif byte == NEWLINE:
            ends[found] = i + 1
            found += 1
            state = FIELD_START
        elif byte == delimiter:
            state = FIELD_START
        elif byte == QUOTE and state in (FIELD_START, AFTER_QUOTE):
            state = IN_QUOTES
        else:
            state = IN_FIELD
    return ends[:found], state


@numba.njit(cache=True, nogil=True)
def valid_utf8(offsets: Places, data: Bytes) -> npt.NDArray[np.bool_]:
    """Which of the byte strings data[offsets[i]:offsets[i + 1]] are valid UTF-8.

    Exact (Unicode 16, table 3-7): overlong forms, surrogates and what is above U+10FFFF are
    invalid, and so is a character that a string's end cuts off.

    >>> valid_utf8(np.array([0, 1, 2]), np.frombuffer(bytes([65, 255]), dtype=np.uint8)).tolist()
    [True, False]
    """
    valid = np.empty(offsets.size - 1, dtype=np.bool_)
    for row in range(valid.size):
        valid[row] = _is_utf8(data, offsets[row], offsets[row + 1])
    return valid


@numba.njit(cache=True, nogil=True)
def _is_utf8(data: Bytes, start: int, stop: int) -> bool:
    i = start
    while i < stop:
        lead = data[i]
        i += 1
        if lead < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                low = 0xA0  # below: overlong
            elif lead == 0xED:
                high = 0x9F  # above: surrogates
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                low = 0x90  # below: overlong
            elif lead == 0xF4:
                high = 0x8F  # above: beyond U+10FFFF
        else:
            return False
        if i + more > stop or data[i] < low or data[i] > high:
            return False
        for j in range(i + 1, i + more):
            if data[j] < 0x80 or data[j] > 0xBF:
                return False
        i += more
    return True
