"""How far a text would shrink: bytes over what a small LZ77 coder would write.

The coder is greedy, with a hash table of one place a key, like LZ4's; it writes nothing. What its
literals, lengths and distances would cost is reckoned as for DEFLATE with codes as short as their
entropies, or fixed ones where that is less: the rank of a document is that of zlib's ratio
(docs/numbers.md). A text of more than one window is sampled: one window in four.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from cleanpipe.kernels.counts import Count, Counts
from cleanpipe.kernels.hashing import Bytes, bit_length, ones, word_at, zeros_below
from cleanpipe.kernels.logs import LOG_BITS, weight

Cells = npt.NDArray[np.uint16]
Tallies = npt.NDArray[np.int32]

WINDOW = 1 << 15  # bytes; no match is further away, as in DEFLATE
WINDOW_DIGITS = 17  # binary digits, from none on, that a distance may have
SAMPLED = 4  # every fourth window of a long text
DENSE = 512  # bytes of a window where a match is looked for at each byte, then at every second
TABLE_BITS = 13  # 16 kB of places: half of the first-level cache
LEAST = 4  # bytes of a match
MULTIPLIER = np.uint32(2654435761)  # 2^32 over the golden ratio

# What DEFLATE writes, in bits: of the text, of a block, of each byte value in a block's code table.
TEXT_BITS = 64
BLOCK_BITS = 102
SYMBOL_BITS = 4
FIXED_BLOCK_BITS = 10
FIXED_MATCH_BITS = 12
LENGTH_CODE_BITS = 3  # beside the one bit or so that says match or literal, and the distance's


@njit(cache=True, nogil=True, forceinline=True)
def four_bytes(data: Bytes, i: Any) -> Any:
    """Four bytes from `i` (unsigned) on, as a number; LLVM makes one unaligned load of it."""
    return (
        np.uint32(data[i])
        | np.uint32(data[i + np.uint64(1)]) << np.uint32(8)
        | np.uint32(data[i + np.uint64(2)]) << np.uint32(16)
        | np.uint32(data[i + np.uint64(3)]) << np.uint32(24)
    )


@njit(cache=True, nogil=True)
def tally_bytes(data: Bytes, start: Any, stop: Any, four: Tallies) -> None:
    """How often each byte value occurs, into the first 256 of `four` x 256 places.

    Four tallies in turn: the processor need not wait for the last byte's when the next is equal.
    """
    four[:] = 0
    i = np.uint64(start)
    end = np.uint64(stop)
    byte = np.uint64(255)
    while i + np.uint64(8) <= end:
        word = word_at(data, i)
        four[word & byte] += 1
        four[np.uint64(256) + (word >> np.uint64(8) & byte)] += 1
        four[np.uint64(512) + (word >> np.uint64(16) & byte)] += 1
        four[np.uint64(768) + (word >> np.uint64(24) & byte)] += 1
        four[word >> np.uint64(32) & byte] += 1
        four[np.uint64(256) + (word >> np.uint64(40) & byte)] += 1
        four[np.uint64(512) + (word >> np.uint64(48) & byte)] += 1
        four[np.uint64(768) + (word >> np.uint64(56))] += 1
        i += np.uint64(8)
    while i < end:
        four[np.uint64(data[i])] += 1
        i += np.uint64(1)
    for k in range(256):
        four[k] += four[k + 256] + four[k + 512] + four[k + 768]


@njit(cache=True, nogil=True, forceinline=True)
def equal_until(data: Bytes, end: Any, distance: Any, stop: Any) -> Any:
    """How far from `end` on the bytes equal those `distance` before; eight at once."""
    while end + np.uint64(8) <= stop:
        differ = word_at(data, end) ^ word_at(data, end - distance)
        if differ:
            return end + (zeros_below(differ) >> np.uint64(3))
        end += np.uint64(8)
    while end < stop and data[end] == data[end - distance]:
        end += np.uint64(1)
    return end


@njit(cache=True, nogil=True)
def matches(data: Bytes, first: Any, last: Any, places: Cells, distances: Tallies) -> Any:
    """(matches, bytes in them, extra bits of their lengths and distances) of one window.

    `places` holds where four bytes with a hash were seen last. Nowhere is 0, the first place: its
    four bytes are compared in vain, for others with their hash would have found it anyway.
    `distances` gets how many matches have a distance of that many binary digits.
    """
    start = np.uint64(first)
    stop = np.uint64(last)
    found, matched, extra = np.int64(0), np.int64(0), np.int64(0)
    distances[:] = 0
    if stop - start < np.uint64(LEAST):
        return found, matched, extra
    bits = 6
    while bits < TABLE_BITS and np.uint64(1 << bits) < stop - start:
        bits += 1
    places[: 1 << bits] = 0
    shift = np.uint64(32 - bits)
    dense = start + np.uint64(DENSE)
    final = stop - np.uint64(LEAST)
    free = start  # nothing before belongs to a match to come
    i = start + np.uint64(1)
    while i <= final:
        four = four_bytes(data, i)
        key = np.uint64(np.uint32(four * MULTIPLIER)) >> shift
        source = start + np.uint64(places[key])
        places[key] = i - start
        if four_bytes(data, source) != four:
            i += np.uint64(2) - np.uint64(i < dense)
            continue
        distance = i - source
        end = equal_until(data, i + np.uint64(LEAST), distance, stop)
        while (
            i > free
            and i - distance > start
            and data[i - np.uint64(1)] == data[i - np.uint64(1) - distance]
        ):
            i -= np.uint64(1)
        length = end - i
        digits = bit_length(distance)
        pieces = 1 + np.int64(length >> np.uint64(8))  # DEFLATE's longest match has 258
        distances[digits] += pieces
        found += pieces
        matched += np.int64(length)
        extra += max(digits - 2, 0) + max(bit_length(length) - 3, 0)
        i = end
        free = end
    return found, matched, extra


def _which_occur_code(_typing_context: Any, tallies: Any, _first: Any) -> Any:
    """A bit for each of 64 tallies from the first one on that is not zero; written as vectors."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(32), 64)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        at = builder.bitcast(builder.gep(array.data, [arguments[1]]), vector.as_pointer())
        held = builder.icmp_signed("!=", builder.load(at, align=4), ir.Constant(vector, [0] * 64))
        return builder.bitcast(held, ir.IntType(64))

    return types.uint64(tallies, types.uint64), code


_which_occur: Any = intrinsic(_which_occur_code)


@njit(cache=True, nogil=True)
def coded_bits(
    size: Any, bytes_: Tallies, found: Any, matched: Any, extra: Any, far: Tallies
) -> Any:
    """What one window costs, in units of 2^-24 bits; literals as if drawn from all its bytes."""
    spread = weight(size)
    values, high = 0, 0
    for value in range(144, 256):
        high += bytes_[value]  # one bit more in DEFLATE's fixed code
    for first in range(np.uint64(0), np.uint64(256), np.uint64(64)):
        held = _which_occur(bytes_, first)
        values += ones(held)
        while held:
            spread -= weight(bytes_[first + zeros_below(held)])
            held &= held - np.uint64(1)
    literals = size - matched
    coded = literals * spread // size
    coded += weight(literals + found) - weight(literals) - weight(found)
    used = 0
    coded += weight(found)
    for digits in range(len(far)):
        coded -= weight(far[digits])
        used += far[digits] > 0
    coded += (extra + found * LENGTH_CODE_BITS + BLOCK_BITS + SYMBOL_BITS * values) << LOG_BITS
    fixed = literals * 8 + literals * high // size + found * FIXED_MATCH_BITS + extra
    return min(coded, (fixed + FIXED_BLOCK_BITS) << LOG_BITS)


@njit(cache=True, nogil=True)
def compress(
    data: Bytes,
    start: Any,
    stop: Any,
    places: Cells,
    four: Tallies,
    distances: Tallies,
    row: Counts,
) -> None:
    """Count the bytes that were looked at, and what they would take in whole bytes."""
    coded = np.int64(TEXT_BITS) << LOG_BITS
    seen = 0
    begin = start
    while begin == start or begin + WINDOW <= stop:
        end = min(begin + WINDOW, stop)
        if end > begin:
            tally_bytes(data, begin, end, four)
            found, matched, extra = matches(data, begin, end, places, distances)
            coded += coded_bits(end - begin, four, found, matched, extra, distances)
        seen += end - begin
        begin += SAMPLED * WINDOW
    row[Count.LZ_BYTES] = seen
    row[Count.LZ_CODED] = ((coded >> LOG_BITS) + 7) >> 3
