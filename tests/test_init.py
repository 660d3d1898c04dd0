"""`cleanpipe init`: a recipe from a look into a corpus."""

import orjson
import polars as pl
import pytest

from cleanpipe.cli.cli import app
from cleanpipe.errors import InputError, OutputError
from cleanpipe.recipes import starting
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps
from cleanpipe.warm import Here

PROSE = [f"The {n} people of the house have to be at the river with that boat." for n in range(9)]


def test_a_recipe_is_made_for_a_corpus_and_cleans_it(tmp_path, monkeypatch, capfd):
    """Columns are found under their usual names; the recipe loads and runs as it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "news").mkdir()
    pl.DataFrame({"doc_id": range(9), "body": PROSE}).write_parquet("news/a.parquet")
    assert app(["init", "news", "--json"], result_action="return_value") == 0
    told = orjson.loads(capfd.readouterr().out)["inputs"]
    (seen,) = told
    assert seen.pop("langs") == {"en": 9}
    known = {"path": "news", "text": "body", "id": "doc_id", "says_source": False, "documents": 9}
    assert seen == known
    recipe = load(tmp_path / "recipe.yaml", {"filter": "false", "measure.language": "false"})
    done = all_steps(Work(recipe, Here(), lambda *_: None))
    assert done.stats["documents"]["read"] == 9
    with pytest.raises(OutputError, match="there already"):
        app(["init", "news"], result_action="return_value")


def test_several_inputs_get_sources_of_their_own(tmp_path, monkeypatch):
    """Files of one name are told apart by folder; what says its source itself is left to it."""
    monkeypatch.chdir(tmp_path)
    for folder in ("old", "new", "told"):
        (tmp_path / folder).mkdir()
        texts = pl.DataFrame({"text": [f"{folder}: {text}" for text in PROSE]})
        if folder == "told":
            texts = texts.with_columns(source=pl.lit("its own"))
        texts.write_parquet(tmp_path / folder / "a.parquet")
    app(["init", "old/a.parquet", "new/a.parquet", "told/a.parquet"], result_action="return_value")
    recipe = load(tmp_path / "recipe.yaml", {"filter": "false", "measure.language": "false"})
    assert [one.source for one in recipe.input] == ["old/a", "new/a", None]
    done = all_steps(Work(recipe, Here(), lambda *_: None))
    assert done.stats["documents"]["read"] == 27


@pytest.mark.parametrize(
    ("name", "content", "text", "says"),
    [
        ("a.jsonl", b'{"story": "x"}\n', None, "columns story"),
        ("a.jsonl", b'{"story": "x"}\n', "tale", "named tale"),
        ("a.csv", b"story,other\nx,y\n", None, "columns are story, other"),
        ("a.parquet", b"PAR1 no more", None, "Parquet"),
        ("a.jsonl", b"", None, "no document"),
        ("a.jsonl", b'{"text": null}\n', None, "columns none"),
    ],
)
def test_a_corpus_without_texts_is_refused(tmp_path, name, content, text, says):
    """What the first shard has instead is said, and how to name the column."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="--text") as error:
        starting.look(name, tmp_path, text)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("texts", "preset"),
    [(PROSE, "gopher"), (["Le monde est grand et beau, et nous y sommes nés."] * 9, "minimal")],
)
def test_rules_of_english_are_proposed_for_english_alone(tmp_path, texts, preset):
    """By the share of the first documents that are in English."""
    lines = [orjson.dumps({"id": "same", "text": text}) for text in texts]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    seen = starting.look("a.jsonl", tmp_path, None)
    assert seen.id is None  # ids that say nothing are no ids
    assert f"extends: [{preset}," in starting.recipe([seen], "clean")
