"""What one walk over a text counts: integers, which fractions divide exactly on any processor.

Lines, paragraphs and Gopher's quality counts are defined as datatrove's
(gopher_quality_filter.py, gopher_repetition_filter.py), given the tokens of kernels.tokens.
"""

from enum import IntEnum, auto
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from cleanpipe.kernels.hashing import Bytes, Hashes
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER, hash_word, read_token
from cleanpipe.kernels.unicode import (
    CLOSER,
    CONTROL,
    PUNCT,
    SENTENCE_END,
    SOLO,
    SPACE,
    decode,
    flags_of,
)
from cleanpipe.kernels.written import (
    AT,
    COLON,
    NOTHING,
    SEVERAL,
    SLASH,
    leading,
    parts,
    trailing,
)

Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]  # of bytes: 64 bits as the offsets
Numbers = npt.NDArray[np.int32]  # of tokens and characters of one text


class Count(IntEnum):
    """The columns of a scan. Characters are code points."""

    @staticmethod
    def _generate_next_value_(_name: str, _start: int, count: int, _last: list[int]) -> int:
        return count

    BYTES = auto()
    CHARS = auto()
    WORDS = auto()
    PRETOKENS = auto()  # words and symbols
    WORD_CHARS = auto()
    MAX_WORD_LENGTH = auto()
    LINES = auto()  # a final newline ends a line and begins none
    PARAGRAPHS = auto()  # pieces of the stripped text between two or more newlines
    SENTENCES = auto()  # at least one where there are words
    HASHES = auto()
    ELLIPSES = auto()  # "...", not overlapping, and U+2026
    BULLET_LINES = auto()  # the first character that is no space is - or U+2022
    ELLIPSIS_LINES = auto()  # the last one ends an ellipsis
    ALPHA_TOKENS = auto()  # tokens with a letter
    WRITTEN = auto()  # tokens as written: kernels.written
    WRITTEN_ALPHA = auto()  # of these, with a letter
    STOP_WORDS = auto()  # how many of Gopher's eight occur
    DIGITS = auto()
    UPPERS = auto()
    PUNCTS = auto()
    SPACES = auto()
    NON_ASCII = auto()
    REPLACEMENT_CHARS = auto()
    CONTROL_CHARS = auto()
    LINE_PIECES = (
        auto()
    )  # of re.split(r"\n+", text); repeated ones are counted from their second on
    DUP_LINES = auto()
    DUP_LINE_CHARS = auto()
    DUP_PARAS = auto()
    DUP_PARA_CHARS = auto()
    TOP_2GRAM_CHARS = auto()
    TOP_3GRAM_CHARS = auto()
    TOP_4GRAM_CHARS = auto()
    DUP_5GRAM_CHARS = auto()
    DUP_6GRAM_CHARS = auto()
    DUP_7GRAM_CHARS = auto()
    DUP_8GRAM_CHARS = auto()
    DUP_9GRAM_CHARS = auto()
    DUP_10GRAM_CHARS = auto()
    REPEAT_RUN = auto()
    REPEAT_TOKENS = auto()
    WINDOW_ENTROPY_MIN = auto()  # in 2^-16 bits; -1 where the text is shorter than a window
    NEWLINES = auto()
    LINE_CHARS = auto()  # characters that are no newlines
    FULL_LINES = auto()  # lines between newlines that are not blank
    PUNCT_LINES = auto()  # of these: the last character is a terminal punctuation mark
    SHORT_LINES = auto()  # of these: at most 30 characters
    DUP_FULL_LINE_CHARS = auto()  # of these: characters of those that occurred before
    CURLY_BRACKETS = auto()  # opening ones
    LOREM_IPSUM = auto()
    MOJIBAKE = auto()
    DISTINCT_WORDS = auto()  # folded
    UNIGRAM_ENTROPY = auto()  # in 2^-16 bits
    LZ_BYTES = auto()
    LZ_CODED = auto()
    WINDOW_PERIOD_MAX = auto()  # of 115 tokens; -1 as above
    SAME_TOKEN_RUN = auto()
    UNBROKEN_RUN = auto()
    BASE64_CHARS = auto()
    HEX_DIGITS = auto()


NEWLINE, FULL_STOP, ELLIPSIS, HASH = 0x0A, 0x2E, 0x2026, 0x23
HYPHEN, BULLET, REPLACEMENT = 0x2D, 0x2022, 0xFFFD

# Rae et al. 2021 (Gopher), appendix A1.1; lower case only, as in datatrove.
STOP_WORDS = np.array(
    [hash_word(word) for word in ("the", "be", "to", "of", "and", "that", "have", "with")],
    np.uint64,
)


SYMBOL_BIT = np.uint64(1 << 63)
ONE, SIX_BITS = np.uint64(1), np.uint64(63)


@njit(cache=True, nogil=True)
def count_text(
    data: Bytes,
    start: Any,
    stop: Any,
    row: Counts,
    hashes: Hashes,
    words: Hashes,
    folded_at: Numbers,
    folds: Hashes,
    ends: Numbers,
    breaks: Places,
    chars_at: Numbers,
) -> Any:
    """Count one text into `row`, and leave its tokens and newlines for the measures of repetition.

    `hashes` gets the exact hash of each token, but for SYMBOL_BIT, which says that it is no word;
    `words` the folded hash of each word (of each symbol if there is no word), `folded_at` and
    `folds` the tokens whose folded hash is another one than the exact, and that hash, `ends` the
    characters in all tokens before each token and after the last, `breaks` the place of each
    newline and `chars_at` the characters before it. Returns how many tokens, words, folded tokens
    and newlines these are, and the place of the stripped text and of its end, in bytes, and the
    characters before both.
    """
    first, last, first_char, last_char = start, start, 0, 0
    tokens, word_count, newlines, extra, line_token, ellipsis_token = 0, 0, 0, 0, 0, -1
    folded = 0
    token_chars, word_chars, max_word, alpha, digits, uppers, puncts = 0, 0, 0, 0, 0, 0, 0
    hash_signs, ellipses, bullet_lines, ellipsis_lines, replacements, controls = 0, 0, 0, 0, 0, 0
    sentences = 0
    solo_end = False
    # tokens as written (kernels.written): those that ended, the one at hand (0 none, 1 without a
    # letter, 2 with one), marks at its end so far, the symbol after its last word
    written, written_alpha, open_, marks, between, times = 0, 0, 0, 0, NOTHING, 0
    address, after_word, left = False, False, start
    i = start
    while i < stop:
        byte = data[i]
        if byte == 0x20:
            i += 1
            continue
        if 0x09 <= byte <= 0x0D:
            if byte == NEWLINE:
                breaks[newlines] = i
                chars_at[newlines] = i - start - extra
                newlines += 1
                ellipsis_lines += ellipsis_token == tokens - 1 and line_token < tokens
                line_token = tokens
            controls += 0x0B <= byte <= 0x0C
            i += 1
            continue
        if byte >= 0x80:
            cp, size = decode(data, i)
            flags = flags_of(cp)
            if flags & SPACE:
                controls += (flags & CONTROL) != 0
                extra += size - 1
                i += size
                continue
        end, exact, fold, chars, symbol, letters, n_digits, n_uppers, apostrophes = read_token(
            data, i, stop, PUBLIC_INIT, PUBLIC_MULTIPLIER
        )
        if tokens == 0:
            first = i
            first_char = i - start - extra
        if i != last:  # after a space
            written += (open_ > 0) + marks
            written_alpha += open_ == 2
            open_, marks, between, address, after_word = 0, 0, NOTHING, False, False
        extra += end - i - chars
        ends[tokens] = token_chars
        token_chars += chars
        if symbol < 0:
            hashes[tokens] = exact & ~SYMBOL_BIT
            words[word_count] = fold
            word_count += 1
            folded_at[folded] = tokens
            folds[folded] = fold & ~SYMBOL_BIT
            folded += fold != exact
            word_chars += chars
            max_word = max(max_word, chars)
            if between != NOTHING:
                address |= between == AT
                if not address and parts(data, left, i, between, times):
                    written += 2
                    written_alpha += open_ == 2
                    open_ = 0
                between, marks = NOTHING, 0
            elif after_word:  # without a space: a script that has none
                written += open_ > 0
                written_alpha += open_ == 2
                open_ = 0
            after_word = True
            written += apostrophes
            written_alpha += apostrophes
            open_ = max(open_, 1 + (letters > 0))
            alpha += letters > 0
            digits += n_digits
            uppers += n_uppers
            puncts += apostrophes
        else:
            hashes[tokens] = exact | SYMBOL_BIT
            after_word = False
            if open_ == 0:
                mark = leading(symbol, chars)
                written += mark
                open_ = int(mark == 0)
            else:
                mark = trailing(data, i, start, symbol, chars)
                marks = marks + mark if mark else 0
                address |= between == COLON and symbol == SLASH and chars > 1
                left = i - 1 if between == NOTHING else left
                between, times = (symbol, chars) if between == NOTHING else (SEVERAL, chars)
            if word_count == 0:
                words[tokens] = fold
            if symbol == FULL_STOP:
                ellipses += chars // 3
                if chars >= 3:
                    ellipsis_token = tokens
            elif symbol == ELLIPSIS:
                ellipses += chars
                ellipsis_token = tokens
            elif symbol == HASH:
                hash_signs += chars
            elif symbol == REPLACEMENT:
                replacements += chars
            if line_token == tokens and symbol in (HYPHEN, BULLET):
                bullet_lines += 1
            flags = flags_of(symbol)
            if flags & PUNCT:
                puncts += chars
            if flags & CONTROL:
                controls += chars
            if flags & SENTENCE_END:
                solo_end |= (flags & SOLO) != 0
                if end == stop or not flags_of(decode(data, end)[0]) & SENTENCE_END:
                    sentences += solo_end or closes(data, end, stop)
                    solo_end = False
        tokens += 1
        i = end
        last = end
        last_char = end - start - extra
    written += (open_ > 0) + marks
    written_alpha += open_ == 2
    ends[tokens] = token_chars
    ellipsis_lines += ellipsis_token == tokens - 1 and line_token < tokens

    chars = stop - start - extra
    row[Count.BYTES] = stop - start
    row[Count.CHARS] = chars
    row[Count.WORDS] = word_count
    row[Count.PRETOKENS] = tokens
    row[Count.WORD_CHARS] = word_chars
    row[Count.MAX_WORD_LENGTH] = max_word
    row[Count.LINES] = newlines + (stop > start and data[stop - 1] != NEWLINE)
    row[Count.SENTENCES] = max(sentences, word_count > 0)
    row[Count.HASHES] = hash_signs
    row[Count.ELLIPSES] = ellipses
    row[Count.BULLET_LINES] = bullet_lines
    row[Count.ELLIPSIS_LINES] = ellipsis_lines
    row[Count.ALPHA_TOKENS] = alpha
    row[Count.WRITTEN] = written
    row[Count.WRITTEN_ALPHA] = written_alpha
    row[Count.DIGITS] = digits
    row[Count.UPPERS] = uppers
    row[Count.PUNCTS] = puncts
    row[Count.SPACES] = chars - token_chars
    row[Count.NON_ASCII] = non_ascii(data, start, stop) if extra else 0
    row[Count.REPLACEMENT_CHARS] = replacements
    row[Count.CONTROL_CHARS] = controls
    row[Count.NEWLINES] = newlines
    row[Count.LINE_CHARS] = chars - newlines
    return tokens, word_count or tokens, folded, newlines, first, last, first_char, last_char


@njit(cache=True, nogil=True)
def closes(data: Bytes, i: Any, stop: Any) -> Any:
    """Whether nothing but closing quotes and brackets stands between `i` and a space or the end."""
    while i < stop:
        cp, size = decode(data, i)
        flags = flags_of(cp)
        if not flags & CLOSER:
            return (flags & SPACE) != 0
        i += size
    return True


@njit(cache=True, nogil=True)
def non_ascii(data: Bytes, start: Any, stop: Any) -> int:
    """The code points from U+0080 on: each has one byte from 0xC0 on."""
    count = 0
    for i in range(np.uint64(start), np.uint64(stop)):
        count += data[i] >= 0xC0
    return count


@njit(cache=True, nogil=True)
def stop_words(hashes: Hashes, distinct: Any) -> int:
    """How many stop words are among the first `distinct` hashes, which differ from each other."""
    sieve = np.uint64(0)
    for stop_word in STOP_WORDS:
        sieve |= ONE << (stop_word & SIX_BITS)
    found = 0
    for i in range(distinct):
        if (sieve >> (hashes[i] & SIX_BITS)) & ONE:
            for stop_word in STOP_WORDS:
                found += hashes[i] == stop_word & ~SYMBOL_BIT
    return found
