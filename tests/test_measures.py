"""The measures that the scan's counts give: labelled cases, hostile text, zlib's ranks."""

import importlib
import json
import math
import time
import zlib
from decimal import Decimal
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from reference import counts
from scipy.stats import spearmanr

import cleanpipe
from cleanpipe.kernels import logs
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.minhash import permutations
from cleanpipe.kernels.scan import COUNTS, scan
from cleanpipe.measures.measuring import Measure
from cleanpipe.rules.filter import MEASURES
from cleanpipe.stats.diversity import SAMPLED
from cleanpipe.stats.histograms import edges, histogram

measure = importlib.import_module("cleanpipe.measures.measure")
CASES = json.loads((Path(__file__).parent / "cases" / "measures.json").read_bytes())
NO_PERMUTATIONS = permutations(0, 1)


def measured(texts):
    return measure.measures(pa.array(texts, pa.large_string()), None, 0, Measure(language=False))


@pytest.mark.parametrize("case", CASES, ids=[case["label"] for case in CASES])
def test_a_labelled_text_has_the_measures_worked_out_by_hand(case):
    """Each case shows one definition, or a text that is easily mistaken."""
    (row,) = measured([case["original"]]).select(*case["expected"]).to_dicts()
    assert row == pytest.approx(case["expected"], abs=1e-15), case["comment"]


BAD = {
    "empty": "",
    "one character": "x",
    "one character of four bytes": "\U0001f600",
    "one word": "word",
    "spaces": " \t\u3000" * 1000,
    "newlines": "\n" * 1000,
    "replacement characters": "\ufffd" * 5000,
    "marks": "a" + "\u0301" * 5000,
    "marks alone": "\u0301" * 5000,
    "controls": "\x00\x01\x1f\x7f" * 1000,
    "a million lines": "a\n" * 1_000_000,
    "blank lines": " \n" * 100_000,
    "one line": "a b " * 100_000,
    "brackets": "{" * 5000,
    "mojibake": "Ã©" * 5000,
    "unfinished mojibake": "Ã" * 5000 + "â€",
    "lorem": "lorem ips" * 5000,
    "private use": "\ue000\U0010ffff" * 1000,
}


@pytest.mark.parametrize("name", BAD)
def test_every_text_has_every_measure(name):
    """Hostile and empty texts too: a number for each measure, finite, fractions of parts below 1.

    Only measures of windows may be null, where there is none.
    """
    frame = measured([BAD[name]]).drop(SAMPLED)
    wanted = [n for n, kind in MEASURES.items() if kind != pl.String and "lang" not in n]
    wanted.remove("removed_word_frac")
    assert sorted(frame.columns) == sorted(wanted)
    for column in frame:
        (value,) = column
        if value is None:
            assert column.name in {"window_entropy_min", "window_period_max"}
            continue
        assert math.isfinite(value)
        assert value >= 0, column.name
        if column.name.endswith("_frac") and not column.name.startswith(("top_", "alpha_")):
            assert value <= 1, column.name
        assert histogram(column.name, column)["count"] == 1
        assert len(np.unique(edges(column.name))) == len(edges(column.name))


def hostile(size):
    random = np.random.default_rng(3)
    return {
        "one byte": b"x" * size,
        "two bytes": b"xy" * (size // 2),
        "noise": random.integers(32, 127, size, np.uint8).tobytes(),
        "a long period": random.integers(32, 127, 20_000, np.uint8).tobytes() * (size // 20_000),
        "brackets": b"{" * size,
        "lorem": b"lorem ips" * (size // 9),
        "mojibake": "Ã©".encode() * (size // 4),
        "unfinished mojibake": "Ã".encode() * (size // 2),
        "blank lines": b" " * 1000 * (size // 1001) + b"\n",
        "the same blank line": (b" " * 1000 + b"\n") * (size // 1001),
        "distinct words": b" ".join(b"%d" % i for i in range(size // 8)),
    }


@pytest.mark.parametrize("name", hostile(80_000))
def test_measures_take_linear_time_on_hostile_text(name):
    """Four times as much of it takes no ten times as long."""
    seconds = []
    for size in (500_000, 2_000_000):
        texts = pa.array([hostile(size)[name].decode()], pa.large_string())
        scan(*text_buffers(texts[:0]), 5, *NO_PERMUTATIONS)  # loads the kernel
        start = time.thread_time()
        scan(*text_buffers(texts), 5, *NO_PERMUTATIONS)
        seconds.append(time.thread_time() - start)
    assert seconds[1] < max(10 * seconds[0], 0.2)


@given(st.integers(min_value=1, max_value=2**62))
def test_the_integer_logarithm_is_the_logarithm(number):
    """To the nearest of its units, or the next one where the digits beyond are lost."""
    exact = Decimal(number).ln() / Decimal(2).ln() * 2**logs.LOG_BITS
    assert abs(int(logs.log2(number)) - exact) <= Decimal("0.501")
    if number < 2**31:
        assert abs(int(logs.weight(number)) - exact * number) <= number


def test_entropy_of_many_words_is_exact():
    """A hundred thousand words, some of them above the table of logarithms, to 2^-16 bits."""
    words = ["the"] * 60_000 + ["of"] * 30_000 + [f"w{i}" for i in range(10_000)]
    shares = np.array([0.6, 0.3] + [1e-5] * 10_000)
    (found,) = measured([" ".join(words)])["unigram_entropy"]
    assert found == pytest.approx(-(shares * np.log2(shares)).sum(), abs=2**-16)
    assert found * 2**16 == int(found * 2**16)


def test_long_texts_are_sampled_window_by_window():
    """The first window of 32 kB and every fourth whole one; as the reference reckons them."""
    random = np.random.default_rng(5)
    words = ["".join(chr(97 + c) for c in random.integers(0, 26, 5)) for _ in range(500)]
    text = " ".join(words[i] for i in random.integers(0, 500, 50_000))
    offsets, data = text_buffers(pa.array([text[:170_000], text[:140_000]], pa.large_string()))
    table, *_ = scan(offsets, data, 5, *NO_PERMUTATIONS)
    for row, size, seen in zip(table.tolist(), (170_000, 140_000), (65_536, 32_768), strict=True):
        found = dict(zip(COUNTS, row, strict=True))
        assert found["lz_bytes"] == seen
        assert found["lz_coded"] == pytest.approx(counts(text[:size])["lz_coded"], abs=1)


def test_what_repeats_compresses():
    """One byte ten thousand times, words, and noise stand in this order."""
    noise = np.random.default_rng(1).integers(32, 127, 10_000, np.uint8).tobytes().decode()
    words = "all the words of a text that goes on and on in its own way, " * 5
    one, some, none = measured(["x" * 10_000, words, noise])["compression_ratio"]
    assert one > 100
    assert 2 < some < 10
    assert 1 < none < 1.25


@pytest.mark.corpora
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("debian_descriptions/data.jsonl.zst", 0.97),
        ("20news_bydate/data.jsonl.zst", 0.97),
        ("web_pages/fulltext.jsonl.zst", 0.95),
        ("udhr/data.jsonl.zst", 0.95),
    ],
)
def test_compression_ratio_ranks_documents_as_zlib_does(corpora, name, least):
    """Spearman's rank correlation with the ratio of zlib at level 6, over 3,000 documents."""
    with zstandard.ZstdDecompressor().stream_reader((corpora / name).open("rb")) as lines:
        texts = [orjson.loads(line)["text"] for line in lines.read().splitlines()]
    texts = [text for text in texts[:: max(1, len(texts) // 3000)] if text]
    zlibs = [len(text.encode()) / len(zlib.compress(text.encode(), 6)) for text in texts]
    assert spearmanr(measured(texts)["compression_ratio"], zlibs).statistic > least


@pytest.mark.parametrize("function", [cleanpipe.measure, cleanpipe.signatures, cleanpipe.normalize])
def test_a_lone_surrogate_is_named(function):
    """Python's strings can have one, UTF-8 cannot: the text, the place and the way out are told."""
    with pytest.raises(ValueError, match=r"text 1 has .* U\+D800, at character 2.*replace it"):
        function(["fine", "a \ud800 b"])
