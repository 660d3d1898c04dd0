"""Bands -> buckets -> components: who is to be compared with whom, in bounded memory.

A band of all documents is one 64-bit hash a document. It is read from the tables of pass 1 in
parts, by the hash itself, so that documents with equal hashes meet in one part; each part is one
task, and leaves the *buckets* of documents that share the band. Buckets that share a document make
a *component*. Components never meet, so that they can be clustered a *portion* at a time, each
portion as large as memory allows: more documents mean more tasks, not more memory.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cleanpipe import scratch
from cleanpipe.documents import Documents
from cleanpipe.duplicates.dedup import Candidates, Rows
from cleanpipe.kernels.components import portions_of, repeated, roots, unite
from cleanpipe.measures.measure import band_name

Numbers = npt.NDArray[np.int32]
"""Numbers of documents, in the order of places: as many as 2^31 - 1."""

BYTES_A_DOCUMENT = 40
"""What pairing takes for each document in a part: its hash and number, twice while they are
joined, and the order of what is sorted. Measured: docs/numbers.md."""
CROWDED = 10_000
"""Documents in one bucket from which the run says so: mostly pages made from one template."""


def parts_of(documents: int, bytes_each: int, memory: int) -> int:
    """Into how many parts documents are cut, so that one of them fits into `memory` bytes.

    >>> parts_of(100_000_000, 40, 500_000_000)
    8
    """
    return max(1, -(-documents * bytes_each // memory))


def pair(documents: Documents, band: int, folder: Path, part: int, parts: int) -> None:
    """Find the documents that share a hash of a band within one part, and save their buckets.

    `folder` holds eligible.npy, which says which documents take part. Leaves the documents bucket
    after bucket, each ascending (.members.npy), and how many each bucket holds (.sizes.npy).
    """
    eligible = scratch.load(folder / "eligible.npy")
    members, sizes = buckets(*documents.hashes(band_name(band), eligible, part, parts))
    path = buckets_path(folder, band, part)
    scratch.save(_members(path), members)
    scratch.save(_sizes(path), sizes)


def buckets_path(folder: Path, band: int, part: int) -> Path:
    """Where the buckets of a part of a band are, without its ending."""
    return folder / f"buckets-{band:02d}-{part:05d}"


def buckets(documents: Numbers, hashes: npt.NDArray[np.uint64]) -> tuple[Numbers, Numbers]:
    """Documents of equal hashes, bucket after bucket, and the buckets' sizes; none of one.

    >>> members, sizes = buckets(np.arange(4, dtype=np.int32), np.array([7, 8, 7, 9], np.uint64))
    >>> members.tolist(), sizes.tolist()
    ([0, 2], [2])
    """
    perhaps = repeated(hashes)
    documents, hashes = documents[perhaps], hashes[perhaps]
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    sizes = np.diff(edges, prepend=0, append=len(ordered))
    shared = np.repeat(sizes > 1, sizes)
    return documents[order[shared]], sizes[sizes > 1].astype(np.int32)


def components(files: Sequence[Path], documents: int) -> Numbers:
    """The first document of each one's component; a document that nobody meets has itself."""
    parents = np.arange(documents, dtype=np.int32)
    for file in files:
        unite(parents, *_load(file))
    return roots(parents)


def candidates(files: Sequence[Path], documents: int) -> Rows:
    """The documents that share a bucket with another one, ascending."""
    met = np.zeros(documents, np.bool_)
    for file in files:
        met[_load(file)[0]] = True
    return np.flatnonzero(met)


def portions(rows: Rows, first: Numbers, weights: Rows, memory: int) -> Numbers:
    """The portion of each document, -1 for those that are no candidates.

    A portion is of whole components, of at most `memory` by their weights; a component that is
    heavier makes one by itself. `rows` are the candidates, `first` is what `components` gave of all
    documents, `weights` belong to `rows`.
    """
    numbers = np.full(len(first), -1, np.int32)
    numbers[rows] = portions_of(rows.astype(np.int32), first, weights, memory)
    return numbers


def portion(
    files_by_band: Sequence[Sequence[Path]], rows: Rows, numbers: Numbers, number: int
) -> Candidates:
    """The buckets of the candidates `rows` of a portion; `numbers` has the portion of everyone."""
    matrix = np.full((len(rows), len(files_by_band)), -1, np.int32)
    count = 0
    for band, files in enumerate(files_by_band):
        for members, sizes in map(_load, files):
            starts = np.cumsum(sizes, dtype=np.int64) - sizes
            inside = numbers[members[starts]] == number  # a bucket's documents are of one portion
            mine = members[np.repeat(inside, sizes)]
            own = np.repeat(np.arange(count, count + int(inside.sum())), sizes[inside])
            matrix[np.searchsorted(rows, mine), band] = own
            count += int(inside.sum())
    return Candidates(rows, matrix)


def crowded(files: Sequence[Path]) -> dict[str, int] | None:
    """Buckets of more than CROWDED documents, the largest, a document of it; None without any."""
    count, largest, document = 0, 0, 0
    for file in files:
        members, sizes = _load(file)
        if not len(sizes):
            continue
        count += int((sizes > CROWDED).sum())
        place = int(np.argmax(sizes))
        if sizes[place] > max(CROWDED, largest):
            largest = int(sizes[place])
            document = int(members[int(sizes[:place].sum(dtype=np.int64))])
    return {"buckets": count, "largest": largest, "document": document} if count else None


def _members(path: Path) -> Path:
    return path.with_suffix(".members.npy")


def _sizes(path: Path) -> Path:
    return path.with_suffix(".sizes.npy")


def _load(path: Path) -> tuple[Numbers, Numbers]:
    return scratch.load(_members(path)), np.array(scratch.load(_sizes(path)))
