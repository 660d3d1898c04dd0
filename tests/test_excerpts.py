"""Pieces of documents for the report: what is marked, what is masked, what differs."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe.report.excerpts import LOOKED_AT, changed, masked, side_by_side, triggered, visible


def marks(pieces):
    return [text for kind, text in pieces if kind == "mark"]


@pytest.mark.parametrize(
    ("rule", "text", "marked"),
    [
        ("lorem_ipsum", "dear LOREM IPSUM dolor", "LOREM IPSUM"),
        ("curly_brackets", "if (a) { b }", "{"),
        ("dup_line_frac", "one\ntwo\none\nthree", "one"),
        ("dup_para_char_frac", "a b\n\nc\n\na b", "a b"),
        ("bullet_line_frac", "head\n- first\n- second", "- first"),
        ("ellipsis_line_frac", "wait...\nno", "..."),
        ("dup_5gram_char_frac", "a b c d e, x a b c d e", "a b c d e"),
        ("top_2gram_char_frac", "so long. So long!", "So long"),
        ("repeat_run", "start x y x y x y end", "x y x y x y"),
        ("same_token_run", "no no no no yes", "no no no no"),
        ("unbroken_run", "short " + "x" * 90 + " short", "x" * 90),
        ("upper_char_frac", "now BUY THIS now", "BUY THIS "),
        ("replacement_chars", "caf\ufffd\ufffd", "\ufffd\ufffd"),
    ],
)
def test_what_a_rule_counts_is_marked(rule, text, marked):
    """The first place, or the longest run, that shows why the document was dropped."""
    assert marks(triggered(rule, text)) == [marked]


@pytest.mark.parametrize("rule", ["words", "stop_words", "my_score", "lorem_ipsum", "repeat_run"])
def test_where_nothing_can_be_pointed_at_the_beginning_is_shown(rule):
    """No mark is made up."""
    assert triggered(rule, "a plain text of no fault") == [["", "a plain text of no fault"]]
    assert triggered(rule, "") == [["", ""]]


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("mail jo.doe+x@mail.example.org now", "mail [e-mail] now"),
        ("from 192.168.0.12 at noon", "from [IP] at noon"),
        ("token ghp_16C7e42F292c6912E7710c838347Ae17 here", "token [key] here"),
        ("sha 9e107d9d372bb6826bd81d3542a419d6.", "sha [key]."),
        ("call 030 / 123 45 67 today", "call 030 / [number] today"),
        ("in 1999, 42 of 1000 people", "in 1999, 42 of 1000 people"),
        ("internationalization-of-everything", "internationalization-of-everything"),
    ],
)
def test_what_may_be_somebodys_is_masked(text, hidden):
    """Addresses, keys and long numbers have signs; years, counts and long words stay."""
    assert masked(text) == hidden


TEXTS = st.text(st.sampled_from("ab \n\t\u200bé."), max_size=60)


def seen(pieces):
    return "".join(text for _, text in pieces)


@given(TEXTS, TEXTS)
def test_both_sides_of_a_change_are_whole(before, after):
    """Short texts lose nothing, and what is not marked is the same on both sides."""
    one, other = changed(before, after)
    same = [[text for kind, text in side if kind == ""] for side in (one, other)]
    assert "".join(same[0]) == "".join(same[1])
    for pieces, text in ((one, before), (other, after)):
        plain = seen(pieces).replace("·", " ").replace("→", "\t").replace("↵\n", "\n")
        assert plain == visible(text)


@given(TEXTS, TEXTS)
def test_side_by_side_shows_both_texts(best, other):
    """Without what is gone it is the other text, without marks the best; equal texts have none."""
    pieces = side_by_side(best, other)
    for kind, text in (("gone", other), ("mark", best)):
        assert seen(piece for piece in pieces if piece[0] != kind) == visible(text)
    assert {kind for kind, _ in side_by_side(other, other)} <= {""}


def test_where_texts_are_cut_off_is_no_difference():
    """A word missing early shifts the end of a long text: only the word is gone."""
    best = " ".join(f"word{n}" for n in range(400))
    other = best.replace("word7 ", "", 1)
    pieces = side_by_side(best, other)
    assert [text.strip() for kind, text in pieces if kind == "gone"] == ["word7"]
    assert marks(pieces) == []


@pytest.mark.parametrize(
    ("rule", "text", "shown"),
    [
        ("alpha_word_frac", "to jo@example.org", [["", "to "], ["mark", "[e-mail]"]]),
        (
            "digit_char_frac",
            "call +49 170 1234567!",
            [["", "call "], ["mark", "[number]"], ["", "!"]],
        ),
        ("unbroken_run", "see jo.public@example.org.", [["", "see "], ["mark", "[e-mail]."]]),
        ("lorem_ipsum", "plain jo@example.org", [["", "plain [e-mail]"]]),
    ],
)
def test_a_mark_never_falls_inside_a_mask(rule, text, shown):
    """What is masked is one sign, which is marked as a whole or not at all, and never shown."""
    assert triggered(rule, text, mask=True) == shown


@given(
    st.integers(0, 400), st.integers(0, 400), st.sampled_from(["{", "12345678", "....", "x" * 50])
)
def test_no_cut_goes_through_what_is_masked(before, after, trigger):
    """Wherever an address stands round a trigger, no part of it is on the page."""
    text = "a " * before + trigger + " b" * after + " somebody.known@example.org" + " c" * after
    for rule in ("curly_brackets", "digit_char_frac", "ellipsis_word_ratio", "unbroken_run"):
        said = "".join(piece for _, piece in triggered(rule, text, mask=True))
        assert "somebody" not in said
        assert "example.org" not in said


def test_invisible_characters_are_written_out():
    """Controls, zero-width and direction marks are code points; letters, emoji and tabs stay."""
    assert visible("a\u202eb\x07\ufeff é 😀\t") == "a[U+202E]b[U+0007][U+FEFF] é 😀\t"


@pytest.mark.parametrize("text", ["a", "a ", "\n", "{", "1", "x y ", "@a.", "\ufffd"])
def test_a_hostile_text_is_cut_in_linear_time(text):
    """A megabyte of one piece takes seconds for all rules together, masks among them."""
    large = text * (1_000_000 // len(text))
    started = time.process_time()
    for rule in ("dup_line_frac", "dup_5gram_char_frac", "repeat_run", "unbroken_run", "hex_frac"):
        assert len(seen(triggered(rule, large))) < LOOKED_AT
    changed(large, large[::-1])
    assert time.process_time() - started < 3
    masked(large)
