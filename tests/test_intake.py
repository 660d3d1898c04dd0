"""A recipe against the input's columns: what cannot be is told before anything is measured."""

import orjson
import polars as pl
import pyarrow as pa
import pytest

from cleanpipe.errors import RecipeError
from cleanpipe.input import corpus, intake
from cleanpipe.recipes.recipe_file import load

PATHS = "input: {path: in, id: name}\noutput: {path: out}\n"  # the recipes below begin in line 3
COLUMNS = pl.DataFrame(
    {"shard": [1], "band_00": [1], "tags": [["a"]], "words": [1], "year": [1990]}
).to_arrow()


def refused(action):
    with pytest.raises(RecipeError) as error:
        action()
    return [line for line in str(error.value).split("\n") if line.startswith("recipe.yaml:")]


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("filter: {shard: {low: 3}}", "3:10", "filter.shard: 'shard' is a name of our own tables"),
        (
            "filter:\n  where: shard > 3",
            "4:10",
            "filter.where: 'shard' is a name of our own tables",
        ),
        ("balance: {by: band_00}", "3:15", "balance.by: 'band_00' is a name of our own tables"),
        ("balance: {by: tags}", "3:15", "balance.by: column 'tags' holds List(String)"),
        (
            "dedup: {near: {keep: [-tags]}}",
            "3:22",
            "dedup.near.keep: column 'tags' holds List(String)",
        ),
        (
            "filter: {urls: {per_domain: 1, by: tags}}",
            "3:36",
            "filter.urls.by: column 'tags' holds List(String)",
        ),
    ],
)
def test_a_column_that_cannot_decide_is_told_where_the_recipe_asks_for_it(write, text, at, message):
    """Our own names and lists are refused with file, line, column and option."""
    recipe = load(write(PATHS + text))
    (first,) = refused(lambda: intake.check_columns(recipe, [COLUMNS.schema]))
    assert first.startswith(f"recipe.yaml:{at}: {message}")


def test_a_column_of_the_input_that_would_be_written_twice_has_its_place(write):
    """`output.columns` names measures, and the input may not have one of that name."""
    recipe = load(write("input: in\noutput:\n  path: out\n  columns: [chars, words]"))
    (only,) = refused(lambda: intake.check_columns(recipe, [COLUMNS.schema]))
    assert only.startswith("recipe.yaml:4:12: output.columns: 'words' is a column of the input")
    assert "input.rename: {words: input_words}" in only


def test_all_that_is_wrong_is_told_at_once(write):
    """Two options, two places, one message."""
    text = "balance: {by: tags}\nfilter: {shard: {low: 1}}"
    recipe = load(write(PATHS + text))
    told = refused(lambda: intake.check_columns(recipe, [COLUMNS.schema]))
    assert [line.split(" ")[0] for line in told] == ["recipe.yaml:4:10:", "recipe.yaml:3:15:"]


def test_a_column_that_can_decide_is_not_refused(write):
    """Neither are lists that nobody asks for."""
    recipe = load(write(PATHS + "filter: {year: {low: 3}}\nbalance: {by: year}"))
    schema = COLUMNS.drop_columns(["words"]).schema
    intake.check_columns(recipe, [schema])


def test_columns_of_an_input_point_at_its_option_or_its_entry(write, tmp_path):
    """A wrong id, a wrong text and a reserved name: where the option stands, or the entry."""
    (tmp_path / "in").mkdir()
    documents = [{"body": "a b c", "names": str(i)} for i in range(30)]
    (tmp_path / "in" / "a.jsonl").write_bytes(b"".join(orjson.dumps(d) + b"\n" for d in documents))
    recipe = load(write("output: out\ninput:\n  - path: other\n  - path: in\n    id: name\n"))
    shards = corpus.find_shards([recipe.input[1]])
    spans = corpus.index_shard(shards[0], recipe.input[1]).spans
    (first,) = refused(lambda: intake.first_schema(recipe, 1, spans, shards))
    assert first.startswith("recipe.yaml:4:5: input.1.text: none of the first 30 documents of a.j")
    assert "columns are body, names" in first
    schema = pa.schema({"names": pa.string(), "copy": pa.string()})
    (first,) = refused(lambda: intake.check_id(recipe, 1, shards[0], schema))
    assert first.startswith("recipe.yaml:5:9: input.1.id: a.jsonl has no column 'name'; did you me")
    (first,) = refused(lambda: intake.check_names(recipe, 1, shards[0], schema))
    assert first.startswith("recipe.yaml:4:5: input.1.rename: a.jsonl has a column 'copy'")
