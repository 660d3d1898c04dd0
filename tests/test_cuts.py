"""Cuts: kernels against slow references, labelled cases, laws of owners, options."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from cuts_reference import cuts, form, left_of, spans
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cleanpipe.duplicates.cuts import Cuts, measures, remove
from cleanpipe.duplicates.repeats import repeats
from cleanpipe.recipes.recipe import Recipe

CASES = json.loads((Path(__file__).parent / "cases" / "cuts.json").read_bytes())
LETTERS = ["a", "B", "bc", "It's", "x'1", "ß", "\u212a", "\u017f", "漢字", "ไทย", "你a", "e\u0301"]
OTHERS = ["12", "½", "٣", "-", "}", "{", "…", "• ", "“", "\u0301", "\u200d", "\u00a0", "\u3000"]
MARKS = [". ", "! ", "? ", "。", "\uff01」", '." ', "...", ".", "'", "\u2019"]
BLANKS = [" ", "  ", "\t", "\n", "\n", "\n\n", "\n \n", "\n    "]
PIECE = st.sampled_from([*LETTERS, *OTHERS, *MARKS, *BLANKS])
TEXT = st.lists(PIECE, max_size=25).map("".join)
OPTIONS = st.fixed_dictionaries(
    {
        "unit": st.sampled_from(["lines", "paragraphs", "sentences"]),
        "ngram": st.integers(1, 3),
        "min_words": st.integers(1, 4),
        "same_digits": st.booleans(),
    }
)


def arrow(texts):
    return pa.array(texts, pa.large_string())


def found(texts, seed=1, **options):
    """The spans of texts by the kernel: (text, start, end, hash), places in bytes."""
    return [
        (int(s["document"]), int(s["start"]), int(s["start"] + s["size"]), (s["lo"], s["hi"]))
        for s in Cuts(**options).spans(arrow(texts), seed)
    ]


def in_bytes(text, *places):
    return tuple(len(text[:place].encode()) for place in places)


def cut_by_us(texts, keys, *, min_documents=2, **options):
    """For each text the (start, end, owner) of what is cut, in bytes; a block a text."""
    chosen = Cuts(min_documents=min_documents, **options)
    each = [chosen.spans(arrow([text]), 1) for text in texts]
    sizes = [len(one) for one in each]
    cut = repeats(
        np.concatenate(each),
        np.repeat(np.array(keys, np.uint64), sizes),
        np.repeat(np.arange(len(texts), dtype=np.uint32), sizes),
        chosen,
    )
    rows = [[] for _ in texts]
    for one in cut:
        start = int(one["start"])
        rows[one["block"]].append((start, start + int(one["size"]), int(one["owner_block"])))
    return [sorted(one) for one in rows]


def without(text, cut):
    """The text without places in bytes."""
    places = sorted(cut)
    table = {
        "row": [0] * len(places),
        "start": [p[0] for p in places],
        "end": [p[1] for p in places],
    }
    frame = pl.DataFrame(table, schema={"row": pl.UInt64, "start": pl.Int64, "end": pl.Int64})
    return remove(arrow([text]), np.zeros(1, np.uint64), frame)[0].as_py()


def cleaned(texts, keys, **options):
    return [
        without(text, cut)
        for text, cut in zip(texts, cut_by_us(texts, keys, **options), strict=True)
    ]


@settings(max_examples=400)
@given(st.lists(TEXT, max_size=6), OPTIONS)
def test_spans_are_the_slow_references(texts, options):
    """Places of all spans; and their hashes are equal where their forms are, and only there."""
    wanted = [
        (number, *in_bytes(text, start, end), same)
        for number, text in enumerate(texts)
        for start, end, same in spans(text, **options)
    ]
    known = found(texts, **options)
    assert [one[:3] for one in known] == [one[:3] for one in wanted]
    forms = {}
    for (_, _, _, key), (_, _, _, same) in zip(known, wanted, strict=True):
        assert forms.setdefault(key, same) == same
    assert len(set(forms.values())) == len(forms)


@settings(max_examples=300)
@given(st.lists(TEXT, min_size=1, max_size=6), OPTIONS, st.integers(1, 3), st.randoms())
def test_what_is_cut_is_what_the_slow_reference_cuts(texts, options, least, chance):
    """Of every span that repeats in enough documents all but the owner's first place is cut."""
    keys = chance.sample(range(1000), len(texts))
    wanted = cuts(texts, keys, min_documents=least, **options)
    wanted = [
        [(*in_bytes(text, start, end), owner) for start, end, owner in cut]
        for text, cut in zip(texts, wanted, strict=True)
    ]
    assert cut_by_us(texts, keys, min_documents=least, **options) == wanted


@settings(max_examples=400)
@given(TEXT, st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=6))
def test_what_is_left_is_what_the_slow_reference_leaves(text, places):
    """Any places, overlapping ones, too, that begin and end beside no blank."""
    cut = []
    for start, size in places:
        piece = text[start : start + size]
        begin = start + len(piece) - len(piece.lstrip(" \t\n"))
        if piece.strip(" \t\n"):
            cut.append((begin, begin + len(piece.strip(" \t\n"))))
    inside = [in_bytes(text, *place) for place in cut]
    assert without(text, inside) == left_of(text, cut)


@settings(max_examples=200)
@given(st.lists(TEXT, min_size=1, max_size=6), OPTIONS, st.randoms())
def test_the_order_of_documents_does_not_matter(texts, options, chance):
    """Whoever comes first, the same text is left of each document."""
    keys = chance.sample(range(1000), len(texts))
    order = chance.sample(range(len(texts)), len(texts))
    left = cleaned(texts, keys, **options)
    shuffled = cleaned([texts[i] for i in order], [keys[i] for i in order], **options)
    assert shuffled == [left[i] for i in order]


@settings(max_examples=300)
@given(st.lists(TEXT, min_size=1, max_size=6), OPTIONS, st.randoms())
def test_every_unit_stays_somewhere(texts, options, chance):
    """No line, paragraph or sentence is cut everywhere, and none that is not owned goes."""
    keys = chance.sample(range(1000), len(texts))
    cut = cut_by_us(texts, keys, **options)
    alone = {**options, "ngram": 1, "min_words": 1}

    def kept(text, gone):
        return {
            same
            for start, end, same in spans(text, **alone)
            if not any(g[0] <= in_bytes(text, start)[0] < g[1] for g in gone)
        }

    before = set().union(*(kept(text, []) for text in texts))
    after = set().union(*(kept(text, gone) for text, gone in zip(texts, cut, strict=True)))
    assert before == after


@settings(max_examples=300)
@given(
    st.lists(TEXT, min_size=1, max_size=6),
    st.sampled_from(["lines", "paragraphs"]),
    st.integers(1, 3),
    st.randoms(),
)
def test_cutting_again_cuts_nothing_more(texts, unit, least, chance):
    """One line or paragraph a span: whatever the keys are the second time."""
    options = {"unit": unit, "min_words": 1, "min_documents": least}
    left = cleaned(texts, chance.sample(range(1000), len(texts)), **options)
    assert cleaned(left, chance.sample(range(1000), len(texts)), **options) == left


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["label"])
def test_labelled_cases(case):
    """What is cut of pages, and what is left alone; the first document owns all."""
    keys = range(len(case["original"]))
    left = cleaned(case["original"], keys, **case.get("options", {}))
    assert left == case["expected"]


def test_forms_of_scripts_and_digits():
    """The reference's own words: case, apostrophes and punctuation do not count, digits may."""
    assert form("It\u2019s — a TEST, no. 12") == ["its", "a", "test", "no", "12"]
    assert form("No. 12 of ٣", same_digits=False) == ["no", "00", "of", "0"]
    assert form("你好a ไทย") == ["你", "好", "a", "ไ", "ท", "ย"]


def test_another_seed_gives_other_hashes_of_the_same_spans():
    """Nobody who does not know the seed can make a span that is taken for another one."""
    text = "one two three four five six seven eight nine ten"
    ((*place, one),), ((*again, other),) = (found([text], seed=seed) for seed in (1, 2))
    assert place == again
    assert one[0] != other[0]
    assert one[1] != other[1]


def test_measures_say_how_much_was_cut():
    """Bytes, characters, and the share of the characters before."""
    table = measures(arrow(["äbc\nd", "", "x"]), arrow(["d", "", "x"]))
    assert table.rows() == [(5, 4, 0.8), (0, 0, 0.0), (0, 0, 0.0)]


def test_options_are_checked_and_complete():
    """Three sentences, or one of anything else; what no text can have is refused by name."""
    assert Cuts(unit="sentences").ngram == 3
    assert Cuts(unit="paragraphs").ngram == 1
    given = {"input": {"path": "in"}, "output": {"path": "out"}}
    assert Recipe(**given, cuts={}).resolved()["cuts"]["ngram"] == 1
    assert Recipe(**given, cuts=False).cuts is None
    for wrong in ({"unit": "words"}, {"ngram": 0}, {"min_words": 0}, {"min_documents": 0}):
        with pytest.raises(ValidationError):
            Cuts(**wrong)
