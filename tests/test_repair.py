"""ftfy's fixes over columns: always ftfy's text, however little of it ftfy is shown."""

import re
import time
import unicodedata

import ftfy
import polars as pl
import pyarrow as pa
import pytest
from damaged import DAMAGED
from ftfy.badness import BADNESS_RE, MOJIBAKE_CATEGORIES
from hypothesis import example, given, settings
from hypothesis import strategies as st
from real_texts import CORPORA, records, some_texts
from slow_fixes import FTFY, ftfy_itself

from cleanpipe.kernels import clean
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.text.fixes import BITS
from cleanpipe.text.mojibake import badness_in_rust, may_be_mojibake, translated
from cleanpipe.text.normalize import Normalize
from cleanpipe.text.repair import MOST_PASSES, code_point_classes


def arrow(texts):
    return pa.array(texts, pa.large_string())


def applied(text, *fixes):
    return Normalize(fixes=fixes).apply(arrow([text])).texts[0].as_py()


SOME_FIXES = st.sets(st.sampled_from([*FTFY, "nfkc"])).map(tuple)


@settings(max_examples=1000)
@given(DAMAGED, SOME_FIXES | st.just(FTFY))
@example("&#27;[31m", FTFY)
@example("&#xC3;&#xA9;", FTFY)
@example("\x1b\x00[31m", FTFY)
@example("e&#x301;", FTFY)
def test_the_scan_misses_nothing_that_ftfy_would_change(text, fixes):
    """Any choice of ftfy's fixes gives what ftfy gives with the same options."""
    assert applied(text, *fixes) == ftfy_itself(text, fixes)


CATEGORY = "".join(
    re.sub("(.)-(.)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))), characters)
    for characters in MOJIBAKE_CATEGORIES.values()
)


@settings(max_examples=1500)
@given(st.text(st.sampled_from(CATEGORY + "aZz09_ \t\n\x1c\x1f.,²вЂГВ漢"), max_size=12))
def test_badness_agrees_with_ftfy(text):
    """The translated expression matches where ftfy's does, over its own alphabet."""
    assert may_be_mojibake(pl.Series([text])).to_list() == [bool(BADNESS_RE.search(text))]


def test_word_characters_of_python_are_word_characters_of_the_translation():
    r"""`\w` in Rust is a superset of Python's, for every code point."""
    words = [c for c in map(chr, range(0x110000)) if re.match(r"\w", c)]
    found = pl.Series(words).str.contains(translated(re.compile(r"^\w", re.VERBOSE)))
    assert found.all()


@pytest.mark.filterwarnings("ignore:Possible set difference:FutureWarning")
@pytest.mark.parametrize(
    "unknown", [r"\d", "a+", "(a)", "a{2}", r"[\w]", "[+--b]", "é*", "a$", r"\b"]
)
def test_an_expression_that_the_translation_does_not_know_is_refused(unknown):
    """A new construct in ftfy's expression raises; it is never guessed."""
    with pytest.raises(ValueError, match="has no translation"):
        translated(re.compile("a|" + unknown, re.VERBOSE))


def test_an_expression_with_other_flags_is_refused():
    """Case folding, for one, would change what every letter means."""
    with pytest.raises(ValueError, match="expected VERBOSE and UNICODE"):
        translated(re.compile("a", re.VERBOSE | re.IGNORECASE))


MARKS = "".join(c for c in map(chr, range(0x110000)) if unicodedata.combining(c))
COMPOSED = "".join(
    c for c in map(chr, range(0x30000)) if re.match("[0-9A-F]", unicodedata.decomposition(c))
)
HALVES = "".join(dict.fromkeys("".join(unicodedata.normalize("NFD", c) for c in COMPOSED)))
ANY_SCRIPT = st.sampled_from("aeiq") | st.sampled_from(HALVES) | st.sampled_from(MARKS)


@settings(max_examples=2000)
@given(st.text(ANY_SCRIPT | st.sampled_from(COMPOSED) | st.characters(codec="utf-8"), max_size=6))
def test_text_that_is_not_nfc_is_flagged(text):
    """A text that the scan calls NFC is NFC."""
    flags = clean.scan(*text_buffers(arrow([text])), code_point_classes())
    assert unicodedata.is_normalized("NFC", text) or flags[0] & clean.MAY_NOT_BE_NFC


def test_scripts_in_nfc_are_hardly_flagged():
    """Thai, Arabic, Hindi without nukta, Chinese and Korean cost no second look."""
    texts = ["ภาษาไทยที่ดี", "اَلْعَرَبِيَّةُ", "हिन्दी में", "中文和日本語", "한국어", "Việt Nam"]
    flags = clean.scan(*text_buffers(arrow(texts)), code_point_classes())
    assert not (flags & clean.MAY_NOT_BE_NFC).any()


@pytest.mark.parametrize(
    "hostile",
    [
        "Ã" + "ƒ" * 20_000,
        "&" + "amp;" * 20_000,
        "&" + "#38;" * 20_000,
        "a" + "\u0301\u0323" * 50_000,
    ],
    ids=["mojibake", "amp", "numbers", "marks"],
)
def test_a_text_that_never_settles_is_left_as_it_was(hostile):
    """It costs seconds, not hours; only its own line says so; its white space is squeezed still."""
    started = time.perf_counter()
    result = Normalize().apply(arrow(["Ã©", hostile + " ", "&amp;"]))
    assert time.perf_counter() - started < 20
    assert result.unsettled.tolist() == [False, True, False]
    assert result.texts.to_pylist() == ["é", hostile, "&"]
    assert result.fixes[1] == BITS["spaces"]
    assert str(MOST_PASSES) in Normalize().explain(hostile)[0]


def test_a_fixer_alone_gives_way_to_ftfy_where_it_reveals_more():
    """A line break or a control between the halves of something hides it from the first scan."""
    for text in (
        "a\r\nÃ b",
        "&am\x00p;",
        "e\x00\u0301",
        "\x1b[1m&\x1b[1mlt;",
        "Ã\x00©",
        "\r\x00\n",
    ):
        assert applied(text, *FTFY) == ftfy_itself(text)


def test_every_fixer_of_ftfy_is_known_by_its_fix():
    """Where all have work, all say so, each under its own name."""
    text = "e\u0301\r\n\x07\x1b[1m Ã© &amp;"
    explained = Normalize(fixes=FTFY).explain(text)
    assert {re.match("[a-z_]+", line)[0] for line in explained} == set(FTFY)


def test_escapes_in_escapes_settle_only_with_their_controls():
    """ESC in ESC costs a pass each, unless control_characters removes them all at once."""
    nested = "\x1b[" * 200 + "m" * 200
    assert Normalize(fixes=("terminal_escapes",)).apply(arrow([nested])).unsettled.all()
    assert applied(nested, "terminal_escapes", "control_characters") == ftfy_itself(nested)


def test_a_large_damaged_text_takes_linear_time():
    """Four times the text takes at most eight times as long."""
    paragraph = "Ã©tÃ© &amp; hiver â€œ\r\n 漢 œ e\u0301 \x1b[1m\x07"
    seconds = []
    for times in (3_000, 12_000):
        started = time.process_time()
        applied(paragraph * times, *FTFY)
        seconds.append(time.process_time() - started)
    assert seconds[1] < 8 * seconds[0]


IGNORED = [
    ("voilÃ le travail", "voilà le travail", {"restore_byte_a0", "decode_inconsistent_utf8"}),
    ("â€œwell doneâ€\ufffd", "“well done\ufffd", {"replace_lossy_sequences"}),
    ("日本語 and cafÃ©", "日本語 and café", {"decode_inconsistent_utf8"}),
]


@pytest.mark.parametrize(("damaged", "repaired", "options"), IGNORED)
def test_encoding_switches_what_fix_text_ignores(damaged, repaired, options):
    """ftfy.fix_text is deaf to three of its options; `encoding` is all of them, on or off."""
    off = ftfy.TextFixerConfig(uncurl_quotes=False, **dict.fromkeys(options, False))
    assert ftfy.fix_text(damaged, off._replace(explain=False)) == repaired
    assert ftfy.fix_and_explain(damaged, off).text != repaired
    assert applied(damaged, "encoding") == repaired
    others = [fix for fix in FTFY if fix != "encoding"]
    assert applied(damaged, *others) == ftfy_itself(damaged, others) == damaged


@pytest.mark.corpora
def test_ftfys_own_cases(corpora):
    """151 are repaired as ftfy's authors wish; in 10 known failures we fail as ftfy does."""
    cases = records("ftfy_cases", corpora)
    ours = Normalize(fixes=FTFY).apply(arrow([case["original"] for case in cases])).texts
    config = ftfy.TextFixerConfig(
        fix_latin_ligatures=False, fix_character_width=False, uncurl_quotes=False
    )
    theirs = [ftfy.fix_and_explain(case["original"], config).text for case in cases]
    assert ours.to_pylist() == theirs
    # The wished answers are those of ftfy's whole default: what we leave off is added to ours.
    whole = [ftfy.fix_and_explain(text).text for text in ours.to_pylist()]
    assert whole == [ftfy.fix_and_explain(case["original"]).text for case in cases]
    wished = {case["id"]: case["fixed"] for case in cases if case["expect"] == "pass"}
    assert (len(cases), len(wished)) == (161, 151)
    for case, text in zip(cases, whole, strict=True):
        assert text == wished.get(case["id"], text)


@pytest.fixture(scope="module", params=CORPORA)
def sample(request, corpora):
    return some_texts(request.param, corpora, 120)


@pytest.mark.corpora
def test_equal_to_ftfy_on_real_text(sample):
    """On every corpus the result is ftfy's, byte for byte, and BADNESS_RE agrees."""
    assert Normalize(fixes=FTFY).apply(arrow(sample)).texts.to_pylist() == [
        ftfy_itself(text) for text in sample
    ]
    bad = [bool(BADNESS_RE.search(text)) for text in sample]
    assert pl.Series(sample).str.contains(badness_in_rust()).to_list() == bad
