"""The scan: its counts against tests/reference.py, labelled cases, hostile input, and its cache."""

import os
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import counts, fold, tokenize
from stability_reference import stability_counts
from written_reference import written_tokens

from cleanpipe.kernels import make_unicode, unicode
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.minhash import permutations, signature
from cleanpipe.kernels.scan import COUNTS, DERIVED, ENTROPIES, INTEGERS, scan
from cleanpipe.kernels.tokens import PUBLIC_INIT, PUBLIC_MULTIPLIER, fold_words, hash_word

NO_PERMUTATIONS = permutations(0, 1)
ALPHABET = (
    "abAB1  \n\n''\u2019...…!?#-•éßẞİΩжд漢字かカーไทยั้កိမြन्कि्آسلா。\uff01\uff1f」\"“”()「１²Ⅷ٣"
    "\u0301\ufe0f\u200d😀👩\ufffd\x00\x0b\x1c\x85\u2028\u3000\xa0"
)


def scanned(texts):
    """The counts of each text as a dict, entropies in bits or None as in the reference."""
    offsets, data = text_buffers(pa.array(texts, pa.large_string()))
    table, *_ = scan(offsets, data, 5, *NO_PERMUTATIONS)
    rows = [dict(zip(COUNTS, row, strict=True)) for row in table.tolist()]
    for row in rows:
        for name in ENTROPIES:
            row[name] = None if row[name] == -1 else row[name] / 2**16
    return rows


def assert_equal_reference(texts):
    for text, found in zip(texts, scanned(texts), strict=True):
        wanted = counts(text) | stability_counts(text)
        wanted["written"], wanted["written_alpha"] = written_tokens(text)
        for name in ENTROPIES:
            entropy = wanted.pop(name)
            assert found.pop(name) == (
                entropy if entropy is None else pytest.approx(entropy, abs=2**-16)
            ), name
        assert found == wanted, ascii(text[:200])


@settings(max_examples=300)
@given(st.lists(st.text(ALPHABET, max_size=120), max_size=8))
def test_counts_equal_the_reference_on_any_mixture_of_scripts(texts):
    """Letters, marks, quotes, stops and spaces of many scripts in any order: the same counts."""
    assert_equal_reference(texts)


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_counts_equal_the_reference_on_any_text(text):
    """Any code points at all: the same counts."""
    assert_equal_reference([text])


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from("ab.\n "), max_size=300).map("".join),
    st.integers(min_value=1, max_value=12),
)
def test_counts_equal_the_reference_on_repetitive_text(text, times):
    """Few different tokens, repeated with every period: the same counts."""
    assert_equal_reference([text * times])


def documents(path, number):
    step = zstandard.ZstdDecompressor().stream_reader(path.open("rb"))
    with step as lines:
        texts = [orjson.loads(line)["text"] for line in lines.read().splitlines()]
    return [text[:2000] for text in texts[:: max(1, len(texts) // number)][:number]]


@pytest.mark.corpora
@pytest.mark.parametrize(
    "name",
    [
        "debian_descriptions/data.jsonl.zst",
        "20news_bydate/data.jsonl.zst",
        "web_pages/fulltext.jsonl.zst",
        "udhr/data.jsonl.zst",
    ],
)
def test_counts_equal_the_reference_on_real_documents(corpora, name):
    """Five hundred documents spread over the corpus, their first 2,000 characters."""
    assert_equal_reference(documents(corpora / name, 500))


WINDOW = "one two three four five six seven eight " * 16

CASES = [
    ("", {"bytes": 0, "lines": 0, "paragraphs": 0, "sentences": 0, "line_pieces": 1}),
    ("  \n \n", {"words": 0, "pretokens": 0, "lines": 2, "paragraphs": 0, "spaces": 5}),
    ("\n\n\n", {"lines": 3, "line_pieces": 2, "dup_lines": 1, "dup_line_chars": 0}),
    ("don't 'quote' dogs'", {"words": 3, "pretokens": 6, "word_chars": 14, "puncts": 4}),
    ("caf\u0065\u0301's", {"words": 1, "max_word_length": 7, "alpha_tokens": 1}),
    ("3.14 v2 --- ###", {"words": 3, "pretokens": 6, "digits": 4, "hashes": 3}),
    ("漢字かな交じり文", {"words": 8, "max_word_length": 1, "chars": 8, "bytes": 24}),
    ("สวัสดี", {"words": 4, "word_chars": 6}),  # two vowel signs stay with their letters
    ("हिन्दी में", {"words": 2, "max_word_length": 6}),
    ("One. Two? “Three!” 4.5", {"sentences": 3}),
    ("一。二\uff01三\uff1f", {"sentences": 3}),
    ("no mark at all", {"sentences": 1}),
    ("e.g. this", {"sentences": 1}),
    ("wait... what…\nso......\nend", {"ellipses": 4, "ellipsis_lines": 2, "lines": 3}),
    ("- one\n  • two\nthree - four\n--", {"bullet_lines": 3}),
    ("The the be to BE", {"stop_words": 3}),
    ("a\nb\n\na\n", {"dup_lines": 1, "dup_line_chars": 1, "line_pieces": 4}),
    (" p q\n\nr\n\np q ", {"paragraphs": 3, "dup_paras": 1, "dup_para_chars": 3}),
    ("ab c ab c", {"top_2gram_chars": 8, "top_3gram_chars": 0}),
    ("ab c d", {"top_2gram_chars": 0}),  # once is no repetition
    ("a b c d e x a b c d e", {"dup_5gram_chars": 5, "dup_6gram_chars": 0}),
    ("a b c d e " * 3, {"dup_5gram_chars": 10, "dup_6gram_chars": 6}),
    ("x y x y x y x", {"repeat_run": 3, "repeat_tokens": 7}),
    ("x x y y z", {"repeat_run": 2, "repeat_tokens": 0}),
    ("all differ here", {"repeat_run": 1, "repeat_tokens": 0}),
    (WINDOW, {"window_entropy_min": 3.0, "repeat_run": 16}),
    ("word " * 127, {"window_entropy_min": None, "repeat_run": 127}),
    ("word " * 128, {"window_entropy_min": 0.0, "repeat_tokens": 128}),
    ("\ufffd\x00\x07\t\x0b ok\x85", {"replacement_chars": 1, "control_chars": 4, "spaces": 4}),
]


@pytest.mark.parametrize(("text", "wanted"), CASES, ids=range(len(CASES)))
def test_a_labelled_text_has_the_counts_worked_out_by_hand(text, wanted):
    """Each case shows one definition; the reference agrees with the hand."""
    (found,) = scanned([text])
    assert {name: found[name] for name in wanted} == wanted
    assert_equal_reference([text])


def hostile(size):
    random = np.random.default_rng(7)
    return {
        "one character": "x" * size,
        "one symbol": "!" * size,
        "one word": "word " * (size // 5),
        "two symbols": "!?" * (size // 2),
        "newlines": "\n" * size,
        "lines": "a\n" * (size // 2),
        "paragraphs": "a\n\n" * (size // 3),
        "spaces": " " * size,
        "marks": "\u0301" * (size // 2),
        "closing brackets": ".)" * (size // 2),
        "open sentences": "." + ")" * size,
        "apostrophes": "a'" * (size // 2),
        "noise": bytes(random.integers(0, 128, size, np.uint8)).decode(),
        "code points": random.integers(0x100, 0xD800, size // 2, np.uint32)
        .tobytes()
        .decode("utf-32-le"),
    }


@pytest.mark.parametrize("name", hostile(8))
def test_a_scan_takes_linear_time_on_hostile_text(name):
    """Four times as much of it takes no ten times as long, and 8 MB less than ten seconds."""
    seconds = []
    for size in (2_000_000, 8_000_000):
        scanned([""])  # loads the kernel
        offsets, data = text_buffers(pa.array([hostile(size)[name]], pa.large_string()))
        start = time.thread_time()
        scan(offsets, data, 5, *NO_PERMUTATIONS)
        seconds.append(time.thread_time() - start)
    assert seconds[1] < max(10 * seconds[0], 0.5)
    assert seconds[1] < 10


@settings(max_examples=100)
@given(st.text(ALPHABET, max_size=80))
def test_folded_words_are_the_references(text):
    """fold_words hashes each word folded, or each symbol of a text without words."""
    offsets, data = text_buffers(pa.array([text], pa.large_string()))
    out = np.empty(len(text.encode()) + 1, np.uint64)
    n = fold_words(data, offsets[0], offsets[1], PUBLIC_INIT, PUBLIC_MULTIPLIER, out)
    tokens = tokenize(text)
    words = [fold(token) for token, is_word in tokens if is_word]
    wanted = words or [token for token, _ in tokens]
    assert out[:n].tolist() == [int(hash_word(word)) for word in wanted]


@settings(max_examples=100)
@given(st.lists(st.text(ALPHABET, max_size=60), max_size=5))
def test_a_scans_signatures_are_those_of_the_folded_words(texts):
    """The scan signs the words that fold_words gives: a text has one signature on every way."""
    a, b = permutations(16, 1)
    offsets, data = text_buffers(pa.array(texts, pa.large_string()))
    _, signatures, _ = scan(offsets, data, 3, a, b)
    words = np.empty(max(offsets[-1], 1), np.uint64)
    for i in range(len(texts)):
        n = fold_words(data, offsets[i], offsets[i + 1], PUBLIC_INIT, PUBLIC_MULTIPLIER, words)
        wanted = np.empty(16, np.uint32)
        signature(words, n, 3, a, b, wanted)
        assert signatures[i].tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("one", "other"), [("Don't", "dont"), ("STRASSE", "strasse"), ("ẞ", "ß"), ("ΣΑΣ", "σας")]
)
def test_folding_makes_words_equal(one, other):
    """Case and apostrophes do not tell words apart in a shingle; final sigma neither."""
    hashes = []
    for word in (one, other):
        data = np.frombuffer(word.encode(), np.uint8)
        out = np.empty(len(data), np.uint64)
        assert fold_words(data, 0, len(data), PUBLIC_INIT, PUBLIC_MULTIPLIER, out) == 1
        hashes.append(out[0])
    assert hashes[0] == hashes[1]


def test_a_scan_does_not_depend_on_the_texts_around_it():
    """A text has the same counts alone, among others, and in a slice."""
    texts = ["a b a b " * 50, "", "漢字。" * 40, WINDOW, "x\n\nx\n\nx", "one"]
    together = scanned(texts)
    assert together == [scanned([text])[0] for text in texts]
    array = pa.array(texts, pa.large_string())[2:5]
    table, *_ = scan(*text_buffers(array), 5, *NO_PERMUTATIONS)
    assert [row[0] for row in table.tolist()] == [row["bytes"] for row in together[2:5]]


def test_a_scan_of_nothing_has_no_rows():
    """No texts, no rows; every column is there all the same."""
    table, signatures, _ = scan(
        *text_buffers(pa.array([], pa.large_string())), 5, *permutations(4, 1)
    )
    assert table.shape == (0, len(COUNTS))
    assert signatures.shape == (0, 4)


def test_every_measure_is_made_of_counts():
    """The names that measures are derived from are columns of the scan, each measure named once."""
    assert {name for _, *parts in DERIVED for name in parts} | set(INTEGERS) <= set(COUNTS)
    names = [name for name, *_ in DERIVED] + list(INTEGERS)
    assert len(names) == len(set(names))


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="the table is of Unicode 14")
def test_the_unicode_table_is_what_its_script_writes():
    """The table in the repository is the script's, for every code point."""
    every = np.arange(sys.maxunicode + 1)
    low = every & 255
    flags = unicode.FLAG_ROWS[(unicode.FLAG_PAGES[every >> 8].astype(np.int64) << 8) | low]
    steps = unicode.FOLD_ROWS[(unicode.FOLD_PAGES[every >> 8].astype(np.int64) << 8) | low]
    assert (flags == make_unicode.class_flags()).all()
    assert (steps == make_unicode.fold_steps()).all()


def test_text_buffers_refuses_32_bit_offsets():
    """A string array of 32-bit offsets would be read as garbage: it is named, with the way out."""
    with pytest.raises(TypeError, match=r"large_string.*found string.*cast"):
        text_buffers(pa.array(["a"]))


def cache_folder(code="import cleanpipe.kernels as k; print(k.CACHE_FOLDER)", **environment):
    kept = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | environment
    result = subprocess.run(
        [sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True
    )
    return Path(result.stdout.strip())


def test_the_cache_is_named_by_the_kernels_and_a_child_agrees(tmp_path):
    """The folder lies where the user says, and a child process nests no second one in it."""
    folder = cache_folder(XDG_CACHE_HOME=str(tmp_path))
    assert folder.parent == tmp_path / "cleanpipe"
    assert folder.name.startswith("kernels-")
    assert folder == cache_folder(NUMBA_CACHE_DIR=str(tmp_path))
    assert folder == cache_folder(NUMBA_CACHE_DIR=str(folder))


def test_without_a_writable_cache_a_private_folder_serves(tmp_path):
    """Where the cache cannot be made, the kernels lie in a folder that only the user writes."""
    blocked = tmp_path / "file"
    blocked.touch()
    folder = cache_folder(XDG_CACHE_HOME=str(blocked), TMPDIR=str(tmp_path))
    assert folder.is_relative_to(tmp_path)
    assert folder.relative_to(tmp_path).parts[0] == f"cleanpipe-{os.getuid()}"
    assert (tmp_path / folder.relative_to(tmp_path).parts[0]).stat().st_mode & 0o777 == 0o700


def test_a_temporary_folder_of_someone_else_is_not_used(tmp_path):
    """Compiled code is unpickled: a folder that others can write to is passed by."""
    blocked = tmp_path / "file"
    blocked.touch()
    planted = tmp_path / f"cleanpipe-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    folder = cache_folder(XDG_CACHE_HOME=str(blocked), TMPDIR=str(tmp_path))
    assert not folder.is_relative_to(planted)
