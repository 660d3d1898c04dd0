"""Signatures and bands from and to datasketch: what others have made can be used on, both ways.

A signature of `cleanpipe.signatures` is bit for bit a MinHash of datasketch 2 with the scheme
affine32 over `cleanpipe.shingle_hash` of each shingle. The signatures of a run are not kept, and
are made with the output folder's own seed; these here have the seed that they are given.
"""

from collections.abc import Hashable, Iterable

import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH

from cleanpipe.duplicates.dedup import Near
from cleanpipe.kernels.minhash import permutations, shingle_hash

SCHEME = "affine32"

Signatures = npt.NDArray[np.uint32]


def to_datasketch(signatures: Signatures, *, seed: int = 1) -> list[MinHash]:
    """A MinHash of datasketch for each row of `signatures`, (n, num_perm), made with this seed.

    Give the seed that they were made with: an array does not tell it, and the permutations follow
    from it. Signatures over words can be updated, with the words of one more shingle as a list;
    those over characters cannot.

    >>> import cleanpipe
    >>> one, two = to_datasketch(cleanpipe.signatures(["to be or not to be", "to be or not to"]))
    >>> one.jaccard(two)  # of {to be or not to, be or not to be} and {to be or not to}, estimated
    0.53125
    """
    shared = np.array(permutations(signatures.shape[1], seed))
    return [
        MinHash(
            seed=seed, hashfunc=shingle_hash, hashvalues=row, permutations=shared, scheme=SCHEME
        )
        for row in np.asarray(signatures, np.uint32)
    ]


def from_datasketch(minhashes: Iterable[MinHash]) -> Signatures:
    """The signatures (n, num_perm) of datasketch's MinHashes, for bands and comparison.

    Raises ValueError for another scheme than affine32, or different numbers of permutations or
    seeds: such signatures cannot be compared.

    >>> import cleanpipe
    >>> made = cleanpipe.signatures(["to be or not to be"])
    >>> bool((from_datasketch(to_datasketch(made)) == made).all())
    True
    """
    known = list(minhashes)
    kinds = {(one.scheme, one.num_perm, one.seed) for one in known}
    if len(kinds) > 1 or any(scheme != SCHEME for scheme, _, _ in kinds):
        told = ", ".join(f"{s} of {n} permutations, seed {seed}" for s, n, seed in sorted(kinds))
        raise ValueError(f"the MinHashes are {told}: expected one kind, of the scheme {SCHEME}")
    if not known:
        return np.zeros((0, 0), np.uint32)
    return np.array([one.hashvalues for one in known], dtype=np.uint32)


def to_lsh(
    signatures: Signatures, near: Near, keys: Iterable[Hashable], *, seed: int = 1
) -> MinHashLSH:
    """An index of datasketch's with the bands of `near`, which holds these signatures by key.

    A query finds the documents that share a band: those that a run would compare. Raises ValueError
    for a single band, such as threshold 1 has: datasketch needs two at least.

    >>> import cleanpipe
    >>> made = cleanpipe.signatures(["a b c d e f g h", "a b c d e f g H", "z y x w v u t s"])
    >>> lsh = to_lsh(made, Near(), ["one", "two", "three"])
    >>> sorted(lsh.query(to_datasketch(made)[0]))
    ['one', 'two']
    """
    if near.bands_and_rows()[0] == 1:
        raise ValueError(
            "one band of all minima: datasketch's index needs two at least; give bands and rows, "
            "or compare equal texts by dedup.exact"
        )
    lsh = MinHashLSH(num_perm=near.num_perm, params=near.bands_and_rows())
    with lsh.insertion_session() as session:
        for key, minhash in zip(keys, to_datasketch(signatures, seed=seed), strict=True):
            session.insert(key, minhash)
    return lsh
