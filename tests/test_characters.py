"""Shingles of characters, and bands as they are given: from the kernel to the run."""

from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import InProcess
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import cleanpipe
from cleanpipe.duplicates.dedup import Near
from cleanpipe.errors import RecipeError
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.jaccard import secret_key, shingle_sets
from cleanpipe.kernels.minhash import permutations
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, silent

CASED = "aA\u00c9\u00e9\u0416\u0436\u4e2d \t\n.,7\u0301"


def shingles(text, ngram):
    """The slow way: folded characters, white space as one blank, all of them if they are few."""
    plain = " ".join(text.split())
    folded = [low if len(low := char.casefold()) == 1 else char for char in plain]
    return {tuple(folded[i : i + ngram]) for i in range(max(len(folded) - ngram + 1, 1))}


@given(st.lists(st.text(CASED, max_size=30), min_size=1, max_size=5), st.integers(1, 8))
def test_sets_and_signatures_are_those_of_folded_characters(texts, ngram):
    """Equal shingles are equal hashes, in sets and signatures; one that is too short is one."""
    array = pa.array(texts, pa.large_string())
    ends, hashes = shingle_sets(*text_buffers(array), ngram, *secret_key(1), True)
    sets = [set(hashes[a:b].tolist()) for a, b in pairwise(ends)]
    expected = [shingles(text, ngram) for text in texts]
    made = cleanpipe.signatures(texts, ngram=ngram, shingle="chars")
    for own, slow, text in zip(sets, expected, texts, strict=True):
        assert len(own) == len(slow)
        for other, other_slow, other_text in zip(sets, expected, texts, strict=True):
            blank = not text.strip() or not other_text.strip()
            assert blank or len(own & other) == len(slow & other_slow)
    for i, text in enumerate(texts):
        for j, other in enumerate(texts):
            if text.strip() and other.strip() and expected[i] == expected[j]:
                assert np.array_equal(made[i], made[j])


def test_a_signature_of_characters_is_datasketchs():
    """One-letter words hash as letters do: without spaces, datasketch over words is the oracle."""
    letters = list("thequickbrownfox")
    oracle = MinHash(128, 1, hashfunc=cleanpipe.shingle_hash, scheme="affine32")
    for start in range(len(letters) - 4):
        oracle.update(letters[start : start + 5])
    made = cleanpipe.signatures(["".join(letters)], ngram=5, shingle="chars")
    assert np.array_equal(made[0], oracle.hashvalues)
    assert len(permutations(128, 1)[0]) == 128


def test_characters_see_what_words_do_not(write_recipe, tmp_path):
    """Texts with a letter changed in every fourth word share few words, and most characters."""
    words = [f"neighbourhood{n}" for n in range(40)]
    changed = [word.replace("b", "v") if n % 4 == 0 else word for n, word in enumerate(words)]
    lines = [" ".join(words), " ".join(changed), "short", "short!"]
    pl.DataFrame({"text": lines}).write_ndjson(tmp_path / "0.jsonl")
    kept = {}
    for shingle, ngram in (("words", 5), ("chars", 6)):
        recipe = load(
            write_recipe(
                input={"path": str(tmp_path / "0.jsonl")},
                measure={"language": False},
                dedup={"near": {"shingle": shingle, "ngram": ngram, "threshold": 0.7}},
                output={"path": str(tmp_path / shingle)},
            )
        )
        run = all_steps(Work(recipe, InProcess(), silent))
        kept[shingle] = run.verdicts.filter(pl.col("verdict") == "kept").collect().height
        other = "chars" if shingle == "words" else "words"
        with pytest.raises(RecipeError, match=r"needs a run: dedup\.near\.shingle"):
            run.decide({"dedup.near.shingle": other})
    # of the short texts, words see one; characters see an exclamation mark in six
    assert kept == {"words": 3, "chars": 3}


def test_bands_may_be_given():
    """Bands and rows in place of a recall: as many as the signature has minima for."""
    near = Near(bands=14, rows=9)
    assert near.bands_and_rows() == (14, 9)
    assert near.found(0.8) == pytest.approx(1 - (1 - 0.8**9) ** 14)
    assert Near(bands=1, rows=128, threshold=0.1).bands_and_rows() == (1, 128)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bands": 14}, "give both, or none"),
        ({"rows": 8}, "give both, or none"),
        ({"bands": 16, "rows": 9}, "need 144 permutations: raise num_perm, which is 128"),
    ],
)
def test_bands_that_do_not_fit_are_refused(options, told):
    """The message says what would fit."""
    with pytest.raises(ValidationError, match=told):
        Near(**options)
