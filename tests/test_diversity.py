"""Diversity: effective numbers, sampled n-grams and the sketch of different ones."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.hashing import mix_arrays
from cleanpipe.kernels.minhash import hash_shingle, permutations, place_keys
from cleanpipe.kernels.ngram_sample import BELOW, NGRAM, ONE_IN
from cleanpipe.kernels.scan import scan
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER, fold_words
from cleanpipe.measures.measure import measures
from cleanpipe.measures.measuring import Measure
from cleanpipe.stats import diversity


def table_of(texts):
    return measures(pa.array(texts, pa.large_string()), None, 0, Measure(language=False))


def slow_sample(text):
    """Every 5-gram of a text hashed one after the other, and the small hashes kept."""
    data = np.frombuffer(text.encode(), np.uint8)
    words = np.empty(len(data) + 1, np.uint64)
    has_words = any(char.isalnum() for char in text)
    n = fold_words(data, 0, len(data), PUBLIC_INIT, PUBLIC_MULTIPLIER, words) if has_words else 0
    keys = place_keys(NGRAM, PUBLIC_INIT, PUBLIC_MULTIPLIER)
    size = min(n, NGRAM)
    found = {int(hash_shingle(words, i, size, keys)) for i in range(n - size + 1 if n else 0)}
    return sorted(one for one in found if one < BELOW)


def test_the_scan_samples_what_a_plain_loop_samples():
    """The sampled n-grams are those with a small hash, each once a document, ascending."""
    rng = np.random.default_rng(5)
    vocabulary = [f"w{i}" for i in range(50)]
    texts = [" ".join(rng.choice(vocabulary, size)) for size in (0, 1, 4, 5, 6, 3000, 20_000)]
    texts += ["a b c d e " * 4000, "!!! ???"]
    offsets, data = text_buffers(pa.array(texts, pa.large_string()))
    _, _, (places, hashes) = scan(offsets, data, 5, *permutations(0, 0))
    found = [hashes[a:b].tolist() for a, b in pairwise(places)]
    assert found == [slow_sample(text) for text in texts]
    assert sum(map(len, found)) > 40


def test_a_repeated_ngram_is_sampled_once():
    """However often a document repeats a sampled 5-gram, its sample holds it once."""
    text = next(
        text
        for i in range(100_000)
        if slow_sample(text := f"n{i} is a good number")  # one 5-gram each
    )
    (sample,) = table_of([f"{text} " * 500])[diversity.SAMPLED].to_list()
    assert slow_sample(text)[0] in sample
    assert len(sample) <= NGRAM


@given(st.lists(st.integers(0, 10**6), max_size=30))
def test_hill_numbers_are_those_of_the_textbook(sizes):
    """Orders 0, 1 and 2 are the count, exp of Shannon's entropy, and the inverse Simpson index."""
    shares = [size / sum(sizes) for size in sizes if size]
    assert diversity.hill(sizes, 0) == len(shares)
    shannon = math.exp(-sum(p * math.log(p) for p in shares)) if shares else 0
    assert diversity.hill(sizes, 1) == pytest.approx(shannon)
    simpson = 1 / sum(p * p for p in shares) if shares else 0
    assert diversity.hill(sizes, 2) == pytest.approx(simpson)
    counted = diversity.profile(Counter(sizes).items())
    assert counted["q2"] == pytest.approx(simpson, abs=1e-4)


@given(st.lists(st.lists(st.text("abc ", max_size=60), max_size=4), min_size=1, max_size=4))
def test_sketches_merge_exactly_in_any_order(groups):
    """The sketch of all documents is that of some added to that of the others."""
    parts = [diversity.describe(table_of(group)) for group in groups]
    whole = diversity.describe(table_of([text for group in groups for text in group]))
    assert diversity.merged(parts) == whole
    assert diversity.merged(parts[::-1]) == whole


@pytest.mark.parametrize("many", [300, 20_000, 3_000_000])
def test_the_estimate_lies_within_four_of_its_errors(many):
    """Of so many different hashes, of which every 256th is seen, about so many are estimated."""
    hashes = mix_arrays(np.arange(many, dtype=np.uint64), np.full(many, 977, np.uint64))
    sampled = np.sort(hashes[hashes < BELOW])[: diversity.LEAST]
    found = diversity.distinct(sampled.tolist())
    wanted = max(found["error"], 1 / math.sqrt(max(many / ONE_IN, 1)))
    if many > ONE_IN * diversity.LEAST:
        wanted = found["error"]
        assert wanted == pytest.approx(0.0313, abs=1e-4)
    assert abs(found["distinct"] / many - 1) < 4 * wanted


def test_repeats_lower_the_share_of_different_ngrams():
    """A corpus twice over has the same different 5-grams, and half their share."""
    rng = np.random.default_rng(1)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 10**6, 4000)) for _ in range(100)]
    table = table_of(texts)
    once, twice = (diversity.describe(one) for one in (table, pl.concat([table, table])))
    assert twice["least"] == once["least"]
    assert twice["ngrams"] == 2 * once["ngrams"] == 2 * 100 * 3996
    assert diversity.distinct(once["least"])["distinct"] == pytest.approx(399_600, rel=0.1)
