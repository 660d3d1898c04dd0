"""The demo's run, held to the table of what must happen to each planted document."""

import jsonschema
import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, InProcess

from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps
from cleanpipe.stats import stats_schema


@pytest.fixture(scope="module")
def demo(tmp_path_factory, sample_recipe):
    """sample_data/, cleaned as `make demo` does."""
    output = tmp_path_factory.mktemp("demo") / "out"
    recipe = load(sample_recipe, {}, output=str(output))
    return all_steps(Work(recipe, InProcess(), lambda *_: None))


def test_every_document_meets_the_fate_that_was_planted(demo):
    """Verdict, stage and rule are those of sample_data/expected.csv, for every document."""
    told = pl.read_csv(ROOT / "sample_data" / "expected.csv", infer_schema=False)
    columns = ["id", "verdict", "stage", "rule"]
    expected = told.select(columns).with_columns(pl.col("stage", "rule").replace("", None))
    found = demo.verdicts.select(columns).collect()
    assert found.height == told.height
    assert sorted(found.rows(), key=str) == sorted(expected.rows(), key=str)


def test_parts_hold_clean_text_and_what_the_input_carried(demo):
    """The carried columns come out as they went in; planted mojibake and entities are gone."""
    rows = pl.concat([pl.read_parquet(part) for part in demo.parts])
    assert {"id", "text", "url", "date", "copy", "augmented_by"} <= set(rows.columns)
    originals = rows.filter(pl.col("copy") == 0)
    assert originals.height == demo.stats["documents"]["kept"]
    assert originals["augmented_by"].null_count() == originals.height
    assert not originals["text"].str.contains("Ã©|&amp;|\r").any()
    assert originals["url"].null_count() == 0
    assert set(originals["source"]) == {"web", "news", "forum", "notes", "letters"}


def test_extra_copies_differ_and_say_how_they_were_made(demo):
    """Every extra copy stands in a later part than its original, and none equals another."""
    parts = [pl.read_parquet(part) for part in demo.parts]
    first = {row: number for number, part in enumerate(parts) for row in part["id"]}
    extra = pl.concat(parts).filter(pl.col("copy") > 0)
    assert extra.height == demo.stats["documents"]["added"] > 20
    assert set(extra["augmented_by"]) == {"fim", "sentence_shuffle"}
    texts = pl.concat(parts)["text"]
    assert texts.n_unique() == texts.len()
    originals = {
        i: n for n, part in enumerate(parts) for i in part.filter(pl.col("copy") == 0)["id"]
    }
    assert all(first[name] > originals[name] for name in extra["id"])


def test_each_extra_copy_has_its_row(demo):
    """`copies` has a row for every copy asked for, with operation, seed and outcome."""
    rows = pl.read_parquet(demo.folder / "copies" / "*.parquet")
    asked = int((demo.verdicts.collect()["copies"] - 1).clip(lower_bound=0).sum())
    assert rows.height == asked
    assert rows.filter(pl.col("outcome") == "written").height == demo.stats["documents"]["added"]


def test_why_tells_the_story_of_a_near_duplicate(demo):
    """The one it gave way to, the similarity, what rules say, the texts and what differs."""
    near = demo.verdicts.filter(pl.col("rule") == "near").collect()["id"][0]
    (story,) = demo.why(near)
    assert story["representative"]["verdict"] == "kept"
    assert 0.8 <= story["verdict"]["similarity"] < 1
    assert {rule["rule"] for rule in story["rules"]} >= {"words", "stop_words", "repeat_run"}
    assert len(story["after"]) > 100
    kinds = {kind: text for kind, text in story["beside"]["differs"] if text.strip()}
    assert kinds.keys() & {"mark", "gone"}
    assert kinds.get("mark", "") in story["after"]
    assert kinds.get("gone", "") in story["beside"]["text"]
    assert story["beside"]["text"] != story["after"]


def test_why_tells_what_normalize_changed(demo):
    """A document with mojibake shows the fix and both texts."""
    told = pl.read_csv(ROOT / "sample_data" / "expected.csv", infer_schema=False)
    name = told.filter(pl.col("fault") == "mojibake")["id"][0]
    (story,) = demo.why(name)
    assert story["before"] != story["after"]
    assert any("encoding" in str(fix) for fix in story["fixes"])


def test_balance_reaches_what_was_asked_to_within_a_document(demo):
    """Achieved shares of the languages are the asked ones, to within the largest document."""
    longest = pq.read_table(demo.parts[0], columns=["text"])["text"]
    slack = max(len(text.as_py().encode()) for text in longest)
    for group in demo.stats["groups"]:
        assert abs(group["achieved"] - group["target"]) <= slack


def test_the_report_is_one_offline_page(demo):
    """Attrition and stability stand on it, nothing is loaded, and no script but the page's runs."""
    page = demo.report.read_text(encoding="utf-8")
    assert "repeat_run" in page
    assert "window_entropy_min" in page
    assert "null_text" in page
    assert page.count("<script") == 2  # what can be looked for, as JSON, and the looking
    assert "script-src 'sha256-" in page
    assert 'src="' not in page
    assert "://" not in page
    assert len(page) < 500_000


def test_statistics_are_as_their_schema_says(demo):
    """The published JSON Schema takes them, and describes every key that they have."""
    jsonschema.Draft202012Validator(stats_schema.schema()).validate(demo.stats)
    known = stats_schema.Stats.model_validate(demo.stats)
    assert stats_schema.unknown(known) == []
    broken = {**demo.stats, "documents": {"read": "many"}}
    assert not jsonschema.Draft202012Validator(stats_schema.schema()).is_valid(broken)
    assert (demo.folder / "stats.json").stat().st_size < 500_000


def test_groups_and_sums_are_those_of_the_tables(demo):
    """Each language's and source's histograms count its own documents; sums are the sizes."""
    for column, found in demo.stats["by_group"].items():
        assert found["rest"] is None
        for side in ("raw", "clean"):
            sizes = demo.stats["by"][column][side]
            sums = {n: one["words"][side]["count"] for n, one in found["groups"].items()}
            documents = {n: sizes.get(n, {"documents": 0})["documents"] for n in sums}
            assert sum(sums.values()) == demo.stats["histograms"]["words"][side]["count"]
            assert all(sums[n] <= documents[n] for n in sums)
            chars = {n: one["chars"][side]["sum"] for n, one in found["groups"].items()}
            assert chars == {n: sizes.get(n, {"chars": 0})["chars"] for n in chars}
