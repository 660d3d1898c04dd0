"""Runs with evaluation sets: what is dropped and what stays, the books, kills, workers, errors."""

import random

import orjson
import polars as pl
import pytest
from conftest import InProcess, digests
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanpipe.errors import InputError, RecipeError
from cleanpipe.input import corpus
from cleanpipe.measures import contamination
from cleanpipe.measures.evaluations import SHARED_TYPE
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, run
from cleanpipe.store import write_json, write_table

CHANCE = random.Random(2)
WORDS = [f"word{number}" for number in range(3000)]
TEMPLATE = "Solve the following problem and give the answer as one number please:"


def text(count):
    return " ".join(CHANCE.choices(WORDS, k=count))


QUESTIONS = [f"{TEMPLATE} {text(20)}" for _ in range(30)]
OWN = [question.removeprefix(TEMPLATE).strip() for question in QUESTIONS]
PLANTED = {
    "verbatim": QUESTIONS[3],
    "shouted": OWN[4].upper().replace(" ", ", ") + "!",
    "embedded": f"{text(150)}\n\n{OWN[5]}\n\n{text(150)}",
    "leaked file": "\n".join(QUESTIONS[10:16]),
}
NEAR_MISSES = {
    "template": f"{TEMPLATE} {text(30)}",
    "a part": f"{text(40)} {' '.join(OWN[6].split()[:9])} {text(40)}",
    "shuffled": " ".join(reversed(OWN[7].split())),
    "every seventh word": " ".join("no" if i % 7 == 6 else w for i, w in enumerate(OWN[8].split())),
}
DOCUMENTS = PLANTED | NEAR_MISSES | {f"plain {i}": text(60) for i in range(12)}
RULE = {"seen_example_frac": {"high": 0.5}}


@pytest.fixture
def recipe(tmp_path):
    """A function that writes documents, evaluation sets and a recipe, and gives its path."""

    def write(shards=1, **sections):
        rows = [orjson.dumps({"id": name, "text": one}) for name, one in DOCUMENTS.items()]
        (tmp_path / "in").mkdir(exist_ok=True)
        for shard in range(shards):
            (tmp_path / "in" / f"{shard}.jsonl").write_bytes(b"\n".join(rows[shard::shards]))
        examples = [orjson.dumps({"uid": i, "question": one}) for i, one in enumerate(QUESTIONS)]
        (tmp_path / "math.jsonl").write_bytes(b"\n".join(examples))
        (tmp_path / "other.txt").write_text(f"{text(25)}\n{text(12)}\ntoo short\n")
        sets = {
            "math": {"path": "math.jsonl", "text": "question", "id": "uid"},
            "other": "other.txt",
        }
        known = {
            "seed": 4,
            "input": {"path": "in/*.jsonl"},
            "measure": {"language": False, "evaluations": {"sets": sets}},
            "filter": RULE,
            "output": {"path": "out"},
        }
        path = tmp_path / "recipe.yaml"
        path.write_bytes(orjson.dumps(known | sections))
        return path

    return write


def cleaned(path):
    return all_steps(Work(load(path), InProcess(), lambda *_: None))


def test_planted_examples_go_and_near_misses_stay(recipe):
    """Verbatim, in other case and punctuation, inside a page, a whole file; each by name."""
    done = cleaned(recipe())
    told = {row["id"]: row for row in done.verdicts.collect().to_dicts()}
    assert {name for name, row in told.items() if row["rule"]} == set(PLANTED)
    for name in PLANTED:
        verdict = told[name]
        assert (verdict["stage"], verdict["rule"]) == ("filter", "seen_example_frac")
        assert (verdict["value"], verdict["high"]) == (1, 0.5)
    (story,) = done.why("embedded")
    assert story["evaluations"] == [{"set": "math", "example": 5, "id": "5", "seen": 20, "of": 20}]
    (story,) = done.why("leaked file")
    assert {one["id"] for one in story["evaluations"]} == {str(i) for i in range(10, 16)}
    assert "evaluations" not in done.why("template")[0]
    assert "shared" not in done.why("embedded")[0]["measures"]
    measured = pl.read_parquet(done.folder / "measures" / "*.parquet").to_dicts()
    assert {row["id"]: row["contaminated_words"] for row in measured}["a part"] == 9


def test_the_books_say_what_was_seen(recipe):
    """By set: documents and examples, read and kept; the examples themselves, with documents."""
    done = cleaned(recipe())
    told = done.stats["evaluations"]["sets"]
    looked_for = {"examples": 30, "looked_for": 30, "too_short": 0, "template_only": 0}
    assert told["math"] == looked_for | {
        "read": {"documents": 5, "documents_seen": 4, "examples": 10, "examples_seen": 9},
        "kept": {"documents": 1, "documents_seen": 0, "examples": 1, "examples_seen": 0},
    }
    nothing = dict.fromkeys(("documents", "documents_seen", "examples", "examples_seen"), 0)
    looked_for = {"examples": 3, "looked_for": 2, "too_short": 1, "template_only": 0}
    assert told["other"] == looked_for | {"read": nothing, "kept": nothing}
    seen = pl.read_parquet(done.folder / "evaluations" / "seen.parquet")
    assert seen["id"].to_list() == ["3", "4", "5", "6", *map(str, range(10, 16))]
    row = seen.row(by_predicate=pl.col("id") == "6", named=True)
    assert (row["document"], row["seen"], row["seen_in_kept"]) == ("a part", 9, 9)
    assert seen.filter(pl.col("id") == "5")["document"].item() == "embedded"
    assert set(seen["seen_in_kept"]) == {0, 9}
    page = done.report.read_text()
    assert "Evaluation sets" in page
    assert "9 (30.0 %)" in page
    assert "| math | 30 | 30 | 9 | 4 | 0 | 0 |" in (done.folder / "report.md").read_text()
    assert done.stats["histograms"]["seen_example_frac"]["raw"]["count"] == len(DOCUMENTS)


def test_another_bound_needs_no_text(recipe, tmp_path):
    """`decide` moves it; other sets, or another length of runs, need a run."""
    done = cleaned(recipe())
    (tmp_path / "math.jsonl").unlink()
    found = done.decide({"filter.seen_example_frac.high": "0.1"})
    assert found["newly_dropped"]["documents"] == [1, 1]
    with pytest.raises(RecipeError, match="needs a run"):
        done.decide({"measure.evaluations.ngram": "13"})
    assert done.why("embedded")[0]["evaluations"]


def test_without_a_rule_it_is_told_and_nothing_goes(recipe):
    """Sets that are looked for only, as for a report."""
    path = recipe(filter={})
    assert any("no rule drops" in notice for notice in load(path).notices)
    done = cleaned(path)
    assert done.stats["documents"]["dropped"] == 0
    assert done.stats["evaluations"]["sets"]["math"]["kept"]["examples_seen"] == 9
    where = {"where": "contaminated_frac < 0.9"}
    assert not any("no rule" in notice for notice in load(recipe(filter=where)).notices)


def test_workers_cuts_and_kills_change_no_byte(recipe, tmp_path, monkeypatch):
    """One block or many, one process or two, and a run that goes on after half its blocks."""
    path = recipe(shards=4)
    whole = cleaned(path)
    first = digests(whole.output)
    monkeypatch.setattr(corpus, "BLOCK", 1)
    load_to = lambda name: load(path, output=tmp_path / name)  # noqa: E731 - three uses
    cut = all_steps(Work(load_to("cut"), InProcess(), lambda *_: None))
    killed = Work(load_to("killed"), InProcess(), lambda *_: None)
    blocks = killed.blocks_to_measure()
    assert len(blocks) > 1
    for number in blocks[::2]:
        killed.measure(number)
    again = all_steps(Work(load_to("killed"), InProcess(), lambda *_: None))
    assert again.folder.name == "0001"
    assert digests(again.output) == digests(cut.output)
    monkeypatch.undo()
    spawned = run(load_to("spawned"), workers=2)
    assert digests(spawned.output) == first
    assert spawned.stats["evaluations"] == cut.stats["evaluations"] == whole.stats["evaluations"]


def test_a_set_that_is_another_makes_another_run(recipe, tmp_path):
    """A changed file is another run; one that changes while a run goes on ends that run."""
    work = Work(load(recipe()), InProcess(), lambda *_: None)
    with (tmp_path / "math.jsonl").open("ab") as file:
        file.write(b"\n" + orjson.dumps({"uid": 99, "question": DOCUMENTS["plain 0"]}))
    for number in work.blocks_to_measure():
        work.measure(number)
    with pytest.raises(InputError, match="evaluation set was changed while the run went on"):
        work.measured()
    done = all_steps(Work(load(tmp_path / "recipe.yaml"), InProcess(), lambda *_: None))
    assert done.folder.name == "0002"
    assert done.stats["documents"]["dropped"] == len(PLANTED) + 1


REFUSED = {
    "missing": ("math.jsonl", None, "matches no file"),
    "empty": ("math.jsonl", b"", "holds no example"),
    "broken": ("math.jsonl", b'{"uid": 1, "question": "a"}\n{"uid"', "row 1: not_json"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_set_that_cannot_be_used_is_told_by_line_and_column(recipe, tmp_path, name):
    """Before a document is measured."""
    path = recipe()
    given = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps(given, option=orjson.OPT_INDENT_2))
    file, data, says = REFUSED[name]
    (tmp_path / file).unlink()
    if data is not None:
        (tmp_path / file).write_bytes(data)
    with pytest.raises(RecipeError) as refused:
        cleaned(path)
    line = 1 + path.read_text().split("\n").index('        "math": {')
    assert f"recipe.yaml:{line}:9: measure.evaluations.sets.math: " in str(refused.value)
    assert says in str(refused.value)
    assert not list((tmp_path / "out" / "_cleanpipe").glob("runs/*/measures/*"))


def test_a_rule_without_sets_is_refused(recipe):
    """By the rule's place, with the option to set; so is a column to write."""
    with pytest.raises(RecipeError, match=r"seen_example_frac: has bounds, but no evaluation sets"):
        cleaned(recipe(measure={"language": False}))
    output = {"path": "out", "columns": ["contaminated_frac"]}
    with pytest.raises(RecipeError, match=r"'contaminated_frac' is not measured: no evaluation"):
        load(recipe(measure={"language": False}, filter={}, output=output))


MEETING = st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(1, 10), st.booleans())
MET = st.lists(MEETING, max_size=4, unique_by=lambda met: met[:2])


@settings(max_examples=40)
@given(st.lists(st.lists(MET, max_size=4), max_size=3))
def test_counts_are_those_of_all_blocks_at_once(tmp_path_factory, blocks):
    """Block by block, as a loop over all meetings says."""
    folder = tmp_path_factory.mktemp("run")
    sets = {name: {"examples": 4} for name in "ab"}
    write_json(folder / contamination.LOOKED_FOR, {"sets": sets})
    every = []
    for number, documents in enumerate(blocks):
        kept = [bool(met) and met[0][3] for met in documents]
        rows = [
            [
                {"set": name, "example": example, "id": str(example), "seen": seen, "of": 10}
                for name, example, seen, _ in met
            ]
            for met in documents
        ]
        every += [
            (name, example, seen, is_kept, (number, place))
            for place, (met, is_kept) in enumerate(zip(documents, kept, strict=True))
            for name, example, seen, _ in met
        ]
        save(folder, number, rows, kept)
    found = contamination.count(folder)["sets"]
    for name in "ab":
        for side in ("read", "kept"):
            mine = [m for m in every if m[0] == name and (side == "read" or m[3])]
            assert found[name][side] == {
                "documents": len({m[4] for m in mine}),
                "documents_seen": len({m[4] for m in mine if m[2] > 5}),
                "examples": len({m[1] for m in mine}),
                "examples_seen": len({m[1] for m in mine if m[2] > 5}),
            }


def save(folder, number, rows, kept):
    """A block's measures and verdicts, as far as they are counted."""
    verdicts = pl.DataFrame(
        {"verdict": ["kept" if one else "dropped" for one in kept], "shard": ["s"] * len(kept)},
        schema={"verdict": pl.String, "shard": pl.String},
    )
    measures = pl.DataFrame(
        {
            "row": range(len(kept)),
            "id": [f"{number}-{i}" for i in range(len(kept))],
            "shared": rows,
        },
        schema={"row": pl.UInt64, "id": pl.String, "shared": SHARED_TYPE},
    )
    for kind, frame in (("measures", measures), ("verdicts", verdicts)):
        table = frame.to_arrow()
        write_table(folder / kind / f"block-{number:06d}.parquet", [table], table.schema)
