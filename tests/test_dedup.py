import re
from itertools import combinations, pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from band_tables import candidates_of
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cleanpipe.duplicates.dedup import COMPARED, KEPT, Candidates, Dedup, Near
from cleanpipe.errors import RecipeError
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.hashing import fmix32, hash_texts
from cleanpipe.kernels.jaccard import intersection, secret_key, shingle_sets
from cleanpipe.kernels.minhash import band_hashes, permutations, shingle_hash, signature
from cleanpipe.kernels.stars import cluster_stars
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER, fold_words
from cleanpipe.rules.ranking import rank

SEED = 20_26
BY_ID = ("id",)


def sets_of(texts, ngram=5, seed=SEED):
    return shingle_sets(*text_buffers(pa.array(texts, pa.large_string())), ngram, *secret_key(seed))


def bands_of(texts, near, seed=SEED):
    a, b = permutations(near.num_perm, seed)
    signatures = np.zeros((len(texts), near.num_perm), np.uint32)
    for text, out in zip(texts, signatures, strict=True):
        data = np.frombuffer(text.encode(), np.uint8)
        words = np.zeros(len(data) + 1, np.uint64)
        count = fold_words(data, 0, len(data), PUBLIC_INIT, PUBLIC_MULTIPLIER, words)
        signature(words, count, near.ngram, a, b, out)
    return band_hashes(signatures, *near.bands_and_rows(), np.uint64(seed))


def table_of(texts, ids=None):
    low, high = hash_texts(*text_buffers(pa.array(texts, pa.large_string())), np.uint64(SEED))
    count = len(texts)
    return pl.DataFrame(
        {
            "shard": np.zeros(count, np.uint32),
            "row": np.arange(count, dtype=np.uint64),
            "id": [f"d{i:06d}" for i in range(count)] if ids is None else ids,
            "key": low ^ high,
            "text_lo": low,
            "text_hi": high,
            "chars": [len(text) for text in texts],
            "replacement_chars": [text.count("\ufffd") for text in texts],
        }
    )


def near_duplicates(texts, near, ids=None):
    """All the way from texts to (what each gives way to, by row; the clusters; the candidates)."""
    table = table_of(texts, ids)
    bands = bands_of(texts, near)
    found = candidates_of(bands.T.tolist(), np.arange(len(texts)))
    sets = sets_of([texts[row] for row in found.rows], near.ngram)
    clusters = near.clusters(
        table[found.rows], found, *sets, everyone(len(found.rows)), together(found)
    )
    gives_way = np.full(len(texts), KEPT)
    members = clusters.duplicate_of != KEPT
    gives_way[found.rows[members]] = found.rows[clusters.duplicate_of[members]]
    return gives_way, clusters, found


def everyone(count):
    return np.ones(count, np.bool_)


def together(found):
    """All candidates as one component."""
    return np.zeros(len(found.rows), np.int32)


def jaccard(a, b):
    return len(a & b) / len(a | b)


def python_sets(offsets, hashes):
    return [set(hashes[a:b].tolist()) for a, b in pairwise(offsets)]


def stars_of(sets, buckets, order=None, threshold=0.5, limit=COMPARED, listed_from=0.0):
    offsets = np.cumsum([0, *map(len, sets)])
    hashes = np.array([h for one in sets for h in sorted(one)], np.uint64)
    order = np.arange(len(sets)) if order is None else order
    buckets, least = np.asarray(buckets, np.int32), np.full(len(sets), listed_from)
    return cluster_stars(order, buckets, offsets, hashes, threshold, limit, least)


def one_bucket(count):
    return np.zeros((count, 1), np.int32)


# Shingle sets


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(0, 60))
def test_intersection_counts_or_gives_up(a, b, needed):
    """The number of shared hashes if it is at least what is needed, else -1."""
    arrays = (np.array(sorted(one), np.uint64) for one in (a, b))
    assert intersection(*arrays, needed) == (len(a & b) if len(a & b) >= needed else -1)


def test_shingle_sets_are_the_sets_of_word_ngrams():
    """Sets of hashes have the sizes and the intersections that sets of word tuples have."""
    generator = np.random.default_rng(5)
    lists = [[f"w{n}" for n in generator.integers(0, 9, size)] for size in range(1, 60)]
    found = python_sets(*sets_of([" ".join(words) for words in lists], ngram=3))
    wanted = [
        {tuple(w[i : i + 3]) for i in range(len(w) - 2)} if len(w) >= 3 else {tuple(w)}
        for w in lists
    ]
    for (a, x), (b, y) in combinations(zip(found, wanted, strict=True), 2):
        assert (len(a), len(b), len(a & b)) == (len(x), len(y), len(x & y))


def test_sets_are_sorted_and_depend_on_the_seed():
    """Hashes ascend without repeats; another output folder's seed gives entirely other ones."""
    text = "one two three four five six seven " * 5
    offsets, hashes = sets_of([text, text.upper()])
    assert (np.diff(hashes[: offsets[1]].astype(object)) > 0).all()
    assert np.array_equal(hashes[: offsets[1]], hashes[offsets[1] :])
    assert not set(hashes.tolist()) & set(sets_of([text], seed=1)[1].tolist())


def test_documents_without_words_are_documents():
    """Spaces, symbols and short texts have a set of their own; equal ones have equal sets."""
    texts = ["", " ", "  ", "\n", "***", "!", "* *", "one", "One", "one two", "日本", "\u0e01"]
    sets = python_sets(*sets_of(texts))
    assert all(len(one) == 1 for one in sets)
    assert len({min(one) for one in sets}) == len(texts) - 1  # "one" and "One" are equal


# Stars


def test_stars_do_not_chain():
    """A ~ b ~ c, but a and c differ: c joins no star through b, it represents itself."""
    a, b, c = set(range(10)), set(range(2, 12)), set(range(4, 14))
    assert jaccard(a, b) == jaccard(b, c) == 8 / 12 > 0.6 > jaccard(a, c)
    representative, both, union, *_ = stars_of([a, b, c], one_bucket(3), threshold=0.6)
    assert representative.tolist() == [0, 0, 2]
    assert (both[1], union[1]) == (8, 12)


def test_the_most_similar_representative_wins_and_the_better_one_of_two_equals():
    """A member joins the most similar star; equally similar ones by rank, not by row."""
    far, close, member = set(range(10)), set(range(5, 15)), set(range(4, 14))
    found = stars_of([far, close, member], one_bucket(3))
    assert found[0].tolist() == [0, 1, 1]
    left, right, middle = set(range(10)), set(range(6, 16)), set(range(3, 13))
    assert jaccard(left, middle) == jaccard(right, middle)
    for order in ([0, 1, 2], [1, 0, 2]):
        found = stars_of([left, right, middle], one_bucket(3), np.array(order))
        assert found[0][2] == order[0]


def test_the_threshold_itself_is_similar():
    """4 / 5 is at least 0.8, and 1.0 asks for equal sets only."""
    sets = [{1, 2, 3, 4, 5}, {1, 2, 3, 4}, {1, 2, 3, 4, 5}]
    assert stars_of(sets, one_bucket(3), threshold=0.8)[0].tolist() == [0, 0, 0]
    assert stars_of(sets, one_bucket(3), threshold=1.0)[0].tolist() == [0, 1, 0]


def test_only_those_that_share_a_bucket_meet():
    """Equal sets without a bucket in common are both kept, and -1 is no bucket."""
    sets = [{1, 2}, {1, 2}, {1, 2}]
    found = stars_of(sets, [[0, -1], [-1, 1], [-1, -1]])
    assert found[0].tolist() == [0, 1, 2]
    assert found[3].tolist() == found[4].tolist() == [0, 0, 0]


def random_sets(generator, count):
    """Small random sets, many of which are variations of one another."""
    sets = []
    for i in range(count):
        if i and generator.random() < 0.6:
            one = set(sets[generator.integers(i)])
            one ^= set(generator.integers(0, 60, generator.integers(1, 8)).tolist())
        else:
            one = set(generator.integers(0, 60, 20).tolist())
        sets.append(one or {0})
    return sets


def brute_force(sets, order, threshold):
    """The stars by comparing with all representatives, in plain Python."""
    representative = {}
    stars = []
    for document in order:
        similar = [(jaccard(sets[document], sets[star]), star) for star in stars]
        best = max(
            similar, key=lambda pair: pair[0], default=(0.0, document)
        )  # the first of equals
        if best[0] >= threshold:
            representative[document] = best[1]
        else:
            stars.append(document)
            representative[document] = document
    return [representative[i] for i in range(len(sets))]


@pytest.mark.parametrize("seed", range(5))
def test_stars_are_those_of_brute_force(seed):
    """With one bucket for all and no limit, stars and pairs are those of comparing everything."""
    generator = np.random.default_rng(seed)
    sets = random_sets(generator, 120)
    order = generator.permutation(len(sets))
    found = stars_of(sets, one_bucket(len(sets)), order, limit=1000)
    assert found[0].tolist() == brute_force(sets, order.tolist(), 0.5)
    assert found[4].sum() == 0
    assert len(found[5]) == found[3].sum()
    for document, other, shared, both, union in found[5].tolist():
        assert shared == 1
        assert (both, union) == (
            len(sets[document] & sets[other]),
            len(sets[document] | sets[other]),
        )
    similar = {tuple(row[:2]) for row in found[5].tolist() if row[3] / row[4] >= 0.3}
    listed = stars_of(sets, one_bucket(len(sets)), order, limit=1000, listed_from=0.3)
    assert listed[0].tolist() == found[0].tolist()
    assert {tuple(row[:2]) for row in listed[5].tolist()} == similar


@pytest.mark.parametrize("limit", [1, 3, 64])
def test_members_are_similar_to_a_kept_document(limit):
    """Whatever the buckets and the limit: a member's representative is kept and similar enough."""
    generator = np.random.default_rng(limit)
    sets = random_sets(generator, 300)
    buckets = generator.integers(-1, 6, (300, 4)) + np.array([0, 10, 20, 30])
    buckets[buckets % 10 == 9] = -1
    representative, both, union, compared, *_ = stars_of(sets, buckets, limit=limit)
    for i, star in enumerate(representative.tolist()):
        assert representative[star] == star
        assert jaccard(sets[i], sets[star]) == both[i] / union[i] >= 0.5
    assert compared.max() <= limit
    assert (representative != np.arange(300)).any()


def test_those_that_share_most_bands_are_compared_first():
    """With room for one comparison, it is the representative that shares more bands."""
    sets = [set(range(10)), set(range(20, 30)), set(range(20, 30))]
    found = stars_of(sets, [[0, -1, -1], [0, 1, 2], [0, 1, 2]], limit=1)
    assert found[0].tolist()[2] == 1
    assert found[3].tolist() == [0, 1, 1]
    assert found[4][2] >= 1


def test_a_crowded_bucket_costs_linear_time():
    """20,000 different documents in one bucket: 64 comparisons each, the rest is counted."""
    count = 20_000
    hashes = np.arange(10 * count, dtype=np.uint64)
    offsets = np.arange(0, len(hashes) + 1, 10)
    least = np.full(count, 0.4)
    found = cluster_stars(
        np.arange(count), one_bucket(count), offsets, hashes, 0.8, COMPARED, least
    )
    assert (found[0] == np.arange(count)).all()
    assert (found[3] == np.minimum(np.arange(count), COMPARED)).all()
    assert (found[3] + found[4] == np.arange(count)).all()
    assert len(found[5]) == COMPARED * (count - COMPARED - 1)  # only of those that missed some


def test_no_document_is_no_trouble():
    """Nothing in, nothing out."""
    assert all(len(array) == 0 for array in stars_of([], np.zeros((0, 16), np.int32)))
    found = Candidates(np.zeros(0, np.int64), np.zeros((0, 16), np.int32))
    offsets, hashes = sets_of([])
    assert (
        Near()
        .clusters(table_of([]), found, offsets, hashes, everyone(0), together(found))
        .order.tolist()
        == []
    )


# Options


def test_bands_follow_from_threshold_and_recall():
    """The defaults give 16 bands of 8; the recall at the threshold is as asked, to two decimals."""
    assert Near().bands_and_rows() == (16, 8)
    assert Near(threshold=1.0).bands_and_rows() == (1, 128)
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.9):
        for recall in (0.5, 0.8, 0.95, 0.99):
            near = Near(threshold=threshold, recall=recall)
            bands, rows = near.bands_and_rows()
            assert bands == 128 // rows
            assert round(near.found(threshold), 2) >= recall
            assert (
                near.found(0.0) == 0.0 < near.found(0.2) < near.found(0.9) <= near.found(1.0) == 1
            )


def test_the_bands_find_what_the_curve_promises():
    """Of random pairs at Jaccard 0.8, 16 x 8 bands find 95 in 100; at 0.5 hardly one in 16."""
    generator = np.random.default_rng(0)
    near = Near()
    a, b = permutations(128, SEED)
    for shared, similarity in ((800, 0.8), (500, 0.5)):
        signatures = np.zeros((600, 128), np.uint32)
        for i in range(0, 600, 2):
            words = generator.integers(0, 2**64, 1000, np.uint64)
            half = shared + (1000 - shared) // 2
            signature(words[:half], half, 1, a, b, signatures[i])
            other = np.concatenate([words[:shared], words[half:]])
            signature(other, len(other), 1, a, b, signatures[i + 1])
        bands = band_hashes(signatures, 16, 8, np.uint64(SEED))
        found = (bands[0::2] == bands[1::2]).any(axis=1).mean()
        chance = near.found(similarity)
        assert abs(found - chance) < 4 * np.sqrt(chance * (1 - chance) / 300)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0}, "0.0 is out of range: expected more than 0 and at most 1"),
        ({"threshold": 1.01}, "1.01 is out of range"),
        ({"threshold": float("nan")}, "nan is out of range"),
        ({"recall": 0}, "0.0 is out of range"),
        ({"recall": 1.5}, "1.5 is out of range"),
        ({"threshold": 0.01}, "at most 0.72; lower recall, or raise threshold or num_perm"),
        ({"ngram": 0}, "greater than or equal to 1"),
        ({"num_perm": 0}, "greater than or equal to 1"),
        ({"keep": ("chars", "-chars")}, "expected each name once"),
        ({"keep": ("-",)}, "expected each name once"),
        ({"buckets": 9}, "Extra inputs"),
    ],
)
def test_impossible_options_are_refused_by_name(options, message):
    """Every refusal says what was found and what was expected."""
    with pytest.raises(ValidationError, match=re.escape(message)):
        Near(**options)


def test_rank_puts_the_one_to_keep_first():
    """Fewest replacement characters, then the longest, then the id, then chance, then the place."""
    rows = [(1, 9, "a", 0), (0, 5, "a", 0), (0, 9, "b", 5), (0, 9, "b", 3), (0, 9, "a", 9)]
    rows += [(None, 9, "a", 0), (0, None, "a", 0)]
    table = pl.DataFrame(rows, ["replacement_chars", "chars", "id", "key"], orient="row")
    table = table.with_row_index("row").with_columns(shard=1)
    assert rank(table, Near().keep).tolist() == [4, 3, 2, 1, 6, 0, 5]
    with pytest.raises(RecipeError, match="'perplexity' is no measure"):
        rank(table, ("perplexity",))


# Exact duplicates


def test_the_best_of_equal_texts_stands_for_them():
    """Equal texts share the row with the smallest id, others stand for themselves."""
    texts = ["x", "y", "x", "z", "", "x", ""]
    table = table_of(texts, ids=["c", "b", "a", "a", "b", "b", "a"])
    assert Dedup().exact_duplicates(table).tolist() == [2, 1, 2, 3, 6, 2, 6]
    assert Dedup(near=None).exact_duplicates(table).tolist() == [2, 1, 2, 3, 6, 2, 6]


def test_half_a_hash_in_common_is_no_duplicate():
    """Texts are equal only if both halves of their hashes are."""
    table = table_of(["a", "b", "c", "d"])
    table = table.with_columns(
        text_lo=pl.Series([7, 7, 7, 7], dtype=pl.UInt64),
        text_hi=pl.Series([1, 2, 1, 2], dtype=pl.UInt64),
    )
    assert Dedup().exact_duplicates(table).tolist() == [0, 1, 0, 1]


# All the way


def corpus(seed, count):
    """Texts of 20 to 60 words; half are another one with a few words replaced."""
    generator = np.random.default_rng(seed)
    texts = []
    for i in range(count):
        if i and generator.random() < 0.5:
            words = texts[generator.integers(i)].split()
            for _ in range(generator.integers(0, 3)):
                words[generator.integers(len(words))] = f"n{generator.integers(1000)}"
        else:
            words = [f"w{n}" for n in generator.integers(0, 500, generator.integers(20, 60))]
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize("seed", range(3))
def test_permissive_bands_find_what_all_pairs_find(seed):
    """With bands that miss nothing, the result is that of comparing all pairs of documents."""
    texts = corpus(seed, 150)
    near = Near(threshold=0.6, recall=1.0, num_perm=512, ngram=2)
    gives_way, clusters, _ = near_duplicates(texts, near)
    sets = python_sets(*sets_of(texts, near.ngram))
    order = rank(table_of(texts), near.keep).tolist()
    wanted = brute_force(sets, order, 0.6)
    assert np.where(gives_way == KEPT, np.arange(150), gives_way).tolist() == wanted
    assert (clusters.duplicate_of != KEPT).sum() > 30


def test_the_order_of_the_input_does_not_matter():
    """The same documents in other rows: the same ones dropped, for the same ones, by id."""
    texts = corpus(7, 200)
    ids = [f"d{i:03d}" for i in range(200)]
    outcomes = []
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(200)
        names = [ids[i] for i in shuffled]
        gives_way, clusters, _ = near_duplicates([texts[i] for i in shuffled], Near(), names)
        outcomes.append({names[i]: names[j] for i, j in enumerate(gives_way) if j != KEPT})
        pairs = clusters.pairs.select("id", "other", "similarity", "shared_bands")
        outcomes[-1] |= {row[:2]: row[2:] for row in pairs.rows()}
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(outcomes[0]) > 60


def test_pairs_say_what_was_compared():
    """A dropped document's pair is listed by id and place, with its exact similarity."""
    texts = ["a b c d e f g h i j k l", "something else", "a b c d e f g h i j k l m"]
    gives_way, clusters, _ = near_duplicates(texts, Near(ngram=2))
    assert gives_way.tolist() == [2, KEPT, KEPT]
    assert clusters.pairs.drop("shared_bands").rows() == [
        ("d000000", 0, 0, "d000002", 0, 2, 11, 12, 11 / 12)
    ]
    assert np.nanmax(clusters.similarity) == 11 / 12


def test_short_documents_are_compared_by_all_their_words():
    """Fewer words than a shingle: equal words are duplicates, one other word is none."""
    texts = ["Hello world", "hello, world!", "hello word", "***", "*** ", "###", "ok", "OK."]
    gives_way, *_ = near_duplicates(texts, Near(keep=BY_ID))
    assert gives_way.tolist() == [KEPT, 0, KEPT, KEPT, 3, KEPT, KEPT, 6]


def poisoned(victim, seed, near):
    """A text whose bands collide with the victim's, by copying the shingles of one band's minima.

    The attack of anyone who knows the seed: 8 shingles of 400 are the victim's, and no shingle of
    the 400 others has a lower value in that band's permutations.
    """
    words = victim.split()
    a, b = (array[:8] for array in permutations(near.num_perm, seed))

    def values(shingle):
        return a * np.uint32(fmix32(np.uint32(shingle_hash(shingle)))) + b

    shingles = [words[i : i + 5] for i in range(len(words) - 4)]
    table = np.array([values(shingle) for shingle in shingles])
    least = table.min(axis=0)
    generator = np.random.default_rng(0)
    text: list[str] = []

    def harmless(added):
        longer = text[-4:] + added
        grams = [longer[i : i + 5] for i in range(len(longer) - 4)]
        return all((values(g) >= least).all() for g in grams)

    for place in np.unique(table.argmin(axis=0)).tolist():
        while True:
            filler = [f"own{n}" for n in generator.integers(0, 10**6, 5)]
            if harmless(filler + shingles[place]):
                break
        text += filler + shingles[place]
    while len(text) < 400:
        word = f"own{generator.integers(0, 10**6)}"
        if harmless([word]):
            text.append(word)
    return " ".join(text)


def test_poisoned_bands_drop_nobody():
    """Who knows the seed makes candidates of different documents; the comparison keeps them all."""
    near = Near()
    victim = " ".join(f"w{n}" for n in np.random.default_rng(1).integers(0, 10**6, 404))
    attacker = poisoned(victim, SEED, near)
    gives_way, clusters, found = near_duplicates([victim, attacker], near)
    assert len(found.rows) == 2
    assert clusters.compared.sum() == 1
    assert gives_way.tolist() == [KEPT, KEPT]
    one, other = python_sets(*sets_of([victim, attacker]))
    assert jaccard(one, other) < 0.02
    unguessed = bands_of([victim, attacker], near, 1).T.tolist()
    assert len(candidates_of(unguessed, np.arange(2)).rows) == 0


@pytest.mark.parametrize(("articles", "pairs"), [(1000, 10), (2500, 20)])
def test_the_known_pairs_of_real_articles_are_found(corpora, articles, pairs):
    """Of each known pair of near-duplicate articles one is dropped for the other; no one else."""
    folder = corpora / "pan_minhash_articles"
    table = pl.read_ndjson(folder / f"articles_{articles}.jsonl.zst")
    truth = (folder / f"articles_{articles}.truth").read_text().split("\n")
    known = {frozenset(line.split()) for line in truth if line}
    assert len(known) == pairs
    ids = table["id"].to_list()
    gives_way, *_ = near_duplicates(table["text"].to_list(), Near(), ids)
    found = [frozenset((ids[i], ids[j])) for i, j in enumerate(gives_way) if j != KEPT]
    assert len(found) == pairs
    assert set(found) == known


def test_candidates_and_clusters_are_plain_arrays():
    """A candidate without any bucket is kept uncompared: nothing is assumed of Candidates."""
    found = Candidates(np.arange(2), np.full((2, 3), -1, np.int32))
    clusters = Near().clusters(
        table_of(["a", "a"]), found, *sets_of(["a", "a"]), everyone(2), together(found)
    )
    assert clusters.duplicate_of.tolist() == [KEPT, KEPT]
    assert np.isnan(clusters.similarity).all()
    assert clusters.pairs.height == 0
