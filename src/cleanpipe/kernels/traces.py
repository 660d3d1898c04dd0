"""Traces of what is no prose, counted only in texts in which one vectorized pass finds a hint.

Mojibake is UTF-8 that was read as Windows-1252, or as Latin-1 where that has no character: the two
to four characters that the bytes of one have become. `é` is `Ã©` then, and `“` is `â€œ`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from cleanpipe.kernels.counts import Count, Counts
from cleanpipe.kernels.hashing import Bytes
from cleanpipe.kernels.unicode import LETTER, UPPER, decode, flags_of

BRACKET, FILLER, MISREAD = 1, 2, 4
LOREM_IPSUM = np.frombuffer(b"lorem ipsum", np.uint8)
LEAD = 0xC3  # the first byte, in UTF-8, of a character that a leading byte was read as
LEAST_READ = 0xC2  # what a continuation byte was read as begins with one of C2 C5 C6 CB E2
OPEN_BRACKET = 0x7B
BLOCK = 32  # bytes that are looked at together

# The characters of Windows-1252 that its bytes 0x80 to 0x9F stand for; five of them are undefined.
WINDOWS = np.array(
    [ord(bytes([byte]).decode("cp1252", "ignore") or chr(byte)) for byte in range(0x80, 0xA0)],
    np.int64,
)


# What a continuation byte proves, by the character of Windows-1252 that it was read as. Letters and
# soft hyphens stand inside words (Úžas), quotes and signs after them (CAFÉ»), dashes and spaces
# between two: none of these proves much. What no language writes there is certain.
CERTAIN, INNER, OUTER, BETWEEN = 0, 1, 2, 3
# letters with carons and ligatures, inverted ! and ?, pound, soft hyphen, degree, acute, middle dot
INNER_BYTES = bytes.fromhex("83 8A 8C 8E 9A 9C 9E 9F A1 A3 AD B0 B4 B7 BF")
# quotes, ellipsis, bullet, trade mark and copyright, raised letters and digits
OUTER_BYTES = bytes.fromhex("82 84 85 8B 91 92 93 94 95 99 9B A9 AA AB AE B2 B3 B9 BA BB")
BETWEEN_BYTES = bytes.fromhex("96 97 A0")


def _kinds() -> npt.NDArray[np.uint8]:
    table = np.full(64, CERTAIN, np.uint8)
    for kind, members in ((INNER, INNER_BYTES), (OUTER, OUTER_BYTES), (BETWEEN, BETWEEN_BYTES)):
        table[np.frombuffer(members, np.uint8) - 0x80] = kind
    return table


KINDS = _kinds()
A_CIRCUMFLEX, A_TILDE = 0xC2, 0xC3  # what U+0080 to U+00FF begin with


def _hints_of_block_code(_typing_context: Any, data: Any, _start: Any) -> Any:
    """The hints at BLOCK places of a text, which has three bytes more; written as vectors."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8), ir.IntType(64)
        vector = ir.VectorType(byte, BLOCK)

        def every(value: int) -> Any:
            return ir.Constant(vector, [value] * BLOCK)

        def bytes_from(step: int) -> Any:
            place = builder.add(arguments[1], ir.Constant(number, step))
            address = builder.gep(arguments[0], [place])
            return builder.load(builder.bitcast(address, vector.as_pointer()), align=1)

        def is_letter(which: Any, letter: str) -> Any:  # its case is one bit
            return builder.icmp_unsigned("==", builder.or_(which, every(32)), every(ord(letter)))

        first, third = bytes_from(0), bytes_from(2)
        bracket = builder.icmp_unsigned("==", first, every(OPEN_BRACKET))
        filler = builder.and_(is_letter(first, "m"), is_letter(third, "i"))
        filler = builder.and_(filler, is_letter(bytes_from(3), "p"))  # "m ip"
        misread = builder.icmp_unsigned(">=", third, every(LEAST_READ))
        misread = builder.and_(misread, builder.icmp_unsigned("==", first, every(LEAD)))
        found = ir.Constant(number, 0)
        mask = ir.IntType(BLOCK)
        for held, hint in ((bracket, BRACKET), (filler, FILLER), (misread, MISREAD)):
            any_ = builder.icmp_unsigned("!=", builder.bitcast(held, mask), ir.Constant(mask, 0))
            zero = ir.Constant(number, 0)
            found = builder.or_(found, builder.select(any_, ir.Constant(number, hint), zero))
        return found

    return types.int64(data, types.int64), code


_hints_of_block: Any = intrinsic(_hints_of_block_code)


@njit(cache=True, nogil=True)
def hints(data: Bytes, start: Any, stop: Any) -> Any:
    """Which of BRACKET, FILLER and MISREAD a text, given by its address, may hold."""
    found = np.int64(0)
    i = np.int64(start)
    while i + BLOCK + 3 <= stop:
        found |= _hints_of_block(data, i)
        i += BLOCK
    while i < stop:
        first = data[i]
        found |= np.int64(first == OPEN_BRACKET)
        if i + 3 < stop:
            third = data[i + 2]
            filler = (first | 32 == 0x6D) & (third | 32 == 0x69) & (data[i + 3] | 32 == 0x70)
            found |= np.int64(filler) << 1
            found |= np.int64((first == LEAD) & (third >= LEAST_READ)) << 2
        i += 1
    return found


@njit(cache=True, nogil=True)
def traces(data: Bytes, start: Any, stop: Any, row: Counts) -> None:
    """Count opening curly brackets, "lorem ipsum" in any case, and mojibake."""
    found = hints(data, start, stop)
    if found & BRACKET:
        brackets = 0
        for i in range(np.uint64(start), np.uint64(stop)):
            brackets += data[i] == OPEN_BRACKET
        row[Count.CURLY_BRACKETS] = brackets
    if found & FILLER:
        row[Count.LOREM_IPSUM] = fillers(data, start, stop)
    if found & MISREAD:
        row[Count.MOJIBAKE] = misread(data, start, stop)


@njit(cache=True, nogil=True)
def fillers(data: Bytes, start: Any, stop: Any) -> int:
    """How often "lorem ipsum" occurs, whatever the case."""
    count = 0
    for i in range(start, stop - len(LOREM_IPSUM) + 1):
        k = 0
        while k < len(LOREM_IPSUM) and (data[i + k] | 32) == LOREM_IPSUM[k]:
            k += 1
        count += k == len(LOREM_IPSUM)
    return count


@njit(cache=True, nogil=True)
def misread(data: Bytes, start: Any, stop: Any) -> int:
    """How many characters of UTF-8 were read as Windows-1252; they do not overlap."""
    count = 0
    after = start  # of the last one: what follows it stands after nothing
    i = start
    while i + 2 < stop:
        if data[i] == LEAD and data[i + 2] >= LEAST_READ:
            before = 0
            if i > after:
                k = i - 1
                while data[k] & 0xC0 == 0x80:
                    k -= 1
                before = flags_of(decode(data, k)[0])
            end = misread_character(data, i, stop, before)
            if end:
                count += 1
                i = after = end
                continue
        i += 1
    return count


@njit(cache=True, nogil=True)
def misread_character(data: Bytes, start: Any, stop: Any, before: Any) -> Any:
    """The end of one misread character at `start`; 0 if there is none.

    `Ã©` may be one, or the end of a name and its copyright sign. Where no character is CERTAIN, one
    counts only after Â or Ã, and if it is no letter only inside a word: after a small letter, or
    before a letter too where it is no dash or space.
    """
    lead, i = decode(data, start)
    i += start
    if not 0xC2 <= lead <= 0xF4:
        return 0
    more = 1 + (lead >= 0xE0) + (lead >= 0xF0)
    kind = BETWEEN
    for k in range(more):
        if i >= stop:
            return 0
        cp, size = decode(data, i)
        byte = windows_byte(cp)
        if not 0x80 <= byte <= 0xBF or (k == 0 and not may_be_second(lead, byte)):
            return 0
        kind = min(kind, KINDS[byte - 0x80])
        i += size
    if kind == CERTAIN:
        return i
    if lead not in (A_CIRCUMFLEX, A_TILDE):
        return 0
    inside = kind == INNER or before & (LETTER | UPPER) == LETTER
    if kind == OUTER and i < stop:
        inside |= flags_of(decode(data, i)[0]) & LETTER != 0
    return i if inside else 0


@njit(cache=True, nogil=True)
def windows_byte(cp: Any) -> Any:
    """The byte of a character in Windows-1252, or in Latin-1; -1 if it has none."""
    if cp <= 0xFF:
        return cp
    for k in range(len(WINDOWS)):
        if WINDOWS[k] == cp:
            return 0x80 + k
    return -1


@njit(cache=True, nogil=True)
def may_be_second(lead: Any, byte: Any) -> Any:
    """Whether UTF-8 has this second byte after that first one: no overlong form, no surrogate."""
    if lead == 0xE0:
        return byte >= 0xA0
    if lead == 0xED:
        return byte <= 0x9F
    if lead == 0xF0:
        return byte >= 0x90
    return lead != 0xF4 or byte <= 0x8F
