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
from numba import njit

from cleanpipe.kernels.hashing import Bytes, Hashes, fmix64
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
CURLY_APOSTROPHE = 0x2019


def _ascii_words() -> npt.NDArray[np.uint64]:
    """One entry a byte: bit 63 if it stands in words, bit 31 if upper case, bit 0 if a digit.

    Entries are added along a word: its digits and its upper-case letters come out at once.
    """
    table = np.zeros(256, np.uint64)
    for byte in b"abcdefghijklmnopqrstuvwxyz":
        table[byte] = 1 << 63
        table[byte - 32] = 1 << 63 | 1 << 31
    for byte in b"0123456789":
        table[byte] = 1 << 63 | 1
    return table


ASCII_WORDS = _ascii_words()
WORD_BIT = np.uint64(1 << 63)
COUNT_BITS = np.uint64((1 << 31) - 1)


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
def read_token(data: Bytes, start: Any, stop: Any, init: Any, multiplier: Any) -> Any:
    """The token at `start`, which is no space.

    (end, exact hash, folded hash, characters, symbol, letters, digits, upper-case letters,
    apostrophes); `symbol` is the code point of a symbol, and -1 for a word.
    """
    exact = init
    seen = np.uint64(0)
    place = np.uint64(start)  # unsigned: numba then tests for no negative index
    end = np.uint64(stop)
    while place < end:
        byte = data[place]
        entry = ASCII_WORDS[byte]
        if entry < WORD_BIT:
            break
        seen += entry
        exact = (exact ^ np.uint64(byte)) * multiplier
        place += np.uint64(1)
    i = np.int64(place)
    chars = i - start
    if chars == 0 and data[i] < 0x80:
        symbol = data[i]
        while place < end and data[place] == symbol:
            exact = (exact ^ np.uint64(symbol)) * multiplier
            place += np.uint64(1)
        exact = fmix64(exact)
        i = np.int64(place)
        return i, exact, exact, i - start, np.int64(symbol), 0, 0, 0, 0
    uppers = np.int64((seen >> np.uint64(31)) & COUNT_BITS)
    fold = exact
    if uppers:
        fold = init
        for k in range(start, i):
            upper = (ASCII_WORDS[data[k]] >> np.uint64(26)) & np.uint64(32)  # A becomes a
            fold = (fold ^ (np.uint64(data[k]) ^ upper)) * multiplier
    digits = np.int64(seen & COUNT_BITS)
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
