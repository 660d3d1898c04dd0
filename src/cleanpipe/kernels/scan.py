"""The one walk over a block's texts: counts, MinHash signatures, sampled n-grams, of one tokens."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from cleanpipe.kernels.blobs import hex_digits, unbroken
from cleanpipe.kernels.counts import Count, Counts, Places, count_text, stop_words
from cleanpipe.kernels.diversity import word_variety
from cleanpipe.kernels.hashing import Bytes, Hashes, address, text_keys
from cleanpipe.kernels.lines import line_shapes
from cleanpipe.kernels.lz import TABLE_BITS, WINDOW_DIGITS, compress
from cleanpipe.kernels.minhash import place_keys, signature
from cleanpipe.kernels.ngram_sample import NGRAM, sample_ngrams
from cleanpipe.kernels.repetition import FAST, cut, number_tokens, repeated_ngrams, repeated_pieces
from cleanpipe.kernels.stability import (
    BEFORE,
    BEYOND,
    COMPARED,
    repeats,
    room_for_ids,
    window_entropy,
    window_period,
)
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER
from cleanpipe.kernels.traces import traces

COUNTS: tuple[str, ...] = tuple(count.name.lower() for count in Count)

# Measures that are counts.
INTEGERS: tuple[str, ...] = (
    "bytes",
    "chars",
    "words",
    "lines",
    "paragraphs",
    "sentences",
    "stop_words",
    "max_word_length",
    "replacement_chars",
    "control_chars",
    "repeat_run",
    "repeat_tokens",
    "curly_brackets",
    "lorem_ipsum",
    "mojibake",
    "same_token_run",
    "unbroken_run",
)

# Measures that are one count over another: (measure, above, below).
DERIVED: tuple[tuple[str, str, str], ...] = (
    ("mean_word_length", "word_chars", "words"),
    ("hash_word_ratio", "hashes", "words"),
    ("ellipsis_word_ratio", "ellipses", "words"),
    ("bullet_line_frac", "bullet_lines", "lines"),
    ("ellipsis_line_frac", "ellipsis_lines", "lines"),
    ("alpha_word_frac", "alpha_tokens", "words"),
    ("alpha_token_frac", "written_alpha", "written"),
    ("dup_line_frac", "dup_lines", "line_pieces"),
    ("dup_para_frac", "dup_paras", "paragraphs"),
    ("dup_line_char_frac", "dup_line_chars", "chars"),
    ("dup_para_char_frac", "dup_para_chars", "chars"),
    *((f"top_{n}gram_char_frac", f"top_{n}gram_chars", "chars") for n in (2, 3, 4)),
    *((f"dup_{n}gram_char_frac", f"dup_{n}gram_chars", "chars") for n in (5, 6, 7, 8, 9, 10)),
    ("digit_char_frac", "digits", "chars"),
    ("upper_char_frac", "uppers", "chars"),
    ("punct_char_frac", "puncts", "chars"),
    ("space_char_frac", "spaces", "chars"),
    ("non_ascii_frac", "non_ascii", "chars"),
    ("line_punct_frac", "punct_lines", "full_lines"),
    ("short_line_frac", "short_lines", "full_lines"),
    ("newline_word_ratio", "newlines", "words"),
    ("char_dup_frac", "dup_full_line_chars", "line_chars"),
    ("unique_word_frac", "distinct_words", "words"),
    ("compression_ratio", "lz_bytes", "lz_coded"),
    ("base64_frac", "base64_chars", "chars"),
    ("hex_frac", "hex_digits", "chars"),
)

# Measures in bits.
ENTROPIES: tuple[str, ...] = ("window_entropy_min", "unigram_entropy")

# Measures in units: the scan's numbers are divided by these; -1 where there is none.
SCALED: dict[str, int] = {
    **dict.fromkeys(ENTROPIES, 1 << 16),
    "window_period_max": int(COMPARED),
}

LINE_KEY = np.uint64(0x6C696E6573)  # lines are compared within one text: any key does


@njit(cache=True, nogil=True)
def scan(
    offsets: Places,
    data: Bytes,
    ngram: int,
    a: npt.NDArray[np.uint32],
    b: npt.NDArray[np.uint32],
) -> tuple[Counts, npt.NDArray[np.uint32], tuple[Places, Hashes]]:
    """(counts, signatures, ngrams) of the texts data[offsets[i]:offsets[i + 1]], one row a text.

    `counts` is int64 with a column for each of COUNTS. `signatures` is u32 with a column for each
    of the permutations `a`, `b` (kernels.minhash.permutations), over shingles of `ngram` folded
    words; without permutations it has no columns and costs nothing. `ngrams` is (places, hashes):
    hashes[places[i]:places[i + 1]] are the sampled n-grams of text i. The texts are valid UTF-8.
    """
    texts = len(offsets) - 1
    counts = np.zeros((texts, len(COUNTS)), np.int64)
    signatures = np.empty((texts, len(a)), np.uint32)
    ngrams = np.empty(64, np.uint64)
    ngrams_at = np.zeros(texts + 1, np.int64)
    sampled: Any = 0
    ngram_keys = place_keys(NGRAM, PUBLIC_INIT, PUBLIC_MULTIPLIER)
    longest = 0
    for i in range(texts):
        longest = max(longest, offsets[i + 1] - offsets[i])
    if longest >= 1 << 31:
        raise ValueError("a text has 2 GiB or more: split it into documents")
    # A token and a newline need a byte each. Pages that no text touches cost nothing.
    room = longest + 1
    cells = np.empty(1 + 2 * room, np.uint64)  # of tokens, and of folded words that are none
    hashes = cells[1:]
    words = np.empty(room, np.uint64)
    folded_at = np.empty(room, np.int32)
    folds = np.empty(room, np.uint64)
    together = np.empty(2 * room, np.int32)
    ends = np.empty(room, np.int32)
    breaks = np.empty(room, np.int64)
    chars_at = np.empty(room, np.int32)
    padded = room_for_ids(room)
    ids = padded[BEFORE:]
    slots = np.empty(5 * room + 4, np.int32)
    times = np.empty(room, np.int32)
    at = np.empty(room, np.int32)
    numbers = np.empty(room + BEYOND, np.int32)
    begins = np.empty(room, np.int64)
    stops = np.empty(room, np.int64)
    table = np.empty(6 * room + 8, np.uint64)
    marks = np.empty(max(4 * room, FAST), np.uint8)
    keys = text_keys(LINE_KEY)
    text = address(data)
    places = np.empty(1 << TABLE_BITS, np.uint16)
    tallies = np.empty(4 * 256, np.int32)
    distances = np.empty(WINDOW_DIGITS, np.int32)
    for i in range(texts):
        start = offsets[i]
        stop = offsets[i + 1]
        row = counts[i]
        tokens, word_count, folded, newlines, begin, end, begin_char, end_char = count_text(
            text, start, stop, row, hashes, words, folded_at, folds, ends, breaks, chars_at
        )
        if len(a):
            signature(words, word_count, ngram, a, b, signatures[i])
        ngrams, sampled = sample_ngrams(words, row[Count.WORDS], ngram_keys, ngrams, sampled)
        ngrams_at[i + 1] = sampled

        whole = (start, stop, 0, row[Count.CHARS])
        pieces = cut(breaks, chars_at, newlines, 1, whole, begins, stops, at)
        row[Count.LINE_PIECES] = pieces
        line_shapes(text, pieces, begins, stops, at, row)
        row[Count.DUP_LINES], row[Count.DUP_LINE_CHARS], row[Count.DUP_FULL_LINE_CHARS] = (
            repeated_pieces(text, pieces, begins, stops, at, table, keys)
        )
        stripped = (begin, end, begin_char, end_char)
        pieces = cut(breaks, chars_at, newlines, 2, stripped, begins, stops, at)
        row[Count.PARAGRAPHS] = pieces if tokens else 0
        row[Count.DUP_PARAS], row[Count.DUP_PARA_CHARS], _ = repeated_pieces(
            text, pieces, begins, stops, at, table, keys
        )

        traces(text, start, stop, row)
        compress(text, start, stop, places, tallies, distances, row)
        row[Count.UNBROKEN_RUN], row[Count.BASE64_CHARS] = unbroken(text, start, stop)
        row[Count.HEX_DIGITS] = hex_digits(text, start, stop)

        distinct = number_tokens(cells, tokens, folded, slots, ids, times)
        row[Count.DISTINCT_WORDS], row[Count.UNIGRAM_ENTROPY] = word_variety(
            cells,
            tokens,
            distinct,
            row[Count.WORDS],
            ids,
            times,
            folded_at,
            folds,
            folded,
            slots,
            together,
        )
        row[Count.STOP_WORDS] = stop_words(hashes, distinct)
        repeated_ngrams(ids, tokens, ends, times, distinct, row, slots, at, numbers, cells, marks)
        repeats(padded, tokens, numbers, row)
        window_period(numbers, tokens, hashes, row)
        window_entropy(ids, tokens, distinct, times, row)
    return counts, signatures, (ngrams_at, ngrams[:sampled])
