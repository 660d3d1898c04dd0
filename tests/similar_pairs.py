"""All pairs of similar documents of a corpus, found without MinHash: what dedup is held against."""

import numpy as np
import polars as pl

from cleanpipe.kernels.jaccard import secret_key, shingle_sets

ROUNDING = 1e-9


def sets_of(texts, ngram=5, seed=1):
    """Each text's set of shingles: offsets, hashes."""
    array = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    data = np.frombuffer(array.buffers()[2], np.uint8)
    offsets = np.frombuffer(array.buffers()[1], np.int64)[: len(texts) + 1]
    return shingle_sets(offsets, data, ngram, *secret_key(seed))


def similar_pairs(offsets, hashes, threshold):
    """Every pair (one < other) of at least this Jaccard similarity, exactly: one, other, jaccard.

    Sets are read from their rarest shingle to their commonest. If two sets of a and b shingles have
    a similarity of t, they share t * a of them at least; so one that both hold is among the first
    a - t * a + 1 of the one and the first b - t * b + 1 of the other. Only these are joined.
    """
    sizes = np.diff(offsets)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    table = pl.DataFrame({"shingle": hashes, "document": owners, "size": sizes[owners]})
    table = table.with_columns(times=pl.len().over("shingle")).sort("document", "times", "shingle")
    place = pl.int_range(pl.len()).over("document")
    first = pl.col("size") - (pl.col("size") * threshold - ROUNDING).ceil() + 1
    rare = table.filter((place < first) & (pl.col("times") > 1)).select("shingle", "document")
    met = (
        rare.lazy()
        .join(rare.lazy(), on="shingle", suffix="_2")
        .filter(pl.col("document") < pl.col("document_2"))
        .select("document", "document_2")
        .unique()
        .sort("document", "document_2")
        .collect(engine="streaming")
    )
    one, other = met["document"].to_numpy(), met["document_2"].to_numpy()
    both = shared(offsets, hashes, one, other)
    jaccard = both / (sizes[one] + sizes[other] - both)
    similar = jaccard >= threshold
    return one[similar], other[similar], jaccard[similar]


def shared(offsets, hashes, one, other):
    """How many shingles two documents share, for each pair."""
    counts = np.empty(len(one), np.int64)
    for k, (a, b) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        first, second = (hashes[offsets[d] : offsets[d + 1]] for d in (a, b))
        counts[k] = len(np.intersect1d(first, second, assume_unique=True))
    return counts
