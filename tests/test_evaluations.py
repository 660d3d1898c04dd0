"""Evaluation sets: the kernel against a slow reference, labelled cases, laws, files, templates."""

import gzip
import json
import random
from itertools import pairwise
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa
import pytest
import zstandard
from evaluations_reference import looked_for, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cleanpipe.kernels import overlap
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.jaccard import secret_key
from cleanpipe.measures.evaluations import SHARED, Evaluations, table
from cleanpipe.measures.measuring import Measure
from cleanpipe.text.normalize import Normalize

CASES = json.loads((Path(__file__).parent / "cases" / "evaluations.json").read_bytes())
PLAIN = Normalize(fixes=())
WORD = st.sampled_from(["a", "B", "b", "c", "d's", "ss", "ß", "漢字", "-", "...", "\n"])
TEXT = st.lists(WORD, max_size=40).map(" ".join)
NUMBERS = [f"n{i}" for i in range(60)]


def found(texts, documents, ngram, seed=5):
    """For each document (words, inside, {example: (seen, of)}), by the kernel."""
    evaluations = Evaluations(sets={"one": "nowhere"}, ngram=ngram)
    examples = pa.array(texts, pa.large_string())
    runs = evaluations.runs(examples, seed)
    if not len(runs.hashes):
        return None
    words, inside, ends, met, seen = overlap.shared(
        *text_buffers(pa.array(documents, pa.large_string())),
        table([runs], ngram),
        *secret_key(seed),
    )
    of = runs.of.tolist()
    return [
        (words[i], inside[i], {met[k]: (seen[k], of[met[k]]) for k in range(start, stop)})
        for i, (start, stop) in enumerate(pairwise(ends))
    ]


@settings(max_examples=200)
@given(st.lists(TEXT, min_size=1, max_size=14), st.lists(TEXT, min_size=1), st.integers(2, 10))
def test_the_kernel_is_the_slow_reference(examples, documents, ngram):
    """Words, words inside runs, and each example's seen words, of any texts and lengths of runs."""
    wanted = [shared(document, examples, ngram) for document in documents]
    known = found(examples, documents, ngram)
    if known is None:
        assert not any(runs for _, runs, _ in looked_for(examples, ngram))
        return
    assert known == wanted


@settings(max_examples=30)
@given(st.integers(0, 1 << 32))
def test_pieces_of_examples_are_found_among_many(seed):
    """Thousands of runs, so that buckets and marks are shared; documents hold parts of examples."""
    chance = random.Random(seed)
    examples = [" ".join(chance.choices(NUMBERS, k=chance.randrange(5, 60))) for _ in range(80)]
    documents = []
    for _ in range(8):
        words = chance.choices(NUMBERS, k=30)
        for text in chance.sample(examples, 3):
            piece = text.split()
            start = chance.randrange(len(piece))
            words += [*piece[start : start + chance.randrange(4, 40)], "x"]
        documents.append(" ".join(words))
    assert found(examples, documents, 8) == [shared(one, examples, 8) for one in documents]


@pytest.mark.parametrize("case", [pytest.param(c, id=c["label"]) for c in CASES])
def test_labelled_cases(tmp_path, case):
    """What one document sees of one example, by the file and the normalization of both."""
    (tmp_path / "set.jsonl").write_bytes(orjson.dumps({"text": case["example"]}))
    longer = " ".join(NUMBERS)  # a set in which nothing can be looked for would be refused
    (tmp_path / "other.jsonl").write_bytes(orjson.dumps({"text": longer}))
    sets = {"one": str(tmp_path / "set.jsonl"), "other": str(tmp_path / "other.jsonl")}
    texts = Normalize().apply(pa.array([case["document"]], pa.large_string())).texts
    row = Evaluations(sets=sets).shared(texts, Normalize(), 1).row(0, named=True)
    if case["seen"] is None:
        assert row == {
            "contaminated_words": 0, "contaminated_frac": 0, "seen_example_frac": 0, SHARED: []
        }  # fmt: skip
        return
    seen, of = case["seen"]
    assert row[SHARED] == [
        {"set": "one", "example": 0, "id": "set.jsonl:0", "seen": seen, "of": of}
    ]
    assert row["seen_example_frac"] == seen / of
    assert 0 < row["contaminated_frac"] <= 1
    assert row["contaminated_words"] > 0


@given(TEXT, TEXT, TEXT)
def test_more_text_around_takes_nothing_back(before, example, after):
    """What a document sees of an example, a longer one with it inside sees, too."""
    known = found([example, "q " * 9], [example, f"{before}\n{example}\n{after}"], 3)
    alone, longer = (one[2].get(0, (0, 0))[0] for one in known)
    has_word = any(char.isalnum() for char in example)
    assert longer >= alone or not has_word  # symbols count only where there is no word at all


def test_short_examples_are_looked_for_in_whole():
    """Of fewer words than a run, but eight or more: all of them in a row, or nothing."""
    short, long = " ".join(NUMBERS[:9]), " ".join(NUMBERS[20:40])
    documents = [f"x {short} y", " ".join(NUMBERS[1:9]), f"{short} {long}"]
    known = found([short, long, "n1 n2"], documents, 13)
    assert [one[2] for one in known] == [{0: (9, 9)}, {}, {0: (9, 9), 1: (20, 20)}]


def test_a_template_counts_on_neither_side():
    """Words that more than ten examples begin with are no example's: what is left decides."""
    template = "please answer the following question about the history of the world"
    questions = [f"{template} {' '.join(f'q{i}w{k}' for k in range(12))}" for i in range(30)]
    documents = [template, questions[4].removeprefix(template), questions[5]]
    known = found(questions, documents, 8)
    assert known[0] == (11, 0, {})
    assert known[1] == (12, 12, {4: (12, 12)})
    assert known[2] == (23, 19, {5: (12, 12)})  # runs of both, in the document, are the example's
    ten = found(questions[:10], [template], 8)  # ten may share a text: a passage, a speech
    assert len(ten[0][2]) == 10


def test_an_example_of_two_templates_is_nobodys():
    """Its runs over the seam are in no other example, but none of their words is its own."""
    one, two = " ".join(NUMBERS[:8]), " ".join(NUMBERS[8:16])
    examples = [f"{one} q{i}" for i in range(11)] + [f"{two} r{i}" for i in range(11)]
    known = found([*examples, f"{one} {two}"], [f"{one} {two}", f"{one} q3"], 8)
    assert known == [(16, 0, {}), (9, 8, {3: (1, 1)})]


def write(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return str(path)


ROWS = [{"id": f"q{i}", "question": f"{' '.join(NUMBERS[i : i + 10])}, what?"} for i in range(3)]
LINES = b"\n".join(map(orjson.dumps, ROWS)) + b"\n"


def parquet(folder):
    pl.DataFrame(ROWS).write_parquet(folder / "set.parquet")
    return str(folder / "set.parquet")


FILES = {
    "parquet": parquet,
    "jsonl": lambda folder: write(folder, "set.jsonl", LINES),
    "jsonl.gz": lambda folder: write(folder, "set.jsonl.gz", gzip.compress(LINES)),
    "jsonl.zst": lambda folder: write(folder, "set.jsonl.zst", zstandard.compress(LINES)),
    "csv": lambda folder: write(folder, "set.csv", pl.DataFrame(ROWS).write_csv().encode()),
}


@pytest.mark.parametrize("kind", FILES)
def test_sets_in_any_format(tmp_path, kind):
    """Every format gives the same examples, with their ids."""
    sets = {"mine": {"path": FILES[kind](tmp_path), "text": "question"}}
    texts = pa.array([row["question"] for row in ROWS], pa.large_string())
    row = Evaluations(sets=sets).shared(texts[:1], PLAIN, 3).row(0, named=True)
    assert [(one["id"], one["seen"]) for one in row[SHARED]] == [("q0", 11), ("q1", 9), ("q2", 8)]


def test_a_text_file_holds_an_example_a_line(tmp_path):
    """Named by their places."""
    path = write(tmp_path, "set.txt", "\n".join(row["question"] for row in ROWS).encode())
    texts = pa.array([ROWS[2]["question"]], pa.large_string())
    row = Evaluations(sets={"mine": path}).shared(texts, PLAIN, 3).row(0, named=True)
    assert row[SHARED][0]["id"] == "set.txt:2"


def test_sets_are_kept_apart(tmp_path):
    """A folder of files is one set; the same text in two sets is seen in both."""
    (tmp_path / "mmlu").mkdir()
    write(tmp_path / "mmlu", "a.txt", ROWS[0]["question"].encode())
    write(tmp_path / "mmlu", "b.txt", ROWS[2]["question"].encode())
    other = write(tmp_path, "set.jsonl", LINES)
    sets = {"mmlu": str(tmp_path / "mmlu"), "mine": {"path": other, "text": "question", "id": "id"}}
    texts = pa.array([ROWS[2]["question"]], pa.large_string())
    row = Evaluations(sets=sets).shared(texts, PLAIN, 3).row(0, named=True)
    assert [(one["set"], one["id"]) for one in row[SHARED]][:2] == [
        ("mmlu", "b.txt:0"), ("mine", "q2")
    ]  # fmt: skip
    told, problems = Evaluations(sets=sets).describe(PLAIN, 3)
    assert not problems
    assert {name: one["examples"] for name, one in told["sets"].items()} == {"mmlu": 2, "mine": 3}


@pytest.mark.parametrize(
    ("data", "given", "says"),
    [
        (b"", {}, "holds no example: expected texts in the column 'text'"),
        (b'{"text": null}\n', {}, "holds no example"),
        (LINES, {}, "holds no example: expected texts in the column 'text'"),
        (LINES, {"text": "question", "id": "uid"}, "has no column 'uid': its columns are id"),
        (LINES + b"{", {"text": "question"}, "row 3: not_json"),
        (b'{"text": "\xff"}\n', {}, "row 0: not_utf8"),
        (b'{"text": ["a"]}\n', {}, "row 0: text_is_not_a_string"),
        (b'{"text": "too few words"}\n', {}, "none of its 1 examples can be looked for: 1 have"),
    ],
)
def test_a_set_that_finds_nothing_is_refused(tmp_path, data, given, says):
    """Empty, unreadable in part, without the column, or of short examples only: by its name."""
    path = write(tmp_path, "set.jsonl", data)
    evaluations = Evaluations(sets={"mine": {"path": path, **given}})
    _, ((option, what),) = evaluations.describe(PLAIN, 1)
    assert option == "measure.evaluations.sets.mine"
    assert says in what


def test_a_changed_file_is_read_again(tmp_path):
    """One process that looks twice takes the file as it is then."""
    path = write(tmp_path, "set.txt", ROWS[0]["question"].encode())
    evaluations = Evaluations(sets={"mine": path})
    texts = pa.array(["o1 o2 o3 o4 o5 o6 o7 o8"], pa.large_string())
    assert evaluations.shared(texts, PLAIN, 1)["seen_example_frac"].to_list() == [0]
    before = evaluations.identity()
    write(tmp_path, "set.txt", texts[0].as_py().encode())
    assert evaluations.shared(texts, PLAIN, 1)["seen_example_frac"].to_list() == [1]
    assert evaluations.identity() != before


def test_options_that_cannot_be_are_refused():
    """No set, a run of one word, a measure of the same name."""
    for options in ({}, {"sets": {}}, {"sets": {"a b": "x"}}, {"sets": {"a": "x"}, "ngram": 1},
                    {"sets": {"a": {"text": "x"}}}):  # fmt: skip
        with pytest.raises(ValidationError):
            Evaluations.model_validate(options)
    with pytest.raises(ValueError, match="'seen_example_frac' is a measure already"):
        Measure(models={"seen_example_frac": "model.bin"})
    assert Measure(evaluations=False).evaluations is None
