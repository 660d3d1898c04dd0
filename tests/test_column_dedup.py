"""Duplicates by a column: which values are one, who stays, against a slow reference."""

import io
import sys

import orjson
import polars as pl
import pytest
from conftest import InProcess
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from cleanpipe.cli.console import show_story
from cleanpipe.duplicates.dedup import COLUMN_HASHES, Column, Dedup, Near
from cleanpipe.errors import RecipeError
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps
from cleanpipe.run import run as run_it

VALUE = st.sampled_from(
    [None, "", " ", "a", "A", "http://a.org", "https://www.a.org/", "http://a.org/?utm_id=1", "7"]
)
ROW = st.tuples(VALUE, st.integers(1, 3), st.integers(0, 5))


def table_of(rows, column, seed=3):
    values = pl.Series([row[0] for row in rows], dtype=pl.String)
    frame = pl.DataFrame(
        {
            "chars": [row[1] for row in rows],
            "replacement_chars": [0] * len(rows),
            "id": [None] * len(rows),
            "key": pl.Series([row[2] for row in rows], dtype=pl.UInt64),
            "shard": [0] * len(rows),
            "row": list(range(len(rows))),
        },
        schema_overrides={"id": pl.String},
    )
    return frame.hstack(column.hashes(values, seed))


@given(st.lists(ROW), st.sampled_from(["none", "url"]), st.sampled_from([None, Near()]))
def test_the_best_of_equal_values_stands_for_them(rows, normalize, near):
    """As a loop over all says: the longest, then by chance; no value stands for itself alone."""
    column = Column(name="url", normalize=normalize)
    forms = column.forms(pl.Series([row[0] for row in rows], dtype=pl.String)).to_list()
    wanted = []
    for number, form in enumerate(forms):
        alike = [i for i, other in enumerate(forms) if other == form] if form else [number]
        wanted.append(min(alike, key=lambda i: (-rows[i][1], rows[i][2], i)))
    dedup = Dedup(near=near, column=column)
    assert dedup.column_duplicates(table_of(rows, column)).tolist() == wanted


def test_what_is_no_value_duplicates_nothing():
    """Null, the empty text and blanks, as they are or as URLs."""
    for normalize in ("none", "url"):
        values = pl.Series([None, None, "", "", " ", "\n ", "x", "x"], dtype=pl.String)
        hashes = Column(name="c", normalize=normalize).hashes(values, 1)
        assert hashes.columns == list(COLUMN_HASHES)
        assert hashes["column_lo"].is_null().to_list() == [True] * 6 + [False] * 2
        assert hashes.rows()[6] == hashes.rows()[7]


def test_values_are_compared_as_they_are_or_in_their_form():
    """`none` tells apart what `url` takes for one page."""
    values = pl.Series(["http://a.org/x", "https://www.a.org/x/", "http://a.org/X"])
    assert Column(name="u").forms(values).n_unique() == 3
    assert Column(name="u", normalize="url").forms(values).to_list() == [
        "a.org/x", "a.org/x", "a.org/X"
    ]  # fmt: skip
    for options in ({}, {"name": ""}, {"name": "u", "normalize": "urls"}):
        with pytest.raises(ValidationError):
            Column.model_validate(options)


PAGES = [
    ("a", "http://e.org/x?utm_source=1", "the first text of a page, in short"),
    ("b", "https://www.e.org/x/", "the second text of that page, which is longer than the first"),
    ("c", "http://e.org/x?id=7", "an item of the page, which is another page for that"),
    ("d", None, "no address here, and a text of its own"),
    ("e", None, "no address there, either, and another text"),
    ("f", " ", "an empty address"),
    ("g", "", "another empty address"),
    ("h", "http://e.org/y", "a text that stands at two addresses"),
    ("i", "http://e.org/z", "a text that stands at two addresses"),
    ("j", "http://e.org/z#top", "a text at one of these addresses, a longer one, to be kept there"),
]


@pytest.fixture
def clean(tmp_path):
    """A function that cleans PAGES in some files, and gives the run."""

    def run(dedup, shards=1, workers=None, name="out", **sections):
        folder = tmp_path / f"in{shards}"
        folder.mkdir(exist_ok=True)
        rows = [orjson.dumps({"id": i, "text": text, "url": url, "n": 1}) for i, url, text in PAGES]
        for shard in range(shards):
            (folder / f"{shard}.jsonl").write_bytes(b"\n".join(rows[shard::shards]))
        recipe = {"seed": 5, "input": {"path": f"{folder.name}/*.jsonl"}, "measure": False}
        recipe |= {"dedup": dedup, "output": {"path": name}, **sections}
        (tmp_path / "recipe.yaml").write_bytes(orjson.dumps(recipe))
        known = load(tmp_path / "recipe.yaml")
        if workers:
            return run_it(known, workers=workers)
        return all_steps(Work(known, InProcess(), lambda *_: None))

    return run


BY_URL = {"column": {"name": "url", "normalize": "url"}}


def dropped(run):
    rows = run.verdicts.filter(pl.col("verdict") == "dropped").collect().to_dicts()
    return {row["id"]: (row["rule"], row["duplicate_of"]) for row in rows}


def test_a_run_keeps_the_best_of_each_page(clean):
    """The longest text of a page stays; equal texts and similar ones are compared after that."""
    run = clean(BY_URL)
    assert dropped(run) == {"a": ("column", "b"), "i": ("column", "j")}
    told = run.verdicts.filter(pl.col("id") == "a").collect().row(0, named=True)
    nothing = ("value", "low", "high", "similarity")
    assert told["stage"] == "dedup"
    assert [told[name] for name in nothing] == [None] * 4
    assert run.stats["duplicates"]["column"] == 2
    (story,) = run.why("a")
    assert story["equal"] == {
        "column": "url",
        "compared": "e.org/x",
        "value": "http://e.org/x?utm_source=1",
        "other": "https://www.e.org/x/",
    }
    shown = Console(file=io.StringIO(), width=200)
    show_story(shown, story)
    assert "both have url e.org/x: http://e.org/x?utm_source=1 here" in shown.file.getvalue()
    assert "2 documents with an equal value in a column" in run.report.read_text()


def test_without_normalization_addresses_are_as_they_are(clean):
    """Then h and i have their texts in common, and nothing else is one."""
    run = clean({"column": "url"})
    assert {rule for rule, _ in dropped(run).values()} == {"exact"}
    assert len(dropped(run)) == 1


def test_who_gave_way_by_a_value_still_names_whose_value_it_has(clean, monkeypatch):
    """That one gives way to an equal text elsewhere: `why` says so, and all are one cluster."""
    pages = [
        ("a", "http://e.org/x", "a short text"),
        ("z", "http://e.org/x", "the long text of that page, which stands elsewhere, too"),
        ("c", "http://e.org/y", "the long text of that page, which stands elsewhere, too"),
    ]
    monkeypatch.setattr(sys.modules[__name__], "PAGES", pages)
    run = clean(BY_URL)
    assert dropped(run) == {"a": ("column", "z"), "z": ("exact", "c")}
    told = run.why("a")[0]["representative"]
    assert (told["verdict"], told["rule"]) == ("dropped", "exact")
    sizes = run.verdicts.collect()["cluster_size"]
    assert sizes.to_list() == [3, 3, 3]


def test_files_workers_and_a_question_change_nothing(clean):
    """The same documents stay; `decide` knows of the same drops, and what it cannot answer."""
    wanted = dropped(clean(BY_URL))
    assert dropped(clean(BY_URL, shards=4, name="four")) == wanted
    spawned = clean(BY_URL, shards=4, workers=2, name="two")
    assert dropped(spawned) == wanted
    found = spawned.decide({"filter.words.low": "7"})
    stages = {(row["stage"], row["rule"]): row for row in found["stages"]}
    assert stages["dedup", "column"]["after"]["documents"] == [2, 2]
    with pytest.raises(RecipeError, match=r"needs a run: dedup\.column"):
        spawned.decide({"dedup.column.normalize": "none"})


def test_a_column_that_is_not_there_is_refused(clean):
    """By its place, before anything is measured; a measure is no column, and numbers are values."""
    for name in ("link", "words"):
        with pytest.raises(RecipeError, match=f"dedup.column: '{name}' is no column of the input"):
            clean({"column": name})
    assert len(dropped(clean({"column": "n", "near": None}, name="n"))) == len(PAGES) - 1
