"""What a fastText file says of itself, and whether it can be so.

fastText's own reader trusts every number in the file: with a damaged one it divides by zero, reads
beyond its arrays, or reads for hours; what is missing at the end it takes for zeros. So the head,
the dictionary and the sizes of the two matrices are checked here before it gets to see the file.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

MAGIC, NEWEST = 793712314, 12  # of fasttext.cc: its format's number and newest version
SUPERVISED = 3
PREFIX = b"__label__"
_HEAD = struct.Struct("<2i12id3i2q")
_COUNT = struct.Struct("<q")
MOST = (
    10**15
)  # fastText's tree of labels takes this for "no count", and looks for the least forever
_DENSE, _QUANTIZED = struct.Struct("<2q"), struct.Struct("<?2qi")
_CENTROIDS = 256 * 4  # bytes a dimension of a product quantizer; its head is four int32


@dataclass(frozen=True)
class Head:
    """The options of a model and the sizes of its dictionary."""

    version: int
    dim: int
    ngrams: int
    model: int
    bucket: int
    longest_subword: int
    entries: int
    words: int
    labels: int
    pruned: int
    """Slots that are left of those that features share, -1 where none were taken out."""

    @classmethod
    def read(cls, content: bytes | mmap.mmap) -> Self | None:
        """The head of a file; None if it does not begin as fastText's do."""
        if len(content) < _HEAD.size:
            return None
        magic, version, *options = _HEAD.unpack(content[: _HEAD.size])
        if magic != MAGIC or not 0 < version <= NEWEST:
            return None
        dim, _, _, _, _, ngrams, _, model, bucket, _, longest, _, _, *sizes = options
        entries, words, labels, _, pruned = sizes
        return cls(version, dim, ngrams, model, bucket, longest, entries, words, labels, pruned)

    def fault(self) -> str | None:
        """What in it cannot be."""
        if self.model != SUPERVISED:
            return "holds word vectors, and no classifier"
        if self.dim < 1 or self.labels < 1 or self.words < 0 or self.pruned < -1:
            return "is damaged: its sizes cannot be"
        if self.entries != self.words + self.labels:
            return "is damaged: its dictionary does not add up"
        shares = self.ngrams > 1 or self.longest_subword > 0
        if min(self.bucket, self.longest_subword) < 0 or (shares and self.bucket == 0):
            return "is damaged: it has features and no room for them"
        return None

    def rows(self) -> tuple[int, int]:
        """How many rows its two matrices have."""
        return self.words + (self.bucket if self.pruned < 0 else self.pruned), self.labels


def fault(path: Path) -> str | None:
    """Why the file is no model that can be loaded, or None; `path` and this make a sentence."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return "is empty: expected a .bin or .ftz file as fastText saves it"
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            head = Head.read(content)
            if head is None:
                return "is no fastText model: expected a .bin or .ftz file as fastText saves it"
            return head.fault() or _fault_of_body(content, head)


def _fault_of_body(content: mmap.mmap, head: Head) -> str | None:
    too_early = f"ends too early: {len(content):,} bytes; get the model's whole file again"
    at = _HEAD.size
    for at in _ends_of_entries(content, head.entries):
        if at > len(content):
            return too_early
        if content[at - 1] == 1 and not 0 <= _COUNT.unpack_from(content, at - 9)[0] < MOST:
            return "is damaged: a label's count cannot be"
    kept, at = at, at + max(0, head.pruned) * 8
    if at > len(content):
        return too_early
    places = np.frombuffer(content[kept:at], np.int32)[1::2]
    if len(places) and not 0 <= places.min() <= places.max() < head.pruned:
        return "is damaged: a feature lies outside its matrix"
    for rows in head.rows():
        shape, behind = _matrix(content, at)
        if behind > len(content):
            return too_early
        if shape != (rows, head.dim):
            return f"is damaged: a matrix is {shape}, where its head has {(rows, head.dim)}"
        at = behind
    return None


def _ends_of_entries(content: mmap.mmap, count: int) -> Iterator[int]:
    """Where each entry of the dictionary ends: a word, a zero, a count of 8 bytes and its kind."""
    at = _HEAD.size
    for _ in range(count):
        zero = content.find(b"\0", at)
        at = zero + 10 if zero >= 0 else len(content) + 1
        yield at


def _matrix(content: mmap.mmap, at: int) -> tuple[tuple[int, int], int]:
    """The rows and columns of a matrix, and where it ends: beyond the file, if it is cut off."""
    beyond = (0, 0), len(content) + 1
    if at + 1 + _QUANTIZED.size > len(content):
        return beyond
    if content[at] == 0:
        rows, columns = _DENSE.unpack_from(content, at + 1)
        behind = at + 1 + _DENSE.size + rows * columns * 4
        return ((rows, columns), behind) if min(rows, columns) >= 0 else beyond
    with_norms, rows, columns, codes = _QUANTIZED.unpack_from(content, at + 1)
    if min(rows, columns, codes) < 0:
        return beyond
    behind = at + 1 + _QUANTIZED.size + codes + 16 + columns * _CENTROIDS
    return (rows, columns), behind + (rows + 16 + _CENTROIDS if with_norms else 0)


def labels(path: Path) -> tuple[str, ...]:
    """The labels of a model, without their prefix, in its order; the library does not tell them."""
    found = []
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        head = Head.read(content)
        start = _HEAD.size
        for end in _ends_of_entries(content, head.entries if head else 0):
            if content[end - 1] == 1:
                word = content[start : end - 10]
                found.append(word.removeprefix(PREFIX).decode("utf-8", "replace"))
            start = end
    return tuple(found)
