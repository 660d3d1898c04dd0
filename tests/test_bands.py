"""Bands to buckets to components to portions, and what that is worth: the same in any pieces."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from band_tables import candidates_of, documents_of, paired
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe import scratch
from cleanpipe.duplicates import bands, equal
from cleanpipe.duplicates.dedup import Dedup
from cleanpipe.kernels.components import repeated, roots, unite
from cleanpipe.measures.measure import OWN


def some_bands(seed, count=3, documents=60, values=40):
    return np.random.default_rng(seed).integers(0, values, (count, documents)).astype(np.uint64)


def met(found):
    """Who shares a bucket of which band."""
    return {
        (band, int(found.rows[i]), int(found.rows[j]))
        for band in range(found.buckets.shape[1])
        for i, j in combinations(range(len(found.rows)), 2)
        if found.buckets[i, band] == found.buckets[j, band] != -1
    }


@pytest.mark.parametrize("parts", [1, 2, 7])
@pytest.mark.parametrize("sizes", [[60], [1, 0, 30, 29]])
def test_buckets_are_the_same_in_any_parts_and_blocks(tmp_path, parts, sizes):
    """Pairing from tables in parts finds exactly those that share a hash of a band."""
    hashes = some_bands(parts) << np.uint64(32)  # parts go by the upper half
    eligible = np.flatnonzero(np.random.default_rng(5).random(60) < 0.7)
    documents = documents_of(tmp_path, hashes, sizes)
    files = paired(tmp_path, documents, 3, eligible, parts)
    rows = bands.candidates([file for band in files for file in band], 60)
    found = bands.portion(files, rows, np.zeros(60, np.int32), 0)
    expected = candidates_of(hashes.tolist(), eligible)
    assert rows.tolist() == expected.rows.tolist()
    assert met(found) == met(expected)
    used = found.buckets[found.buckets >= 0]
    assert len(np.unique(used)) == used.max() + 1  # dense, and no bucket in two bands
    for one, other in combinations(found.buckets.T.tolist(), 2):
        assert set(one) & set(other) <= {-1}


@given(st.lists(st.lists(st.integers(0, 30), min_size=2, max_size=5, unique=True), max_size=20))
def test_components_are_what_chains_of_buckets_join(buckets):
    """The root of each is the smallest document that can be reached through shared buckets."""
    parents = np.arange(31, dtype=np.int32)
    members = np.array([d for bucket in buckets for d in sorted(bucket)], np.int32)
    unite(parents, members, np.array([len(bucket) for bucket in buckets], np.int32))
    reach = {d: {d} for d in range(31)}
    for _ in range(31):
        for bucket in buckets:
            joined = set().union(*(reach[d] for d in bucket))
            for d in bucket:
                reach[d] = joined
    assert roots(parents).tolist() == [min(reach[d]) for d in range(31)]


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(0, 60))
def test_what_is_not_repeated_is_sorted_out(values, shift):
    """Every repeated hash is marked, whatever its bits are."""
    hashes = np.array(values, np.uint64) << np.uint64(min(shift, 59))
    marked = repeated(hashes)
    for value, mark in zip(values, marked, strict=True):
        assert mark or values.count(value) == 1


@pytest.mark.parametrize("memory", [1, 50, 10_000])
def test_portions_hold_whole_components_within_memory(tmp_path, memory):
    """No component is torn; a portion is beyond the memory only if it is a single component."""
    hashes = some_bands(3, documents=200, values=150) << np.uint64(32)
    documents = documents_of(tmp_path, hashes, [200])
    by_band = paired(tmp_path, documents, 3, np.arange(200), 2)
    files = [file for band in by_band for file in band]
    first = bands.components(files, 200)
    rows = bands.candidates(files, 200)
    weights = np.random.default_rng(1).integers(1, 20, len(rows))
    numbers = bands.portions(rows, first, weights, memory)
    assert (np.flatnonzero(numbers >= 0) == rows).all()
    portions = [np.flatnonzero(numbers == number) for number in range(numbers.max() + 1)]
    assert sorted(np.concatenate(portions).tolist()) == rows.tolist()
    seen = [set(first[part].tolist()) for part in portions]
    assert sum(map(len, seen)) == len(set().union(*seen))
    weight = dict(zip(rows.tolist(), weights.tolist(), strict=True))
    for part, roots_ in zip(portions, seen, strict=True):
        assert len(roots_) == 1 or sum(weight[d] for d in part.tolist()) <= memory


def test_a_crowded_bucket_is_told(tmp_path, monkeypatch):
    """Buckets of more documents than CROWDED are counted, the largest with a document of it."""
    monkeypatch.setattr(bands, "CROWDED", 4)
    hashes = np.array([[1, 2, 2, 2, 2, 2, 3, 3, 9, 8]], np.uint64)
    documents = documents_of(tmp_path, hashes, [10])
    (files,) = paired(tmp_path, documents, 1, np.arange(10), 1)
    assert bands.crowded(files) == {"buckets": 1, "largest": 5, "document": 1}
    (files,) = paired(tmp_path, documents, 1, np.array([0, 1, 2]), 1)
    assert bands.crowded(files) is None


@pytest.mark.parametrize("parts", [1, 3])
def test_equal_texts_are_found_in_any_parts(tmp_path, parts):
    """Of equal texts the best that is alive stays; one of each text is left to be compared."""
    generator = np.random.default_rng(parts)
    low = generator.integers(0, 9, 50).astype(np.uint64) << np.uint64(32)
    high = generator.integers(0, 2, 50).astype(np.uint64)
    alive = generator.random(50) < 0.6
    documents = documents_of(tmp_path, np.array([low]), [20, 30])
    write_columns(documents, low, high)
    for name, flags in (("alive", alive), ("readable", np.ones(50, np.bool_))):
        scratch.save(tmp_path / f"{name}.npy", flags)
    for part in range(parts):
        equal.find(documents, Dedup(near=None), ("id",), tmp_path, part, parts)
    gone, best, hidden = (equal.found(tmp_path, parts, n) for n in ("gone", "best", "hidden"))
    names = ids(50)
    for text in set(zip(low.tolist(), high.tolist(), strict=True)):
        same = [i for i in range(50) if (low[i], high[i]) == text]
        living = sorted((i for i in same if alive[i]), key=lambda i: names[i])
        assert {i for i in same if i in gone} == set(living[1:])
        assert all(best[gone.tolist().index(i)] == living[0] for i in living[1:])
        compared = [i for i in same if i not in hidden]
        assert compared == [living[0] if living else same[0]]


def ids(count):
    return [f"d{i * 37 % count:03d}" for i in range(count)]


def write_columns(documents, low, high):
    """Tables with all that documents are ranked by."""
    count = len(low)
    table = pl.DataFrame(
        {
            "shard": [0] * count,
            "row": range(count),
            "id": ids(count),
            "has_id": [True] * count,
            "given": range(count),
            "text_lo": low,
            "text_hi": high,
        }
    )
    documents.kinds.update(OWN)
    for place, own in documents.slices():
        table[own].write_parquet(documents.path(place))
