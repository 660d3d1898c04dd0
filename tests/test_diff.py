"""Diff: what changed between two runs, held to the runs' own ledgers and to what was changed."""

import io
import re
from collections import Counter

import orjson
import pytest
from conftest import ROOT, InProcess
from rich.console import Console

from cleanpipe.cli.cli import app
from cleanpipe.cli.console_diff import page, show_diff
from cleanpipe.errors import InputError
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps
from cleanpipe.stats import diff as between

HOSTILE = "<script>alert(1)</script>\u202e"


def text(name, words):
    return " ".join(f"{name}x{place}" for place in range(words))


@pytest.fixture
def clean(tmp_path, write_recipe):
    """A function that cleans files of (id, words) into one output folder, and gives the run."""

    def run(files, low=5, **sections):
        folder = tmp_path / "in"
        for old in folder.glob("*"):
            old.unlink()
        folder.mkdir(exist_ok=True)
        for name, rows in files.items():
            lines = [
                orjson.dumps(
                    {**({} if given is None else {"id": given}), "text": text(f"d{number}", words)}
                )
                for number, (given, words) in enumerate(rows)
            ]
            (folder / name).write_bytes(b"\n".join(lines) + b"\n")
        known = {
            "input": {"path": "in/*.jsonl"},
            "measure": {"language": False},
            "dedup": {"exact": False, "near": None},
            "filter": {"words": {"low": low}},
        }
        return all_steps(Work(load(write_recipe(**(known | sections))), InProcess(), no_word))

    return run


def no_word(*_):
    """Tell nobody."""


def fates(told):
    return {name: one["documents"] for name, one in told["fates"].items() if one["documents"]}


def test_a_changed_bound_is_named_with_its_documents(clean):
    """The option, before and after; the rule that it decides; who is dropped now; nothing else."""
    files = {"a.jsonl": [(f"d{n}", n) for n in range(1, 21)]}
    was, now = clean(files), clean(files, low=9)
    told = between.diff(was.folder, now.folder)
    assert told["recipe"] == [{"option": "filter.words.low", "before": 5.0, "after": 9.0}]
    assert (told["versions"], told["inputs"]["same"]) == ([], 1)
    (row,) = (row for row in told["stages"] if row["changed"])
    assert (row["rule"], row["options"]) == ("words", ["filter.words.low"])
    assert (row["before"]["documents"], row["after"]["documents"]) == (4, 8)
    assert fates(told) == {"newly_dropped": 4, "still_kept": 12, "still_dropped": 4}
    known = told["fates"]["newly_dropped"]
    assert [one["id"] for one in known["examples"]] == ["d5", "d6", "d7", "d8"]
    assert known["reasons"] == [
        {"stage": None, "rule": None, "stage_now": "filter", "rule_now": "words", "documents": 4}
    ]
    back = between.diff(now.folder, was.folder)
    assert fates(back) == {"newly_kept": 4, "still_kept": 12, "still_dropped": 4}
    assert between.runs_of(was.output) == (was.folder, now.folder)


def test_documents_are_known_wherever_their_file_is_and_in_changed_files_by_their_ids(clean):
    """Renamed files, files with lines before the others, ids that repeat, and no ids at all."""
    was = clean(
        {
            "moved.jsonl": [("m1", 9), ("m2", 2), ("m1", 8)],
            "grown.jsonl": [("g1", 9), ("g2", 2), ("twice", 9), ("twice", 3)],
            "bare.jsonl": [(None, 9), (None, 2)],
        }
    )
    now = clean(
        {
            "else.jsonl": [("m1", 9), ("m2", 2), ("m1", 8)],
            "grown.jsonl": [("new", 9), ("g2", 12), ("g1", 3), ("twice", 9), ("twice", 3)],
            "bare.jsonl": [(None, 3), (None, 9), (None, 2)],
        }
    )
    told = between.diff(was.folder, now.folder)
    assert told["inputs"] == {
        "added": ["else.jsonl"],
        "gone": ["moved.jsonl"],
        "changed": ["bare.jsonl", "grown.jsonl"],
        "same": 0,
    }
    # still: m1, m2, m1; g1 fell, g2 rose; `twice` and the bare ones cannot be told apart
    assert fates(told) == {
        "still_kept": 2,
        "still_dropped": 1,
        "newly_dropped": 1,
        "newly_kept": 1,
        "left_kept": 2,
        "left_dropped": 2,
        "came_kept": 3,
        "came_dropped": 3,
    }
    assert [one["id"] for one in told["fates"]["newly_dropped"]["examples"]] == ["g1"]


def test_every_document_is_counted_once_and_as_the_ledgers_say(clean):
    """Against the ledgers, joined by a dictionary."""
    first = [(f"d{n}", 1 + n * 7 % 23) for n in range(200)]
    second = [(f"d{n}", 1 + n * 5 % 23) for n in range(50, 260)]
    was, now = clean({"a.jsonl": first}), clean({"a.jsonl": second}, low=7)
    sides = [dict(one.verdicts.select("id", "verdict").collect().rows()) for one in (was, now)]
    told = between.diff(was.folder, now.folder)
    wanted = Counter()
    for name in sides[0] | sides[1]:
        before, after = (side.get(name) for side in sides)
        kind = {
            ("kept", "kept"): "still_kept",
            ("dropped", "dropped"): "still_dropped",
            ("dropped", "kept"): "newly_kept",
            ("kept", "dropped"): "newly_dropped",
        }.get((before, after))
        wanted[kind or (f"came_{after}" if before is None else f"left_{before}")] += 1
    assert fates(told) == wanted
    assert len(wanted) == 8


def test_one_published_run_has_nothing_to_be_compared_with(clean):
    """And says what to do; statistics of another version are refused, too."""
    run = clean({"a.jsonl": [("d", 9)]})
    with pytest.raises(InputError, match="name the run to compare it with"):
        between.runs_of(run.output)
    path = run.folder / "stats.json"
    path.write_bytes(orjson.dumps({**run.stats, "version": 1}))
    with pytest.raises(InputError, match="has version 1, and 2 is expected"):
        between.diff(run.folder, run.folder)


def test_the_page_shows_strangers_text_as_it_is(clean, tmp_path, capsys):
    """Ids are escaped, the page may load and run nothing; JSON and page say the same."""
    files = {"a.jsonl": [(HOSTILE, 6), ("b", 9)]}
    was, now = clean(files), clean(files, low=7)
    html = tmp_path / "diff.html"
    command = ["diff", str(was.folder), str(now.folder), "--json", "--html", str(html)]
    assert app(command, result_action="return_value") == 0
    told = orjson.loads(capsys.readouterr().out)
    assert told["fates"]["newly_dropped"]["examples"][0]["id"] == HOSTILE
    shown = html.read_text(encoding="utf-8")
    assert shown == page(told)
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert "default-src &#39;none&#39;" in shown or "default-src 'none'" in shown
    said = io.StringIO()
    show_diff(Console(file=said, width=100), told)
    assert "<U+202E>" in said.getvalue()


def test_the_pages_example_is_what_diff_says(sample_recipe, tmp_path):
    """docs/diff.md shows two runs of the sample: word for word."""
    text = (ROOT / "docs" / "diff.md").read_text(encoding="utf-8")
    (change,) = re.findall(r"--set (\S+)=(\S+)", text)
    output = str(tmp_path / "out")
    runs = [
        all_steps(Work(load(sample_recipe, one, output=output), InProcess(), no_word))
        for one in ({}, dict([change]))
    ]
    said = io.StringIO()
    told = between.diff(*(run.folder for run in runs))
    show_diff(Console(file=said, width=100, highlight=False), told)
    lines = [line.rstrip() for line in said.getvalue().splitlines()]
    shown = re.search(r"```text\n(.*?)```", text, re.DOTALL)[1]
    assert shown.splitlines() == lines
