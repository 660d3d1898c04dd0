import csv
import json
import subprocess
import sys
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path

import ftfy
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
import zstandard
from ruamel.yaml import YAML

from cleanpipe.balancing.balance import Balance
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.jaccard import intersection, secret_key, shingle_sets
from cleanpipe.measures.language import Language

SAMPLE = Path(__file__).parents[1] / "sample_data"
RECIPE = SAMPLE.parent / "configs" / "sample.yaml"
SOURCES = {".py", ".template", ""}  # the last are folders


def forum_lines(folder):
    return (
        zstandard.ZstdDecompressor()
        .decompress((folder / "forum.jsonl.zst").read_bytes())
        .split(b"\n")[:-1]
    )


def arrow_tables(folder):
    with pa.ipc.open_file(folder / "web.arrow") as web:
        yield web.read_all()
    with pa.ipc.open_stream(folder / "letters.arrows") as letters:
        yield letters.read_all()
    yield pa.parquet.read_table(folder / "news.parquet")


def csv_rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def expected():
    return csv_rows(SAMPLE / "expected.csv")


@pytest.fixture(scope="module")
def texts():
    """The text of every document that has an id of its own."""
    rows = [row for table in arrow_tables(SAMPLE) for row in table.to_pylist()]
    rows += csv_rows(SAMPLE / "notes.csv")
    for line in forum_lines(SAMPLE):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            rows.append(document)
    return {row["id"]: row["text"] for row in rows}


@pytest.fixture(scope="module")
def kept(expected, texts):
    return {
        row["id"]: ftfy.fix_text(texts[row["id"]]) for row in expected if row["verdict"] == "kept"
    }


def similarities(documents):
    """The Jaccard similarity of word 5-grams of every pair."""
    offsets, data = text_buffers(pa.array(list(documents.values()), pa.large_string()))
    ends, hashes = shingle_sets(offsets, data, 5, *secret_key(1))
    sets = [hashes[start:end] for start, end in pairwise(ends)]
    names = list(documents)
    for i, one in enumerate(sets):
        for j in range(i):
            both = intersection(one, sets[j], 0)
            yield {names[i], names[j]}, both / (len(one) + len(sets[j]) - both)


def test_the_script_writes_what_is_committed(tmp_path):
    """The files come out the same; of Arrow and Parquet the documents, as containers may change."""
    script = SAMPLE / "make_sample_data.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=120)
    for name in ("expected.csv", "README.md", "notes.csv"):
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes(), name
    assert forum_lines(tmp_path) == forum_lines(SAMPLE)
    for ours, theirs in zip(arrow_tables(tmp_path), arrow_tables(SAMPLE), strict=True):
        assert ours.equals(theirs)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {path.name for path in SAMPLE.iterdir() if path.suffix not in SOURCES}


def test_the_sample_is_small():
    """Everything a clone must fetch for the demo stays under 1.5 MB."""
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 1_500_000


def test_every_document_is_expected_once(expected, texts):
    """expected.csv has one row for every document and every line that is none, and no other."""
    names = [row["id"] for row in expected]
    assert len(set(names)) == len(names) >= 300
    quarantined = {row["id"] for row in expected if row["verdict"] == "quarantined"}
    assert set(names) - quarantined == set(texts)
    assert {row["verdict"] for row in expected} == {"kept", "dropped", "quarantined"}
    assert all(bool(row["stage"]) == bool(row["rule"]) for row in expected)
    assert all((row["verdict"] == "kept") == (not row["rule"]) for row in expected)


def test_lines_that_are_no_document_stand_where_expected_says(expected):
    """The three broken lines are broken in the way they are named after."""
    lines = forum_lines(SAMPLE)
    row = {one["rule"]: int(one["id"].split(":")[1]) for one in expected if ":" in one["id"]}
    with pytest.raises(UnicodeDecodeError):
        lines[row["not_utf8"]].decode()
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[row["not_json"]])
    assert isinstance(json.loads(lines[row["not_an_object"]]), list)
    assert len(row) == 3


def test_duplicates_are_as_alike_as_promised(expected, texts):
    """Near-duplicates are about 0.9 alike and shorter than what is kept, the similar about 0.6."""
    bounds = {
        "exact_duplicate": (1, 1),
        "exact_after_repair": (1, 1),
        "near_duplicate": (0.85, 0.97),
        "similar": (0.5, 0.7),
    }
    seen = Counter()
    for row in expected:
        if row["fault"] not in bounds:
            continue
        original = row["why"].split()[-1]
        pair = {name: texts[name] for name in (original, row["id"])}
        ((_, alike),) = similarities(pair)
        low, high = bounds[row["fault"]]
        assert low <= alike <= high, (row["id"], alike)
        seen[row["fault"]] += 1
        if row["fault"] == "near_duplicate":
            assert len(pair[row["id"]]) < len(pair[original])
        elif row["fault"] != "similar":
            assert original < row["id"]
    assert all(seen[fault] >= 2 for fault in bounds)


def test_nothing_kept_is_alike_by_accident(expected, kept):
    """No two kept documents come near the threshold, but for those that are planted so."""
    planted = [{row["id"], row["why"].split()[-1]} for row in expected if row["fault"] == "similar"]
    close = [pair for pair, alike in similarities(kept) if alike > 0.4]
    assert sorted(map(sorted, close)) == sorted(map(sorted, planted))


def test_what_repair_is_for_is_there(expected, texts):
    """Each document with a reparable fault really has it."""
    signs = {
        "mojibake": lambda text: ftfy.fix_encoding(text) != text,
        "html_entities": lambda text: "&amp;" in text,
        "control_characters": lambda text: "\x07" in text,
        "terminal_escapes": lambda text: "\x1b[31m" in text,
        "crlf": lambda text: "\r\n" in text,
        "decomposed": lambda text: not unicodedata.is_normalized("NFC", text),
    }
    for row in expected:
        sign = signs.get(row["fault"])
        assert sign is None or sign(texts[row["id"]]), row["id"]
    clean = [texts[row["id"]] for row in expected if row["fault"] == "none"]
    assert not any(sign(text) for sign in signs.values() for text in clean)


def test_the_recipe_adds_copies_and_drops_nobody(kept):
    """By its settings of balance, every group of the clean text gains, and none is cut."""
    offsets, data = text_buffers(pa.array(list(kept.values()), pa.large_string()))
    langs = Language().identify(offsets, data)["lang"]
    assert set(langs) == {"en", "de", "es", "fr", "ru", "ja"}
    balance = Balance(**YAML(typ="safe").load(RECIPE.read_text("utf-8"))["balance"])
    chances = np.random.RandomState(0).randint(0, 2**63, len(langs), dtype=np.uint64)
    table = pl.DataFrame({"group": langs, "size": np.diff(offsets), "chance": chances})
    copies = balance.copies(table)
    assert set(copies.tolist()) == {1, 2}
    # 2 %: what is normalized otherwise than here must not make English shrink.
    assert balance.report(table, copies)["epochs"].min() > 1.02


def test_the_recipe_reads_every_file():
    """The demo's recipe names all files of the sample, by paths relative to itself."""
    recipe = YAML(typ="safe").load(RECIPE.read_text("utf-8"))
    named = {(RECIPE.parent / one["path"]).resolve() for one in recipe["input"]}
    assert named == {
        SAMPLE / name
        for name in (
            "web.arrow",
            "news.parquet",
            "forum.jsonl.zst",
            "notes.csv",
            "letters.arrows",
        )
    }
    assert len({one["source"] for one in recipe["input"]}) == len(named)
