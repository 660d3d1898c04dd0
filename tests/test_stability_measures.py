"""Repeats, periodic windows and encoded data: labelled cases, the slow reference, OLMo's filter."""

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import repeats, tokenize
from stability_reference import periodic_sequences, stability_counts

from cleanpipe import measure
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.minhash import permutations
from cleanpipe.kernels.scan import COUNTS, scan

CASES = json.loads((Path(__file__).parent / "cases" / "blobs.json").read_text("utf-8"))
NO_PERMUTATIONS = permutations(0, 1)
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def scanned(text):
    offsets, data = text_buffers(pa.array([text], pa.large_string()))
    table, *_ = scan(offsets, data, 5, *NO_PERMUTATIONS)
    return dict(zip(COUNTS, table[0].tolist(), strict=True))


def assert_equal_reference(text):
    found, wanted = scanned(text), stability_counts(text)
    assert {name: found[name] for name in wanted} == wanted, ascii(text[:300])


def cases():
    return [
        pytest.param(
            case,
            id=case["label"],
            marks=pytest.mark.xfail(strict=True) if case.get("fails") else (),
        )
        for case in CASES
    ]


@pytest.mark.parametrize("case", cases())
def test_encoded_data_is_told_from_writing(case):
    """Each labelled text has the unbroken run, the base64 and the hexadecimal that it should."""
    found = scanned(case["original"])
    assert {name: found[name] for name in case["expected"]} == case["expected"]


def test_cases_are_of_both_kinds_and_equal_the_reference():
    """Every measure has texts that show it and texts that do not; labels are not given twice."""
    for name in CASES[0]["expected"]:
        assert {case["expected"][name] > 0 for case in CASES} == {True, False}
    assert len({case["label"] for case in CASES}) == len(CASES)
    for case in CASES:
        assert_equal_reference(case["original"])


PIECES = st.one_of(
    st.text("0123456789abcdef", min_size=1, max_size=8),
    st.text("0123456789abcdefABCDEF", min_size=32, max_size=70),
    st.integers(1, 24).flatmap(
        lambda n: st.lists(st.text("0123456789abcdef", min_size=2, max_size=2), min_size=n).map(
            lambda words: " ".join(words * 2)
        )
    ),
    st.text(BASE64, min_size=1, max_size=90),
    st.text(BASE64 + "-_=", min_size=24, max_size=50),
    st.text("aB1", min_size=30, max_size=40),
    st.sampled_from([" ", "\n", "  ", "=", "==", ".", ":", ", ", "0x", "\\x", "u", "'", "|", "-"]),
    st.sampled_from(["the", "h", "\u2019", "é", "и", "漢", "。", "—", "่", "་", "😀", "\uff11"]),
    st.uuids().map(str),
    st.sampled_from(["\xa0", "\u2028", "\x85"]),
)


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_encoded_data_is_counted_as_by_the_reference(text):
    """Hexadecimal and base64 among words, quotes and other scripts, in any order: the same."""
    assert_equal_reference(text)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.text("abc. 漢\n", max_size=14), st.integers(1, 40)), min_size=1, max_size=5
    )
)
def test_periodic_windows_are_counted_as_by_the_reference(stretches):
    """Stretches of many periods, one after the other: the same windows, runs and periods."""
    assert_equal_reference("x y z w " * 20 + "".join(text * times for text, times in stretches))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.text("ab c", max_size=9), st.integers(1, 40)), min_size=1, max_size=5))
def test_repeats_are_those_that_olmos_filter_finds(stretches):
    """From three repeats on, the most repeats and the longest stretch are OLMo's."""
    text = "".join(text * times for text, times in stretches)
    tokens = [token for token, _ in tokenize(text)]
    sequences = periodic_sequences(tokens)
    found = scanned(text)
    if sequences:
        assert found["repeat_run"] == max(times for *_, times in sequences)
        assert found["repeat_tokens"] == max(end - start for start, end, _, _ in sequences)
    else:
        assert found["repeat_run"] <= 2
        assert found["repeat_tokens"] == 0
    assert (found["repeat_run"], found["repeat_tokens"]) == repeats(tokens)


@pytest.mark.parametrize("period", range(1, 15))
def test_thirtytwo_repeats_of_a_span_are_found_up_to_thirteen_tokens(period):
    """What OLMo 2 drops has repeat_run 32, and not 31; a period of 14 is none."""
    span = " ".join(f"w{i}" for i in range(period))
    run, before = (scanned(f"so {' '.join([span] * n)} on")["repeat_run"] for n in (32, 31))
    assert (run, before) == ((32, 31) if period <= 13 else (1, 1))


def test_a_periodic_window_has_share_one_and_a_short_text_none():
    """A window of period 13 is 1.0, of 14 less; 127 tokens are no window: null."""
    thirteen, fourteen = (" ".join(f"w{i % period}" for i in range(128)) for period in (13, 14))
    table = measure([thirteen, fourteen, "word " * 127, "word " * 128, ""])
    assert table["window_period_max"].to_list() == [1.0, 0.0, None, 1.0, None]
    assert table["same_token_run"].to_list() == [1, 1, 127, 128, 0]


def test_shares_of_encoded_data_are_of_all_characters():
    """base64_frac and hex_frac divide by the characters of the text, spaces too."""
    blob = next(case for case in CASES if case["label"] == "a line of base64")["original"]
    table = measure([blob, "0123456789abcdef" * 2 + " " * 32])
    assert table["base64_frac"].to_list() == [64 / len(blob), 0.0]
    assert table["hex_frac"].to_list() == [0.0, 0.5]


HOSTILE = {
    "base64": "Zm9vYmFy1A+/",
    "base64 and spaces": "Zm9vYmFyQmF6cXV4MTIzNDU2Nzg5MGFiY2Q= ",
    "one hexadecimal number": "0123456789abcdef",
    "a dump": "7f 45 4c 46 02 01 01 00 ",
    "pieces of dumps in one word": "g" + "ab12," * 8,
    "pieces of dumps and letters": "ab12," * 8 + "é",
    "runs that are nearly long": "x" * 31 + " ",
    "runs that are just long": "x" * 32 + " ",
    "wide characters": "é",
    "letters that break": "漢",
    "words and letters that break": "a漢",
    "marks": "\u0301",
    "periods that change": "a b c a b c a b c a b a b a b a b a a a a a a ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_scan_takes_linear_time_on_encoded_data(name):
    """Four times as much of it takes no ten times as long, and 8 MB less than ten seconds."""
    seconds = []
    piece = HOSTILE[name]
    for size in (2_000_000, 8_000_000):
        text = piece * (size // len(piece.encode()))
        scanned("")  # loads the kernel
        offsets, data = text_buffers(pa.array([text], pa.large_string()))
        start = time.thread_time()
        scan(offsets, data, 5, *NO_PERMUTATIONS)
        seconds.append(time.thread_time() - start)
    assert seconds[1] < max(10 * seconds[0], 0.5)
    assert seconds[1] < 10


@pytest.mark.corpora
def test_no_language_has_long_runs_or_encoded_data(corpora):
    """The Declaration of Human Rights in every language here holds no base64 and no hexadecimal."""
    from test_kernels import documents

    texts = documents(corpora / "udhr" / "data.jsonl.zst", 600)
    found = [scanned(text) for text in texts]
    assert not any(row["base64_chars"] or row["hex_digits"] for row in found)
    assert np.mean([row["unbroken_run"] > 100 for row in found]) < 0.02
