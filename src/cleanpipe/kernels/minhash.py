"""MinHash signatures, bit for bit those of datasketch 2's scheme affine32, and their bands.

A shingle is `ngram` consecutive words. Its hash is the sum of its words' hashes (kernels.tokens),
each times a number of its own place: two different shingles of random words meet once in 2^64.
Signatures use the public key, so that others can repeat them from `shingle_hash` and datasketch;
where equality decides what is dropped (kernels.jaccard) the key is secret.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from cleanpipe.kernels.hashing import Bytes, Hashes, fmix32, fmix64, mix, mum
from cleanpipe.kernels.tokens import (
    PUBLIC_INIT,
    PUBLIC_MULTIPLIER,
    fold_characters,
    fold_words,
)

Numbers = npt.NDArray[np.uint32]

EMPTY = np.uint32(0xFFFFFFFF)  # datasketch's minimum of nothing
BLOCK = 512  # shingles whose hashes are at hand at a time: 2 kB, in the first-level cache
LANES = 64  # permutations whose minima stay in vector registers together


def permutations(num_perm: int, seed: int) -> tuple[Numbers, Numbers]:
    """The factors (odd) and summands of datasketch 2's scheme affine32, of the seed's low 32 bits.

    >>> a, b = permutations(128, seed=1)
    >>> from datasketch import MinHash
    >>> bool((np.array([a, b]) == MinHash(128, seed=1, scheme="affine32").permutations).all())
    True
    """
    generator = np.random.RandomState(int(seed) & 0xFFFFFFFF)  # as datasketch does
    a = generator.randint(0, 1 << 31, num_perm, np.uint32) * np.uint32(2) + np.uint32(1)
    b = generator.randint(0, 1 << 32, num_perm, np.uint32)
    return a, b


@njit(cache=True, nogil=True)
def place_keys(ngram: int, init: Any, multiplier: Any) -> Hashes:
    """An odd factor for the length of a shingle, then one for each of its places."""
    keys = np.empty(ngram + 1, np.uint64)
    for place in range(ngram + 1):
        keys[place] = mix(init + np.uint64(place), multiplier) | np.uint64(1)
    return keys


@njit(cache=True, nogil=True)
def hash_shingle(words: Hashes, start: int, size: int, keys: Hashes) -> Any:
    """The 64-bit hash of the shingle words[start:start + size]."""
    total = np.uint64(size) * keys[0]
    for place in range(size):
        total += words[start + place] * keys[place + 1]
    return fmix64(total)


def _lower_code(_typing_context: Any, minima: Any, hashes: Any, count: Any, a: Any, b: Any) -> Any:
    """Lower LANES minima to a[k] * hash + b[k], at the addresses given, over `count` > 0 hashes.

    Written as vectors, since LLVM kept such a loop's minima in memory, or left it scalar, as soon
    as it stood inside a larger function: 37 ns a shingle of 128 permutations instead of 5.
    """

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        number, place = ir.IntType(32), ir.IntType(64)
        vector = ir.VectorType(number, LANES)
        at_minima, at_hashes, count_, at_a, at_b = arguments

        def aligned(address: Any, kind: Any) -> Any:
            pointer = builder.inttoptr(address, kind.as_pointer())
            return builder.load(pointer, align=4)

        factors, summands = aligned(at_a, vector), aligned(at_b, vector)
        before = aligned(at_minima, vector)
        entry = builder.block
        loop = builder.append_basic_block("shingle")
        done = builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        i, lowest = builder.phi(place), builder.phi(vector)
        address = builder.add(at_hashes, builder.shl(i, ir.Constant(place, 2)))
        one = builder.insert_element(
            ir.Constant(vector, ir.Undefined), aligned(address, number), ir.Constant(number, 0)
        )
        every = builder.shuffle_vector(
            one, ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0] * LANES)
        )
        value = builder.add(builder.mul(factors, every), summands)
        lower = builder.select(builder.icmp_unsigned("<", value, lowest), value, lowest)
        following = builder.add(i, ir.Constant(place, 1))
        i.add_incoming(ir.Constant(place, 0), entry)
        i.add_incoming(following, loop)
        lowest.add_incoming(before, entry)
        lowest.add_incoming(lower, loop)
        builder.cbranch(builder.icmp_signed("<", following, count_), loop, done)
        builder.position_at_end(done)
        builder.store(lower, builder.inttoptr(at_minima, vector.as_pointer()), align=4)
        return _context.get_dummy_value()

    addresses = (minima, hashes, count, a, b)
    return types.void(*(types.int64 for _ in addresses)), code


_lower: Any = intrinsic(_lower_code)


@njit(cache=True, nogil=True)
def signature(words: Hashes, n: int, ngram: int, a: Numbers, b: Numbers, out: Numbers) -> None:
    """Write the signature of a document's first `n` folded words to `out`.

    A document of fewer words than `ngram` is one shingle; of none, all of `out` is EMPTY. `a` and
    `b` are the permutations, as many as `out` has places.
    """
    num_perm = len(out)
    if not len(a) == len(b) == num_perm or not a.itemsize == b.itemsize == out.itemsize == 4:
        raise ValueError("a, b and out must be as long, and u32")
    out[:] = EMPTY
    if n == 0:
        return
    keys = place_keys(ngram, PUBLIC_INIT, PUBLIC_MULTIPLIER)
    size = min(n, ngram)
    shingles = n - size + 1
    hashes = np.empty(min(shingles, BLOCK), np.uint32)
    for start in range(0, shingles, BLOCK):
        count = min(BLOCK, shingles - start)
        for i in range(count):
            shingle = hash_shingle(words, start + i, size, keys)
            hashes[i] = fmix32(np.uint32(shingle >> np.uint64(32)))
        if num_perm < LANES:
            for k in range(num_perm):
                for i in range(count):
                    out[k] = min(out[k], np.uint32(np.uint32(a[k] * hashes[i]) + b[k]))
            continue
        for first in range(0, num_perm, LANES):
            skip = 4 * min(first, num_perm - LANES)  # the last may redo some: a minimum stays one
            _lower(
                out.ctypes.data + skip,
                hashes.ctypes.data,
                count,
                a.ctypes.data + skip,
                b.ctypes.data + skip,
            )


@njit(cache=True, nogil=True)
def text_signatures(
    offsets: npt.NDArray[np.int64],
    data: Bytes,
    ngram: int,
    characters: bool,
    a: Numbers,
    b: Numbers,
) -> Numbers:
    """The signatures of texts over shingles of folded words or characters, (n, permutations) u32.

    >>> data = np.frombuffer(b"Abc  abcabc abc", np.uint8)
    >>> one, two = text_signatures(np.array([0, 8, 15]), data, 3, True, *permutations(64, 1))
    >>> bool((one == two).all())
    True
    """
    texts = len(offsets) - 1
    longest = 0
    for i in range(texts):
        longest = max(longest, offsets[i + 1] - offsets[i])
    units = np.empty(longest, np.uint64)
    signatures = np.empty((texts, len(a)), np.uint32)
    for i in range(texts):
        start, stop = offsets[i], offsets[i + 1]
        if characters:
            count = fold_characters(data, start, stop, PUBLIC_INIT, PUBLIC_MULTIPLIER, units)
        else:
            count = fold_words(data, start, stop, PUBLIC_INIT, PUBLIC_MULTIPLIER, units)
        signature(units, count, ngram, a, b, signatures[i])
    return signatures


def shingle_hash(words: Sequence[str]) -> int:
    """The public 32-bit hash of one shingle, with which datasketch gives cleanpipe's signatures.

    `words` are a shingle's words; they are folded (case, apostrophes) as every word is. Signatures
    are those of `datasketch.MinHash(num_perm, seed, hashfunc=shingle_hash, scheme="affine32")`
    updated with each `ngram` consecutive words, or all of them where they are fewer.

    >>> shingle_hash(["It's", "a", "test"]) == shingle_hash(["its", "A", "Test"])
    True
    """
    text = np.frombuffer(" ".join(words).encode(), np.uint8)
    hashes = np.empty(len(text), np.uint64)
    size = fold_words(text, 0, len(text), PUBLIC_INIT, PUBLIC_MULTIPLIER, hashes)
    if size == 0:
        raise ValueError(f"no word in {words!r}: expected at least one word or symbol")
    keys = place_keys(size, PUBLIC_INIT, PUBLIC_MULTIPLIER)
    return int(hash_shingle(hashes, 0, size, keys)) >> 32


@njit(cache=True, nogil=True)
def band_hashes(signatures: Numbers, bands: int, rows: int, seed: Any) -> Hashes:
    """A u64 for each band of each signature: its number, its `rows` minima and the seed, mixed.

    (n, bands) u64 of (n, at least bands * rows) u32; equal minima in equal bands have equal hashes.

    >>> two = np.array([[1, 2, 3, 4], [3, 4, 3, 4]], np.uint32)
    >>> hashes = band_hashes(two, 2, 2, np.uint64(5))
    >>> bool(hashes[0, 1] == hashes[1, 1]), len(np.unique(hashes))
    (True, 3)
    """
    n = len(signatures)
    hashes = np.empty((n, bands), np.uint64)
    keys = np.empty(bands, np.uint64)
    for band in range(bands):
        keys[band] = mix(np.uint64(seed), np.uint64(band))
    for i in range(n):
        for band in range(bands):
            h = keys[band]
            for row in range(band * rows, band * rows + rows):
                h = mum(h ^ np.uint64(signatures[i, row]), keys[band])
            hashes[i, band] = mix(h, keys[band])
    return hashes
