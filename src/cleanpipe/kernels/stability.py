"""What makes gradients add up instead of averaging out: repeats and tiny vocabularies."""

from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from cleanpipe.kernels.counts import Count, Counts, Numbers
from cleanpipe.kernels.hashing import Hashes

LONGEST_PERIOD = 13  # OLMo's repetition_max_period
LEAST_REPEATS = 3  # OLMo and dolma report spans from three repeats on
WINDOW = 128  # tokens
WINDOW_BITS = 7  # log2 of it
COMPARED = np.uint64(WINDOW - LONGEST_PERIOD)  # tokens of a window with thirteen before them in it
ENTROPY_BITS = 16  # entropies are in units of 2^-16 bits
TABLE_BITS = 32


def _weights() -> npt.NDArray[np.int64]:
    """The values of c log2 c in units of 2^-32, decimal: a processor's log2 may round otherwise."""
    scale = Decimal(2**TABLE_BITS) / Decimal(2).ln()
    return np.array([0] + [round(c * Decimal(c).ln() * scale) for c in range(1, WINDOW + 1)])


STEPS = np.diff(_weights())  # what one more adds to c log2 c
LANES = np.uint64(0x01010101010101)  # a byte for each of seven periods
TOPS = np.uint64(0x80808080808080)
SPREAD = np.uint64(0x0002040810204081)  # times seven bits: bit k stands in byte k, too
# numba makes floats of mixed signs
ONE, TWO, THREE, EIGHT = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(8)
BLOCK = np.uint64(16)  # tokens that are asked together whether any of them repeats
BEYOND = int(BLOCK) + 3  # they may reach beyond the last token
BEFORE = 16  # of them must stand before the first one: at least LONGEST_PERIOD
BLOCKS = np.uint64(16)  # of eight tokens: 115 and the 7 that a window may end before lie in them


def _mark_block_code(_typing_context: Any, ids: Any, marks: Any, _start: Any) -> Any:
    """Mark BLOCK tokens, from a place on, of which each has BEFORE others before it.

    Written as vectors: of loops LLVM made vectors of 64 tokens, and walked the rest one by one,
    which is all of a short text.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(32), int(BLOCK))

        def at(which: int, place: Any) -> Any:
            array = context.make_array(signature.args[which])(context, builder, arguments[which])
            return builder.bitcast(builder.gep(array.data, [place]), vector.as_pointer())

        def ids_at(place: Any) -> Any:
            return builder.load(at(0, place), align=4)

        def moved(step: int) -> Any:
            return builder.add(arguments[2], ir.Constant(ir.IntType(64), step))

        own = ids_at(moved(BEFORE))
        bits = ir.Constant(vector, [0] * int(BLOCK))
        for period in range(1, LONGEST_PERIOD + 1):
            equal = builder.icmp_signed("==", own, ids_at(moved(BEFORE - period)))
            mark = ir.Constant(vector, [1 << period] * int(BLOCK))
            none = ir.Constant(vector, [0] * int(BLOCK))
            bits = builder.or_(bits, builder.select(equal, mark, none))
        builder.store(bits, at(1, arguments[2]), align=4)
        return context.get_dummy_value()

    return types.void(ids, marks, types.uint64), code


_mark_block: Any = intrinsic(_mark_block_code)


@njit(cache=True, nogil=True)
def room_for_ids(room: Any) -> Numbers:
    """An array for so many tokens' numbers, from BEFORE on, with none that equals one before."""
    padded = np.empty(BEFORE + room + BEYOND, np.int32)
    padded[:BEFORE] = -1
    return padded


@njit(cache=True, nogil=True)
def mark_repeats(padded: Numbers, tokens: Any, repeated: Numbers) -> None:
    """Set bit p of repeated[i], for p of 1 to 13, where token i equals the one p before it.

    Token i is padded[BEFORE + i]. `repeated` needs room for BEYOND more, which are cleared.
    """
    for start in range(np.uint64(0), np.uint64(tokens), BLOCK):
        _mark_block(padded, repeated, start)
    repeated[tokens : tokens + BEYOND] = 0


@njit(cache=True, nogil=True, forceinline=True)
def goes_on(repeated: Numbers, i: Any) -> Any:
    """The periods p, as bits, of which min(p, 4) tokens from `i` on equal the one p before them.

    The first of a stretch that long is one; of no shorter stretch a span is repeated.
    """
    going = repeated[i] & (repeated[i + ONE] | np.int32(0b10))
    going &= repeated[i + TWO] | np.int32(0b110)
    return going & (repeated[i + THREE] | np.int32(0b1110))


@njit(cache=True, nogil=True)
def next_stretch(repeated: Numbers, i: Any, tokens: Any) -> Any:
    """A place, `i` or one after it by whole blocks, before which no stretch begins; or `tokens`."""
    while i < tokens:
        any_ = np.int32(0)
        for k in range(BLOCK):
            any_ |= goes_on(repeated, i + k)
        if any_:
            return i
        i += BLOCK
    return tokens


@njit(cache=True, nogil=True)
def repeats(padded: Numbers, tokens: Any, repeated: Numbers, row: Counts) -> None:
    """The most consecutive repeats of a span of 1 to 13 tokens, and the most tokens in 3 or more.

    A stretch of L tokens that equal the one p before them is L + p tokens of period p. With period
    1 it is the run of one token. The arrays are as of mark_repeats; `repeated` is left for
    window_period.
    """
    mark_repeats(padded, tokens, repeated)
    end = np.uint64(tokens)
    i = next_stretch(repeated, np.uint64(0), end)
    run = min(tokens, 1)
    row[Count.SAME_TOKEN_RUN] = row[Count.REPEAT_RUN] = run
    row[Count.REPEAT_TOKENS] = 0
    if i >= end:
        return
    longest = np.zeros(LONGEST_PERIOD + 1, np.int64)
    known = np.zeros(LONGEST_PERIOD + 1, np.uint64)  # where the last stretch ended
    while i < end:
        stop = min(i + BLOCK, end)
        while i < stop:
            going = goes_on(repeated, i)
            period = 1
            while going >> period:
                if going >> period & 1 and i >= known[period]:
                    after = i
                    while after < end and repeated[after] >> period & 1:
                        after += ONE
                    known[period] = after
                    longest[period] = max(longest[period], np.int64(after - i))
                period += 1
            i += ONE
        i = next_stretch(repeated, i, end)
    covered = 0
    for period in range(1, LONGEST_PERIOD + 1):
        times = (longest[period] + period) // period
        run = max(run, times)
        if times >= LEAST_REPEATS:
            covered = max(covered, longest[period] + period)
    row[Count.SAME_TOKEN_RUN] = longest[1] + 1
    row[Count.REPEAT_RUN] = run
    row[Count.REPEAT_TOKENS] = covered


@njit(cache=True, nogil=True)
def window_entropy(ids: Numbers, tokens: Any, distinct: Any, times: Numbers, row: Counts) -> None:
    """The smallest Shannon entropy of the tokens in any window of 128, in units of 2^-16 bits.

    H = log2 128 - (sum of c log2 c) / 128 over the counts c in the window: the largest sum decides.
    """
    if tokens < WINDOW:
        row[Count.WINDOW_ENTROPY_MIN] = -1
        return
    times[:distinct] = 0
    total = 0
    window = np.uint64(WINDOW)
    for i in range(window):
        token = np.uint64(ids[i])
        total += STEPS[np.uint64(times[token])]
        times[token] += 1
    largest = total
    for i in range(window, np.uint64(tokens)):
        token = np.uint64(ids[i - window])
        count = np.uint64(times[token]) - ONE
        times[token] = count
        total -= STEPS[count]
        token = np.uint64(ids[i])
        count = np.uint64(times[token])
        times[token] = count + ONE
        total += STEPS[count]
        largest = max(largest, total)
    shift = TABLE_BITS + WINDOW_BITS - ENTROPY_BITS
    row[Count.WINDOW_ENTROPY_MIN] = (WINDOW_BITS << ENTROPY_BITS) - (
        (largest + (1 << (shift - 1))) >> shift
    )


@njit(cache=True, nogil=True, forceinline=True)
def lanes(bits: Any) -> Any:
    """The lowest seven bits, a byte for each."""
    return ((bits & np.uint64(0x7F)) * SPREAD) & LANES


@njit(cache=True, nogil=True)
def window_period(repeated: Numbers, tokens: Any, sums: Hashes, row: Counts) -> None:
    """The most of a window's 115 last tokens that equal the one p before them, for the best p.

    Windows have 128 tokens and p is 1 to 13, so that every token compared has all thirteen before
    it in the window, and all periods have the same divisor. `repeated` is as mark_repeats left it.
    The counts of thirteen periods are bytes of two words; `sums` keeps those of each block of
    eight tokens. A window that ends in a block lies in the sixteen blocks up to it: only where
    these hold more than the most so far for one period are its windows looked at.
    """
    if tokens < WINDOW:
        row[Count.WINDOW_PERIOD_MAX] = -1
        return
    most = np.uint64(0)
    low = high = np.uint64(0)  # of sixteen blocks, periods 1 to 7 and 8 to 13
    for block in range(np.uint64((tokens + 7) >> 3)):
        begin = max(block << np.uint64(3), np.uint64(LONGEST_PERIOD))
        end = min((block + ONE) << np.uint64(3), np.uint64(tokens))
        enters_low = enters_high = np.uint64(0)
        for i in range(begin, end):
            bits = np.uint64(repeated[i])
            enters_low += lanes(bits >> ONE)
            enters_high += lanes(bits >> EIGHT)
        place = block << ONE
        sums[place] = enters_low
        sums[place | ONE] = enters_high
        low += enters_low
        high += enters_high
        if block >= BLOCKS:
            low -= sums[place - TWO * BLOCKS]
            high -= sums[(place - TWO * BLOCKS) | ONE]
        if most < COMPARED and exceeds(low, high, most):
            before = (low - enters_low, high - enters_high)
            most = most_in_block(repeated, begin, end, before, most)
    row[Count.WINDOW_PERIOD_MAX] = np.int64(most)


@njit(cache=True, nogil=True, forceinline=True)
def exceeds(low: Any, high: Any, most: Any) -> Any:
    """Whether a byte is above `most`, below 128: then adding 127 - most sets its highest bit."""
    margin = (np.uint64(127) - most) * LANES
    return ((low + margin) | (high + margin)) & TOPS != 0


@njit(cache=True, nogil=True)
def most_in_block(repeated: Numbers, begin: Any, end: Any, before: Any, most: Any) -> Any:
    """The most of the windows that end in the block, if above `most`; before: of 15 blocks."""
    low, high = before
    leaving = np.int64(begin) // 8 * 8 - 8 * (np.int64(BLOCKS) - 1)
    leaving = max(leaving, np.int64(LONGEST_PERIOD))
    for i in range(begin, end):
        bits = np.uint64(repeated[i])
        low += lanes(bits >> ONE)
        high += lanes(bits >> EIGHT)
        while leaving + np.int64(COMPARED) <= np.int64(i):
            bits = np.uint64(repeated[leaving])
            low -= lanes(bits >> ONE)
            high -= lanes(bits >> EIGHT)
            leaving += 1
        while exceeds(low, high, most):
            most += ONE
    return most
