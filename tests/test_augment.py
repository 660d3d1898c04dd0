# ruff: noqa: RUF001 (stops of other scripts are what is tested)
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cleanpipe.augmenting.augment import ROW_SCHEMA, Augment
from cleanpipe.augmenting.likeness import changed_share, similarity
from cleanpipe.augmenting.rearrange import sentence_spans

PROSE = (
    "The ferry was late. Nobody minded much! Was there any bread left?\n"
    "A boy counted gulls. His sister counted waves.\n\n"
    "Title without an end\n\n"
    "Rain came after noon. The pier emptied. Only the lamp stayed. It burned all night.\n"
)
SHUFFLE = Augment(operations=("sentence_shuffle",))
FIM = Augment(operations=("fim",))
BOTH = Augment(operations=("fim", "sentence_shuffle"))
KEYS = st.integers(0, 2**64 - 1)


similarity("loads", "the kernel")  # before Hypothesis looks at its watch


def copies_of(augment, text, key, numbers):
    return augment.augment(
        pa.array([text] * len(numbers), pa.large_string()),
        [f"d{number}" for number in numbers],
        np.array(numbers, np.int32),
        np.full(len(numbers), key, np.uint64),
    )


def sentences(text):
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four… No end", ["One.", "Two!", "Three?", "Four…"]),
        ('He said "go." She went.', ['He said "go."', "She went."]),
        (
            "春が来た。川が光る！本当？「はい。」終わり",
            ["春が来た。", "川が光る！", "本当？", "「はい。」"],
        ),
        ("你好。再见｡", ["你好。", "再见｡"]),
        ("यह घर है। वह नदी है।", ["यह घर है।", "वह नदी है।"]),
        ("هل وصلت؟ نعم۔ حسنا.", ["هل وصلت؟", "نعم۔", "حسنا."]),
        ("ሰላም ነው። ደህና።", ["ሰላም ነው።", "ደህና።"]),
        ("Pi is 3.14 or so. See e.g. this one.", ["Pi is 3.14 or so.", "See e.g. this one."]),
        ("J. Li wrote it. We read it.", ["J. Li wrote it.", "We read it."]),
        ("Head\nOne. Two.", ["Two."]),
        ("An entry that is short\nand more. Whole.", ["Whole."]),
        (
            "This one is in a text of wrapped lines that\ngoes on. Whole.",
            ["This one is in a text of wrapped lines that\ngoes on.", "Whole."],
        ),
        ("This one is in a text of wrapped lines that:\n* goes on. Whole.", ["Whole."]),
        ("สวัสดี ขอบคุณ", []),
        ("", []),
        ("...", ["..."]),
    ],
)
def test_sentences_in_many_scripts(text, expected):
    """A sentence is what has an end; numbers, initials and headings end none."""
    assert sentences(text) == expected


@given(key=KEYS)
def test_shuffle_keeps_sentences_paragraphs_and_lines(key):
    """A copy has its parent's sentences in their paragraphs, and every space in its place."""
    made = copies_of(SHUFFLE, PROSE, key, [1]).texts[0].as_py()
    assert made != PROSE
    assert sorted(made) == sorted(PROSE)
    for ours, theirs in zip(made.split("\n\n"), PROSE.split("\n\n"), strict=True):
        assert sorted(sentences(ours)) == sorted(sentences(theirs))
        assert [len(sentences(line)) for line in ours.split("\n")] == [
            len(sentences(line)) for line in theirs.split("\n")
        ]


@given(text=st.text(min_size=1), key=KEYS)
def test_fim_is_exactly_invertible(text, key):
    """Any text comes back from its fim copy, character for character."""
    result = copies_of(FIM, text, key, [1])
    for made in result.texts.to_pylist():
        assert made != text
        assert FIM.invert_fim(made) == text


@given(text=st.text("ab", min_size=1), key=KEYS)
def test_fim_with_sentinels_that_may_arise_at_a_seam(text, key):
    """Sentinels made of the text's own letters are inverted too, or the copy is left out."""
    augment = Augment(operations=("fim",), fim_prefix="aab", fim_suffix="abb", fim_middle="bab")
    for made in copies_of(augment, text, key, [1]).texts.to_pylist():
        assert augment.invert_fim(made) == text


def test_fim_draws_both_orders_and_all_cuts():
    """About half of the copies put the suffix first, and the cuts are uniform over pairs."""
    made = [copies_of(FIM, "abc", key, [1]).texts[0].as_py() for key in range(600)]
    suffix_first = [text for text in made if text.startswith("<|fim_prefix|><|fim_suffix|>")]
    # P(SPM) is 1/2, and 3 of PSM's 6 pairs of cuts have an empty prefix: 3/4 look so.
    assert 400 < len(suffix_first) < 500
    assert len(set(made)) == 6


def test_fim_leaves_a_text_with_a_sentinel_alone():
    """A text that holds a sentinel could not be inverted: the copy is left out, with its row."""
    result = copies_of(FIM, "to be <|fim_middle|> or not", 1, [1])
    assert result.texts.to_pylist() == []
    assert result.written.tolist() == [False]
    assert result.rows.row(0, named=True) == {
        "id": "d1",
        "copy": 1,
        "operations": None,
        "seed": None,
        "changed_share": None,
        "similarity": None,
        "outcome": "left_out",
        "reason": "nothing_to_do",
    }


def test_another_operation_steps_in():
    """Where the first choice of chance cannot apply, the other operation of the list does."""
    one_sentence = "There is only one sentence here."
    for key in range(20):
        assert copies_of(BOTH, one_sentence, key, [1]).rows["operations"][0] == "fim"
    with_sentinel = "One <|fim_prefix|>. Two. Three."
    for key in range(20):
        rows = copies_of(BOTH, with_sentinel, key, [1]).rows
        assert rows["operations"][0] == "sentence_shuffle"


def test_both_operations_are_chosen():
    """Chance picks either operation about equally often."""
    chosen = [copies_of(BOTH, PROSE, key, [1]).rows["operations"][0] for key in range(200)]
    assert 70 < chosen.count("fim") < 130


@pytest.mark.parametrize("text", ["Just one sentence.", "no end at all", "Same. Same. Same.", ""])
def test_what_cannot_be_shuffled_is_left_out(text):
    """Fewer than two different sentences in every paragraph: no copy, but a row."""
    result = copies_of(SHUFFLE, text, 5, [1, 2])
    assert result.rows["outcome"].to_list() == ["left_out", "left_out"]
    assert len(result.texts) == 0


@given(key=KEYS)
def test_siblings_differ(key):
    """Three sentences have five other orders: copies are all different, and no sixth is made up."""
    result = copies_of(SHUFFLE, "One. Two. Three.", key, list(range(1, 9)))
    written = result.texts.to_pylist()
    assert len(set(written)) == len(written) <= 5
    assert "One. Two. Three." not in written
    assert result.rows.filter(outcome="written").height == len(written)
    assert result.written.sum() == len(written)


def test_a_copy_does_not_depend_on_its_batch():
    """The third copy alone, in another part, is the third copy made beside its siblings."""
    together = copies_of(BOTH, PROSE, 11, [1, 2, 3])
    alone = copies_of(BOTH, PROSE, 11, [3])
    assert alone.texts[0] == together.texts[2]
    assert alone.rows.rows() == together.rows[2:].rows()


def test_another_key_is_another_copy():
    """Equal texts with other keys of chance are not made alike."""
    made = {copies_of(SHUFFLE, PROSE, key, [1]).texts[0].as_py() for key in range(30)}
    assert len(made) > 20


def test_golden_copies():
    """The result is fixed for good: the same text, key and copy on any machine and version."""
    result = copies_of(BOTH, "One came. Two went. Three stayed.", 2024, [1, 2, 3, 4])
    assert result.texts.to_pylist() == [
        "Three stayed. Two went. One came.",
        "<|fim_prefix|>One<|fim_suffix|>ayed.<|fim_middle|> came. Two went. Three st",
        "<|fim_prefix|>One came. <|fim_suffix|>o went. Three stayed.<|fim_middle|>Tw",
        "Two went. One came. Three stayed.",
    ]
    assert result.rows["seed"].to_list() == [
        15291895419665382053,
        16568114356209038608,
        15763067445991256463,
        9338753171494424107,
    ]


def test_rows_say_what_was_done():
    """changed_share and similarity describe copy and parent; a fim copy has no similarity."""
    result = copies_of(BOTH, PROSE, 3, list(range(1, 9)))
    assert result.rows.schema == pl.Schema(ROW_SCHEMA)
    fim = result.rows.filter(operations="fim")
    shuffled = result.rows.filter(operations="sentence_shuffle")
    assert fim.height
    assert shuffled.height
    assert fim["similarity"].null_count() == fim.height
    assert shuffled["similarity"].is_between(0.001, 0.999).all()
    assert result.rows["changed_share"].is_between(0, 1, closed="right").all()
    assert result.rows["id"].to_list() == [f"d{number}" for number in range(1, 9)]


@pytest.mark.parametrize(
    ("parent", "child", "share"),
    [("abcd", "abcd", 0.0), ("abcd", "dcba", 1.0), ("aé😀", "aé!", 1 / 3), ("", "x", 1.0)],
)
def test_changed_share(parent, child, share):
    """Characters are code points; what stands at the same place in both is unchanged."""
    assert changed_share(parent, child) == share


@pytest.mark.parametrize(
    ("parent", "child", "jaccard"),
    [
        ("a b c d e", "A, B. C! D? E", 1.0),
        ("a b c d e f g", "a b c d e f h", 2 / 4),
        ("a b", "a b", 1.0),
        ("a b", "b a", 0.0),
        ("春が来た。川", "春が来た川", 1.0),
        ("...", "...", 1.0),
        ("", "", 1.0),
    ],
)
def test_similarity(parent, child, jaccard):
    """Jaccard over sets of folded word 5-grams; a text shorter than that is one shingle."""
    assert similarity(parent, child) == jaccard


def test_no_copies():
    """An empty batch gives an empty result with the schema of the others."""
    result = copies_of(BOTH, "", 0, [])
    assert result.rows.schema == pl.Schema(ROW_SCHEMA)
    assert len(result.texts) == len(result.written) == 0
    assert result.texts.type == pa.large_string()


def test_no_copy_has_a_number_below_the_originals():
    """Copy 0 is the original: to ask for one before it is a mistake of the caller."""
    with pytest.raises(ValueError, match="copy -1 was asked for"):
        copies_of(BOTH, PROSE, 0, [-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operations": ()}, "name at least one"),
        ({"operations": ("shuffle",)}, "sentence_shuffle"),
        ({"operations": ("fim", "fim")}, "name one twice"),
        ({"operations": ("fim",), "fim_prefix": ""}, "at least 1 character"),
        ({"operations": ("fim",), "fim_prefix": "<|fim_suffix|>"}, "found in another"),
        ({"operations": ("fim",), "fim_middle": "fim"}, "found in another"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    """A mistake in the recipe is found before a document is read."""
    with pytest.raises(ValidationError, match=message):
        Augment(**options)


@pytest.mark.parametrize(
    "text", ["plain", "<|fim_prefix|>a", "x<|fim_prefix|><|fim_suffix|><|fim_middle|>"]
)
def test_only_fim_texts_are_inverted(text):
    """A text that fim did not make is refused with what was expected."""
    with pytest.raises(ValueError, match="is no fim text: expected"):
        FIM.invert_fim(text)
