import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.hashing import fmix32, fmix64, hash_texts, mix, mix_arrays, multiply_high
from cleanpipe.kernels.minhash import (
    EMPTY,
    band_hashes,
    permutations,
    shingle_hash,
    signature,
)
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER, fold_words

SEED = np.uint64(0xC0FFEE)


def hashes_of(texts, seed=SEED):
    return hash_texts(*text_buffers(pa.array(texts, pa.large_binary())), seed)


def folded(text):
    data = np.frombuffer(text.encode(), np.uint8)
    out = np.zeros(len(data) + 1, np.uint64)
    return out[: fold_words(data, 0, len(data), PUBLIC_INIT, PUBLIC_MULTIPLIER, out)]


def ours(text, ngram, num_perm, seed):
    a, b = permutations(num_perm, seed)
    out = np.zeros(num_perm, np.uint32)
    words = folded(text)
    signature(words, len(words), ngram, a, b, out)
    return out


def datasketchs(words, ngram, num_perm, seed):
    oracle = MinHash(num_perm, seed, hashfunc=shingle_hash, scheme="affine32")
    size = min(ngram, len(words))
    for start in range(len(words) - size + 1 if words else 0):
        oracle.update(words[start : start + size])
    return oracle.hashvalues


@njit
def _high_and_mix(a, b):
    return multiply_high(a, b), mix(a, b)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
@example(2**64 - 1, 2**64 - 1)
def test_multiply_high_is_the_upper_half_of_the_product(a, b):
    """multiply_high agrees with Python's integers."""
    assert _high_and_mix(np.uint64(a), np.uint64(b))[0] == a * b >> 64


def test_mix_arrays_takes_a_number_for_an_array_and_minds_the_order():
    """mix_arrays is mix element by element, broadcasts, and is not symmetric."""
    b = np.arange(5, dtype=np.uint64)
    assert (mix_arrays(7, b) == mix_arrays(np.full(5, 7, np.uint64), b)).all()
    assert mix_arrays(7, b).tolist() == [mix(np.uint64(7), i) for i in b]
    assert not (mix_arrays(7, b) == mix_arrays(b, 7)).any()


def test_a_million_short_texts_have_a_million_hashes():
    """Neither half of the 128-bit hash collides on 1,000,000 short, similar texts."""
    texts = [f"{i}".encode() for i in range(700_000)] + [
        b"document number %07d" % i for i in range(300_000)
    ]
    lo, hi = hashes_of(texts)
    assert len(np.unique(lo)) == len(np.unique(hi)) == len(texts)


def test_each_bit_of_a_text_turns_half_the_bits_of_its_hash():
    """Whatever the length and the bit flipped: on average 32 of 64 bits turn, in both halves."""
    generator = np.random.default_rng(0)
    for length in (1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100):
        texts = generator.integers(0, 256, (200, length), np.uint8)
        before = hashes_of([text.tobytes() for text in texts])
        for bit in {0, 4 * length, 8 * length - 1}:
            flipped = texts.copy()
            flipped[:, bit // 8] ^= np.uint8(1 << bit % 8)
            after = hashes_of([text.tobytes() for text in flipped])
            for half, other in zip(before, after, strict=True):
                turned = np.bitwise_count(half ^ other)
                assert abs(turned.mean() - 32) < 1.5, (length, bit)  # 4 / sqrt(200) is 0.28
                assert turned.min() > 8, (length, bit)


def test_zero_bytes_and_lengths_count():
    """Texts of zero bytes only differ by their length; zeros in front or behind make a new text."""
    texts = [bytes(n) for n in range(70)]
    texts += [bytes(n) + b"a" for n in range(40)] + [b"a" + bytes(n) for n in range(1, 40)]
    lo, hi = hashes_of(texts)
    assert len(np.unique(lo)) == len(np.unique(hi)) == len(texts)


@given(st.binary(max_size=60), st.integers(0, 17))
@settings(max_examples=50)
def test_a_text_has_one_hash_wherever_it_stands(text, shift):
    """Alignment and neighbours in the buffer leave a text's hash alone; the seed does not."""
    alone = hashes_of([text])
    moved = hashes_of([b"x" * shift, text, b"y"])
    assert (alone[0][0], alone[1][0]) == (moved[0][1], moved[1][1])
    assert hashes_of([text], np.uint64(1))[0][0] != alone[0][0]


def test_finalizers_are_murmurs():
    """fmix32 and fmix64 give the values that datasketch's finalizer gives."""
    from datasketch.minhash import _fmix

    for h in (0, 1, 0xDEADBEEF, 2**32 - 1):
        assert fmix32(np.uint32(h)) == _fmix(np.array([h], np.uint32), 32)[0]
        assert fmix64(np.uint64(h << 31)) == _fmix(np.array([h << 31], np.uint64), 64)[0]


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32 + 1, 2**64 - 1])
@pytest.mark.parametrize("num_perm", [1, 4, 128])
def test_permutations_are_datasketchs(num_perm, seed):
    """The permutations are datasketch's affine32 of the low 32 bits of the seed."""
    oracle = MinHash(num_perm, seed=seed % 2**32, scheme="affine32")
    assert np.array_equal(permutations(num_perm, seed), oracle.permutations)


WORDS = st.lists(st.sampled_from(["a", "It's", "ÉTÉ", "Straße", "42", "naïve", "x1"]), max_size=30)


@given(WORDS, st.integers(1, 7), st.sampled_from([1, 16, 64, 112, 128, 200]))
@settings(max_examples=60)
@example([], 5, 128)
@example(["one"], 5, 128)
@example(["a", "b", "c", "d", "e"], 5, 64)
def test_a_signature_is_datasketchs(words, ngram, num_perm):
    """Bit for bit datasketch's affine32 with shingle_hash, for every size; empty is its empty."""
    expected = datasketchs(words, ngram, num_perm, seed=9)
    assert np.array_equal(ours(" ".join(words), ngram, num_perm, 9), expected)


@given(st.text(max_size=200))
@settings(max_examples=60)
def test_any_text_has_a_signature(text):
    """Only a text without a token has the empty signature, and more shingles only lower minima."""
    words = folded(text)
    found = ours(text, 5, 128, 1)
    assert (found == EMPTY).all() == (len(words) == 0)
    if len(words) >= 5:
        more = np.zeros(128, np.uint32)
        a, b = permutations(128, 1)
        signature(np.concatenate([words, words]), 2 * len(words), 5, a, b, more)
        assert (more <= found).all()


def test_a_long_text_is_no_special_case():
    """A text of many blocks of shingles has datasketch's signature, too."""
    generator = np.random.default_rng(3)
    words = [f"w{n}" for n in generator.integers(0, 400, 1700)]
    assert np.array_equal(ours(" ".join(words), 5, 128, 2), datasketchs(words, 5, 128, 2))


def test_real_texts_have_datasketchs_signatures(corpora):
    """On real English text, split at its plain words, both signatures are equal."""
    import re

    import polars as pl

    articles = pl.read_ndjson(corpora / "pan_minhash_articles" / "articles_1000.jsonl.zst")
    for text in articles["text"][:12]:
        words = re.findall(r"[a-z0-9]+", text.lower())
        assert np.array_equal(ours(" ".join(words), 5, 128, 1), datasketchs(words, 5, 128, 1))


def test_shapes_that_do_not_fit_are_refused():
    """Permutations of another length or width than the signature raise; nothing is written."""
    a, b = permutations(64, 1)
    words = np.ones(3, np.uint64)
    with pytest.raises(ValueError, match="as long"):
        signature(words, 3, 5, a, b, np.zeros(128, np.uint32))
    with pytest.raises(ValueError, match="u32"):
        signature(words, 3, 5, a, b, np.zeros(64, np.uint64))


def test_a_shingle_without_words_has_no_hash():
    """shingle_hash says what it lacks."""
    with pytest.raises(ValueError, match="at least one word"):
        shingle_hash([" "])


def test_shingles_mind_order_length_and_limits_between_words():
    """Order, number and borders of words make a shingle; case and apostrophes do not."""
    shingles = (["a", "b"], ["b", "a"], ["ab"], ["a", "b", "b"], ["a", "a", "b"], ["a"], ["b"])
    assert len({shingle_hash(shingle) for shingle in shingles}) == len(shingles)
    assert shingle_hash(["Don't", "PANIC"]) == shingle_hash(["dont", "panic"])


def test_a_band_is_its_number_and_its_minima():
    """Band hashes are equal where the band's minima are, and nowhere else; the seed moves all."""
    generator = np.random.default_rng(1)
    signatures = generator.integers(0, 2**32, (50, 32), np.uint32)
    signatures[1, :8] = signatures[0, :8]
    signatures[2] = signatures[3, 0]
    hashes = band_hashes(signatures, 4, 8, SEED)
    assert hashes.shape == (50, 4)
    assert hashes[0, 0] == hashes[1, 0]
    assert len(np.unique(hashes)) == 50 * 4 - 1  # the equal minima of row 2 differ by band number
    assert not (hashes == band_hashes(signatures, 4, 8, np.uint64(1))).any()
