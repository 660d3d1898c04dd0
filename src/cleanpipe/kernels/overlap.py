"""Runs of words that documents share with evaluation examples, by a table of their hashes.

A run is `ngram` consecutive folded words (kernels.tokens) or, of a shorter example, all its words.
Its hash is a polynomial of its words' hashes, modulo 2^64, so that the next run's costs two
products whatever their length: three times as fast in whole as `hash_shingle` of every run. Key and
base are secret: two different runs share a hash with a chance of about 2^-64 (2^-57 where they
differ in the places of two words 32 apart, less elsewhere), and nobody can choose them so.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from cleanpipe.kernels.hashing import Bytes, Hashes, fmix64, mix
from cleanpipe.kernels.tokens import fold_words

Places = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

MARKS = 16
"""Bits of the table's filter for each run: about one run of other texts in 16 passes it."""


class Table(NamedTuple):
    """Where the runs of examples stand, found by their hashes. A tuple, as numba takes it."""

    hashes: Hashes
    """The distinct hashes of runs, ascending."""
    starts: Places
    """Run i stands at places[starts[i]:starts[i + 1]]."""
    places: Hashes
    """example << 32 | the run's first word in it."""
    sizes: Numbers
    """The words of a run of each example."""
    firsts: Places
    """Word k of an example is word firsts[example] + k of all."""
    counted: Numbers
    """How many of all words before each one count as their example's own."""
    lengths: Numbers
    """The different ones of these, ascending."""
    marks: Hashes
    """A bit for each hash, by its first bits: most runs of a document are no example's, and end
    here, in memory that is a fraction of the table's."""
    directory: Numbers
    """hashes[directory[i]:directory[i + 1]] begin with the bits of i."""


@njit(cache=True, nogil=True)
def _sums(words: Hashes, count: int, init: Any, multiplier: Any, sums: Hashes) -> Any:
    """Write the polynomials of the first words, of 0 to `count` of them; their base.

    The base is 3 modulo 8: no power of it less another (below the 64th) is divisible by 256.
    """
    base = mix(init, multiplier) & ~np.uint64(7) | np.uint64(3)
    total = np.uint64(0)
    sums[0] = total
    for k in range(count):
        total = total * base + words[k]
        sums[k + 1] = total
    return base


@njit(cache=True, nogil=True)
def _power(base: Any, size: int) -> Any:
    power = np.uint64(1)
    for _ in range(size):
        power *= base
    return power


@njit(cache=True, nogil=True, inline="always")
def _hash_run(sums: Hashes, start: int, size: int, power: Any) -> Any:
    """The hash of words[start:start + size], `power` being base^size."""
    end, begin = np.uint64(start + size), np.uint64(start)  # unsigned: no test for negative ones
    return fmix64(sums[end] - sums[begin] * power + np.uint64(size))


@njit(cache=True, nogil=True)
def example_runs(
    offsets: Places, data: Bytes, ngram: int, least: int, init: Any, multiplier: Any
) -> tuple[Numbers, Places, Hashes]:
    """The runs of examples: (words of each, offsets of its runs, hashes one after another).

    An example of fewer words than `least` has no run, one of fewer than `ngram` a single one.
    """
    n = len(offsets) - 1
    longest = 0
    for i in range(n):
        longest = max(longest, offsets[i + 1] - offsets[i])
    words = np.empty(longest, np.uint64)
    sums = np.empty(longest + 1, np.uint64)
    counts = np.empty(n, np.int32)
    runs = np.zeros(n + 1, np.int64)
    hashes = np.empty(offsets[n] - offsets[0], np.uint64)  # a word has a byte
    used = 0
    for i in range(n):
        count = fold_words(data, offsets[i], offsets[i + 1], init, multiplier, words)
        counts[i] = count
        if count >= least:
            size = min(count, ngram)
            power = _power(_sums(words, count, init, multiplier, sums), size)
            for k in range(count - size + 1):
                hashes[used] = _hash_run(sums, k, size, power)
                used += 1
        runs[i + 1] = used
    return counts, runs, hashes[:used].copy()


def table(
    hashes: Hashes, places: Hashes, sizes: Numbers, firsts: Places, counted: Numbers
) -> Table:
    """The table of runs: their hashes and their places; of all else what `Table` says."""
    order = np.lexsort((places, hashes))
    ordered = hashes[order]
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    distinct = ordered[first]
    bits = max(len(distinct).bit_length(), 1)
    buckets = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    directory = np.append(np.searchsorted(distinct, buckets), len(distinct)).astype(np.int32)
    mark_bits = max(bits + MARKS.bit_length() - 1, 6)  # a word of marks, at least
    marks = np.zeros(1 << mark_bits - 6, np.uint64)
    places_of_bits = distinct >> np.uint64(64 - mark_bits)
    bit = np.uint64(1) << (places_of_bits & np.uint64(63))
    np.bitwise_or.at(marks, (places_of_bits >> np.uint64(6)).astype(np.int64), bit)
    return Table(
        hashes=distinct,
        starts=np.append(np.flatnonzero(first), len(ordered)).astype(np.int64),
        places=places[order],
        sizes=sizes,
        firsts=firsts,
        counted=counted,
        lengths=np.unique(sizes[(places >> np.uint64(32)).astype(np.int64)]),
        marks=marks,
        directory=directory,
    )


@njit(cache=True, nogil=True, inline="always")
def _leading(bits: Any) -> Any:
    """The shift that leaves as many first bits of a hash as `bits`, a power of two, has places."""
    shift = 64
    while bits > 1:
        bits >>= 1
        shift -= 1
    return np.uint64(shift)


@njit(cache=True, nogil=True)
def _find(h: Any, hashes: Hashes, directory: Numbers, shift: Any) -> int:
    """Where a hash stands in the table, -1 where it does not."""
    bucket = np.int64(h >> shift)
    for i in range(directory[bucket], directory[bucket + 1]):
        if hashes[i] == h:
            return i
    return -1


@njit(cache=True, nogil=True)
def _larger(array: Any, least: int) -> Any:
    """The array with room for `least` and half as many again."""
    larger = np.empty(least + least // 2, array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def shared(
    offsets: Places, data: Bytes, known: Table, init: Any, multiplier: Any
) -> tuple[Numbers, Numbers, Places, Numbers, Numbers]:
    """What each of some texts shares with the examples of a table, made with the same key.

    (words of the text, how many of them stand in a run of an example, offsets of its examples,
    these one after another, ascending, how many of each one's own words the text holds)
    """
    n = len(offsets) - 1
    longest = 0
    for i in range(n):
        longest = max(longest, offsets[i + 1] - offsets[i])
    words = np.empty(longest, np.uint64)
    sums = np.empty(longest + 1, np.uint64)
    ends_at = np.empty(longest, np.int32)
    shift = _leading(len(known.directory) - 1)
    mark_shift = _leading(64 * len(known.marks))
    counts = np.empty(n, np.int32)
    inside = np.zeros(n, np.int32)
    ends = np.zeros(n + 1, np.int64)
    examples = np.empty(64, np.int32)
    covered = np.empty(64, np.int32)
    matched = np.empty(64, np.int64)
    used = 0
    for i in range(n):
        count = fold_words(data, offsets[i], offsets[i + 1], init, multiplier, words)
        counts[i] = count
        base = _sums(words, count, init, multiplier, sums)
        found = 0
        for size in known.lengths:
            power = _power(base, size)
            for k in range(count - size + 1):
                h = _hash_run(sums, k, size, power)
                mark = h >> mark_shift
                if not known.marks[mark >> np.uint64(6)] >> (mark & np.uint64(63)) & np.uint64(1):
                    continue
                run = _find(h, known.hashes, known.directory, shift)
                if run < 0:
                    continue
                if found == 0:
                    ends_at[:count] = 0
                if found == len(matched):
                    matched = _larger(matched, found + 1)
                matched[found] = run
                found += 1
                ends_at[k] = k + size
        if found:
            end = 0
            for k in range(count):
                end = max(end, ends_at[k])
                inside[i] += end > k
            places = _places(matched[:found], known)
            if used + len(places) > len(examples):
                examples = _larger(examples, used + len(places))
                covered = _larger(covered, used + len(places))
            used += _cover(places, known, examples[used:], covered[used:])
        ends[i + 1] = used
    return counts, inside, ends, examples[:used].copy(), covered[:used].copy()


@njit(cache=True, nogil=True)
def _places(matched: Places, known: Table) -> Hashes:
    """The places of runs in examples, by example and word, each once."""
    matched.sort()
    room = 0
    for i in range(len(matched)):
        if i == 0 or matched[i] != matched[i - 1]:
            room += known.starts[matched[i] + 1] - known.starts[matched[i]]
    places = np.empty(room, np.uint64)
    used = 0
    for i in range(len(matched)):
        if i == 0 or matched[i] != matched[i - 1]:
            for place in known.places[known.starts[matched[i]] : known.starts[matched[i] + 1]]:
                places[used] = place
                used += 1
    places.sort()
    return places


@njit(cache=True, nogil=True)
def _cover(places: Hashes, known: Table, examples: Numbers, covered: Numbers) -> int:
    """Write the examples of some places, and the words that runs there cover; how many they are."""
    counted = known.counted
    used = 0
    end: Any = np.int64(0)
    for place in places:
        example = np.int32(place >> np.uint64(32))
        start = known.firsts[example] + np.int64(place & np.uint64(0xFFFFFFFF))
        if used == 0 or examples[used - 1] != example:
            examples[used] = example
            covered[used] = 0
            used += 1
            end = 0
        stop = start + known.sizes[example]
        covered[used - 1] += counted[stop] - counted[max(start, end)]
        end = stop
    return used
