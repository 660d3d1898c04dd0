"""What dedup finds of a real corpus, against all similar pairs of it; proof/ has the large ones."""

from itertools import combinations, pairwise

import numpy as np
import polars as pl
from dedup_quality import quality
from hypothesis import given
from hypothesis import strategies as st
from similar_pairs import sets_of, similar_pairs

from cleanpipe.duplicates.dedup import Near

WORDS = ["a", "b", "c", "d", "e"]


@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12), max_size=20))
def test_the_truth_is_that_of_comparing_all_with_all(texts):
    """The rarest shingles lead to exactly the pairs that comparing every two documents finds."""
    series = pl.Series("text", [" ".join(words) for words in texts], dtype=pl.String)
    offsets, hashes = sets_of(series, 2)
    sets = [set(hashes[a:b].tolist()) for a, b in pairwise(offsets)]
    expected = [
        (i, j)
        for i, j in combinations(range(len(sets)), 2)
        if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= 0.6
    ]
    one, other, _ = similar_pairs(offsets, hashes, 0.6)
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == expected


def test_of_newsgroups_nearly_all_pairs_are_found(corpora, write_recipe, tmp_path):
    """Of pairs from 0.85 at least 98 % are compared, from 0.8 90 %; 1 % at most keep a partner."""
    texts = pl.read_ndjson(corpora / "20news_bydate" / "data.jsonl.zst")["text"]
    known = quality(write_recipe, tmp_path, texts, Near())
    assert known["pairs"] > 100
    assert known["from_0.85"] >= 0.98
    assert known["from_0.80"] >= 0.90
    assert known["left"] <= 0.01


def test_a_corpus_of_nothing_similar_has_no_pairs():
    """No pair is made up."""
    texts = pl.Series("text", [f"number {n} of {n * 7919}" for n in range(50)])
    assert [len(found) for found in similar_pairs(*sets_of(texts), 0.5)] == [0, 0, 0]
    assert np.diff(sets_of(texts)[0]).tolist() == [1] * 50
