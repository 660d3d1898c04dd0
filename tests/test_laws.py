"""Laws of the whole pipeline, on small corpora that Hypothesis makes.

The passes run in this process, through the same `Work` as a real run; real processes, kills and
Prefect are tests of their own.
"""

import random
from pathlib import Path

import orjson
import polars as pl
import pytest
from conftest import InProcess, digests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cleanpipe import store
from cleanpipe.outcome import Run
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps

WORDS = [
    "the",
    "river",
    "of",
    "stone",
    "and",
    "have",
    "with",
    "that",
    "people",
    "who",
    "walk",
    "along",
    "it",
    "every",
    "single",
    "morning",
]
SLOW = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=12)).capitalize() + "."


@st.composite
def corpora_of_faults(draw):
    """Documents with exact and near duplicates, short, empty, null and broken ones among them."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    bodies = [[sentence(chance) for _ in range(chance.randint(4, 12))] for _ in range(12)]
    documents = []
    for number in range(draw(st.integers(0, 40))):
        body = list(chance.choice(bodies))
        kind = chance.choice(["plain", "plain", "near", "short", "empty", "null", "dirty"])
        if kind == "near":
            body[0] = sentence(chance)
        text = {"short": "too short", "empty": " \n ", "null": None}.get(kind, " ".join(body))
        if kind == "dirty":
            text = text.replace(" ", "  ") + "\r\n caf\u00c3\u00a9 \x07"
        documents.append(
            {
                "id": f"d{number}",
                "text": text,
                "lang": chance.choice(["en", "de", None]),
                "url": f"https://example.org/{number % 7}",
            }
        )
    return documents


def lay_out(folder: Path, documents: list[dict], cuts: int, seed: int) -> None:
    """Spread documents over shards at random: which file, and where in it."""
    chance = random.Random(seed)
    shards: list[list[bytes]] = [[] for _ in range(cuts)]
    order = list(documents)
    chance.shuffle(order)
    for document in order:
        chance.choice(shards).append(orjson.dumps(document))
    folder.mkdir(parents=True)
    names = [f"shard-{number}.jsonl" for number in range(cuts)]
    chance.shuffle(names)
    for name, lines in zip(names, shards, strict=True):
        (folder / name).write_bytes(b"\n".join([*lines, b"{broken"]) + b"\n")


RECIPE = {
    "version": 1,
    "max_quarantined": 1.0,
    "measure": {"language": False},
    "filter": {"words": {"low": 20}},
    "balance": {"by": "lang", "strategy": "temperature", "max_epochs": 3},
    "augment": {"operations": ["fim", "sentence_shuffle"]},
}


def clean(
    folder: Path, inputs: list[str], *, seed: int = 5, workers: int = 1, **sections: object
) -> Run:
    """Run the pipeline in this process and give what it published."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "recipe.yaml"
    known = {
        **RECIPE,
        "seed": seed,
        "input": [{"path": path, "id": "id"} for path in inputs],
        "output": {"path": "out", "shard_size": "4KB"},
        **sections,
    }
    recipe.write_bytes(orjson.dumps(known))
    work = Work(load(recipe), InProcess(workers), lambda *_: None)
    return all_steps(work)


def rows_of(run: Run) -> list[dict]:
    """The rows of all parts, in an order of their own."""
    read = {".parquet": pl.read_parquet, ".zst": pl.read_ndjson}
    rows = [row for part in run.parts for row in read[part.suffix](part).to_dicts()]
    return sorted(rows, key=orjson.dumps)


@SLOW
@given(documents=corpora_of_faults(), workers=st.integers(1, 3), seed=st.integers(0, 99))
def test_files_in_any_order_and_any_workers_give_the_same_bytes(
    tmp_path_factory, documents, workers, seed
):
    """The order in which files are named, and who works on them, changes no byte."""
    folder = tmp_path_factory.mktemp("law")
    lay_out(folder / "in", documents, 4, seed)
    names = [f"../in/shard-{number}.jsonl" for number in range(4)]
    first = clean(folder / "a", names)
    second = clean(folder / "b", names[::-1], workers=workers)
    assert digests(first.output) == digests(second.output)


@SLOW
@given(documents=corpora_of_faults(), cuts=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_same_documents_in_other_files_give_the_same_rows(
    tmp_path_factory, documents, cuts, seed
):
    """Where a document stands changes neither its verdict nor the rows that are written."""
    folder = tmp_path_factory.mktemp("law")
    lay_out(folder / "one" / "in", documents, 1, 0)
    lay_out(folder / "two" / "in", documents, cuts, seed)
    one = clean(folder / "one", ["in/*.jsonl"])
    two = clean(folder / "two", ["in/*.jsonl"])
    assert rows_of(one) == rows_of(two)


@SLOW
@given(
    documents=corpora_of_faults(),
    cuts=st.integers(1, 5),
    seed=st.integers(0, 99),
    form=st.sampled_from(["parquet", "jsonl"]),
)
def test_columns_of_unlike_values_are_the_same_in_other_files(
    tmp_path_factory, documents, cuts, seed, form
):
    """Objects with other keys and values of other types nearby change no verdict and no value."""
    folder = tmp_path_factory.mktemp("law")
    chance = random.Random(seed)
    for document in documents:
        inner = {"x": {"b": chance.choice([1, 0.5])}, "y": ["q"], "a": 2, "z": {}, "w": None}
        keys = chance.sample(sorted(inner), chance.randint(0, 5))
        document["meta"] = {key: inner[key] for key in keys}
        document["mixed"] = chance.choice([1, 1.0, 2.5, "1", True, [1.0], {"a": None}, None])
        document["number"] = chance.choice([1, 2**60]) if seed % 2 else chance.choice([1, 0.5])
    lay_out(folder / "one" / "in", documents, 1, 0)
    lay_out(folder / "two" / "in", documents, cuts, seed)
    output = {"path": "out", "shard_size": "4KB", "format": form}
    one = clean(folder / "one", ["in/*.jsonl"], output=output)
    two = clean(folder / "two", ["in/*.jsonl"], output=output)
    assert rows_of(one) == rows_of(two)


@SLOW
@given(documents=corpora_of_faults(), order=st.booleans())
def test_the_books_balance_and_no_document_is_lost(tmp_path_factory, documents, order):
    """Every document has one line in the ledger, and the sums hold."""
    folder = tmp_path_factory.mktemp("law")
    lay_out(folder / "in", documents, 3, 1)
    stages = ["filter", "dedup", "balance"] if order else ["dedup", "filter", "balance"]
    run = clean(folder, ["in/*.jsonl"], order=stages)
    ledger = run.verdicts.collect()
    named = ledger.filter(pl.col("verdict") != "quarantined")["id"].to_list()
    assert sorted(named) == sorted(document["id"] for document in documents)
    counted = run.stats["documents"]
    assert counted["quarantined"] == 3  # a broken line in each of three shards
    assert counted["read"] == counted["kept"] + counted["dropped"] + counted["quarantined"]
    assert counted["written"] == counted["kept"] + counted["added"] == len(rows_of(run))
    assert ledger.filter(pl.col("verdict") == "dropped")["rule"].null_count() == 0


@SLOW
@given(documents=corpora_of_faults(), seed=st.integers(0, 2**64 - 1))
def test_a_duplicate_is_verified(tmp_path_factory, documents, seed):
    """Whatever the seed, a near-duplicate is as similar as it says to a document that is kept.

    The Jaccard similarity of word 5-grams is counted here in plain Python.
    """
    folder = tmp_path_factory.mktemp("law")
    lay_out(folder / "in", documents, 2, 1)
    run = clean(folder, ["in/*.jsonl"], seed=seed, balance=None, augment=None)
    texts = {d["id"]: d["text"] for d in documents}
    ledger = run.verdicts.collect()
    kept = set(ledger.filter(pl.col("verdict") == "kept")["id"].to_list())
    for row in ledger.filter(pl.col("stage") == "dedup").to_dicts():
        assert row["duplicate_of"] in kept
        if row["rule"] == "near":
            exact = jaccard(texts[row["id"]], texts[row["duplicate_of"]])
            assert exact == pytest.approx(row["similarity"])
            assert exact >= 0.8


def jaccard(one: str, two: str) -> float:
    """Jaccard similarity of the sets of word 5-grams, letters and digits only."""
    sets = []
    for text in (one, two):
        plain = text.replace("\u00c3\u00a9", "\u00e9").replace("\x07", "")
        words = "".join(c if c.isalnum() else " " for c in plain.casefold()).split()
        sets.append({tuple(words[i : i + 5]) for i in range(max(len(words) - 4, 1))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_the_input_is_not_touched(tmp_path):
    """Inputs may be read-only, and have the same bytes afterwards."""
    documents = [
        {"id": str(i), "text": f"{i} " + " ".join(WORDS * 3), "lang": "en"} for i in range(30)
    ]
    lay_out(tmp_path / "in", documents, 3, 0)
    files = sorted((tmp_path / "in").iterdir())
    before = [store.file_hash(path) for path in files]
    for path in files:
        path.chmod(0o444)
    (tmp_path / "in").chmod(0o555)
    clean(tmp_path, ["in/*.jsonl"])
    assert [store.file_hash(path) for path in files] == before


def test_another_seed_makes_other_choices_and_the_same_books(tmp_path):
    """The seed decides which equal documents balance drops, and nothing about how many."""
    documents = [
        {"id": str(i), "text": f"{i} " + sentence(random.Random(i)) * 4, "lang": "en"}
        for i in range(60)
    ]
    lay_out(tmp_path / "in", documents, 3, 0)
    smaller = {"by": "lang", "strategy": "proportional", "budget": 4000, "unit": "bytes"}
    runs = [
        clean(tmp_path / str(seed), ["../in/*.jsonl"], seed=seed, balance=smaller, dedup=None)
        for seed in (1, 2)
    ]
    kept = [{row["id"] for row in rows_of(run)} for run in runs]
    assert kept[0] != kept[1]
    assert abs(len(kept[0]) - len(kept[1])) <= 3
