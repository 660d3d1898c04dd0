"""Hashes: of a text to 128 bits, of two numbers to one, and MurmurHash3's finalizers.

A text is hashed in the manner of wyhash (Wang Yi, public domain): 16 bytes at a time are folded
into the state by 64 x 64 -> 128 bit products. Here two such states of their own keys run side by
side and the keys are drawn from the seed: whoever does not know the seed cannot prepare the block
that turns a product, and with it the state, into zero.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

# wyhash's default secret (final version 4): odd, every byte with four bits set.
KEY_0 = np.uint64(0x2D358DCCAA6C78A5)
KEY_1 = np.uint64(0x8BB84B93962EACC9)
KEY_2 = np.uint64(0x4B33A62ED433D4A3)
KEY_3 = np.uint64(0x4D5A2DA51DE1AA47)


def _multiply_high(_typing_context: Any, a: Any, b: Any) -> Any:
    """The upper 64 of the 128 bits of a * b; numba has no type for the whole product."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    if a == types.uint64 and b == types.uint64:
        return types.uint64(types.uint64, types.uint64), code
    return None


multiply_high: Any = intrinsic(_multiply_high)


def _bit_length(_typing_context: Any, number: Any) -> Any:
    """The binary digits of an u64; 0 of 0."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = ir.IntType(64)
        zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))
        return builder.sub(ir.Constant(kind, 64), zeros)

    return (types.int64(types.uint64), code) if number == types.uint64 else None


bit_length: Any = intrinsic(_bit_length)


def _zeros_below(_typing_context: Any, number: Any) -> Any:
    """The binary zeros below the lowest one of an u64; 64 of 0."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return (types.uint64(types.uint64), code) if number == types.uint64 else None


zeros_below: Any = intrinsic(_zeros_below)


def _ones(_typing_context: Any, number: Any) -> Any:
    """How many binary digits of an u64 are ones."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return (types.int64(types.uint64), code) if number == types.uint64 else None


ones: Any = intrinsic(_ones)


def _address(_typing_context: Any, array: Any) -> Any:
    """Where an array's first element lies; it is read as the array, and nothing is checked.

    An array that is handed from function to function has its references counted, twice 7 ns a call
    where the compiler cannot prove that they cancel: more than most tokens cost otherwise. An
    address has none. The array must stay alive, and be contiguous.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        return context.make_array(kind)(context, builder, arguments[0]).data

    if isinstance(array, types.Array) and array.layout == "C":
        return types.CPointer(array.dtype)(array), code  # type: ignore[no-untyped-call]
    return None


address: Any = intrinsic(_address)


@njit(cache=True, nogil=True)
def mum(a: Any, b: Any) -> Any:
    """Both halves of the 128-bit product of a and b, folded by xor."""
    return (a * b) ^ multiply_high(a, b)


@njit(cache=True, nogil=True)
def mix(a: Any, b: Any) -> Any:
    """One u64 of two; their order counts, and every bit of them reaches every bit of it."""
    a ^= KEY_0
    b ^= KEY_1
    return mum((a * b) ^ KEY_0, multiply_high(a, b) ^ KEY_1)


@njit(cache=True, nogil=True)
def fmix32(h: Any) -> Any:
    """MurmurHash3's finalizer: a bijection of u32 in which every bit reaches every bit."""
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@njit(cache=True, nogil=True)
def fmix64(h: Any) -> Any:
    """MurmurHash3's finalizer: a bijection of u64 in which every bit reaches every bit."""
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@njit(cache=True, nogil=True)
def word_at(data: Bytes, i: Any) -> Any:
    """Eight bytes from `i` on, little-endian; LLVM makes one unaligned load of it."""
    i = np.uint64(i)  # an unsigned index spares numba's test for negative ones
    low = np.uint64(data[i]) | np.uint64(data[i + np.uint64(1)]) << np.uint64(8)
    low |= np.uint64(data[i + np.uint64(2)]) << np.uint64(16)
    low |= np.uint64(data[i + np.uint64(3)]) << np.uint64(24)
    low |= np.uint64(data[i + np.uint64(4)]) << np.uint64(32)
    low |= np.uint64(data[i + np.uint64(5)]) << np.uint64(40)
    low |= np.uint64(data[i + np.uint64(6)]) << np.uint64(48)
    return low | np.uint64(data[i + np.uint64(7)]) << np.uint64(56)


@njit(cache=True, nogil=True)
def few_bytes(data: Bytes, start: Any, stop: Any) -> Any:
    """At most eight bytes as a number, the first one lowest."""
    word = np.uint64(0)
    for i in range(stop - 1, start - 1, -1):
        word = word << np.uint64(8) | np.uint64(data[np.uint64(i)])
    return word


@njit(cache=True, nogil=True)
def text_keys(seed: Any) -> Hashes:
    """The six secret numbers that hash_text takes, of one seed."""
    keys = np.empty(6, np.uint64)
    for i in range(6):
        keys[i] = mix(seed ^ KEY_2, KEY_3 + np.uint64(i))
    return keys


@njit(cache=True, nogil=True)
def hash_text(data: Bytes, start: Any, stop: Any, keys: Hashes) -> Any:
    """The 128-bit hash (lo, hi) of data[start:stop]."""
    lo = keys[0]
    hi = keys[1]
    i = start
    while i + 16 <= stop:
        first = word_at(data, i)
        second = word_at(data, i + 8)
        lo = mum(first ^ keys[2], second ^ lo)
        hi = mum(first ^ hi, second ^ keys[3])
        i += 16
    first = np.uint64(0)
    second = np.uint64(0)
    if i < stop:
        if stop - start >= 16:  # the last 16 bytes, some of them a second time
            first = word_at(data, stop - 16)
            second = word_at(data, stop - 8)
        elif stop - start >= 8:
            first = word_at(data, start)
            second = word_at(data, stop - 8)
        else:
            first = few_bytes(data, start, stop)
    length = np.uint64(stop - start)
    lo = mum(first ^ keys[2], second ^ lo)
    hi = mum(first ^ hi, second ^ keys[3])
    return mix(lo ^ keys[4], length), mix(hi ^ keys[5], length)


@njit(cache=True, nogil=True)
def hash_texts(offsets: npt.NDArray[np.int64], data: Bytes, seed: Any) -> tuple[Hashes, Hashes]:
    """The 128-bit hashes (lo, hi) of the texts data[offsets[i]:offsets[i + 1]].

    >>> data = np.frombuffer(b"onetwoone", np.uint8)
    >>> lo, hi = hash_texts(np.array([0, 3, 6, 9]), data, np.uint64(7))
    >>> bool(lo[0] == lo[2] != lo[1]), bool(hi[0] == hi[2] != hi[1])
    (True, True)
    """
    n = len(offsets) - 1
    lo = np.empty(n, np.uint64)
    hi = np.empty(n, np.uint64)
    keys = text_keys(np.uint64(seed))
    for i in range(n):
        lo[i], hi[i] = hash_text(data, offsets[i], offsets[i + 1], keys)
    return lo, hi


@njit(cache=True, nogil=True)
def _mix_arrays(a: Hashes, b: Hashes, out: Hashes) -> None:
    for i in range(len(out)):
        out[i] = mix(a[i], b[i])


def mix_arrays(a: Hashes | np.uint64 | int, b: Hashes | np.uint64 | int) -> Hashes:
    """`mix` of each pair; a single number stands for an array of it.

    >>> mix_arrays(1, np.array([2, 3], np.uint64)).tolist() == [mix(np.uint64(1), np.uint64(i))
    ...     for i in (2, 3)]
    True
    """
    left, right = np.broadcast_arrays(np.asarray(a, np.uint64), np.asarray(b, np.uint64))
    out = np.empty(left.size, np.uint64)
    _mix_arrays(np.ascontiguousarray(left).ravel(), np.ascontiguousarray(right).ravel(), out)
    return out
