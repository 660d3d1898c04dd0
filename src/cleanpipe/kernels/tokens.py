"""The tokens of a text: words and symbols, which every measure and every shingle is made of.

A *word* is a maximal run of letters, marks (zero-width joiners among them) and digits that begins
with a letter or a digit; an apostrophe (' or U+2019) between two
letters stays inside. In scripts written without spaces (Han, Hiragana, Katakana, Thai, Lao, Khmer,
Myanmar) a letter with the marks that follow it is a word by itself. Every other character but a
space is a *symbol*; a run of one and the same is one symbol. A word is folded by the simple case
folding of its code points; its apostrophes are left out.

A token's hash is h = init; h = (h ^ code point) * multiplier for each, then MurmurHash3's fmix64,
all modulo 2^64. Init and multiplier are a key: the public one for signatures, which others must be
able to repeat, a secret one where equality decides what is dropped.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from cleanpipe.kernels.hashing import Bytes, Hashes, few_bytes, fmix64, ones, word_at, zeros_below
from cleanpipe.kernels.unicode import (
    DIGIT,
    IN_WORD,
    LETTER,
    MARK,
    SOLO,
    SPACE,
    UPPER,
    decode,
    flags_of,
    folded,
)

PUBLIC_INIT = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
PUBLIC_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)  # odd, from P. Evensen's mixers

APOSTROPHE = 0x27
SOLO_LETTER = SOLO | LETTER  # without case
CURLY_APOSTROPHE = 0x2019


ONE, THREE, EIGHT = np.uint64(1), np.uint64(3), np.uint64(8)
EVERY = np.uint64(0x0101010101010101)  # times a byte: that byte eight times
LOW_BITS = np.uint64(0x7F) * EVERY
TOP_BITS = np.uint64(0x80) * EVERY
BLANKS = np.uint64(0x20) * EVERY
LAST_BITS = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
"""By size: the bits of a word's first bytes."""


def _ascii_symbols() -> npt.NDArray[np.bool_]:
    """Which bytes are ASCII characters that stand in no word."""
    return np.array([byte < 128 and not chr(byte).isalnum() for byte in range(256)])


ASCII_SYMBOLS = _ascii_symbols()


def hash_word(word: str) -> np.uint64:
    """The exact hash, under the public key, of one token; `read_token` in plain Python.

    >>> hex(hash_word("the"))
    '0x7bd4ce0c4b83317a'
    """
    h = int(PUBLIC_INIT)
    for char in word:
        h = (h ^ ord(char)) * int(PUBLIC_MULTIPLIER) % 2**64
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ h >> 33) * multiplier % 2**64
    return np.uint64(h ^ h >> 33)


@njit(cache=True, nogil=True, forceinline=True)
def eight_bytes(data: Bytes, place: Any, end: Any) -> Any:
    """Eight bytes, the first one lowest; zeros for what would be beyond the text's end."""
    if place + EIGHT <= end:
        return word_at(data, place)
    return few_bytes(data, np.int64(place), np.int64(end))


@njit(cache=True, nogil=True, forceinline=True)
def at_least(word: Any, least: Any) -> Any:
    """The highest bit of each byte, below 128, that is not below `least`."""
    return word + np.uint64(0x80 - least) * EVERY


@njit(cache=True, nogil=True, forceinline=True)
def kinds_of_eight(word: Any) -> Any:
    """The highest bits of the bytes that are ASCII capitals, digits, and neither letter nor digit.

    Of what stands behind the first of the last kind, nothing is said about the others.
    """
    low = word & LOW_BITS
    small = low | BLANKS
    letters = at_least(small, 0x61) & ~at_least(small, 0x7B)
    numerals = at_least(low, 0x30) & ~at_least(low, 0x3A)
    others = (~(letters | numerals) | word) & TOP_BITS
    return letters & ~(low << np.uint64(2)) & TOP_BITS, numerals & TOP_BITS, others


def _hash_on_code(_typing_context: Any, h: Any, word: Any, size: Any, multiplier: Any) -> Any:
    """The hash after the first `size` of eight bytes, the first one lowest.

    The hashes after each of the eight are written to the stack, and the one meant is read: no
    branch asks which it is, and it does not wait for those behind it.
    """

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        number = ir.IntType(64)
        after, eight, how_many, factor = arguments
        known = cgutils.alloca_once(builder, number, 9)  # type: ignore[no-untyped-call]
        builder.store(after, known)
        for k in range(8):
            byte = builder.and_(
                builder.lshr(eight, ir.Constant(number, 8 * k)), ir.Constant(number, 0xFF)
            )
            after = builder.mul(builder.xor(after, byte), factor)
            builder.store(after, builder.gep(known, [ir.Constant(number, k + 1)]))
        return builder.load(builder.gep(known, [how_many]))

    numbers = (h, word, size, multiplier)
    return types.uint64(*(types.uint64 for _ in numbers)), code


hash_on: Any = intrinsic(_hash_on_code)


@njit(cache=True, nogil=True, forceinline=True)
def read_token(data: Bytes, start: Any, stop: Any, init: Any, multiplier: Any) -> Any:
    """The token at `start`, which is no space.

    (end, exact hash, folded hash, characters, symbol, letters, digits, upper-case letters,
    apostrophes); `symbol` is the code point of a symbol, and -1 for a word.
    """
    exact = fold = init
    place = np.uint64(start)  # unsigned: numba then tests for no negative index
    end = np.uint64(stop)
    byte = data[place]
    if byte < 0x80 and ASCII_SYMBOLS[byte]:
        while place < end and data[place] == byte:
            exact = (exact ^ np.uint64(byte)) * multiplier
            place += ONE
        exact = fmix64(exact)
        i = np.int64(place)
        return i, exact, exact, i - start, np.int64(byte), 0, 0, 0, 0
    if byte >= 0x80:
        cp, size = decode(data, start)
        if flags_of(cp) & SOLO_LETTER == SOLO_LETTER:
            i = start + size
            plain = i >= stop or data[i] < 0x80 or 0xE4 <= data[i] <= 0xE9  # U+4000 to U+9FFF
            if plain or flags_of(decode(data, i)[0]) & MARK == 0:
                exact = fmix64((init ^ np.uint64(cp)) * multiplier)
                return i, exact, exact, 1, -1, 1, 0, 0, 0
        return _read_on(data, start, start, stop, multiplier, init, init, 0, 0, 0)
    digits, uppers = 0, 0
    while True:
        word = eight_bytes(data, place, end)
        capitals, numerals, others = kinds_of_eight(word)
        size = zeros_below(others) >> THREE
        inside = LAST_BITS[size]
        capitals &= inside
        digits += ones(numerals & inside)
        if capitals or uppers:
            uppers += ones(capitals)
            fold = hash_on(fold, word | capitals >> np.uint64(2), size, multiplier)
            exact = hash_on(exact, word, size, multiplier)
        else:
            fold = exact = hash_on(exact, word, size, multiplier)
        place += size
        if size < EIGHT:
            break
    i = np.int64(place)
    chars = i - start
    letters = chars - digits
    if chars > 0 and (i == stop or (data[i] < 0x80 and data[i] != APOSTROPHE)):
        exact = fmix64(exact)
        fold = fmix64(fold) if uppers else exact
        return i, exact, fold, chars, -1, letters, digits, uppers, 0
    return _read_on(data, start, i, stop, multiplier, exact, fold, letters, digits, uppers)


@njit(cache=True, nogil=True)
def _read_on(
    data: Bytes,
    start: Any,
    i: Any,
    stop: Any,
    multiplier: Any,
    exact: Any,
    fold: Any,
    letters: Any,
    digits: Any,
    uppers: Any,
) -> Any:
    """`read_token` where a character is not ASCII, or an apostrophe follows what is before `i`."""
    chars = i - start
    apostrophes = 0
    before = 0 if chars == 0 else flags_of(np.int64(data[i - 1]))
    solo = False
    while i < stop:
        cp, size = decode(data, i)
        flags = flags_of(cp)
        if flags & IN_WORD:
            if flags & MARK == 0:
                if solo:
                    break
            elif chars == 0:
                break
            if flags & SOLO and flags & LETTER:
                if chars > 0:
                    break
                solo = True
            if flags & LETTER:
                letters += 1
                uppers += (flags & UPPER) != 0
            elif flags & DIGIT:
                digits += 1
            fold = (fold ^ np.uint64(folded(cp))) * multiplier
        elif (
            cp in (APOSTROPHE, CURLY_APOSTROPHE)
            and before & (LETTER | MARK)
            and not solo
            and i + size < stop
            and flags_of(decode(data, i + size)[0]) & (LETTER | SOLO) == LETTER
        ):
            apostrophes += 1
        else:
            break
        exact = (exact ^ np.uint64(cp)) * multiplier
        chars += 1
        before = flags
        i += size
    if chars > 0:
        return i, fmix64(exact), fmix64(fold), chars, -1, letters, digits, uppers, apostrophes

    symbol, size = decode(data, start)
    while True:
        exact = (exact ^ np.uint64(symbol)) * multiplier
        chars += 1
        i += size
        if i >= stop or data[i] != data[start] or decode(data, i)[0] != symbol:
            break
    exact = fmix64(exact)
    return i, exact, exact, chars, symbol, 0, 0, 0, 0


@njit(cache=True, nogil=True)
def fold_words(data: Bytes, start: Any, stop: Any, init: Any, multiplier: Any, out: Hashes) -> Any:
    """Write the folded hashes of the words of data[start:stop] to `out`; how many they are.

    `out` is u64 and needs room for stop - start of them. Where there is no word, the hashes of the
    symbols stand in: a text of symbols only is a text too. The text is valid UTF-8.
    """
    count = 0
    symbols = 0
    i = start
    while i < stop:
        byte = data[i]
        if byte == 0x20 or 9 <= byte <= 13:
            i += 1
            continue
        if byte >= 0x80:
            cp, size = decode(data, i)
            if flags_of(cp) & SPACE:
                i += size
                continue
        i, _, fold, _, symbol, _, _, _, _ = read_token(data, i, stop, init, multiplier)
        if symbol < 0:
            out[count] = fold
            count += 1
        elif count == 0:
            out[symbols] = fold
            symbols += 1
    return count or symbols


@njit(cache=True, nogil=True)
def fold_characters(
    data: Bytes, start: Any, stop: Any, init: Any, multiplier: Any, out: Hashes
) -> Any:
    """Write the hashes of the folded characters of data[start:stop] to `out`; how many they are.

    A run of white space is one space, and none at the beginning or the end. A character's hash is
    that of a word of that one character.
    """
    count = 0
    blank = False
    i = start
    while i < stop:
        cp, size = decode(data, i)
        i += size
        if flags_of(cp) & SPACE:
            blank = count > 0
            continue
        if blank:
            out[count] = fmix64((init ^ np.uint64(0x20)) * multiplier)
            count += 1
            blank = False
        out[count] = fmix64((init ^ np.uint64(folded(cp))) * multiplier)
        count += 1
    return count
