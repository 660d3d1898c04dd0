"""What a rearranged text may hold: parts of its parent, whole, and nothing else."""

import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe.augmenting.augment import MAKE, Augment
from cleanpipe.augmenting.likeness import similarity
from cleanpipe.augmenting.rearrange import (
    crop,
    paragraph_drop,
    paragraph_shuffle,
    word_delete,
    word_swap,
)

KEYS = st.integers(0, 2**64 - 1)
TEXTS = st.lists(
    st.sampled_from(
        ["One. ", "Two! ", "e\u0301te\u0301 ", "春が来た。", "\n", "\n\n", " \n \n", "word ", "  "]
    ),
    max_size=30,
).map("".join)


def is_part(small, large):
    """Whether a multiset is in another."""
    return not Counter(small) - Counter(large)


@given(text=TEXTS, key=KEYS)
def test_words_trade_places_whole(text, key):
    """A swap keeps every word and every space; a deletion only takes words, in order."""
    swapped = word_swap(text, key)
    if swapped is not None:
        assert Counter(swapped.split()) == Counter(text.split())
        assert re.findall(r"\s+", swapped) == re.findall(r"\s+", text)
    fewer = word_delete(text, key)
    if fewer is not None:
        words = iter(text.split())
        assert all(word in words for word in fewer.split())
        count = len(text.split())
        assert len(fewer.split()) == count - max(1, count // 10)
    assert (fewer is None) == (len(text.split()) < 2)


@given(text=TEXTS, key=KEYS)
def test_paragraphs_stay_whole(text, key):
    """A shuffle has the parent's paragraphs in another order; a drop has some, in order."""
    blank = re.compile(r"\n[^\S\n]*\n\s*")
    parent = [piece for piece in blank.split(text) if piece.strip()]
    shuffled = paragraph_shuffle(text, key)
    if shuffled is not None:
        assert shuffled != text
        assert Counter(shuffled.split()) == Counter(text.split())
        assert len(shuffled) == len(text)
    fewer = paragraph_drop(text, key)
    assert (fewer is None) == (len(parent) < 2)
    if fewer is not None:
        kept = [piece for piece in blank.split(fewer) if piece.strip()]
        assert len(kept) == len(parent) - max(1, len(parent) // 10)
        assert is_part(kept, parent)


@given(text=TEXTS, key=KEYS)
def test_a_crop_is_a_stretch_of_its_parent(text, key):
    """Nothing within a crop changes, and it is shorter."""
    made = crop(text, key)
    if made is not None:
        assert made in text
        assert 0 < len(made) < len(text)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (word_swap, "only"),
        (word_swap, "same same same"),
        (word_delete, "春が来た。川が光る"),
        (paragraph_shuffle, "one\nline\n"),
        (paragraph_drop, "\n\n one \n\n"),
        (crop, "One sentence."),
        (crop, "สวัสดี ขอบคุณ"),
        (crop, ""),
    ],
)
def test_where_nothing_can_be_done(make, text):
    """A text that an operation cannot change gives no copy, for any seed."""
    assert all(make(text, seed) is None for seed in range(20))


def test_deleting_keeps_lines_and_case():
    """The line break beside a deleted word stays, and no other word changes."""
    made = {word_delete("The Ferry\nwas Late", seed) for seed in range(40)}
    assert made == {"Ferry\nwas Late", "The\nwas Late", "The Ferry\nLate", "The Ferry\nwas"}


def test_a_crop_keeps_at_least_half():
    """Of four sentences two or three stay, from any place."""
    made = {crop("Ab. Cd. Ef. Gh.", seed) for seed in range(80)}
    assert made == {
        *("Ab. Cd.", "Cd. Ef.", "Ef. Gh."),
        *("Ab. Cd. Ef.", "Cd. Ef. Gh."),
    }


@pytest.mark.parametrize("operation", sorted(MAKE.keys() - {"case", "punctuation"}))
def test_every_operation_makes_copies(operation):
    """Each is reached from a recipe, named in its row, and the same each time."""
    text = "\n\n".join(f"Line {n} came. Then {n} went off to see." for n in range(12))
    asked = (
        pa.array([text] * 3, pa.large_string()),
        ["a", "b", "c"],
        np.array([1, 2, 3], np.int32),
        np.full(3, 5, np.uint64),
    )
    augment = Augment(operations=(operation,))
    made = augment.augment(*asked)
    assert made.rows["operations"].to_list() == [operation] * 3
    assert len({text, *made.texts.to_pylist()}) == 4
    assert made.texts == augment.augment(*asked).texts


def test_copies_that_are_too_far_are_left_out():
    """With a bound every written copy keeps it, and some that had been written are not."""
    text = " ".join(f"word{n} and{n} more{n}." for n in range(4))
    texts = pa.array([text] * 40, pa.large_string())
    names = [str(n) for n in range(40)]
    copies = np.ones(40, np.int32)
    keys = np.arange(40, dtype=np.uint64)
    free = Augment(operations=("word_delete",)).augment(texts, names, copies, keys)
    least = float(free.rows["similarity"].max())
    bound = Augment(operations=("word_delete",), similarity={"word_delete": {"low": least}})
    made = bound.augment(texts, names, copies, keys)
    assert 0 < made.rows.filter(outcome="written").height < 40
    assert all(similarity(text, child) >= least for child in made.texts.to_pylist())
