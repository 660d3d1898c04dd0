"""Others' recipes and layouts become ours; what has no counterpart is said."""

import gzip
import re
from pathlib import Path

import orjson
import polars as pl
import pytest
from conftest import InProcess

from cleanpipe.cli.cli import app
from cleanpipe.errors import InputError, RecipeError
from cleanpipe.recipes import importing
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps

WHOLE = """
project_name: 'ours'
dataset_path: in/a.jsonl
export_path: out/clean.jsonl
np: 4
text_keys: 'content'
process:
  - fix_unicode_mapper:
  - clean_links_mapper
  - clean_email_mapper: {repl: <MAIL>}
  - clean_ip_mapper:
  - punctuation_normalization_mapper:
  - language_id_score_filter: {lang: [en, 'x''y'], min_score: 0.99}
  - text_length_filter: {min_len: 10, max_len: 9000}
  - words_num_filter: {lang: en, tokenization: true, min_num: 3}
  - average_line_length_filter: {min_len: 5, max_len: 5e5}
  - word_repetition_filter: {rep_len: 10, max_ratio: 0.3}
  - document_minhash_deduplicator: {jaccard_threshold: 0.8, window_size: 6}
  - document_deduplicator: {lowercase: true}
  - flagged_words_filter: {lang: en}
  - video_tagging_filter:
"""


def made(tmp_path, text):
    (tmp_path / "theirs.yaml").write_text(text, encoding="utf-8")
    return importing.data_juicer(tmp_path / "theirs.yaml")


def process(operator):
    return f"process:\n  - {operator}\n"


def test_a_whole_recipe_of_data_juicer(tmp_path):
    """Every option and operator has its line, and what was made of them loads and runs."""
    found = made(tmp_path, WHOLE)
    assert {(line.place.line, line.name): line.outcome for line in found.lines} == {
        (2, "project_name"): "left out",
        (3, "dataset_path"): "taken",
        (4, "export_path"): "near",
        (5, "np"): "left out",
        (6, "text_keys"): "taken",
        (8, "fix_unicode_mapper"): "taken",
        (9, "clean_links_mapper"): "near",
        (10, "clean_email_mapper"): "near",
        (11, "clean_ip_mapper"): "near",
        (12, "punctuation_normalization_mapper"): "near",
        (13, "language_id_score_filter"): "near",
        (14, "text_length_filter"): "taken",
        (15, "words_num_filter"): "near",
        (16, "average_line_length_filter"): "near",
        (17, "word_repetition_filter"): "near",
        (18, "document_minhash_deduplicator"): "near",
        (19, "document_deduplicator"): "near",
        (20, "flagged_words_filter"): "left out",
        (21, "video_tagging_filter"): "left out",
    }
    (tmp_path / "recipe.yaml").write_text(found.yaml(), encoding="utf-8")
    recipe = load(tmp_path / "recipe.yaml", {})
    assert recipe.input[0].text == "content"
    assert recipe.filter.rules["chars"].low == 10
    assert recipe.filter.where == (
        "lang IN ('en', 'x''y') AND chars >= 5 * lines AND chars <= 500000 * lines"
    )
    near = recipe.dedup.near
    assert (near.threshold, near.ngram, near.num_perm) == (0.8, 6, 256)
    (tmp_path / "in").mkdir()
    lines = [{"content": f"The {n} gulls sat on the long pier of the harbour."} for n in range(9)]
    (tmp_path / "in" / "a.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    run = all_steps(Work(recipe, InProcess(), lambda *_: None))
    assert run.stats["documents"]["read"] == 9
    assert [row["rule"] for row in run.stats["stages"]] == ["lang_score"]


@pytest.mark.parametrize(
    ("operator", "outcome"),
    [
        ("word_repetition_filter: {rep_len: 3}", "left out"),
        ("document_minhash_deduplicator: {tokenization: sentencepiece}", "left out"),
        ("document_deduplicator:", "taken"),
        ("average_line_length_filter: {min_len: [1]}", "left out"),
        ("word_repetition_filter: {rep_len: many}", "left out"),
        ("remove_repeat_sentences_mapper:", "left out"),
    ],
)
def test_what_ours_cannot_say_is_left_out_by_name(tmp_path, operator, outcome):
    """An operator with options of other meanings, or broken ones, changes nothing of the recipe."""
    found = made(tmp_path, process(operator))
    (line,) = found.lines
    assert (line.outcome, line.place.line) == (outcome, 2)
    assert line.note or outcome == "taken"
    if outcome == "left out":
        assert set(found.tree) == {"input", "output"}


@pytest.mark.parametrize("text", ["[1, 2]", "a: 1", "process: [", "!!python/object:os.system {}"])
def test_what_is_no_recipe_is_refused(tmp_path, text):
    """A file that is no mapping with `process`, or no YAML, is refused with its place."""
    with pytest.raises(RecipeError, match=r"theirs\.yaml"):
        made(tmp_path, text)


def write_shard(path, documents):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, documents))))


def test_datatroves_output_is_read_with_its_metadata(tmp_path, capsys, monkeypatch):
    """Shards of two folders, of which metadata's fields are columns that rules go by."""
    monkeypatch.chdir(tmp_path)
    crawl = tmp_path / "theirs" / "output" / "CC-1"
    for rank in range(2):
        write_shard(
            crawl / f"{rank:05d}.jsonl.gz",
            [
                {
                    "text": f"{rank} and {n} gulls sat on the pier.",
                    "id": f"{rank}/{n}",
                    "metadata": {"url": f"https://a{n}.example/", "language_score": n / 4, "id": 7},
                }
                for n in range(4)
            ],
        )
    write_shard(tmp_path / "theirs/removed/gopher/00000.jsonl.gz", [{"text": "gone", "id": "x"}])
    (tmp_path / "theirs" / "logs").mkdir()
    (tmp_path / "theirs" / "logs" / "00000.jsonl").write_text("{}")
    with pytest.raises(SystemExit) as end:
        app(["import", "datatrove", "theirs", "--output", "recipe.yaml"])
    assert end.value.code in {0, None}
    told = capsys.readouterr().out
    assert "2 shards: taken" in told
    assert "removed: 1 files: left out; documents that a filter dropped" in told
    recipe = load(tmp_path / "recipe.yaml", {"filter.where": "language_score > 0.2"})
    run = all_steps(Work(recipe, InProcess(), lambda *_: None))
    rows = pl.concat([pl.read_parquet(part) for part in run.parts])
    assert sorted(rows["id"]) == ["0/1", "0/2", "0/3", "1/1", "1/2", "1/3"]
    assert set(rows["source"]) == {"output/CC-1"}
    assert set(rows["metadata_id"]) == {7}
    assert min(rows["url"]) == "https://a1.example/"


def test_a_folder_without_shards_is_refused(tmp_path):
    """The message says what a shard is called."""
    with pytest.raises(InputError, match="such as 00000"):
        importing.datatrove(tmp_path)


def test_a_column_without_objects_cannot_be_unnested(tmp_path, write_recipe):
    """A column of numbers is refused by name."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"text": "a b", "metadata": 3}')
    recipe = load(write_recipe(input={"path": "in/*.jsonl", "unnest": "metadata"}))
    with pytest.raises(InputError, match="holds int64 and no objects"):
        all_steps(Work(recipe, InProcess(), lambda *_: None))


def test_the_page_lists_every_operator():
    """docs/import.md has a row for each operator with a counterpart, with its outcome."""
    page = (Path(__file__).parents[1] / "docs" / "import.md").read_text("utf-8")
    rows = dict(
        re.findall(r"^\| (\w+_(?:mapper|filter|deduplicator)) \| ([a-z ]+) \|", page, re.MULTILINE)
    )
    assert rows.keys() == importing.OPERATORS.keys()
    options = {"rep_len": 10}
    for name, take in importing.OPERATORS.items():
        assert take(importing.Found(), options)[0] == rows[name]
