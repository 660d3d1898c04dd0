"""The line rules: labelled cases, a slow reference, C4 as published, laws, hostile text."""

import json
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from line_reference import apply, words
from pydantic import ValidationError

from cleanpipe.errors import RecipeError
from cleanpipe.kernels.line_rules import Options
from cleanpipe.recipes.recipe_file import load
from cleanpipe.text.fixes import BITS, FIXES
from cleanpipe.text.line_rules import LINE_FIXES, Lines
from cleanpipe.text.normalize import Normalize

CASES = Path(__file__).parent / "cases"
PUBLISHED = {
    "running_lines": 4,
    "citations": True,
    "navigation": 10,
    "uppercase_lines": 0.5,
    "numeric_lines": True,
    "counter_lines": True,
    "long_word_lines": 1000,
    "unterminated_lines": "c4",
    "short_lines": 3,
    "javascript_lines": True,
    "policy_lines": True,
}
"""Each rule as its source has it."""
C4 = Lines(
    citations=True,
    long_word_lines=1000,
    unterminated_lines="c4",
    short_lines=3,
    javascript_lines=True,
    policy_lines=True,
)


def arrow(texts):
    return pa.array(texts, pa.large_string())


def applied(text, rules):
    return rules.apply(arrow([text])).texts[0].as_py()


def names(bits):
    return {rule for place, rule in enumerate(LINE_FIXES) if int(bits) >> place & 1}


def cases():
    return [
        pytest.param(
            rule,
            case,
            id=f"{rule}: {case['label']}",
            marks=pytest.mark.xfail(strict=True) if case.get("fails") else (),
        )
        for rule in LINE_FIXES
        for case in json.loads((CASES / f"{rule}.json").read_text("utf-8"))
    ]


@pytest.mark.parametrize(("rule", "case"), cases())
def test_case(rule, case):
    """A rule alone does what the labelled case says, its bit tells, and twice is once."""
    rules = Lines(**{rule: PUBLISHED[rule]})
    ruled = rules.apply(arrow([case["original"]]))
    assert ruled.texts.to_pylist() == [case["expected"]]
    assert names(ruled.fixes[0]) == ({rule} if case["original"] != case["expected"] else set())
    assert applied(case["expected"], rules) == case["expected"]


@pytest.mark.parametrize("rule", LINE_FIXES)
def test_every_rule_has_cases_of_both_kinds(rule):
    """Each rule has a case that it changes and one that it must leave alone."""
    labelled = json.loads((CASES / f"{rule}.json").read_text("utf-8"))
    assert {case["original"] == case["expected"] for case in labelled} == {True, False}
    assert len({case["label"] for case in labelled}) == len(labelled)


# fmt: off
PIECES = [
    *("It rained.", "News", "a", "B", "NATO", "Éß", "漢字", "ไทย", "e\u0301", "١٢", "²", "7"),
    *("[1]", "[", "]", "[]", "[edit]", "[citation needed]", "[ed", "it]", "citation", "needed]"),
    *("Sign-in", "sign-in", "items in cart", "items", "in cart", "Read more...", "read more…"),
    *(".", "...", "…", "?", "!", '"', "'", "”", "」", ")", "。", "؟", "…”", "x" * 9, "X" * 7),
    *("3 likes", "1.2K Views", "12 share", "•", "1,204", "javascript", "JavaScr", "ipt"),
    *("Terms of Use", "privacy policy", "use ", "of ", "cookies", " ", "  ", "\t", "\u00a0"),
    *("\u3000", "\f", "\x1c", "\n", "\n", "\n\n", "\r", "_", "-", "😀", "\u200d", "\u212b"),
]
# fmt: on
TEXTS = st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=24).map("".join)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "citations": st.just(value=True),
        "navigation": st.sampled_from([1, 4, 10]),
        "uppercase_lines": st.sampled_from([0.0, 0.3, 0.5]),
        "numeric_lines": st.just(value=True),
        "counter_lines": st.just(value=True),
        "long_word_lines": st.sampled_from([1, 5, 12]),
        "unterminated_lines": st.sampled_from(["c4", "any"]),
        "short_lines": st.sampled_from([2, 3, 5]),
        "javascript_lines": st.just(value=True),
        "policy_lines": st.just(value=True),
    },
).map(lambda rules: Lines(**rules))


@settings(max_examples=700)
@given(st.lists(TEXTS, max_size=4), RULES)
@example(["[[1]] [citation [2]needed] x[ed[]it]"], Lines(citations=True))
@example(["See [1] below.", "It rained. [1]"], C4)
@example(["[items in cart1] x"], Lines(citations=True, navigation=10))
def test_the_kernel_is_the_reference(texts, rules):
    """Texts in a slice become what the slow rules make of each, and all counts agree."""
    ruled = rules.apply(arrow(["Before.", *texts, "After"])[1:-1])
    ruled.texts.validate(full=True)
    expected = [apply(text, rules) for text in texts]
    assert ruled.texts.to_pylist() == [text for text, _, _, _ in expected]
    assert [names(bits) for bits in ruled.fixes] == [broken for _, broken, _, _ in expected]
    assert ruled.words.tolist() == [before for _, _, before, _ in expected]
    assert ruled.removed.tolist() == [before - after for _, _, before, after in expected]


@settings(max_examples=700)
@given(TEXTS, RULES)
def test_twice_is_once(text, rules):
    """What the rules leave, they leave alone."""
    once = applied(text, rules)
    assert applied(once, rules) == once


@settings(max_examples=500)
@given(TEXTS, RULES)
def test_what_stays_is_what_stood_there(text, rules):
    """Without cuts every line that stays is a line of the text, in order; blank lines all stay."""
    rules = rules.model_copy(update={"citations": False, "navigation": False})
    left = iter(text.split("\n"))
    kept = applied(text, rules)
    if kept:
        assert all(line in left for line in kept.split("\n"))
    blank = [line for line in text.split("\n") if not line.strip()]
    none = [""] if kept == "" else []  # all lines gone is one empty line
    assert [line for line in kept.split("\n") if not line.strip()] == (blank or none)


@settings(max_examples=500)
@given(TEXTS, RULES)
def test_explanations_name_the_rules_that_changed_something(text, rules):
    """One line for each bit, in order; none for a text that stays."""
    ruled = rules.apply(arrow([text]))
    told = [line.split(":")[0].split(" ")[0] for line in rules.explain(text)]
    assert told == [rule for rule in LINE_FIXES if rule in names(ruled.fixes[0])]


# What c4_utils_test.py of TensorFlow Datasets and datatrove's C4QualityFilter do, line by line, in
# sentences of ours: (line, what is left of it or None).
C4_LINES = [
    ("The river rose for nine days and then it fell, Mrs. Hale!", "="),
    ("Rivers of the North | All Rivers | Maps and Charts", None),
    ('"Maps by hand. Printed in Leeds. Sold everywhere."', "="),
    ("Rivers of the North™/ Water and Weather...", None),
    ("Not enough.", None),
    ("Please turn on javascript or the map will not be drawn.", None),
    ("It seems that JavaScript is off, so there is no map.", None),
    ("Our bakery's cookie policy is simple: one each.", None),
    ("Every family has a privacy policy of its own.", None),
    ("Nobody has ever read the Terms of Use.", None),
    ("This clause ends in dots...but then it goes on to end well.", "="),
    ("The bridge was built in 1870.[3]", "The bridge was built in 1870."),
    ("It fell[citation needed]. It was built again.[edit]", "It fell. It was built again."),
    ("It stands to this day. [3]", None),
    ("The keeper's house was the fishermens'", "="),
    (f"The word {'a' * 1001} is too long.", None),
    (f"The word {'a' * 1000} is not.", "="),
]


@pytest.mark.parametrize(("line", "left"), C4_LINES)
def test_c4_as_published(line, left):
    """Lines go, stay, and lose their citations as in C4's own tests."""
    expected = line if left == "=" else left
    assert applied(f"{line}\nIt is a fine day.", C4) == "\n".join(
        filter(None, [expected, "It is a fine day."])
    )


def test_words_are_counted_when_citations_are_cut():
    """As in C4's own code; datatrove counts them before, and keeps this line."""
    assert applied("See [1] below.", C4) == ""


def test_any_marks_of_all_scripts():
    """What ends a sentence somewhere keeps a line; an ellipsis never does."""
    rules = Lines(unterminated_lines="any")
    ends = ["下雨了。", "「雨。」", "हुआ।", "هل؟", "so.", "so?", "so.)", "(so.)]", "so.」"]
    ends += ["so\uff1f", "so\u0589", "so!\u201d", "so\u201d", "so\xbb", "so\u2019", "so…\u201d"]
    assert applied("\n".join(ends), rules) == "\n".join(ends)
    others = ["so…", "so...", "so...)", "so)", "so:", "so;", "so、", "so…)", "…", ")", ")]", "so-"]
    assert applied("\n".join(others), rules) == ""


def test_bits_are_in_the_order_of_the_rules():
    """The kernel's names, the model's and those of all fixes are one."""
    assert Options._fields == LINE_FIXES == tuple(PUBLISHED)
    assert set(Lines.model_fields) == set(LINE_FIXES)
    first = FIXES.index(LINE_FIXES[0])
    assert FIXES[first : first + len(LINE_FIXES)] == LINE_FIXES
    assert FIXES[first + len(LINE_FIXES) :] == ("spaces", "blank_lines")
    assert max(BITS.values()) < 1 << 32


def test_nothing_is_copied_where_nothing_changes():
    """The very array comes back."""
    texts = arrow(["It rained again.\n\n", "", "It stopped again."])
    assert C4.apply(texts).texts is texts
    assert not Lines()
    texts = arrow(["clean", ""])
    assert Normalize().apply(texts).texts is texts


def test_within_normalize():
    """Lines come after characters and before white space; the share of words is told."""
    text = "Caf&eacute; au lait.\n\nHome  |  News\n\nIt was  good.\n"
    model = Normalize(lines={"unterminated_lines": "c4"})
    result = model.apply(arrow([text, "fine and good.", "", "News", "Ã©tÃ© comme hiver."]))
    expected = ["Café au lait.\n\nIt was good.", "fine and good.", "", "", "été comme hiver."]
    assert result.texts.to_pylist() == expected
    assert result.removed_word_frac.tolist() == [3 / 9, 0.0, 0.0, 1.0, 0.0]
    changed = {fix for fix in FIXES if result.fixes[0] & BITS[fix]}
    assert changed == {"entities", "unterminated_lines", "spaces", "blank_lines"}
    told = [line.split(" ")[0].rstrip(":") for line in model.explain(text)]
    assert told == [fix for fix in FIXES if fix in changed]
    again = model.apply(result.texts)
    assert again.texts is result.texts
    assert not Normalize().apply(arrow([text])).removed_word_frac.any()


@pytest.mark.parametrize("off", [False, None])
def test_false_and_null_switch_off(off):
    """All rules, or one that a preset brings."""
    assert Normalize.model_validate({"lines": off}, strict=True) == Normalize()
    assert Lines.model_validate(dict.fromkeys(LINE_FIXES, off), strict=True) == Lines()


def test_a_recipe_merges_rules_and_switches_them_off(write):
    """Each rule is an option, also on the command line; all are in the resolved recipe."""
    text = "input: {path: a}\noutput: {path: b}\n"
    text += "normalize: {lines: {short_lines: 3, citations: true}}"
    changes = {"normalize.lines.short_lines": "false", "normalize.lines.unterminated_lines": "any"}
    recipe = load(write(text), changes)
    assert recipe.normalize.lines == Lines(citations=True, unterminated_lines="any")
    assert recipe.resolved()["normalize"]["lines"]["navigation"] is False
    assert not load(write(text), {"normalize.lines": "false"}).normalize.lines
    with pytest.raises(RecipeError, match="did you mean 'short_lines'"):
        load(write(text), {"normalize.lines.shortlines": "3"})
    with pytest.raises(RecipeError, match="expected a whole number, found true or expected false"):
        load(write(text), {"normalize.lines.short_lines": "true"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"running_lines": 2},
        {"running_lines": True},
        {"uppercase_lines": 1.0},
        {"unterminated_lines": "all"},
        {"short_lines": 1},
        {"citation": True},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    """Bounds that would drop nothing or everything, and names that are none."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Lines.model_validate(wrong, strict=True)


HOSTILE = {
    "closing brackets": "1]" * 200_000,
    "digits before brackets": "[" * 100_000 + "1" * 100_000 + "]" * 200_000,
    "nested citations": "[" * 200_000 + "]" * 200_000,
    "sign-in": "sign-in" * 60_000,
    "carts": "items in cart" * 40_000,
    "phrases": "use of cookie javascrip " * 20_000,
    "closers": ")" * 400_000,
    "numbers": "\n".join(str(i % 999) for i in range(100_000)),
    "form feeds": "\f7\n" * 130_000,
    "pages": "\n".join(f"{'a line' if i % 20 else f'Page {i // 20 % 999}'}" for i in range(60_000)),
    "same pages": ("\f" + "\n".join(f"same {chr(97 + k)} {k}" for k in range(30)) + "\n") * 1_500,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear_on_hostile_text(name):
    """Four times the text takes at most eight times as long, and a moment."""
    rules = Lines(**PUBLISHED | {"unterminated_lines": "any"})
    text = HOSTILE[name]
    seconds = []
    for part in (text[: len(text) // 4], text):
        started = time.process_time()
        rules.apply(arrow([part]))
        seconds.append(time.process_time() - started)
    assert seconds[1] < 8 * seconds[0] + 0.2


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(["\f", "Page 3", "Page 4 of 9", "5", "6", "- 7 -", "Rain", "Rain 8", ""]),
        max_size=30,
    ),
    st.integers(1, 25),
    st.integers(3, 9),
    st.sampled_from([{}, {"short_lines": 2}, {"numeric_lines": True, "citations": True}]),
)
def test_running_lines_twice_is_once(lines, height, pages, others):
    """Whatever recurs at the edges of pages of any height, with numbers that rise or do not."""
    text = "\n".join(
        line.replace("3", str(page)).replace("5", str(page))
        for page in range(pages)
        for line in (*lines, *(f"line {chr(97 + page)}{chr(97 + k)}" for k in range(height)))
    )
    rules = Lines(running_lines=3, **others)
    once = applied(text, rules)
    assert applied(once, rules) == once
    assert set(once.split("\n")) <= set(text.split("\n"))


@pytest.mark.corpora
def test_on_real_text(corpora):
    """On English posts the kernel is the reference, and running lines touch nearly none."""
    path = corpora / "20news_bydate" / "data.jsonl.zst"
    texts = pl.read_ndjson(path)["text"].gather_every(250).to_list()
    for rules in (C4, Lines(navigation=10, uppercase_lines=0.5, counter_lines=True, short_lines=2)):
        ruled = rules.apply(arrow(texts))
        expected = [apply(text, rules) for text in texts]
        assert ruled.texts.to_pylist() == [text for text, _, _, _ in expected]
        assert ruled.words.tolist() == [words(text) for text in texts]
    assert Lines(running_lines=4).apply(arrow(texts)).fixes.sum() <= 1
