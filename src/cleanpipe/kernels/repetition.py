"""What repeats inside one text: its tokens, n-grams, lines and paragraphs.

The measures are those of Rae et al. 2021 (Gopher), table A1, in the reading of datatrove
(gopher_repetition_filter.py), with two differences: n-grams are compared token by token, so that
"ab c" is not "a bc"; and a most frequent n-gram that occurs once is no repetition, where datatrove
takes the first n-gram's share and finds every very short text repetitive.
"""

from typing import Any

import numpy as np
from numba import njit

from cleanpipe.kernels.counts import Count, Counts, Numbers, Places
from cleanpipe.kernels.hashing import Bytes, Hashes, bit_length, hash_text
from cleanpipe.kernels.lines import is_blank

LONGEST_NGRAM = 10
SEEN = 1 << 30  # beside a count
FIBONACCI = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
MARKS = 8  # bytes a pair: then few pairs share a mark by chance
FAST = 1 << 14  # bytes: beyond half of the first-level cache two a pair must do
ONE = np.uint64(1)  # numba makes a float of a signed and an unsigned number


@njit(cache=True, nogil=True, forceinline=True)
def table_size(entries: Any) -> Any:
    """The power of two, 4 at least, of which that many keys fill two thirds at most."""
    return 1 << max(bit_length(np.uint64((3 * entries - 1) >> 1)), 2) if entries > 0 else 4


@njit(cache=True, nogil=True)
def empty_table(table: Hashes, entries: Any) -> Any:
    """The mask of an empty table for that many keys, which fill two thirds of it at most.

    Two numbers a place stand side by side, in one line of the processor's cache: the key, and what
    is known of it, which is never zero.
    """
    size = table_size(entries)
    table[: 2 * size] = 0
    return np.uint64(size - 1)


@njit(cache=True, nogil=True, forceinline=True)
def find(table: Hashes, mask: Any, key: Any, place: Any) -> Any:
    """The place of the key in the table, or the empty one to put it in; from `place` on."""
    place &= mask
    while (table[place + place + ONE] != 0) & (table[place + place] != key):
        place = (place + ONE) & mask
    return place


@njit(cache=True, nogil=True, forceinline=True)
def find_number(slots: Numbers, mask: Any, key: Any, cells: Hashes) -> Any:
    """The slot of the key's number, counted from one, or the empty one, of 0, to put it in.

    cells[number] is the key: four bytes a slot keep more of a text in a fast cache. cells[0] is
    made the key, too, so that no branch asks whether a slot is empty: nobody foresees which tokens
    are new.
    """
    cells[0] = key
    place = key & mask
    while cells[np.uint64(slots[place])] != key:
        place = (place + ONE) & mask
    return place


@njit(cache=True, nogil=True)
def number_tokens(
    cells: Hashes, tokens: Any, more: Any, slots: Numbers, ids: Numbers, times: Numbers
) -> Any:
    """Number the tokens in the order of their first places, into `ids`; how many differ.

    Their hashes are cells[1], cells[2], ..., and are overwritten by the distinct ones. `times` says
    how often each number occurs. The slots are left with room for so many `more` keys.
    """
    size = table_size(tokens + more)
    slots[:size] = 0
    mask = np.uint64(size - 1)
    times[:tokens] = 0
    distinct = np.uint64(0)
    for i in range(np.uint64(tokens)):
        key = cells[i + ONE]
        place = find_number(slots, mask, key, cells)
        known = np.uint64(slots[place])
        distinct += np.uint64(known == 0)
        number = known or distinct
        slots[place] = number
        cells[number] = key
        number -= ONE
        times[number] += 1
        ids[i] = number
    return np.int64(distinct)


@njit(cache=True, nogil=True)
def repeated_ngrams(
    ids: Numbers,
    tokens: Any,
    ends: Numbers,
    times: Numbers,
    distinct: Any,
    row: Counts,
    slots: Numbers,
    at: Numbers,
    numbers: Numbers,
    cells: Hashes,
    marks: Bytes,
) -> None:
    """Characters in the most frequent and in the repeated n-grams.

    An n-gram that repeats is made of two (n-1)-grams that do, one place apart: each round looks
    only at these. A pair of their numbers is the n-gram, so that none is taken for another.
    `at` and `numbers` hold the places of those that repeat, in order, and their numbers.
    """
    keys = cells[1:]
    pairs = pair_tokens(ids, tokens, times, distinct, at, keys, marks)
    for n in range(2, LONGEST_NGRAM + 1):
        number_tokens(cells, pairs, 0, slots, numbers, times)
        most = 1
        chars = 0
        free = 0
        found = np.uint64(0)
        for k in range(np.uint64(pairs)):
            number = np.uint64(numbers[k])
            known = times[number]
            place = at[k]
            at[found] = place
            numbers[found] = number
            found += np.uint64(known > 1)
            if n < 5:
                if known > most:
                    most = known
                    chars = ends[place + n] - ends[place] + n - 1
            elif place >= free and known > 1:
                if known & SEEN:
                    chars += ends[place + n] - ends[place]
                    free = place + n
                else:
                    times[number] = known | SEEN
        if n < 5:
            row[Count.TOP_2GRAM_CHARS + n - 2] = chars * np.int64(most)
        else:
            row[Count.DUP_5GRAM_CHARS + n - 5] = chars
        if found < np.uint64(2):
            return
        pairs = pair_up(found, at, numbers, keys)


@njit(cache=True, nogil=True)
def pair_tokens(
    ids: Numbers,
    tokens: Any,
    times: Numbers,
    distinct: Any,
    at: Numbers,
    keys: Hashes,
    marks: Bytes,
) -> Any:
    """Put those pairs of tokens that may repeat into `keys`, their places into `at`; how many.

    Most pairs occur once. They are told by `marks`, one byte a hash, in a fast cache, which count
    to two without a branch.
    """
    if tokens < 2:
        return 0
    once = 0
    for k in range(distinct):
        once += times[k] == 1
    size = 4
    while size < MARKS * (tokens - once) and (size < FAST or size < 2 * (tokens - once)):
        size *= 2
    marks[:size] = 0
    mask = np.uint64(size - 1)
    pairs = np.uint64(0)
    before = np.uint64(ids[0])
    repeats = times[before] > 1
    for i in range(np.uint64(1), np.uint64(tokens)):
        number = np.uint64(ids[i])
        key = spread(before << np.uint64(32) | number)
        together = np.uint64(repeats)
        repeats = times[number] > 1
        together &= np.uint64(repeats)
        before = number
        count = marks[key & mask]
        marks[key & mask] = count + (together & np.uint64(count < 2))
        at[pairs] = i - ONE
        keys[pairs] = key
        pairs += together
    candidates = np.uint64(0)
    for k in range(pairs):
        key = keys[k]
        at[candidates] = at[k]
        keys[candidates] = key
        candidates += np.uint64(marks[key & mask] > 1)
    return np.int64(candidates)


@njit(cache=True, nogil=True)
def pair_up(found: Any, at: Numbers, numbers: Numbers, keys: Hashes) -> Any:
    """Pair the `found` (n-1)-grams that stand one place apart, in place; how many n-grams."""
    pairs = np.uint64(0)
    for k in range(found - ONE):
        start = at[k]
        together = np.uint64(at[k + ONE] == start + 1)
        keys[pairs] = spread(np.uint64(numbers[k]) << np.uint64(32) | np.uint64(numbers[k + ONE]))
        at[pairs] = start
        pairs += together
    return np.int64(pairs)


@njit(cache=True, nogil=True, forceinline=True)
def spread(key: Any) -> Any:
    """A hash of two small numbers side by side; no other two have it: each step can be undone."""
    key = (key ^ (key >> np.uint64(29))) * FIBONACCI
    return key ^ (key >> np.uint64(32))


@njit(cache=True, nogil=True)
def cut(
    breaks: Places,
    chars_at: Numbers,
    newlines: Any,
    least: int,
    piece: Any,
    begins: Places,
    stops: Places,
    chars: Numbers,
) -> Any:
    """Cut `piece` (place, end, characters before both) at runs of `least` or more newlines.

    The places where the pieces begin and stop and their characters go to the last three arrays.
    """
    begin, end, begin_char, end_char = piece
    count = 0
    k = 0
    while k < newlines and breaks[k] < begin:
        k += 1
    while k < newlines and breaks[k] < end:
        run = k + 1
        while run < newlines and breaks[run] == breaks[run - 1] + 1:
            run += 1
        if run - k >= least:
            begins[count] = begin
            stops[count] = breaks[k]
            chars[count] = chars_at[k] - begin_char
            count += 1
            begin = breaks[run - 1] + 1
            begin_char = chars_at[run - 1] + 1
        k = run
    begins[count] = begin
    stops[count] = end
    chars[count] = end_char - begin_char
    return count + 1


@njit(cache=True, nogil=True)
def repeated_pieces(
    data: Bytes,
    pieces: Any,
    begins: Places,
    stops: Places,
    chars: Numbers,
    table: Hashes,
    text_keys: Hashes,
) -> Any:
    """How many pieces occurred before, their characters, and those of pieces that are not blank."""
    repeated, repeated_chars, full_chars = 0, 0, 0
    if pieces < 2:
        return repeated, repeated_chars, full_chars
    mask = empty_table(table, pieces)
    for k in range(pieces):
        key, _ = hash_text(data, begins[k], stops[k], text_keys)
        place = find(table, mask, key, key)
        if table[place + place + ONE]:
            repeated += 1
            repeated_chars += chars[k]
            if not is_blank(data, begins[k], stops[k]):
                full_chars += chars[k]
        table[place + place] = key
        table[place + place + ONE] = ONE
    return repeated, repeated_chars, full_chars
