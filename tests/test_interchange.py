"""What datasketch makes of our signatures, and we of its own, by datasketch itself."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

import cleanpipe
from cleanpipe.duplicates.dedup import Dedup, Near
from cleanpipe.duplicates.interchange import from_datasketch, to_datasketch, to_lsh
from cleanpipe.kernels.minhash import band_hashes

TEXTS = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=14), max_size=12)


def made_by_datasketch(words, seed, num_perm=128):
    minhash = MinHash(num_perm, seed, hashfunc=cleanpipe.shingle_hash, scheme="affine32")
    size = min(5, len(words))
    for start in range(len(words) - size + 1):
        minhash.update(words[start : start + size])
    return minhash


@given(TEXTS, st.integers(0, 2**32 - 1))
def test_signatures_go_to_datasketch_and_back(texts, seed):
    """Both ways, for any seed: the same values, permutations and estimates as datasketch's own."""
    ours = cleanpipe.signatures([" ".join(words) for words in texts], seed=seed)
    theirs = [made_by_datasketch(words, seed) for words in texts]
    made = to_datasketch(ours, seed=seed)
    assert made == theirs
    assert [a.jaccard(b) for a, b in pairwise(made)] == [a.jaccard(b) for a, b in pairwise(theirs)]
    assert np.array_equal(from_datasketch(theirs), ours[:, : 128 if texts else 0])


def test_a_signature_can_be_updated():
    """One more shingle gives what the longer text gives."""
    (made,) = to_datasketch(cleanpipe.signatures(["a b c d e"]))
    made.update(["b", "c", "d", "e", "f"])
    assert made == made_by_datasketch(list("abcdef"), 1)


@given(TEXTS)
def test_an_index_finds_who_shares_a_band(texts):
    """A query of datasketch's index gives exactly those whose band hashes of ours are equal."""
    near = Near(threshold=0.6)
    ours = cleanpipe.signatures([" ".join(words) for words in texts])
    bands = band_hashes(ours, *near.bands_and_rows(), np.uint64(3))
    lsh = to_lsh(ours, near, range(len(texts)))
    for document, minhash in enumerate(to_datasketch(ours)):
        shares = (bands == bands[document]).any(axis=1)
        assert sorted(lsh.query(minhash)) == np.flatnonzero(shares).tolist()


def test_what_cannot_be_compared_is_refused():
    """Schemes, seeds and numbers of permutations are not mixed; the message names them."""
    one, other = (MinHash(128, seed, scheme="affine32") for seed in (1, 2))
    with pytest.raises(ValueError, match="seed 1, affine32 of 128 permutations, seed 2"):
        from_datasketch([one, other])
    with pytest.raises(ValueError, match=r"affine64 .* expected one kind, of the scheme"):
        from_datasketch([MinHash(128, scheme="affine64")])


def test_one_band_is_refused_with_the_next_move():
    """Datasketch's index needs two bands; the message says what to do."""
    with pytest.raises(ValueError, match="give bands and rows, or compare"):
        to_lsh(cleanpipe.signatures(["a"]), Near(threshold=1.0), ["a"])


def test_the_page_shows_what_happens():
    """The program in docs/dedup.md runs, and the recipe at its head loads."""
    page = (Path(__file__).parents[1] / "docs" / "dedup.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(program, {})  # noqa: S102 - our own page
    (section,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    known = YAML(typ="safe").load(section)["dedup"]
    assert Dedup.model_validate(known).near == Near(
        keep=({"source": ("books", "web")}, "replacement_chars", "-chars", "date")
    )
