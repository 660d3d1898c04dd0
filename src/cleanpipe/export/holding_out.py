"""Which documents are held out for validation: whole clusters, by chance.

A near-duplicate of a training document in the validation set makes its loss too low. So documents
that are alike go together: copies of one document, equal texts, and texts that share one of 25
bands of 5 MinHash values of their 5-grams: of pairs with a Jaccard similarity of 0.8 all but one in
20,000, of 0.7 99 %, of 0.6 87 %, of 0.3 6 %. Nothing is compared after that: two documents too many
in a cluster cost nothing here.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cleanpipe.duplicates.bands import buckets
from cleanpipe.errors import RecipeError
from cleanpipe.export.order import Rows
from cleanpipe.kernels import hashing, minhash
from cleanpipe.kernels.components import roots, unite

BANDS, ROWS, NGRAM = 25, 5, 5
PERMUTATIONS = 128
SEED = 1
LARGEST = 0.5
"""Of what is asked for: a cluster with more tokens stays in the training set."""
Hashes = npt.NDArray[np.uint64]


def bands(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> Hashes:
    """(texts, BANDS): what texts that are alike have in common; 200 bytes a document."""
    drawn = minhash.permutations(PERMUTATIONS, SEED)
    signatures = minhash.text_signatures(offsets, data, NGRAM, False, *drawn)
    return np.asarray(minhash.band_hashes(signatures, BANDS, ROWS, np.uint64(SEED)), np.uint64)


def clusters(documents: pa.Table, hashes: Hashes) -> npt.NDArray[np.int32]:
    """The first document of each one's cluster; `documents` have id, text_lo and text_hi."""
    numbers = np.arange(len(hashes), dtype=np.int32)
    found = numbers.copy()
    low, high = (documents[name].to_numpy() for name in ("text_lo", "text_hi"))
    codes = documents["id"].combine_chunks().dictionary_encode().indices.to_numpy()
    for shared in (*hashes.T, hashing.mix_arrays(low, high), codes.astype(np.uint64)):
        unite(found, *buckets(numbers, np.ascontiguousarray(shared)))
    return np.asarray(roots(found), np.int32)


def held_out(
    documents: pa.Table, hashes: Hashes, lengths: Rows, share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Which documents are held out: about `share` of them, by their texts and the seed alone.

    Errors: RecipeError where that is none, or all.
    """
    own = clusters(documents, hashes)
    low, high = (documents[name].to_numpy() for name in ("text_lo", "text_hi"))
    key = np.full(len(own), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(key, own, hashing.mix_arrays(low, high))
    drawn = hashing.mix_arrays(np.full(len(key), seed, np.uint64), key) >> np.uint64(11)
    tokens = np.bincount(own, lengths, len(own))
    chosen = (drawn / 2**53 < share) & (tokens <= LARGEST * share * lengths.sum())
    held: npt.NDArray[np.bool_] = chosen[own]
    if not held.any() or held.all():
        raise RecipeError(
            f"--validation {share}: {held.sum():,} of {len(held):,} documents would be held out; "
            "name a share that leaves some on both sides"
        )
    return held
