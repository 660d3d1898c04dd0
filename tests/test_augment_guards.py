"""Augmentation inside a run: the filter, held-out documents, shares, what the books say of it."""

import re
from pathlib import Path
from typing import get_args

import numpy as np
import orjson
import polars as pl
import pytest
from conftest import InProcess, digests
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe.augmenting.augment import Operation, within_share
from cleanpipe.errors import RecipeError
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps

SENTENCES = [
    "The ferry was late again.",
    "Nobody on the pier minded that much!",
    "Was there any bread left in the house?",
    "A boy counted gulls from the wall.",
    "His sister counted only the waves.",
    "Rain came in from the west after noon.",
]


@pytest.fixture
def clean(tmp_path, write_recipe):
    """A function that cleans these documents, and gives the run."""

    def run(documents, **sections):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        lines = (orjson.dumps({"id": f"d{i}", **one}) for i, one in enumerate(documents))
        (folder / "a.jsonl").write_bytes(b"\n".join(lines))
        known = {"input": {"path": "in/*.jsonl"}, "measure": {"language": False}, **sections}
        return all_steps(Work(load(write_recipe(**known)), InProcess(), lambda *_: None))

    return run


def documents(count, lang="cy", **more):
    """Documents of six sentences each, all different."""
    return [
        {"text": " ".join(f"{s[:-1]} {lang} {n}{s[-1]}" for s in SENTENCES), "lang": lang, **more}
        for n in range(count)
    ]


def balance(documents_of_all):
    """Doubles the smaller group of two."""
    return {"by": "lang", "unit": "documents", "budget": documents_of_all, "max_epochs": 2}


def books(run):
    rows = [pl.read_parquet(path) for path in sorted((run.folder / "copies").glob("*.parquet"))]
    return pl.concat(rows) if rows else pl.DataFrame()


def parts(run):
    return pl.concat([pl.read_parquet(path) for path in run.parts])


def test_a_copy_must_pass_the_filter(clean):
    """Every written copy has the sentences that the rule asks for; what has not is left out."""
    texts = documents(20)
    run = clean(
        texts,
        filter={"sentences": {"low": 6}},
        augment={"operations": ["crop"], "similarity": {"crop": {}}},
        balance=balance(40),
    )
    rows = books(run)
    assert run.stats["documents"]["kept"] == 20
    assert set(rows["reason"]) == {"filter.sentences"}
    assert run.stats["copies"]["written"] == 0
    (line,) = run.stats["copies"]["operations"]
    assert (line["outcome"], line["reason"], line["copies"]) == ("left_out", "filter.sentences", 20)
    (group,) = run.stats["groups"]
    assert (group["target"], group["achieved"], group["epochs"]) == (40, 20, 1.0)
    assert "left out: filter.sentences" in run.report.read_text(encoding="utf-8")


def test_the_filter_tries_the_next_seed(clean):
    """A rule that some copies fail and others pass: those that passed were tried for again."""
    wanted = {
        "filter": {"where": "sentences > 4"},
        "augment": {"operations": ["crop"], "similarity": {"crop": {}}},
        "balance": balance(400),
    }
    run = clean(documents(200), **wanted)
    rows = books(run)
    written = rows.filter(outcome="written").height
    # crop leaves 3, 4 or 5 sentences of 6, equally often: 1/3 pass a try, of four 1 - (2/3)^4
    assert written / rows.height == pytest.approx(1 - (2 / 3) ** 4, abs=0.11)
    extra = parts(run).filter(pl.col("copy") > 0)
    assert extra.height == written
    assert run.stats["groups"][0]["achieved"] == 200 + written
    assert (extra["text"].str.count_matches(r"[.!?]") > 4).all()


def test_held_out_documents_are_never_augmented(clean):
    """They get no extra copy, their originals stay as they are, and an alert counts the copies."""
    texts = documents(10, test=True) + documents(10, test=False) + documents(10, test=None)
    run = clean(
        texts,
        augment={"operations": ["sentence_shuffle"], "held_out": "test", "originals": 1},
        balance=balance(60),
    )
    rows = parts(run)
    held = rows.filter(test=True)
    assert held.height == 10
    assert held["augmented_by"].null_count() == 10
    assert rows.filter(pl.col("test").is_null() | ~pl.col("test")).height == 40
    assert run.stats["copies"]["asked"] == run.stats["copies"]["written"] == 20
    assert any("10 extra copies of held-out documents" in alert for alert in run.stats["alerts"])


def test_a_share_of_the_originals_is_augmented_in_place(clean):
    """About half of the originals are, named in their rows and in copies; none is lost or added."""
    texts = documents(300)
    run = clean(texts, augment={"operations": ["fim", "sentence_shuffle"], "originals": 0.5})
    rows = parts(run)
    assert sorted(rows["id"]) == sorted(f"d{n}" for n in range(300))
    changed = rows.filter(pl.col("augmented_by").is_not_null())
    assert 115 < changed.height < 185
    given = {f"d{n}": one["text"] for n, one in enumerate(texts)}
    assert all(given[name] != text for name, text in changed.select("id", "text").iter_rows())
    plain = rows.filter(pl.col("augmented_by").is_null())
    assert all(given[name] == text for name, text in plain.select("id", "text").iter_rows())
    assert sorted(books(run)["id"]) == sorted(changed["id"])
    assert run.stats["copies"]["written"] == 0


def test_copies_differ_from_an_augmented_original(clean):
    """A document's copy is never the text that its augmented original has."""
    run = clean(
        [{"text": "One came. Two went. Three stayed.", "lang": "cy"}] * 60,
        augment={"operations": ["sentence_shuffle"], "originals": 1},
        balance=balance(120),
    )
    found = parts(run).group_by("id").agg(pl.len(), different=pl.col("text").n_unique())
    assert found.filter(pl.col("len") == 2).height > 40
    assert found.filter(pl.col("len") != pl.col("different")).is_empty()


def test_no_more_than_the_share_is_augmented(clean):
    """With max_share 0.25 at most a quarter of what is written is copies, and an alert says it."""
    run = clean(
        documents(40),
        augment={"operations": ["sentence_shuffle"], "max_share": 0.25},
        balance=balance(80),
    )
    rows = parts(run)
    assert rows.filter(pl.col("copy") > 0).height == 13  # of 53; one more would be 14 of 54
    assert any("27 extra copies were not asked for" in alert for alert in run.stats["alerts"])
    assert run.stats["groups"][0]["achieved"] == 53


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), max_size=30), st.floats(0, 1))
def test_within_share_is_a_law(rows, share):
    """Extra copies are at most the share, originals stay, nothing is added."""
    copies = np.array([row[0] for row in rows], np.int32)
    sizes = np.array([row[1] for row in rows], np.int64)
    chances = np.arange(len(rows), dtype=np.uint64)
    bound = within_share(copies, sizes, chances, share)
    assert ((bound > 0) == (copies > 0)).all()
    assert (bound <= copies).all()
    total, extra = int((bound * sizes).sum()), int((np.maximum(bound - 1, 0) * sizes).sum())
    assert extra <= share * total + 1e-6 or (bound == copies).all()
    if (bound < copies).any():
        assert share < 1


def test_the_same_bytes_by_one_worker_and_many_parts(clean, tmp_path):
    """Guards and originals depend on the document alone: parts of any size hold the same rows."""
    wanted = {
        "augment": {"operations": ["crop", "fim", "case"], "originals": 0.3},
        "filter": {"words": {"low": 25}},
        "balance": balance(90),
    }
    whole = parts(clean(documents(50), output={"path": "one"}, **wanted)).sort("id", "copy")
    cut = clean(documents(50), output={"path": "two", "shard_size": 900}, **wanted)
    assert len(cut.parts) > 5
    assert parts(cut).sort("id", "copy").equals(whole)
    assert digests(tmp_path / "one") != digests(tmp_path / "two")


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"held_out": "tset"}, "did you mean 'test'"),
        ({"held_out": "lang"}, "not true or false"),
        ({"wordnet": "nowhere", "operations": ["synonyms"]}, "holds no index.noun"),
    ],
)
def test_what_cannot_be_had_is_refused_before_the_run(clean, augment, message):
    """A column that is not there or is no truth, a dictionary that is none: refused by name."""
    with pytest.raises(RecipeError, match=message):
        clean(documents(3, test=True), augment={"operations": ["case"], **augment})


def test_the_page_about_augmentation_holds(tmp_path, monkeypatch, capsys):
    """In docs/augment.md the program runs and prints a copy, and the recipe loads."""
    page = (Path(__file__).parents[1] / "docs" / "augment.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(program, {})  # noqa: S102 - our own page
    assert capsys.readouterr().out.endswith("] None\n")
    monkeypatch.chdir(tmp_path)
    for recipe in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        Path("recipe.yaml").write_text(f"input: a\noutput: b\n{recipe}", encoding="utf-8")
        assert load(Path("recipe.yaml"), {}).augment is not None
    known = set(re.findall(r"`(\w+)`", page))
    assert known >= set(get_args(Operation))
