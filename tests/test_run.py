"""The engine on small inputs: odd corpora, kills between two steps, and what later shards bring."""

import shutil

import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import InProcess, digests

from cleanpipe.errors import InputError, QuarantineError, RecipeError
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps
from cleanpipe.verify import faults_of

PROSE = "It was a quiet morning, and the people who lived by the river had begun to open doors"


def lines(*documents):
    return b"".join(orjson.dumps(document) + b"\n" for document in documents)


@pytest.fixture
def clean(tmp_path, write_recipe):
    """A function that writes shards (name: documents), cleans them, and gives the run."""

    def run(shards, **sections):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        for name, documents in shards.items():
            data = documents if isinstance(documents, bytes) else lines(*documents)
            (folder / f"{name}.jsonl").write_bytes(data)
        known = {"input": {"path": "in/*.jsonl"}, "measure": {"language": False}, **sections}
        return all_steps(Work(load(write_recipe(**known)), InProcess(), lambda *_: None))

    return run


def rows_of(run):
    return pl.concat([pl.read_parquet(part) for part in run.parts]) if run.parts else None


@pytest.mark.parametrize(
    ("documents", "counted"),
    [
        ([], {"read": 0, "kept": 0}),
        ([{"text": PROSE}], {"read": 1, "kept": 1, "written": 1}),
        ([{"text": None}, {"text": " \n"}], {"read": 2, "kept": 0, "dropped": 2}),
        ([{"text": "short"}] * 3, {"read": 3, "kept": 0, "dropped": 3}),
    ],
)
def test_odd_corpora_have_books_that_balance(clean, documents, counted):
    """No document, one, only nulls, all dropped: each ends with a report and balanced books."""
    run = clean({"a": documents}, filter={"words": {"low": 3}}, dedup={})
    assert run.stats["documents"].items() >= counted.items()
    assert faults_of(run.output) == []
    assert run.report.exists()


def test_nothing_to_read_is_no_reason_to_fail(clean):
    """Decisions by columns that nobody has seen, on no document and on broken ones only."""
    asked = {"filter": {"where": "year > 2000 AND lang = 'en'"}, "balance": {"by": "topic"}}
    for shards in ({"a": []}, {"a": b"{broken\n"}):
        run = clean(shards, **asked, dedup={}, max_quarantined=1.0)
        assert run.stats["documents"]["kept"] == 0


def test_too_much_quarantine_fails_before_anything_is_published(clean, tmp_path):
    """Where more than max_quarantined cannot be read, the message names how much and where."""
    with pytest.raises(QuarantineError, match="1 of 2 documents could not be read"):
        clean({"a": b'{"text": "x"}\n{broken\n'})
    assert not (tmp_path / "out" / "_cleanpipe" / "HEAD.json").exists()


def test_why_tells_every_document(clean):
    """No document is without its story, whatever its hashes are."""
    documents = [{"id": f"d{i}", "text": f"{i} {PROSE} {i}"} for i in range(30)]
    run = clean({"a": documents}, dedup={})
    for document in documents:
        (story,) = run.why(document["id"])
        assert story["after"] == document["text"]


def test_why_still_tells_when_a_file_was_touched_and_not_when_it_changed(clean, tmp_path):
    """A new time is no new file; new bytes are, and the message says so."""
    run = clean({"a": [{"id": "x", "text": PROSE}]})
    shard = tmp_path / "in" / "a.jsonl"
    shard.touch()
    assert run.why("x")[0]["after"] == PROSE
    shard.write_bytes(lines({"id": "x", "text": PROSE + "!"}))
    with pytest.raises(Exception, match="no longer the file"):
        run.why("x")


def test_an_id_may_repeat_and_each_is_told_apart(clean):
    """Two documents of one id have two lines; a duplicate names the place of the one it means."""
    run = clean({"a": [{"id": "same", "text": PROSE}, {"id": "same", "text": PROSE}]}, dedup={})
    stories = run.why("same")
    assert sorted(story["verdict"]["verdict"] for story in stories) == ["dropped", "kept"]
    (gone,) = (story for story in stories if "representative" in story)
    assert gone["representative"]["verdict"] == "kept"


def test_without_ids_the_place_of_a_document_decides_nothing(clean, tmp_path):
    """Of equal texts in two files the same one stays when the files swap their contents."""
    one, two = {"text": PROSE, "u": "one"}, {"text": PROSE, "u": "two"}
    kept = []
    for first, second in ((one, two), (two, one)):
        run = clean({"a": [first], "b": [second]}, dedup={})
        kept.append(rows_of(run)["u"].to_list())
        shutil.rmtree(tmp_path / "out")
    assert kept[0] == kept[1]


@pytest.mark.parametrize("name", ["copy", "augmented_by"])
def test_a_reserved_column_that_only_a_later_shard_brings_is_refused(clean, name):
    """No part is written with two columns of one name."""
    with pytest.raises(RecipeError, match=f"b.jsonl has a column '{name}'.*input.rename"):
        clean({"a": [{"text": PROSE}], "b": [{"text": PROSE, name: "x"}]})


def test_a_source_is_a_column_and_overrules_none(clean):
    """The recipe's source is written and decided by; a column of that name is not lost."""
    given = {"path": "in/*.jsonl", "source": "given"}
    run = clean({"a": [{"text": PROSE}]}, input=given, filter={"where": "source = 'given'"})
    assert rows_of(run)["source"].to_list() == ["given"]
    assert set(run.stats["by"]["source"]["raw"]) == {"given"}
    with pytest.raises(RecipeError, match=r"input\.rename: \{source: input_source\}"):
        clean({"b": [{"text": PROSE, "source": "own"}]}, input=given)


def test_columns_of_several_types_become_one(clean):
    """Integers and floats widen, a missing column is null, and parts have one schema."""
    shards = {"a": [{"text": PROSE, "n": 1}], "b": [{"text": PROSE + " two", "n": 1.5, "z": "q"}]}
    run = clean(shards)
    assert rows_of(run).select("n", "z").rows() == [(1.0, None), (1.5, "q")]


def test_a_column_of_many_types_makes_the_same_groups_wherever_it_stands(clean):
    """Numbers and words in one column are groups by their text, in one file as in two."""
    values = [1.0, "x", 1, "x", True]
    documents = [{"text": f"{i} {PROSE}", "k": value} for i, value in enumerate(values)]
    together = clean({"a": documents, "b": []}, balance={"by": "k"})
    apart = clean({"a": documents[:1], "b": documents[1:]}, balance={"by": "k"})
    groups = [[row["group"] for row in run.stats["groups"]] for run in (together, apart)]
    assert groups[0] == groups[1] == ["1", "true", "x"]


def test_a_decision_may_go_by_a_column_of_the_input(clean):
    """`where` and balance use carried columns; a missing one is refused with the nearest name."""
    documents = [
        {"text": f"{i} {PROSE}", "year": 1990 + i, "topic": "ab"[i % 2]} for i in range(20)
    ]
    run = clean({"a": documents}, filter={"where": "year >= 2000"}, balance={"by": "topic"})
    assert min(rows_of(run)["year"]) == 2000
    with pytest.raises(RecipeError, match="topic"):
        clean({"a": documents}, balance={"by": "topik"})


def test_the_order_of_stages_is_the_recipes(clean):
    """Dedup before filter keeps the longest, which the filter then drops; `why` says so."""
    long = " ".join(f"{PROSE} {i}" for i in range(40))
    shards = {"a": [{"id": "long", "text": long + " and more"}, {"id": "short", "text": long}]}
    bound = {"chars": {"high": len(long)}}
    first = clean(shards, filter=bound, dedup={})
    assert rows_of(first)["id"].to_list() == ["short"]
    second = clean(shards, filter=bound, dedup={}, order=["dedup", "filter", "balance"])
    assert second.stats["documents"]["kept"] == 0
    assert second.why("short")[0]["representative"]["stage"] == "filter"


@pytest.mark.parametrize("form", ["arrow", "jsonl"])
def test_other_forms_of_parts_hold_the_same_documents(clean, form):
    """Arrow and JSON lines hold what Parquet holds."""
    documents = [{"id": str(i), "text": f"{i} {PROSE}", "tags": ["a", "b"]} for i in range(5)]
    run = clean({"a": documents}, output={"path": "out", "format": form})
    (part,) = run.parts
    read = pl.read_ipc(part) if form == "arrow" else pl.read_ndjson(part.read_bytes())
    assert read.select("id", "text", "tags").to_dicts() == documents


def test_a_kill_between_manifest_and_head_is_gone_on_from(clean):
    """A manifest that HEAD never reached is no publication: the run is finished, not begun anew."""
    shards = {"a": [{"id": str(i), "text": f"{i} {PROSE}"} for i in range(9)]}
    run = clean(shards)
    before = digests(run.output)
    (run.output / "_cleanpipe" / "HEAD.json").unlink()
    (run.output / "_cleanpipe" / "metrics.jsonl").unlink()
    again = clean(shards)
    assert again.folder == run.folder
    assert digests(again.output) == before
    assert len((run.output / "_cleanpipe" / "metrics.jsonl").read_bytes().splitlines()) == 1


def test_a_published_run_is_followed_by_the_next_number(clean):
    """Data that was published is never written again."""
    shards = {"a": [{"id": "x", "text": PROSE}]}
    assert [clean(shards).folder.name, clean(shards).folder.name] == ["0001", "0002"]


def test_verify_notices_a_changed_ledger_and_a_missing_receipt(clean):
    """The manifest vouches for the books, not for the parts alone."""
    run = clean({"a": [{"id": "x", "text": PROSE}]})
    path = next((run.folder / "verdicts").iterdir())
    pq.write_table(pq.read_table(path), path, compression="snappy")
    next((run.folder / "receipts").iterdir()).unlink()
    faults = faults_of(run.output)
    assert any("verdicts" in fault for fault in faults)
    assert any("receipts" in fault and "missing" in fault for fault in faults)


def test_a_users_file_in_the_output_folder_is_left_alone(clean):
    """Only what a killed writer of ours left behind is cleared away."""
    run = clean({"a": [{"id": "x", "text": PROSE}]})
    mine = run.output / "mine" / ".tmp-notes"
    mine.parent.mkdir()
    mine.write_text("keep me")
    clean({"a": [{"id": "x", "text": PROSE}]})
    assert mine.read_text() == "keep me"


def test_an_output_below_its_input_is_not_its_own_input(clean):
    """A second run reads the input's shards again, and not the first run's parts."""
    shards = {"a": [{"id": "x", "text": PROSE}]}
    nested = {"input": {"path": "in"}, "output": {"path": "in/clean"}}
    clean(shards, **nested)
    assert clean(shards, **nested).stats["documents"]["read"] == 1


def test_inputs_are_only_read(clean, tmp_path):
    """Neither a byte of them changes nor a time, and files that nobody may write are read."""
    shards = {"a": [{"id": "x", "text": PROSE}, {"id": "y", "text": PROSE}]}
    clean(shards)
    files = sorted((tmp_path / "in").rglob("*"))
    for path in files:
        path.chmod(0o444)
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    (tmp_path / "in").chmod(0o555)
    recipe = load(tmp_path / "recipe.yaml", output=str(tmp_path / "again"))
    assert all_steps(Work(recipe, InProcess(), lambda *_: None)).stats["documents"]["read"] == 2
    assert before == [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    assert files == sorted((tmp_path / "in").rglob("*"))
    (tmp_path / "in").chmod(0o755)


def test_an_input_below_its_output_is_refused(clean):
    """Files in the output folder are no input; where there are no others, that is said."""
    with pytest.raises(InputError, match=r"lie in the output folder .* choose another --output"):
        clean({"a": [{"id": "x", "text": PROSE}]}, input={"path": "in"}, output={"path": "in"})


def test_a_wrong_name_of_the_text_column_is_said_at_once(clean):
    """JSON lines without a text are refused with the columns that are there."""
    with pytest.raises(RecipeError, match=r"input\.text: none.*columns are body"):
        clean({"a": [{"body": PROSE, "n": i} for i in range(30)]})


def test_an_exact_copy_of_what_gave_way_names_the_one_that_stayed(clean):
    """Whoever follows duplicate_of arrives at a kept document in one step."""
    words = [f"w{i}" for i in range(100)]
    text, longer = " ".join(words), " ".join([*words, "and", "more"])
    documents = [{"id": name, "text": text} for name in ("one", "two")]
    run = clean({"a": [*documents, {"id": "best", "text": longer}]}, dedup={})
    ledger = run.verdicts.filter(pl.col("verdict") == "dropped").collect()
    assert ledger["duplicate_of"].to_list() == ["best", "best"]
    assert set(ledger["similarity"]) == {96 / 98}
    assert ledger["cluster_size"].to_list() == [3, 3]


def test_line_rules_are_in_the_books(clean):
    """What they change is counted by name and told, what they remove can drop a document."""
    fine = f"{PROSE}.\nHome\n{PROSE} again."
    bare = "Home\nNews and sport\nSign in"
    run = clean(
        {"a": [{"id": "fine", "text": fine}, {"id": "menu", "text": f"{PROSE}.\n{bare}"}]},
        normalize={"lines": {"unterminated_lines": "c4"}},
        filter={"removed_word_frac": {"high": 0.05}},
        output={"path": "out", "columns": ["removed_word_frac"]},
    )
    (written,) = rows_of(run).to_dicts()
    assert written["text"] == f"{PROSE}.\n{PROSE} again."
    assert written["removed_word_frac"] == 1 / 38
    assert run.stats["fixes"]["unterminated_lines"] == 2
    assert run.stats["histograms"]["removed_word_frac"]["raw"]["count"] == 2
    (story,) = run.why("menu")
    assert story["verdict"]["rule"] == "removed_word_frac"
    assert story["verdict"]["value"] == 6 / 24
    assert story["fixes"][0].startswith("unterminated_lines (3 lines): at character ")
