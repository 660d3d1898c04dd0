"""Encoded data inside a text: long runs without a space, and what looks like base64 or hexadecimal.

Encodings are told by what they have and writing has not. In base64 of nearly anything upper case,
lower case and digits change places all the time; in CamelCase, paths and constants one class stays
for a word. Hexadecimal is digits and the letters a to f in groups of one length. Both are cautious:
what is found is encoded, and what has little variety, such as the base64 of zeros, is not found.

Prose is not read byte by byte for this. A run of more than n bytes covers every n-th byte: from
there the last byte that ends a run is looked for backwards, and is near.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from cleanpipe.kernels.hashing import Bytes, word_at
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER, read_token
from cleanpipe.kernels.unicode import PUNCT, SOLO, SPACE, decode, flags_of

LEAST = 32
"""Characters of base64, or hexadecimal digits, that are looked at: 24 or 16 bytes, an MD5."""
HEX_LETTERS = 3
"""Of a to f must occur: 1e-05 and 2.5e-03 have one, 16 random bytes fewer than three never."""

OTHER, UPPER, LOWER, DIGIT, SYMBOL = 0, 1, 2, 3, 4
SPACE_BYTE, WIDE_BYTE = 1, 2
BREAKS = SPACE | SOLO | PUNCT
NO_HEX, HEX_DIGITS = 128, np.int64(127)
UUID_GROUPS = (8, 4, 4, 4, 12)
UUID_BYTES = 36
HYPHEN = 0x2D
ONE = np.uint64(1)
ONES, TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
BLANKS, BITS_6 = np.uint64(0x2020202020202020), np.uint64(0x4040404040404040)
EQUALS = 0x3D


def _base64_kinds() -> npt.NDArray[np.uint8]:
    """The class of each byte in base64, whose symbols are +/ or, in addresses, -_."""
    kinds = np.zeros(256, np.uint8)
    kinds[ord("A") : ord("Z") + 1] = UPPER
    kinds[ord("a") : ord("z") + 1] = LOWER
    kinds[ord("0") : ord("9") + 1] = DIGIT
    kinds[list(b"+/-_")] = SYMBOL
    return kinds


def _hex_bits() -> npt.NDArray[np.uint8]:
    """Bit 0 for a decimal digit, bits 1 to 6 for a to f in either case, bit 7 for all else."""
    bits = np.full(256, NO_HEX, np.uint8)
    bits[ord("0") : ord("9") + 1] = 1
    for i, letters in enumerate((b"aA", b"bB", b"cC", b"dD", b"eE", b"fF"), 1):
        bits[list(letters)] = 1 << i
    return bits


def _hex_ends() -> npt.NDArray[np.bool_]:
    """The bytes that stand in no stretch of hexadecimal: other letters, and all but ASCII."""
    ends = np.ones(256, np.bool_)
    for byte in range(128):
        ends[byte] = chr(byte).isalpha() and chr(byte).lower() not in "abcdefxu"
    return ends


def _run_bytes() -> npt.NDArray[np.uint8]:
    """Which bytes end an unbroken run (spaces), and which belong to characters that may."""
    bytes_ = np.zeros(256, np.uint8)
    bytes_[[0x20, *range(0x09, 0x0E)]] = SPACE_BYTE
    bytes_[0x80:] = WIDE_BYTE
    return bytes_


RUN_BYTES = _run_bytes()
KINDS = _base64_kinds()
BASE64_ENDS = KINDS == OTHER
HEX_BITS = _hex_bits()
HEX_ENDS = _hex_ends()


@njit(cache=True, nogil=True)
def unbroken(data: Bytes, start: Any, stop: Any) -> Any:
    """(characters of the longest unbroken run, characters that look like base64).

    What breaks a run is a space, a letter of a script written without spaces, and punctuation
    outside ASCII, which some scripts have for spaces: no run is long in ordinary writing. Shorter
    ones than 32 characters are not measured: 0.
    """
    longest, base64 = 0, 0
    floor = run = start
    while run + LEAST <= stop:
        if has_blank(word_at(data, run + 16)) | has_blank(word_at(data, run + 24)):
            run += 16
            continue
        after = after_last_break(data, run, run + LEAST - 1)
        if after > run:
            run = after
            continue
        run = after_last_break(data, floor, run - 1)
        chars = 0
        end = run
        size = 0
        while end < stop:
            if RUN_BYTES[data[end]] == SPACE_BYTE:
                size = 1
                break
            if RUN_BYTES[data[end]] == WIDE_BYTE:
                cp, size = decode(data, end)
                if flags_of(cp) & BREAKS:
                    break
                end += size - 1
            chars += 1
            end += 1
        if chars >= LEAST:
            longest = max(longest, chars)
            base64 += base64_chars(data, run, end)
        floor = run = end + size
    return longest, base64


@njit(cache=True, nogil=True, forceinline=True)
def has_blank(word: Any) -> Any:
    """Whether one of eight bytes is a blank: the one where taking 1 off borrows."""
    other = word ^ BLANKS
    return (other - ONES) & ~other & TOPS


@njit(cache=True, nogil=True, forceinline=True)
def has_letter(word: Any) -> Any:
    """Whether one of eight bytes is a letter from h to o, or no ASCII: bits 6 and 3, and not 4."""
    return word & word << np.uint64(3) & ~(word << np.uint64(2)) & BITS_6


@njit(cache=True, nogil=True)
def after_last_break(data: Bytes, run: Any, probe: Any) -> Any:
    """Where the last character of data[run:probe + 1] that ends a run is over; `run` if none is."""
    first = np.uint64(run)  # unsigned: numba then tests for no negative index
    i = np.uint64(probe) + ONE  # one more than the byte that is looked at: it cannot be below zero
    while i > first:
        kind = RUN_BYTES[data[i - ONE]]
        if kind == SPACE_BYTE:
            return np.int64(i)
        i -= ONE
        if kind == WIDE_BYTE:
            while data[i] & 0xC0 == 0x80:
                i -= ONE
            cp, size = decode(data, i)
            if flags_of(cp) & BREAKS:
                return np.int64(i) + size
    return np.int64(first)


@njit(cache=True, nogil=True)
def base64_chars(data: Bytes, start: Any, stop: Any) -> int:
    """How many characters of data[start:stop] stand in runs that look like base64.

    Such a run has at least 32 characters, an eighth of them upper case, an eighth lower case, a
    digit, at most an eighth symbols, a letter that no hexadecimal number has, and its letters of
    either case stand 2.5 together on average at most: 1.7 in random bytes, 3 and more in CamelCase.
    `=` behind it counts.
    """
    total = 0
    begin = start
    while begin + LEAST <= stop:
        i = after_last(data, begin, BASE64_ENDS)
        if i > begin:
            begin = i
            continue
        uppers, lowers, digits, symbols, upper_runs, lower_runs = 0, 0, 0, 0, 0, 0
        no_hex = False
        before = OTHER
        while i < stop and KINDS[data[i]] != OTHER:
            kind = KINDS[data[i]]
            uppers += kind == UPPER
            lowers += kind == LOWER
            digits += kind == DIGIT
            symbols += kind == SYMBOL
            upper_runs += kind == UPPER and before != UPPER
            lower_runs += kind == LOWER and before != LOWER
            no_hex |= HEX_ENDS[data[i]]
            before = kind
            i += 1
        length = i - begin
        while i < stop and i < begin + length + 2 and data[i] == EQUALS:
            i += 1
        if (
            digits > 0
            and no_hex
            and 8 * uppers >= length
            and 8 * lowers >= length
            and 8 * symbols <= length
            and 2 * uppers <= 5 * upper_runs
            and 2 * lowers <= 5 * lower_runs
        ):
            total += i - begin
        begin = i
    return total


@njit(cache=True, nogil=True, forceinline=True)
def after_last(data: Bytes, start: Any, ends: npt.NDArray[np.bool_]) -> Any:
    """The place after the last of 32 bytes that is one of `ends`; `start` if none is."""
    first = np.uint64(start)  # unsigned: numba then tests for no negative index
    i = first + np.uint64(LEAST)
    while i > first and not ends[data[i - ONE]]:
        i -= ONE
    return np.int64(i)


@njit(cache=True, nogil=True)
def hex_digits(data: Bytes, start: Any, stop: Any) -> int:
    """How many hexadecimal digits stand in stretches that look like it.

    A stretch is of hexadecimal numbers of one length, at least two digits each, with nothing but
    ASCII symbols and spaces between them; it has 32 digits, decimal ones and three letters among
    them. A UUID is one number of 32 digits.
    """
    total = 0
    floor = after = start  # what is before stands in no stretch, or is counted
    known = start  # where the last token that was read ends
    while after + LEAST <= stop:
        if has_letter(word_at(data, after + 16)) | has_letter(word_at(data, after + 24)):
            after += 16
            continue
        i = after_last(data, after, HEX_ENDS)
        if i > after:
            after = i
            continue
        while after > floor and not HEX_ENDS[data[after - 1]]:
            after -= 1
        i = after
        kinds = np.int64(0)
        while i < stop and not HEX_ENDS[data[i]]:
            kinds |= np.int64(HEX_BITS[data[i]])
            i += 1
        if has_variety(kinds):
            begin = max(after, known)
            while (
                begin > known and RUN_BYTES[data[begin - 1]] != SPACE_BYTE
            ):  # no token is cut in two
                begin -= 1
            number, known = hex_between(data, begin, i, stop)
            total += number
        floor = after = i + 1
    return total


@njit(cache=True, nogil=True)
def has_variety(kinds: Any) -> Any:
    """Whether digits of these kinds, bits of HEX_BITS, are decimal ones and three letters."""
    letters = 0
    for bit in range(1, 7):
        letters += kinds >> bit & 1
    return letters >= HEX_LETTERS and kinds & 1 == 1


@njit(cache=True, nogil=True)
def hex_between(data: Bytes, i: Any, end: Any, stop: Any) -> Any:
    """(digits of hexadecimal stretches among the tokens from `i` to `end`, end of the last)."""
    total, length, number, kinds = 0, 0, 0, np.int64(0)
    while i < end:
        if RUN_BYTES[data[i]] == SPACE_BYTE:
            i += 1
            continue
        after, _, _, _, symbol, _, _, _, _ = read_token(
            data, i, stop, PUBLIC_INIT, PUBLIC_MULTIPLIER
        )
        if symbol < 0 or symbol >= 0x80:
            digits, seen = (0, np.int64(0)) if symbol >= 0 else hex_number(data, i, after)
            if digits == UUID_GROUPS[0] and is_uuid(data, i, after, stop):
                after = i + UUID_BYTES
                digits = LEAST
                for place in range(i, after):
                    seen |= np.int64(HEX_BITS[data[place]]) & HEX_DIGITS
            if digits != length:
                total += number if number >= LEAST and has_variety(kinds) else 0
                length, number, kinds = digits, 0, np.int64(0)
            number += digits
            kinds |= seen
        i = after
    return total + (number if number >= LEAST and has_variety(kinds) else 0), i


@njit(cache=True, nogil=True)
def is_uuid(data: Bytes, start: Any, after: Any, stop: Any) -> Any:
    """Whether the word from `start` to `after` begins a UUID: groups of 8, 4, 4, 4 and 12 digits.

    Each group is a word, and nothing but one hyphen stands between two of them.
    """
    if start + UUID_BYTES > stop:
        return False
    for size in UUID_GROUPS:
        if after - start != size:
            return False
        for place in range(start, after):
            if HEX_BITS[data[place]] == NO_HEX:
                return False
        if size == UUID_GROUPS[-1]:
            return True
        if data[after] != HYPHEN:
            return False
        start = after + 1
        after, _, _, _, symbol, _, _, _, _ = read_token(
            data, start, stop, PUBLIC_INIT, PUBLIC_MULTIPLIER
        )
        if symbol >= 0:
            return False
    return False


@njit(cache=True, nogil=True)
def hex_number(data: Bytes, start: Any, stop: Any) -> Any:
    r"""(digits, their kinds as bits of HEX_BITS) of a word that is a hexadecimal number, or (0, 0).

    0x, x or u may stand before it, as in 0x7f, \x7f and \u4f60; it has at least two digits.
    """
    i = start
    first = data[i] | 0x20
    if first == 0x78 or first == 0x75:  # noqa: PLR1714 - a tuple is slower
        i += 1
    elif stop - i > 2 and first == 0x30 and data[i + 1] | 0x20 == 0x78:
        i += 2
    number = stop - i
    seen = np.int64(0)
    while i < stop and seen < NO_HEX:
        seen |= np.int64(HEX_BITS[data[i]])
        i += 1
    if number < 2 or seen >= NO_HEX:
        return 0, np.int64(0)
    return number, seen
