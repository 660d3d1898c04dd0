"""Spans of text (lines, paragraphs, runs of sentences): what each is equal by, and texts without.

A span is equal to another by its *form*: its words as kernels.tokens has them, folded, one space
between them, a newline between units. The hash of a form has 128 bits under a secret key.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from cleanpipe.kernels.counts import closes
from cleanpipe.kernels.hashing import Bytes, Hashes, hash_text
from cleanpipe.kernels.tokens import APOSTROPHE, CURLY_APOSTROPHE
from cleanpipe.kernels.unicode import (
    CLOSER,
    DIGIT,
    IN_WORD,
    LETTER,
    MARK,
    SENTENCE_END,
    SOLO,
    decode,
    flags_of,
    folded,
)

Offsets = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]

LINES, PARAGRAPHS, SENTENCES = 0, 1, 2
LONGEST = (1 << 32) - 1  # bytes of a document in which spans are looked for: places are 32 bits
SPACE, NEWLINE, ZERO = 0x20, 0x0A, 0x30


def _ascii_form() -> npt.NDArray[np.uint8]:
    """What stands in a form for each ASCII letter and digit; 0 for every other byte."""
    table = np.zeros(256, np.uint8)
    for byte in b"abcdefghijklmnopqrstuvwxyz":
        table[byte] = table[byte - 32] = byte
    for byte in b"0123456789":
        table[byte] = byte
    return table


ASCII_FORM = _ascii_form()


@njit(cache=True, nogil=True, inline="always")
def _is_blank(byte: Any) -> Any:
    return byte == SPACE or 9 <= byte <= 13


@njit(cache=True, nogil=True)
def _encode(cp: Any, out: Bytes, w: Any) -> Any:
    """Write a code point from U+0080 on as UTF-8, or an ASCII one; where it ends."""
    if cp < 0x80:
        out[w] = cp
        return w + 1
    if cp < 0x800:
        out[w] = 0xC0 | cp >> 6
    elif cp < 0x10000:
        out[w] = 0xE0 | cp >> 12
        w += 1
        out[w] = 0x80 | (cp >> 6 & 0x3F)
    else:
        out[w] = 0xF0 | cp >> 18
        out[w + 1] = 0x80 | (cp >> 12 & 0x3F)
        w += 2
        out[w] = 0x80 | (cp >> 6 & 0x3F)
    out[w + 1] = 0x80 | (cp & 0x3F)
    return w + 2


@njit(cache=True, nogil=True)
def _joins(data: Bytes, i: Any, stop: Any, before: Any, solo: Any) -> Any:
    """Whether an apostrophe that ends before `i` stands within a word: between two letters."""
    if solo or not before & (LETTER | MARK) or i >= stop:
        return False
    return flags_of(decode(data, i)[0]) & (LETTER | SOLO) == LETTER


@njit(cache=True, nogil=True)
def write_form(data: Bytes, i: Any, stop: Any, same_digits: Any, form: Bytes, w: Any) -> Any:
    """Write the form of data[i:stop] from `w` on: (where it ends, its words).

    It takes at most twice the room of the text. Without `same_digits` every digit is a 0.
    """
    words = 0
    in_word, solo = False, False
    before: Any = 0  # the classes of the last character of the word at hand
    while i < stop:
        byte = data[i]
        if byte < 0x80:
            i += 1
            char = ASCII_FORM[byte]
            if char:
                if not in_word or solo:
                    if words:
                        form[w] = SPACE
                        w += 1
                    words += 1
                    in_word, solo = True, False
                is_digit = char < 0x3A
                form[w] = char if same_digits or not is_digit else ZERO
                w += 1
                before = DIGIT if is_digit else LETTER
            elif byte == APOSTROPHE and in_word and _joins(data, i, stop, before, solo):
                before = 0
            else:
                in_word = False
            continue
        cp, size = decode(data, i)
        i += size
        flags = flags_of(cp)
        if flags & IN_WORD and (in_word or not flags & MARK):
            alone = (flags & SOLO) != 0 and (flags & LETTER) != 0
            if not flags & MARK and (not in_word or solo or alone):
                if words:
                    form[w] = SPACE
                    w += 1
                words += 1
                in_word, solo = True, alone
            if flags & DIGIT and not same_digits:
                form[w] = ZERO
                w += 1
            else:
                w = _encode(folded(cp), form, w)
            before = flags
        elif cp == CURLY_APOSTROPHE and in_word and _joins(data, i, stop, before, solo):
            before = 0
        else:
            in_word = False
    return w, words


@njit(cache=True, nogil=True)
def _line_end(data: Bytes, i: Any, stop: Any) -> Any:
    while i < stop and data[i] != NEWLINE:
        i += 1
    return min(i + 1, stop)


@njit(cache=True, nogil=True)
def _paragraph_end(data: Bytes, i: Any, stop: Any) -> Any:
    """Behind the first line that holds nothing but blanks."""
    while i < stop:
        end = _line_end(data, i, stop)
        while i < end and _is_blank(data[i]):
            i += 1
        if i == end:
            return end
        i = end
    return stop


@njit(cache=True, nogil=True)
def _sentence_end(data: Bytes, i: Any, stop: Any) -> Any:
    """Behind a line break, or a mark that ends a sentence and the closing quotes behind it."""
    solo_end = False
    while i < stop:
        if data[i] == NEWLINE:
            return i + 1
        cp, size = decode(data, i)
        i += size
        flags = flags_of(cp)
        if not flags & SENTENCE_END:
            continue
        solo_end |= (flags & SOLO) != 0
        if i < stop and flags_of(decode(data, i)[0]) & SENTENCE_END:
            continue
        if solo_end or closes(data, i, stop):
            while i < stop:
                cp, size = decode(data, i)
                if not flags_of(cp) & CLOSER:
                    break
                i += size
            return i
    return stop


@njit(cache=True, nogil=True)
def _unit_end(data: Bytes, i: Any, stop: Any, unit: Any) -> Any:
    if unit == LINES:
        return _line_end(data, i, stop)
    if unit == PARAGRAPHS:
        return _paragraph_end(data, i, stop)
    return _sentence_end(data, i, stop)


@njit(cache=True, nogil=True)
def _larger(array: Any) -> Any:
    larger = np.empty(2 * len(array), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def spans(
    offsets: Offsets,
    data: Bytes,
    unit: int,
    ngram: int,
    min_words: int,
    same_digits: bool,
    keys: Hashes,
) -> tuple[Numbers, Numbers, Numbers, Hashes, Hashes]:
    """The runs of `ngram` units with at least `min_words` words, in all texts.

    (number of the text, first byte in it, bytes, lo and hi of the form's hash), in the order of the
    texts and their places. A unit without a word is none: it goes with the run that it stands in.
    Blanks (ASCII white space) around a run are not its own.
    """
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, min(offsets[text + 1] - offsets[text], LONGEST))
    form = np.empty(2 * longest + 16, np.uint8)
    room = len(data) // 64 + 64
    texts, starts, sizes = np.empty((3, room), np.uint32)
    lows, highs = np.empty((2, room), np.uint64)
    # of the last `ngram` units: first byte, place of the form, words of the text before it
    first, place, earlier = np.empty((3, ngram), np.int64)
    found = 0
    for text in range(len(offsets) - 1):
        begin = offsets[text]
        stop = min(offsets[text + 1], begin + LONGEST)
        units, words, w = 0, 0, 0
        i = begin
        while i < stop:
            start, end = i, _unit_end(data, i, stop, unit)
            i = end
            while start < end and _is_blank(data[start]):
                start += 1
            while end > start and _is_blank(data[end - 1]):
                end -= 1
            form[w] = NEWLINE
            behind, more = write_form(data, start, end, same_digits, form, w + 1)
            if more == 0:
                continue
            k = units % ngram
            first[k], place[k], earlier[k] = start, w + 1, words
            units, words, w = units + 1, words + more, behind
            k = units % ngram
            if units < ngram or words - earlier[k] < min_words:
                continue
            if found == len(texts):
                texts, starts, sizes = _larger(texts), _larger(starts), _larger(sizes)
                lows, highs = _larger(lows), _larger(highs)
            lows[found], highs[found] = hash_text(form, place[k], w, keys)
            texts[found], starts[found], sizes[found] = text, first[k] - begin, end - first[k]
            found += 1
    return texts[:found], starts[:found], sizes[:found], lows[:found], highs[:found]


@njit(cache=True, nogil=True)
def _newlines(data: Bytes, start: Any, stop: Any) -> Any:
    """(how many line breaks, where the last of them ends; `stop` if there is none)."""
    count, end = 0, stop
    for i in range(start, stop):
        if data[i] == NEWLINE:
            count += 1
            end = i + 1
    return count, end


@njit(cache=True, nogil=True)
def remove(
    offsets: Offsets,
    data: Bytes,
    texts: Offsets,
    starts: Offsets,
    ends: Offsets,
    out: Bytes,
) -> Offsets:
    """Write all texts to `out` without the spans of `texts`; the new offsets.

    The spans ascend by text and start; they may overlap. Places count from the text's first byte.
    Of the white space around what goes, the stretch with most line breaks stays, and the
    indentation of what follows; none stays at the beginning (but that indentation) or the end.
    """
    new_offsets = np.zeros(len(offsets), np.int64)
    w = np.int64(0)
    k = 0
    for text in range(len(offsets) - 1):
        begin, stop = offsets[text], offsets[text + 1]
        i = begin
        while k < len(texts) and texts[k] == text:
            start, end = begin + starts[k], begin + ends[k]
            k += 1
            kept = start
            while kept > i and _is_blank(data[kept - 1]):
                kept -= 1
            gap, gap_end = kept, start  # the white space with most line breaks so far
            most, _ = _newlines(data, kept, start)
            while True:
                follows = end
                while follows < stop and _is_blank(data[follows]):
                    follows += 1
                if k == len(texts) or texts[k] != text or begin + starts[k] > follows:
                    break
                following = begin + starts[k]
                if following > end:
                    count, _ = _newlines(data, end, following)
                    if count > most:
                        gap, gap_end, most = end, following, count
                end = max(end, begin + ends[k])
                k += 1
            out[w : w + kept - i] = data[i:kept]
            w += kept - i
            count, indentation = _newlines(data, end, follows)
            if follows == stop:
                i = stop
            elif w == new_offsets[text]:
                i = indentation
            elif count >= most:
                i = end
            else:
                _, last = _newlines(data, gap, gap_end)
                out[w : w + last - gap] = data[gap:last]
                w += last - gap
                i = indentation
        out[w : w + stop - i] = data[i:stop]
        w += stop - i
        new_offsets[text + 1] = w
    return new_offsets
