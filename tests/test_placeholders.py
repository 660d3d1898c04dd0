"""Addresses and long runs: the spans that regular expressions find, replaced once and for all."""

import re
import time

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from slow_fixes import emails, ips

from cleanpipe.text.normalize import Normalize, normalize
from cleanpipe.text.placeholders import Pii, UnbrokenRuns, without_urls

PIECES = [
    *("a", "b.c", "x", "A", "é", "邮", "²", "\u0301", "_", "-", "--", "+", "|", "/", "'", "=", "!"),
    *("@", "@", "@b.de", ".", "..", " ", "\n", "[", "]", "[1.2.3.", ":", "]", "<", ">", "0", "7"),
    *("1.2.3.", "255", "256", "199", "8.8.8.8", "10.0.0.1", "01.2.3.4", "300", "25", "2", "\u200d"),
]
RUNS = ["a", "b" * 5, "c" * 9, "é", "한" * 7, " ", "\n", "\u00a0", "\u2003", "漢", "ไ", "ー", "😀"]
LIKE_ADDRESSES = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@settings(max_examples=1000)
@given(LIKE_ADDRESSES)
@example("x@b.de|a@c.de")
@example("a@[1.2.3.4] a@[1.2.3.tag:] a@[1.2.3.256]")
@example("邮a@b.c _a@b.c ²a@b.c \u0301a@b.c")
def test_emails_are_what_the_expression_matches(text):
    """The kernel replaces datatrove's spans."""
    assert Pii(email="<EMAIL>").emails(pl.Series([text]))[0] == emails(text, "<EMAIL>")


@settings(max_examples=1000)
@given(LIKE_ADDRESSES, st.booleans())
@example("999.1.2.3.256", True)
@example("1.2.3.4.5.6.7.8.9", True)
def test_ips_are_what_the_expression_matches(text, public_only):
    """The kernel replaces datatrove's spans; Python's ipaddress says which are public."""
    pii = Pii(ip="<IP>", public_only=public_only)
    assert pii.ips(pl.Series([text]))[0] == ips(text, "<IP>", public_only)


@settings(max_examples=300)
@given(st.lists(LIKE_ADDRESSES, max_size=5))
def test_texts_do_not_touch_one_another(texts):
    """Neighbours in a column lend each other no character."""
    pii = Pii(email="<EMAIL>", ip="<IP>")
    column = pl.Series(["x", *texts, "@b.de"], dtype=pl.String)[1:-1]
    assert pii.ips(pii.emails(column)).to_list() == [
        ips(emails(text, "<EMAIL>"), "<IP>") for text in texts
    ]


@settings(max_examples=500)
@given(st.lists(st.sampled_from(RUNS), max_size=30).map("".join))
def test_runs_are_what_the_expression_matches(text):
    """White space and letters of scripts without spaces end a run; its length is in characters."""
    run = r"[^\s漢ไー]{11,}"
    found = UnbrokenRuns(longer_than=10)(pl.Series([text, "x", text])).to_list()
    assert found == [re.sub(run, "", text), "x", re.sub(run, "", text)]


@pytest.mark.parametrize(
    "placeholder", ["<EMAIL>", "[EMAIL]", "<e-mail>", "(e@mail)", "…", "", "电子邮件", "<$1>"]
)
@settings(max_examples=100)
@given(text=LIKE_ADDRESSES)
def test_twice_is_once_for_any_placeholder_that_is_taken(placeholder, text):
    """A placeholder that passes validation is never part of an address."""
    pii = {"email": placeholder, "ip": placeholder}
    once = normalize([text], fixes=[], pii=pii)
    assert normalize(once, fixes=[], pii=pii).to_list() == once.to_list()


@pytest.mark.parametrize(
    ("pii", "told"),
    [
        ({"email": "email@example.com"}, "'email@example.com' is, or could join"),
        ({"email": "email"}, "such as <EMAIL>"),
        ({"email": "|||EMAIL_ADDRESS|||"}, "such as <EMAIL>"),
        ({"email": "<a@b.c>"}, "an e-mail address"),
        ({"ip": "22.214.171.124"}, "an IP address"),
        ({"ip": "IP 1"}, "such as <IP>"),
        ({"ip": "<8.8.8.8>"}, "an IP address"),
    ],
)
def test_a_placeholder_that_could_be_an_address_is_refused(pii, told):
    """It would be replaced again, or grow, each time the fixes go over the text."""
    with pytest.raises(ValidationError, match=re.escape(told)):
        Normalize(pii=pii)


def test_other_placeholders_that_cannot_stay_are_refused():
    """A web address for web addresses, a run for runs."""
    with pytest.raises(ValidationError, match="could be read as an address"):
        Normalize(urls="http://removed")
    with pytest.raises(ValidationError, match="expected fewer than half of longer_than"):
        Normalize(unbroken_runs={"longer_than": 10, "placeholder": "<LONG-RUN>"})


def test_the_spans_of_datatrove_go_with_any_placeholder():
    """What is left out or null stays; e-mail goes before IP, as there."""
    text = "root@8.8.8.8 at 8.8.8.8"
    both = {"email": "<EMAIL>", "ip": "<IP>"}
    assert normalize([text], fixes=[], pii=both).to_list() == ["<EMAIL> at <IP>"]
    assert normalize([text], fixes=[], pii={"ip": "<IP>"}).to_list() == ["root@<IP> at <IP>"]
    assert normalize([text], fixes=[], pii={"email": None}).to_list() == [text]


@pytest.mark.parametrize(
    "hostile",
    [
        *("a." * 8, "a@" * 8, "a@b-" * 4, "1." * 8, "http://" * 3, "www." * 4, "http://a,(" * 2),
        *("<a " * 6, "<a x='" * 3, "<script><br>" * 2, "<!--" * 4, "quot;a " * 3, "lt;a " * 3),
        *("\u200b\u200c", "👩\u200d", "\u202e\u200e", "می\u200c", "#34;a " * 3, "&nbsp;<p>"),
    ],
)
def test_hostile_text_takes_linear_time(hostile):
    """Eight times the text takes at most 24 times as long, in all fixes together."""
    model = Normalize(
        fixes=["+zero_width", "+bidi", "+html", "+broken_entities"],
        urls="<URL>",
        pii={"email": "<EMAIL>", "ip": "<IP>"},
        unbroken_runs={"longer_than": 1000},
    )
    seconds = []
    for size in (20_000, 160_000):
        texts = pl.Series([hostile * (size // len(hostile))]).to_arrow(
            compat_level=pl.CompatLevel.oldest()
        )
        started = time.process_time()
        model.apply(texts)
        seconds.append(time.process_time() - started)
    assert seconds[1] < 24 * max(seconds[0], 0.01)


def test_urls_end_where_the_sentence_goes_on():
    """Each of these ends an address, none belongs to it."""
    for end in (".", ",", ";", ":", "!", "?", ")", "]", "'", '"', ">", "…", "。", "、", "”", " "):
        text = f"http://a.org/b{end} c"
        assert without_urls(pl.Series([text]), "U")[0] == f"U{end} c"
