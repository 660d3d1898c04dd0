"""Rephrasing by a model elsewhere: a small local program stands for the model."""

import random
import subprocess
import sys

import orjson
import polars as pl
import pytest
from conftest import InProcess

from cleanpipe.augmenting.rephrase import requests
from cleanpipe.cli.cli import app
from cleanpipe.errors import RecipeError
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps

WORDS = (
    *("ferry", "pier", "gulls", "bread", "wall", "waves", "rain", "noon", "lamp", "night"),
    *("boat", "harbour", "rope", "tide", "bell", "window", "garden", "market", "letter", "stone"),
)
MODEL = """
import json, sys
for number, line in enumerate(open(sys.argv[1], encoding="utf-8")):
    request = json.loads(line)
    text = request["prompt"].partition(": ")[2]
    turned = " ".join(reversed(text.split()))
    answer = [turned, text, "", "x", turned * 3, "Der Regen kam, und niemand ging hinaus. " * 9][
        number % 6
    ]
    print(json.dumps({"id": request["id"], "text": answer}))
print(json.dumps({"id": "nobody-1", "text": "asked"}))
print("no json at all")
print(json.dumps({"id": request["id"], "text": "again"}))
"""


def document(number):
    """A text of thirty words in English, unlike the others."""
    words = random.Random(number).choices(WORDS, k=24)
    return f"This is what we saw on day {number}: the {' and the '.join(words)} were there."


@pytest.fixture
def corpus(tmp_path, write_recipe):
    """A function that cleans `in` and more inputs by a recipe that asks for one copy of each."""

    def clean(*more, count=60, **augment):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        lines = (
            orjson.dumps({"id": f"d{n}", "text": document(n), "source": "days", "held": n == 3})
            for n in range(count)
        )
        (folder / "a.jsonl").write_bytes(b"\n".join(lines))
        external = {"generator": "turner 1", "prompts": {"turn": "Turn this: {text}"}}
        known = {
            "input": ["in/*.jsonl", *more],
            "filter": {"words": {"low": 10}},
            "dedup": {},
            "balance": {"by": "source", "unit": "documents", "budget": 2 * count, "max_epochs": 2},
            "augment": {"external": external, "held_out": "held", **augment},
            "output": {"path": "out"},
        }
        return all_steps(Work(load(write_recipe(**known)), InProcess(), lambda *_: None))

    return clean


def call(*tokens):
    with pytest.raises(SystemExit) as end:
        app(list(map(str, tokens)))
    assert end.value.code in {0, None}


def test_requests_out_answers_back(corpus, tmp_path, capsys):
    """A prompt for each copy; answers pass every guard or are refused by name.

    The next run reads them as documents, with their parent and generator.
    """
    run = corpus()
    assert run.stats["copies"]["written"] == 0
    asked, said = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    call("augment", "requests", run.output, "--output", asked)
    sent = [orjson.loads(line) for line in asked.read_bytes().splitlines()]
    assert len(sent) == 59  # not of d3, which is held out
    assert {one["prompt"] for one in sent} == {
        f"Turn this: {document(n)}" for n in range(60) if n != 3
    }
    assert asked.stat().st_mode & 0o777 == 0o600
    program = tmp_path / "model.py"
    program.write_text(MODEL, encoding="utf-8")
    with said.open("wb") as file:
        subprocess.run([sys.executable, program, asked], check=True, stdout=file)
    capsys.readouterr()
    taken, refused = tmp_path / "accepted.parquet", tmp_path / "refused.jsonl"
    call("augment", "answers", run.output, said, "--output", taken, "--refused", refused, "--json")
    told = orjson.loads(capsys.readouterr().out)
    assert told["answers"] == 59 + 3
    assert told["accepted"] == 10
    assert told["refused"] == {
        "length": 20,
        "empty": 10,
        "repeated": 10,
        "language": 9,
        "answered_before": 1,
        "no_answer": 1,
        "no_request": 1,
    }
    assert told["accepted"] + sum(told["refused"].values()) == told["answers"]
    assert len(refused.read_bytes().splitlines()) == sum(told["refused"].values())
    rows = pl.read_parquet(taken)
    texts = {f"d{n}": document(n) for n in range(60)}
    for row in rows.iter_rows(named=True):
        assert sorted(row["text"].split()) == sorted(texts[row["parent"]].split())
        assert (row["generator"], row["source"]) == ("turner 1", "days")

    again = corpus("accepted.parquet")
    parts = pl.concat([pl.read_parquet(path) for path in again.parts])
    assert parts.filter(generator="turner 1").height == 10
    assert again.stats["documents"]["kept"] == 70


def test_no_more_answers_than_the_share(corpus, tmp_path):
    """max_share bounds what is accepted, by the text that the run kept."""
    run = corpus(max_share=0.1)
    asked, said = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    call("augment", "requests", run.output, "--output", asked)
    sent = [orjson.loads(line) for line in asked.read_bytes().splitlines()]
    answers = ({"id": one["id"], "text": " ".join(reversed(one["prompt"].split()))} for one in sent)
    said.write_bytes(b"\n".join(map(orjson.dumps, answers)))
    taken = tmp_path / "accepted.parquet"
    call("augment", "answers", run.output, said, "--output", taken)
    size = pl.read_parquet(taken)["text"].str.len_bytes().sum()
    assert 0 < size <= run.stats["clean"]["bytes"] / 9


def test_a_recipe_without_external_is_refused(corpus):
    """The message says what to add; so does one for a prompt without a place for the text."""
    run = corpus(external=None, operations=["case"])
    with pytest.raises(RecipeError, match=r"has no augment\.external: add"):
        next(requests(run))
    with pytest.raises(RecipeError, match=r"add \{text\}"):
        corpus(external={"generator": "m", "prompts": {"a": "Rephrase."}})
