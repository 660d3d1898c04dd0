"""Gates: what can have one, when it fails, and what a run does that fails one."""

import re

import orjson
import pytest
from conftest import InProcess
from pydantic import ValidationError

from cleanpipe.errors import GateError, RecipeError
from cleanpipe.outcome import Run
from cleanpipe.recipes.recipe_file import load
from cleanpipe.rules.gates import METRICS, Gates, value
from cleanpipe.run import Work, all_steps

PROSE = "It was a quiet morning, and the people who lived by the river had begun to open doors"
# read 8, of which two exact copies, one empty, one too short for the rule, one unreadable
TEXTS = [f"{PROSE} {n}" for n in "abc"] + [f"{PROSE} a"] * 2 + ["", "short"]
SECTIONS = {"filter": {"words": {"low": 3}}, "dedup": {"near": None}, "max_quarantined": 1.0}


@pytest.fixture
def clean(tmp_path, write_recipe):
    """A function that cleans eight documents with some gates, and gives the run."""
    lines = b"".join(orjson.dumps({"text": text}) + b"\n" for text in TEXTS)
    (tmp_path / "in.jsonl").write_bytes(lines + b"{broken\n")

    def run(gates, **sections):
        known = {"input": {"path": "in.jsonl"}, "measure": {"language": False}, **SECTIONS}
        recipe = load(write_recipe(**(known | sections), gates=gates))
        return all_steps(Work(recipe, InProcess(), lambda *_: None))

    return run


WANTED = {
    "kept_share": 3 / 8,
    "dropped_share": 4 / 8,
    "duplicate_share": 2 / 8,
    "quarantined_share": 1 / 8,
    "kept_documents": 3,
    "kept_bytes": 3 * len(TEXTS[0]),
    "dropped_by_words": 1 / 8,
    "dropped_by_where": 0.0,
}


def test_every_metric_is_what_it_says(clean):
    """Values counted by hand; they stand in stats.json in the recipe's order, and all pass."""
    lines = clean({name: {"low": 0, "high": 10_000} for name in WANTED}).stats["gates"]
    assert {line["metric"]: line["value"] for line in lines} == WANTED
    assert {line["outcome"] for line in lines} == {"passed"}
    assert set(WANTED) | {"lang_und_share"} == {
        name for name in METRICS if not name.startswith("dropped_by_") or name in WANTED
    }


@pytest.mark.parametrize(
    ("gate", "outcome"),
    [
        ({"low": 3 / 8}, "passed"),
        ({"high": 3 / 8}, "passed"),
        ({"low": 0.376}, "failed"),
        ({"high": 0.374}, "failed"),
        ({"low": 0.376, "on_fail": "warn"}, "warned"),
    ],
)
def test_bounds_are_inclusive_and_warn_fails_nothing(gate, outcome):
    """A value on the bound passes; outside, on_fail says what happens."""
    stats = {"documents": {"read": 8, "kept": 3}}
    assert Gates({"kept_share": gate}).judge(stats)[0]["outcome"] == outcome


def test_nothing_read_is_a_share_of_nothing():
    """0 of 0 is 0: an empty night fails kept_share.low, and no division fails."""
    assert value("kept_share", {"documents": {"read": 0, "kept": 0}}) == 0.0


def test_a_failed_gate_publishes_nothing_and_leaves_everything(clean, tmp_path):
    """HEAD stays on the last good run; the failed one has its report, its parts, its ledger."""
    control = tmp_path / "out" / "_cleanpipe"
    clean({})
    before = (control / "HEAD.json").read_bytes()
    with pytest.raises(GateError) as caught:
        clean({"kept_share": {"low": 0.9}, "dropped_share": {"high": 0.1}})
    assert caught.value.exit_code == 1
    said = str(caught.value)
    assert "gate kept_share is 0.375, below low 0.9" in said
    assert "gate dropped_share is 0.5, above high 0.1" in said
    assert "runs/0002/report.html" in said
    assert (control / "HEAD.json").read_bytes() == before
    failed = Run.load(control / "runs" / "0002")
    assert [line["outcome"] for line in failed.stats["gates"]] == ["failed", "failed"]
    assert failed.verdicts.collect().height == 8
    assert "not published" in failed.report.read_text()
    assert failed.parts
    assert len((control / "metrics.jsonl").read_bytes().splitlines()) == 1


def test_a_loosened_gate_lets_the_same_run_go_on(clean, tmp_path):
    """No second pass over the text: the run that failed is the one that is published."""
    with pytest.raises(GateError):
        clean({"kept_share": {"low": 0.9}})
    receipt = tmp_path / "out/_cleanpipe/runs/0001/receipts/measure-block-000000.json"
    written = receipt.stat().st_mtime_ns
    run = clean({"kept_share": {"low": 0.9, "on_fail": "warn"}})
    assert run.folder.name == "0001"
    assert receipt.stat().st_mtime_ns == written
    assert load(run.folder / "recipe.yaml").gates.root["kept_share"].on_fail == "warn"
    assert run.stats["gates"][0]["outcome"] == "warned"


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ({"kept_shrae": {"low": 1}}, "gates.kept_shrae: no such metric; did you mean 'kept_share'"),
        ({"dropped_by_wrods": {"low": 1}}, "did you mean 'dropped_by_words'?"),
        ({"zebra": {"low": 1}}, "these are: kept_share, dropped_share, "),
        ({"kept_share": {}}, "gates.kept_share: has no bound"),
        ({"kept_share": {"low": 2, "high": 1}}, "low 2 is above high 1"),
        ({"kept_share": {"low": 1, "on_fail": "wran"}}, "did you mean 'warn'?"),
        ({"kept_share": {"low": 1, "lwo": 1}}, "gates.kept_share.lwo: no such option"),
    ],
)
def test_an_impossible_gate_is_refused_where_it_stands(write_recipe, gates, message):
    """Located, with the nearest name."""
    path = write_recipe(input={"path": "in"}, gates=gates)
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        load(path)
    assert re.search(r"recipe\.yaml:1:\d+:", str(caught.value))


def test_a_gate_on_language_needs_one(clean):
    """Refused before anything is measured."""
    with pytest.raises(RecipeError, match=r"gates\.lang_und_share: .*measure\.language"):
        clean({"lang_und_share": {"high": 0.1}})


def test_the_share_without_a_language(tmp_path, write_recipe):
    """Of documents that were read, those whose language nobody knows."""
    texts = [PROSE, "12 34 56", "\u2603 \u2603"]
    lines = b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts)
    (tmp_path / "in.jsonl").write_bytes(lines)
    recipe = load(write_recipe(input={"path": "in.jsonl"}, gates={"lang_und_share": {"high": 0.7}}))
    run = all_steps(Work(recipe, InProcess(), lambda *_: None))
    assert run.stats["gates"][0]["value"] == 2 / 3


def test_a_preset_gate_is_switched_off(write_recipe):
    """Null and false in place of one gate, or of all."""
    path = write_recipe(input={"path": "in"}, gates={"kept_share": None, "kept_bytes": False})
    assert load(path).gates.root == {}
    assert load(path, {"gates": "null"}).gates.root == {}
    with pytest.raises(ValidationError):
        Gates({"kept_share": 3})
