"""The fixes: labelled cases, laws, white space, and what a recipe can ask for."""

import json
import re
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from damaged import DAMAGED, MARKED
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from real_texts import CORPORA, some_texts
from slow_fixes import ftfy_itself, normalized, without_blank_lines, without_spaces

from cleanpipe.text.fixes import BITS, DEFAULT, FIXES, WITH_OPTIONS
from cleanpipe.text.line_rules import LINE_FIXES, Lines
from cleanpipe.text.normalize import Normalize, normalize

CASES = Path(__file__).parent / "cases"
OPTIONS = {
    "urls": {"urls": "<URL>"},
    "email": {"pii": {"email": "<EMAIL>"}},
    "ip": {"pii": {"ip": "<IP>"}},
    "unbroken_runs": {"unbroken_runs": {"longer_than": 20}},
}
FIXES_HERE = [fix for fix in FIXES if fix not in LINE_FIXES]
SWITCHES = [fix for fix in FIXES_HERE if fix not in WITH_OPTIONS]
FULL = Normalize(
    fixes=[f"+{fix}" for fix in SWITCHES if fix != "nfkc"],
    urls="<URL>",
    pii={"email": "<EMAIL>", "ip": "<IP>"},
    unbroken_runs={"longer_than": 30},
)
LINES = {"unterminated_lines": "any", "short_lines": 2, "citations": True, "uppercase_lines": 0.5}


def arrow(texts):
    return pa.array(texts, pa.large_string())


def names(bits):
    return {fix for fix in FIXES if bits & BITS[fix]}


def cases():
    return [
        pytest.param(
            fix,
            case,
            id=f"{fix}: {case['label']}",
            marks=pytest.mark.xfail(strict=True) if case.get("fails") else (),
        )
        for fix in FIXES_HERE
        for case in json.loads((CASES / f"{fix}.json").read_text("utf-8"))
    ]


@pytest.mark.parametrize(("fix", "case"), cases())
def test_case(fix, case):
    """A fix alone does what the labelled case says, its bit tells, and once is enough."""
    fixes = (fix,) if fix in SWITCHES else ()
    model = Normalize(fixes=fixes, **case.get("options", OPTIONS.get(fix, {})))
    result = model.apply(arrow([case["original"]]))
    assert result.texts.to_pylist() == [case["expected"]]
    assert names(result.fixes[0]) == ({fix} if case["original"] != case["expected"] else set())
    assert model.apply(result.texts).texts.to_pylist() == [case["expected"]]


@pytest.mark.parametrize("fix", FIXES_HERE)
def test_every_fix_has_cases_of_both_kinds(fix):
    """Each fix has a case that it changes and one that it must leave alone."""
    labelled = json.loads((CASES / f"{fix}.json").read_text("utf-8"))
    assert {case["original"] == case["expected"] for case in labelled} == {True, False}
    assert len({case["label"] for case in labelled}) == len(labelled)


@settings(max_examples=300)
@given(st.lists(DAMAGED, max_size=6), st.sets(st.sampled_from(DEFAULT)).map(tuple))
@example(["a  Ã b"], DEFAULT)
@example(["\nÃ x"], DEFAULT)
def test_documents_do_not_touch_one_another(texts, fixes):
    """Many at once, in a slice, become what each becomes alone, and their bits are true."""
    model = Normalize(fixes=fixes)
    result = model.apply(arrow(["before ", *texts, " after"])[1:-1])
    result.texts.validate(full=True)
    expected = [normalized(text, fixes) for text in texts]
    assert result.texts.to_pylist() == [text for text, _ in expected]
    white_space = {"spaces", "blank_lines"}
    assert [names(bits) & white_space for bits in result.fixes] == [fix for _, fix in expected]
    assert not result.unsettled.any()
    for text, clean_text, bits in zip(texts, result.texts.to_pylist(), result.fixes, strict=True):
        explained = model.explain(text)
        assert {re.match("[a-z_]+", line)[0] for line in explained} == names(bits)
        assert bool(explained) == (clean_text != text)


@settings(max_examples=300)
@given(DAMAGED)
@example("a  Ã b")
@example("\n\nÃ x")
@example("ГўВЂВ\t\ta")
def test_twice_is_once(text):
    """The default fixes leave nothing for a second time."""
    once = Normalize().apply(arrow([text])).texts
    again = Normalize().apply(once)
    assert again.texts is once, again.texts.to_pylist()
    assert not again.fixes.any()


@settings(max_examples=100)
@given(MARKED)
@example("<p>caf&eacute;</p>")
@example("Ã\u200b©")
@example("amp;amp;lt;b gt;")
@example("a  #39;s")
@example("http:/http://a.b")
def test_twice_is_once_with_everything(text):
    """Nor do all fixes together; what each did is explained, and the explanation ends there."""
    result = FULL.apply(arrow([text]))
    again = FULL.apply(result.texts)
    assert again.texts is result.texts, again.texts.to_pylist()
    explained = FULL.explain(text)
    assert {re.match("[a-z_]+", line)[0] for line in explained} == names(result.fixes[0])
    assert (
        FULL.apply(arrow(["x", text, text])).texts.to_pylist()[1:] == result.texts.to_pylist() * 2
    )


@settings(max_examples=50)
@given(st.lists(MARKED, max_size=5).map("\n".join))
@example("a.[1] NOT  IT.")
def test_twice_is_once_with_line_rules(text):
    """Line rules after everything else, or after the default alone."""
    for model in (FULL.model_copy(update={"lines": Lines(**LINES)}), Normalize(lines=LINES)):
        once = model.apply(arrow([text])).texts
        assert model.apply(once).texts.to_pylist() == once.to_pylist()


def test_entities_are_read_once_the_tags_are_gone():
    """A `<` keeps entities from ftfy; a placeholder's must not."""
    model = Normalize(fixes=["+html", "+zero_width"], pii={"email": "<EMAIL>"})
    text = "<\u200bp>caf&eacute; a@b.org</p>"
    assert model.apply(arrow([text])).texts.to_pylist() == ["café <EMAIL>"]
    assert [line.partition(":")[0] for line in model.explain(text)] == [
        *("zero_width", "html", "entities", "email", "blank_lines")
    ]


BLANKS = st.text("a é\t\n \t\n", max_size=30)


@settings(max_examples=1500)
@given(BLANKS, st.booleans(), st.booleans())
def test_white_space_is_squeezed_as_the_regular_expressions_say(text, spaces, lines):
    """The kernel equals the slow reference, alone and together, and so do its bits."""
    fixes = ("spaces",) * spaces + ("blank_lines",) * lines
    middle = without_spaces(text) if spaces else text
    end = without_blank_lines(middle) if lines else middle
    result = Normalize(fixes=fixes).apply(arrow([text]))
    assert result.texts.to_pylist() == [end]
    expected = {"spaces"} if middle != text else set()
    expected |= {"blank_lines"} if end != middle else set()
    assert names(result.fixes[0]) == expected


def test_nothing_is_copied_where_nothing_changes():
    """The very array comes back."""
    texts = arrow(["clean\n\n  text", "", "naïve “quotes”", "한국어"])
    assert Normalize().apply(texts).texts is texts


def test_empty_arrays():
    """No documents are no error."""
    assert Normalize().apply(arrow([])).texts.to_pylist() == []
    assert normalize([]).to_list() == []


def test_order_of_the_recipe_does_not_matter():
    """Fixes are kept in the one order, each once."""
    assert Normalize(fixes=("spaces", "nfc", "spaces", "encoding")).fixes == (
        "encoding",
        "nfc",
        "spaces",
    )


def test_signed_names_change_the_default():
    """`+` adds to the default and `-` takes from it; a typing error is told with the right name."""
    asked = Normalize(fixes=("+html", "-spaces", "+nfkc"))
    assert asked.fixes == (*DEFAULT[:5], "nfkc", "html", "blank_lines")
    with pytest.raises(ValidationError, match="no fix 'htlm'; did you mean 'html'"):
        Normalize(fixes=("+htlm",))
    with pytest.raises(ValidationError, match="entities"):
        Normalize(fixes=("+html", "nfc"))


def test_an_unknown_fix_is_refused():
    """A typing error in a recipe is no silent nothing."""
    with pytest.raises(ValidationError, match="entities"):
        Normalize(fixes=("entitys",))


def test_normalize_keeps_nulls_and_the_name():
    """A null is no text; the Series keeps its name."""
    series = pl.Series("text", ["a  b", None])
    assert normalize(series).equals(pl.Series("text", ["a b", None]), check_names=True)
    with pytest.raises(TypeError, match="Int64, expected String"):
        normalize(pl.Series([1]))


@pytest.fixture(scope="module", params=CORPORA)
def sample(request, corpora):
    return some_texts(request.param, corpora, 120)


@pytest.mark.corpora
def test_white_space_on_real_text(sample):
    """On every corpus the kernel is the reference."""
    expected = [without_blank_lines(without_spaces(text)) for text in sample]
    result = Normalize(fixes=("spaces", "blank_lines")).apply(arrow(sample))
    assert result.texts.to_pylist() == expected


@pytest.mark.corpora
def test_everything_on_real_text(sample):
    """On every corpus all fixes together come to an end, at which each document stands alone."""
    once = FULL.apply(arrow(sample)).texts
    assert FULL.apply(once).texts is once
    for text, expected in zip(sample[::20], once.to_pylist()[::20], strict=True):
        assert FULL.apply(arrow([text])).texts.to_pylist() == [expected]


@pytest.mark.corpora
def test_speed(corpora):
    """At least 20 times ftfy, and 150 MB/s of CPU time where nothing needs repair."""
    texts = some_texts("debian_descriptions", corpora, 20_000)
    array = arrow(texts)

    def speed(work, size, times):
        seconds = []
        for _ in range(times):
            started = time.process_time()
            work()
            seconds.append(time.process_time() - started)
        return size / 1e6 / min(seconds)

    model = Normalize()
    result = model.apply(array)
    size = array.nbytes
    ftfy_speed = speed(
        lambda: [ftfy_itself(text) for text in texts[::40]],
        sum(len(text.encode()) for text in texts[::40]),
        2,
    )
    assert speed(lambda: model.apply(array), size, 5) >= 20 * ftfy_speed
    assert speed(lambda: model.apply(result.texts), size, 7) >= 150
