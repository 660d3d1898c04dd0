"""The one form of a URL: pairs that are one page and pairs that are not, and its laws."""

import json
import string
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe.rules.url_forms import TRACKING, TRACKING_BEGINS, one_form

CASES = json.loads((Path(__file__).parent / "cases" / "url_form.json").read_bytes())
PIECE = st.text(alphabet="ab%2Fc3+~é ", max_size=6)
NAME = st.text(alphabet=string.ascii_lowercase, min_size=1, max_size=3)
QUERY = st.lists(st.tuples(NAME, NAME), max_size=6, unique_by=lambda pair: pair[0])


def forms(*urls):
    return one_form(pl.Series(urls, dtype=pl.String)).to_list()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=case["label"],
            marks=[pytest.mark.xfail(strict=True, reason=case["known_failure"])]
            if "known_failure" in case
            else [],
        )
        for case in CASES
    ],
)
def test_pairs(case):
    """One page, or two."""
    one, other = forms(*case["urls"])
    assert (one == other) is case["same"], (one, other)


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.text(),
            st.text(alphabet="abw./:@[]%\\?#&=; 2fF1é"),
            st.tuples(PIECE, PIECE).map(lambda p: f"http://www.e.org/{p[0]}/?{p[1]}"),
        ),
        min_size=1,
    )
)
def test_a_form_is_its_own_form(texts):
    """Any text has one, no other text's place or neighbours matter, and it is settled."""
    found = forms(*texts)
    assert forms(*found) == found
    assert found[::-1] == forms(*texts[::-1])
    assert [one is None for one in found] == [one is None for one in texts]


@given(QUERY, st.randoms(use_true_random=False))
def test_order_and_tracking_change_nothing(pairs, chance):
    """Parameters shuffled, with tracking among them, are the same; without them another page."""
    tracking = [(name, "1") for name in chance.sample(TRACKING, 3)]
    tracking += [(begin + "x", "1") for begin in TRACKING_BEGINS]
    shuffled = [*pairs, *chance.sample(tracking, 4)]
    chance.shuffle(shuffled)
    plain, other = (f"http://e.org/a?{urlencode(query)}" for query in (pairs, shuffled))
    one, same = forms(plain, other)
    assert one == same
    assert sorted(parse_qsl(one.partition("?")[2])) == sorted(pairs)
    fewer, more = forms(plain, f"{plain}&id=7")
    assert fewer != more


def seconds(text):
    started = time.process_time()
    forms(text)
    return time.process_time() - started


@pytest.mark.parametrize("piece", ["/", "%41", "www.", "&utm_=1", "&a=1", ";jsessionid=", "é"])
def test_long_urls_take_linear_time(piece):
    """Sixteen times as long takes less than sixty times, in path and query (a square: 256)."""
    for before in ("http://e.org/", "http://e.org/?"):
        forms(before + piece)
        short = min(seconds(before + piece * 10_000) for _ in range(3))
        assert seconds(before + piece * 160_000) < 60 * max(short, 0.002)
