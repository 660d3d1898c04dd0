"""Documents of equal text, found part by part of their hashes: who gives way to whom.

Equal hashes are of one part, so that each part is a task of its own; more documents mean more
parts, not more memory.
"""

from pathlib import Path

import numpy as np

from cleanpipe import scratch
from cleanpipe.documents import Documents
from cleanpipe.duplicates.dedup import COLUMN_HASHES, Dedup, Rows
from cleanpipe.kernels.components import repeated

BYTES_A_DOCUMENT = 32
"""What a part takes for each of its documents: a hash and a number, twice while they are joined."""


def find(
    documents: Documents, dedup: Dedup, keep: tuple[str, ...], folder: Path, part: int, parts: int
) -> None:
    """Find documents of equal text among those of a part.

    `folder` holds readable.npy and alive.npy, Booleans of all documents. Leaves in it
    equal-PART.gone.npy, documents that give way, ascending; .best.npy, those they give way to; and
    .hidden.npy, documents whose text is compared in another one's place.
    """
    readable, alive = (scratch.load(folder / f"{name}.npy") for name in ("readable", "alive"))
    numbers, hashes = documents.hashes("text_lo", readable, part, parts)
    rows = numbers[repeated(hashes)].astype(np.int64)
    table = documents.keyed(rows, keep)
    left = np.flatnonzero(alive[rows])
    best = left[dedup.exact_duplicates(table[left])]
    gives_way = best != left
    still = np.array(alive[rows])
    still[left[gives_way]] = False
    compared = dedup.compared(table.select("text_lo", "text_hi"), still)
    for name, found in (
        ("gone", rows[left[gives_way]]),
        ("best", rows[best[gives_way]]),
        ("hidden", np.delete(rows, compared)),
    ):
        scratch.save(_path(folder, part, name), found)


def find_by_column(
    documents: Documents, dedup: Dedup, keep: tuple[str, ...], folder: Path, part: int, parts: int
) -> None:
    """Find documents with an equal value in the recipe's column among those of a part.

    `folder` holds alive.npy, and gets column-PART.gone.npy and .best.npy, as `find` leaves them.
    """
    alive = scratch.load(folder / "alive.npy")
    numbers, hashes = documents.hashes(COLUMN_HASHES[0], alive, part, parts)
    numbers, hashes = numbers[hashes != 0], hashes[hashes != 0]  # without a value it reads as 0
    rows = numbers[repeated(hashes)].astype(np.int64)
    best = dedup.column_duplicates(documents.keyed(rows, (*keep, *COLUMN_HASHES)))
    gives_way = best != np.arange(len(rows))
    for name, found in (("gone", rows[gives_way]), ("best", rows[best[gives_way]])):
        scratch.save(_path(folder, part, name, "column"), found)


def found(folder: Path, parts: int, name: str, kind: str = "equal") -> Rows:
    """What `find` left of all parts under a name: "gone", "best" or "hidden"; or a column's."""
    return np.concatenate([scratch.load(_path(folder, part, name, kind)) for part in range(parts)])


def _path(folder: Path, part: int, name: str, kind: str = "equal") -> Path:
    return folder / f"{kind}-{part:05d}.{name}.npy"
