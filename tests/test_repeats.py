"""Cuts in whole runs: pages with boilerplate, files and blocks, kills, workers, what is told."""

import shutil
import time
import uuid

import numpy as np
import orjson
import polars as pl
import pytest
from conftest import InProcess, digests
from rich.console import Console

from cleanpipe.cli.console import show_run, show_story
from cleanpipe.duplicates import repeats
from cleanpipe.duplicates.cuts import SPAN, Cuts
from cleanpipe.errors import RecipeError
from cleanpipe.input import corpus
from cleanpipe.input.intake import find_shards
from cleanpipe.planning.plan import Sampled
from cleanpipe.planning.whatif import decide
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, silent
from cleanpipe.verify import faults_of

MENU = "Home, news, sport, weather and all of the other pages of this site"
FOOT = "All rights are reserved by the makers of this page and their friends."
CHINESE = "版权所有\uff0c未经许可不得转载本站任何内容。"


def page(number):
    own = f"Page {number} says what no other page says, {number * 7} times over.\n- a list\n- of it"
    return {"id": f"p{number}", "text": f"{MENU}\n\n{own}\n\n{FOOT}\n{CHINESE}", "n": number % 3}


PAGES = [page(number) for number in range(40)]
BARE = {"id": "bare", "text": f"{MENU}\n\n{FOOT}"}


def a_run(folder, shards, pool=None, **sections):
    """A run over shards (name: documents) in an input folder of their own."""
    given = folder / "in"
    shutil.rmtree(given, ignore_errors=True)
    given.mkdir(parents=True)
    for name, documents in shards.items():
        lines = b"".join(orjson.dumps(document) + b"\n" for document in documents)
        (given / f"{name}.jsonl").write_bytes(lines)
    known = {
        "version": 1,
        "seed": 7,
        "input": {"path": "in/*.jsonl"},
        "output": {"path": "out"},
        "measure": {"language": False},
        "cuts": {},
        **sections,
    }
    (folder / "recipe.yaml").write_bytes(orjson.dumps(known))
    return all_steps(Work(load(folder / "recipe.yaml"), pool or InProcess(), silent))


def written(run):
    return pl.concat([pl.read_parquet(part) for part in run.parts]).sort("id")


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few pages each, and parts of a few spans."""
    monkeypatch.setattr(corpus, "BLOCK", 1200)
    monkeypatch.setattr(repeats, "BYTES_A_SPAN", 25_000_000)


def test_a_page_is_judged_by_what_is_left_of_it(tmp_path):
    """Boilerplate stays in one page; rules, duplicates, books and parts are of the rest."""
    echo = {**page(3), "id": "echo"}
    echo["text"] = echo["text"].replace("21 times", "many times")
    run = a_run(
        tmp_path,
        {"a": [*PAGES, BARE, echo]},
        filter={"words": {"high": 40}, "cut_frac": {"high": 0.97}},
        dedup={"near": {"threshold": 0.5, "ngram": 2}},
        balance={"by": "n", "strategy": "unimax", "max_epochs": 2, "budget": 140, "unit": "bytes"},
    )
    verdicts = run.verdicts.collect()
    dropped = verdicts.filter(pl.col("verdict") == "dropped")
    reasons = {row["id"]: (row["stage"], row["rule"]) for row in dropped.to_dicts()}
    assert reasons["bare"] == ("cuts", "nothing_left")
    owners = [name for name, reason in reasons.items() if reason == ("filter", "words")]
    assert len(owners) == 1  # who keeps all that repeats is the only long page
    table = written(run)
    assert table["text"].str.contains(MENU, literal=True).sum() == 0
    assert table["text"].str.contains(CHINESE, literal=True).sum() == 0
    assert table.filter(pl.col("copy") > 0).height > 0
    left = table.filter(pl.col("copy") == 0).filter(pl.col("id") != "echo")
    for row in left.to_dicts():
        own = page(int(row["id"][1:]))["text"].split("\n\n")[1]
        assert row["text"] == own
    assert faults_of(run.output) == []
    cut = run.stats["cuts"]
    gone = sum(len(d["text"].encode()) for d in [*PAGES, BARE, echo]) - run.stats["raw"]["bytes"]
    assert cut["bytes"] == gone > 0
    assert cut["repeated"] == 3
    assert cut["cut"] == 41 + 41 + 40  # of 42, 42 and, since the bare page has it not, 41


@pytest.mark.usefixtures("small_blocks")
def test_files_and_blocks_do_not_matter(tmp_path, monkeypatch):
    """The same documents in one file, in many, the other way round: the same rows."""
    shards = {f"s{i}": PAGES[i::4] for i in range(4)}
    apart = written(a_run(tmp_path / "apart", shards))
    assert len(list((tmp_path / "apart").rglob("cuts/*.parquet"))) > 4
    reverse = written(a_run(tmp_path / "reverse", {"z": PAGES[20:][::-1], "y": PAGES[:20][::-1]}))
    monkeypatch.undo()
    whole = written(a_run(tmp_path / "whole", {"a": PAGES}))
    assert whole.equals(apart)
    assert whole.equals(reverse)


def test_parts_of_the_hashes_change_nothing(tmp_path, monkeypatch):
    """As many parts as memory asks for: the same bytes."""
    one = a_run(tmp_path / "one", {"a": PAGES})
    monkeypatch.setattr(repeats, "BYTES_A_SPAN", 50_000_000)
    many = a_run(tmp_path / "many", {"a": PAGES})
    assert digests(many.output) == digests(one.output)


def test_what_was_cut_is_cut_no_more(tmp_path):
    """A run over the output of a run finds nothing that repeats."""
    run = a_run(tmp_path / "first", {"a": PAGES})
    again = a_run(tmp_path / "again", {"a": written(run).select("id", "text").to_dicts()})
    assert run.stats["cuts"]["cut"] > 0
    assert again.stats["cuts"]["cut"] == 0
    assert written(again)["text"].to_list() == written(run)["text"].to_list()


class Killed(InProcess):
    """A pool that dies at one of its calls, and remembers them."""

    def __init__(self, calls):
        super().__init__()
        self.left, self.done = calls, []

    def call(self, function, *arguments):
        if function.__module__ == "cleanpipe.duplicates.repeats":
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.done.append(function.__name__)
        return function(*arguments)


@pytest.mark.usefixtures("small_blocks")
def test_a_killed_pass_goes_on_where_it_was(tmp_path):
    """After a stop in any step: the same bytes, no block is looked at twice, no span is left."""
    shards = {"a": PAGES[:6], "b": PAGES[6:12]}
    calm = Killed(-1)
    expected = digests(a_run(tmp_path / "calm", shards, pool=calm).output)
    blocks = calm.done.count("look")
    assert blocks > 2
    assert calm.done.count("find") > 1
    kinds = [calm.done.index(name) for name in ("look", "find", "mark")]
    for number in [*(kind + 1 for kind in kinds), kinds[2], len(calm.done) - 1]:
        folder = tmp_path / str(number)
        first, second = Killed(number), Killed(-1)
        with pytest.raises(KeyboardInterrupt):
            a_run(folder, shards, pool=first)
        run = a_run(folder, shards, pool=second)
        assert digests(run.output) == expected
        assert (first.done + second.done).count("look") == blocks
        assert (first.done + second.done).count("mark") == blocks
        assert not (run.folder / "spans").exists()


def test_of_equal_documents_one_keeps_all(tmp_path):
    """Two documents without any difference draw the same chance; their places decide."""
    twin = {"text": f"{MENU}\n\n{FOOT}\n\nYes"}
    texts = sorted(written(a_run(tmp_path, {"a": [twin, twin]}))["text"])
    assert texts == [twin["text"], "Yes"]


def test_why_names_what_was_cut_and_whose_it_is(tmp_path, capsys):
    """Each span with the document that keeps it, also of a document of which nothing is left."""
    run = a_run(tmp_path, {"a": [*PAGES[:5], BARE]})
    (keeper,) = (d["id"] for d in PAGES[:5] if "cuts" not in run.why(d["id"])[0])
    for name in {"p0", "p1", "bare"} - {keeper}:
        (story,) = run.why(name)
        assert [span["text"] for span in story["cuts"]][:2] == [MENU, FOOT]
        assert {span["owner"] for span in story["cuts"]} == {keeper}
        show_story(Console(width=200), story)
    show_run(Console(width=200), run)
    told = capsys.readouterr().out
    assert f"cut '{MENU}': {keeper} (kept) keeps it" in told
    assert "repeats of 3 different spans were cut from 5 documents" in told
    assert "repeats of 3 different spans" in (run.folder / "report.md").read_text("utf-8")
    assert "repeats of 3 different spans" in run.report.read_text("utf-8")


def test_a_run_without_cuts_measures_none_of_it(tmp_path):
    """No table, no measure, no receipt; and bounds on what is cut are refused by name."""
    run = a_run(tmp_path, {"a": PAGES[:3]}, cuts=False)
    assert run.stats["cuts"] == {}
    assert not (run.folder / "cuts").exists()
    assert "cut_frac" not in run.stats["histograms"]
    with pytest.raises(RecipeError, match=r"filter\.cut_frac.*set cuts"):
        a_run(tmp_path, {"a": PAGES[:3]}, cuts=False, filter={"cut_frac": {"high": 0.5}})


def test_deciding_again_needs_a_run_for_other_cuts(tmp_path):
    """What is cut cannot be decided from tables; what is left can."""
    run = a_run(tmp_path, {"a": PAGES}, filter={"words": {"low": 3}})
    with pytest.raises(RecipeError, match=r"needs a run: cuts\.min_words"):
        decide(run.folder, {"cuts.min_words": "3"})
    answer = decide(run.folder, {"filter.cut_frac.high": "0.5"})
    assert answer.documents.alive.sum() == 1


def test_a_plan_cuts_a_small_corpus_and_says_that_a_sample_cannot(tmp_path):
    """In whole it foretells the run; of a sample it says that repeats hide from it."""
    run = a_run(tmp_path, {"a": [*PAGES, BARE]}, filter={"cut_frac": {"high": 0.99}})
    recipe = load(tmp_path / "recipe.yaml")

    def told(**limits):
        output = recipe.output.model_copy(update={"path": str(tmp_path / uuid.uuid4().hex)})
        inside = recipe.model_copy(update={"output": output})
        shards = find_shards(recipe)
        return Sampled(inside, InProcess(), silent, shards, 0.1, 0, **limits).foretold(recipe)

    whole = told()
    assert whole["kept"]["documents"]["estimate"] == run.stats["documents"]["kept"]
    assert not any("cuts" in notice for notice in whole["notices"])
    assert whole["costs"]["steps"]["cut"] >= 0
    sample = told(whole=0, fewest=1)
    assert not sample["sample"]["whole"]
    assert any(notice.startswith("cuts are left out") for notice in sample["notices"])


def test_repeats_are_found_in_linear_time_of_one_span():
    """A line that 300,000 documents share is one group, sorted once."""
    count = 300_000
    spans = np.zeros(count, SPAN)
    spans["document"] = np.arange(count)
    keys = np.arange(count, dtype=np.uint64)[::-1].copy()
    started = time.process_time()
    cut = repeats.repeats(spans, keys, np.zeros(count, np.uint32), Cuts())
    assert time.process_time() - started < 5
    assert len(cut) == count - 1
    assert set(cut["owner_document"].tolist()) == {count - 1}
