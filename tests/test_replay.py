"""Near-duplicates decided again from pairs: never another result than comparing anew would have."""

import numpy as np
import pytest
from band_tables import candidates_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dedup import (
    bands_of,
    corpus,
    everyone,
    near_duplicates,
    random_sets,
    sets_of,
    table_of,
    together,
)

from cleanpipe.duplicates.dedup import KEPT as STAYS
from cleanpipe.duplicates.dedup import Near
from cleanpipe.duplicates.replay import _spans
from cleanpipe.kernels.replay import GIVES_WAY, KEPT, OPEN, UNKNOWN, known_similarity, replay_stars
from cleanpipe.kernels.stars import NOBODY_IS_SIMILAR, cluster_stars

NO_SPANS = np.zeros((0, 2), np.int64)


def listing(buckets, offsets, hashes, limit, threshold):
    """What a run leaves of documents in the order of their numbers: known pairs, who has all."""
    least = np.full(len(offsets) - 1, threshold / 2)
    order = np.arange(len(least))
    *_, missing, pairs = cluster_stars(
        order, buckets, offsets, hashes, NOBODY_IS_SIMILAR, limit, least
    )
    ordered = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    starts = np.searchsorted(ordered[:, 0], np.arange(len(least) + 1))
    return starts, ordered[:, 1].copy(), ordered[:, 3] / ordered[:, 4], missing == 0


def random_case(seed, limit):
    """150 documents in crowded buckets, and half of them in another order."""
    generator = np.random.default_rng(seed)
    sets = random_sets(generator, 150)
    offsets = np.cumsum([0, *map(len, sets)])
    hashes = np.array([h for one in sets for h in sorted(one)], np.uint64)
    buckets = (generator.integers(-1, 12, (150, 4)) + np.array([0, 20, 40, 60])).astype(np.int32)
    buckets[buckets % 20 == 19] = -1
    buckets[buckets < 0] = -1
    order = generator.permutation(150)[: generator.integers(1, 150)]
    return buckets, offsets, hashes, order, listing(buckets, offsets, hashes, limit, 0.6)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.8])
@given(seed=st.integers(0, 2**32), limit=st.sampled_from([1, 2, 4, 8, 64]))
@settings(max_examples=60)
def test_what_is_certain_is_what_comparing_finds(threshold, seed, limit):
    """Whatever subset, order, threshold and limit: who stays or goes for certain does so."""
    buckets, offsets, hashes, order, known = random_case(seed, limit)
    least = np.zeros(150)
    truth = cluster_stars(order, buckets, offsets, hashes, threshold, limit, least)[0]
    fates, whom, unknown = replay_stars(order, buckets, *known, NO_SPANS, True, threshold, limit, 0)
    goes = truth != np.arange(150)
    assert not goes[fates == KEPT].any()
    assert goes[fates == GIVES_WAY].all()
    assert (fates == GIVES_WAY).sum() <= goes.sum() <= (fates != KEPT).sum()
    if known[3].all():
        assert unknown == 0
        assert not (fates == OPEN).any()
        assert (whom != np.arange(150)).tolist() == goes.tolist()


def test_a_limit_leaves_something_open_and_a_guess_closes_it():
    """The range is a range where comparisons are missing, and not everywhere."""
    results = [random_case(seed, 2) for seed in range(20)]
    seen = set()
    for buckets, _, _, order, known in results:
        arguments = order, buckets, *known, NO_SPANS, True, 0.6, 2
        seen |= set(replay_stars(*arguments, 0)[0][order].tolist())
        assert OPEN not in replay_stars(*arguments, 8)[0]
    assert seen == {KEPT, GIVES_WAY, OPEN}


def test_an_unlisted_pair_is_dissimilar_only_where_nothing_is_missing():
    """Listed: its similarity. Not listed: 0 where the later one met all others, else unknown."""
    known = np.array([0, 0, 1, 1]), np.array([0], np.int32), np.array([0.7])
    complete = np.array([True, True, False])
    assert known_similarity(1, 0, *known, complete) == 0.7
    assert known_similarity(0, 1, *known, complete) == 0.7
    assert known_similarity(0, 2, *known, complete) == UNKNOWN
    assert known_similarity(2, 1, *known, ~complete) == 0.0


def test_who_may_have_taken_a_place_in_a_full_bucket_leaves_the_rest_open():
    """A bucket for two holds a and b; if b gives way, c is held, and the last gives way to it."""
    starts, others = np.array([0, 0, 0, 0, 3]), np.array([0, 1, 2], np.int32)
    similarity, complete = np.array([0.1, 0.1, 0.9]), np.array([True, False, True, True])
    known = starts, others, similarity, complete
    fates, whom, unknown = replay_stars(
        np.arange(4), np.zeros((4, 1), np.int32), *known, NO_SPANS, True, 0.5, 2, 0
    )
    assert fates.tolist() == [KEPT, OPEN, KEPT, OPEN]
    assert (whom.tolist()[:3], unknown) == ([0, 0, 2], 1)


@pytest.mark.parametrize("seed", range(3))
def test_the_dead_are_compared_and_decide_nothing(seed):
    """Clusters are those of the living alone; pairs are those of all that share a band."""
    texts = corpus(seed, 200)
    near = Near(threshold=0.6, ngram=2)
    everybody = np.arange(200)
    alive = np.random.default_rng(seed).random(200) < 0.6
    found = candidates_of(bands_of(texts, near).T.tolist(), everybody)
    sets = sets_of([texts[row] for row in found.rows], near.ngram)
    table = table_of(texts)[found.rows]
    clusters = near.clusters(table, found, *sets, alive[found.rows], together(found))
    goes = np.full(200, STAYS)
    members = clusters.duplicate_of != STAYS
    goes[found.rows[members]] = found.rows[clusters.duplicate_of[members]]
    names = [f"d{i:06d}" for i in np.flatnonzero(alive)]
    alone, *_ = near_duplicates([texts[i] for i in np.flatnonzero(alive)], near, names)
    living = np.flatnonzero(alive)
    assert goes[living].tolist() == [STAYS if i == STAYS else living[i] for i in alone]
    assert (goes[~alive] == STAYS).all()
    whole = near.clusters(table, found, *sets, everyone(len(found.rows)), together(found))
    assert clusters.pairs.equals(whole.pairs)
    assert clusters.pairs.height > 50


@pytest.mark.parametrize(
    ("threshold", "recall", "covered"),
    [
        (0.8, 0.95, True),
        (0.9, 0.95, True),
        (0.95, 0.95, True),
        (0.85, 0.95, False),
        (0.7, 0.95, False),
    ],
)
def test_changed_bands_are_covered_or_not(threshold, recall, covered):
    """A changed band that holds a whole band of the run finds nothing that the run did not."""
    run, near = Near(), Near(threshold=threshold, recall=recall)
    spans = _spans(run, near)
    assert (spans is not None) == covered
    if spans is not None:
        rows, changed = run.bands_and_rows()[1], near.bands_and_rows()[1]
        for band, (first, last) in enumerate(spans.tolist()):
            assert first * rows <= band * changed
            assert (last + 1) * rows >= (band + 1) * changed


@pytest.mark.parametrize("seed", range(3))
def test_raised_thresholds_with_other_bands_are_a_range(seed):
    """12 minima a band instead of 8: what a comparison with the new bands drops is in the range."""
    texts = corpus(seed, 400)
    run, near = Near(ngram=2), Near(ngram=2, threshold=0.9)
    assert run.bands_and_rows() != near.bands_and_rows()
    found = candidates_of(bands_of(texts, run).T.tolist(), np.arange(400))
    sets = sets_of([texts[row] for row in found.rows], run.ngram)
    known = listing(found.buckets, *sets, 64, run.threshold)
    order = np.random.default_rng(seed).permutation(len(found.rows))
    fates, *_ = replay_stars(
        order, found.buckets, *known, _spans(run, near), False, near.threshold, 64, 0
    )
    changed = candidates_of(bands_of(texts, near).T.tolist(), found.rows)
    sets = sets_of([texts[row] for row in changed.rows], near.ngram)
    place = {row: i for i, row in enumerate(changed.rows.tolist())}
    ranks = np.array([place[row] for row in found.rows[order].tolist() if row in place])
    least = np.zeros(len(ranks))
    truth = cluster_stars(ranks, changed.buckets, *sets, near.threshold, 64, least)[0]
    goes = {changed.rows[i] for i in np.flatnonzero(truth != np.arange(len(truth)))}
    assert goes >= set(found.rows[fates == GIVES_WAY])
    assert goes <= set(found.rows[fates != KEPT])
    assert len(goes) > 20
    assert (fates == GIVES_WAY).sum() > len(goes) // 2
