"""Which documents the report shows: chosen by chance that follows from them, read again, masked."""

import orjson
import polars as pl
import pytest
from conftest import InProcess

from cleanpipe.errors import InputError
from cleanpipe.outcome import Run
from cleanpipe.recipes.recipe_file import load
from cleanpipe.report import redraw
from cleanpipe.report.examples import EACH, merged
from cleanpipe.run import Work, all_steps

PROSE = "It was a quiet morning, and the people who lived by the river had begun to open doors"


def documents():
    """Ten of too few words, ten with a fix to do, three clusters of near-duplicates, and prose."""
    short = [{"id": f"short{n}", "text": f"only {n} words of jo{n}@example.org"} for n in range(10)]
    fixed = [{"id": f"fixed{n}", "text": f"{PROSE}  {PROSE} {n}"} for n in range(10)]
    near = [
        {"id": f"near{size}-{n}", "text": " ".join(f"w{size}x{k}" for k in range(70)) + f" end{n}"}
        for size in (2, 4, 6)
        for n in range(size)
    ]
    return [*short, *fixed, *near, {"id": "plain", "text": f"{PROSE}, all of them"}]


@pytest.fixture
def show(tmp_path, write_recipe):
    """A function that cleans documents given in files, and gives examples.json and the page."""

    def run(files, **sections):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for number, known in enumerate(files):
            path = folder / f"{number}.jsonl"
            path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in known))
        recipe = {"input": {"path": "in/*.jsonl"}, "measure": {"language": False}}
        recipe |= {"filter": {"words": {"low": 8}}, "dedup": {}, **sections}
        done = all_steps(Work(load(write_recipe(**recipe)), InProcess(), lambda *_: None))
        page = done.report.read_text(encoding="utf-8")
        return orjson.loads((done.folder / "examples.json").read_bytes()), page

    return run


def names(shown, kind):
    return {
        entry["name"]: [example["id"] for example in entry["examples"]] for entry in shown[kind]
    }


def test_the_same_documents_are_shown_however_they_are_filed(show):
    """Three of each rule and fix, and the largest clusters: files and their order do not matter."""
    known = documents()
    shown, page = show([known])
    rules, fixes = names(shown, "rules"), names(shown, "fixes")
    assert set(rules) == {"words"}
    assert set(fixes) == {"spaces"}
    assert len(rules["words"]) == len(fixes["spaces"]) == EACH
    other, _ = show([known[20:], [], known[:20][::-1]])
    assert names(other, "rules") == rules
    assert names(other, "fixes") == fixes
    for name in rules["words"]:
        assert f"<h3>{name} " in page


def test_the_largest_clusters_stand_side_by_side_with_what_differs_marked(show):
    """The one that is kept first, then those least like it; only the differing word is marked."""
    shown, page = show([documents()])
    assert [entry["size"] for entry in shown["clusters"]][:3] == [10, 6, 4]
    six = shown["clusters"][1]["examples"]
    assert [example["value"] is None for example in six] == [True, False, False, False]
    for example in six[1:]:
        marked = [text for kind, text in example["text"] if kind == "mark"]
        assert marked == [f"end{example['id'].rpartition('-')[2]}"]
    assert page.count("<mark>end") == 3 + 3 + 1


def test_what_may_be_somebodys_is_masked_unless_asked_for(show):
    """By default no address is in the page; `full` shows it, `none` shows no text at all."""
    shown, page = show([documents()])
    assert "example.org" not in page + str(shown)
    assert "[e-mail]" in page
    _, page = show([documents()], report={"samples": "full"})
    assert "@example.org" in page
    shown, page = show([documents()], report={"samples": "none"})
    assert shown["rules"] == shown["fixes"] == shown["clusters"] == []
    assert "Some of what was dropped" not in page


def test_a_run_is_drawn_again_with_other_samples(show, tmp_path):
    """From none to all and back by reading again: as a run with them; a changed file is told."""
    full, _ = show([documents()], report={"samples": "full"})
    show([documents()], report={"samples": "none"}, output={"path": "other"})
    run, page = Run.load(tmp_path / "other"), tmp_path / "again.html"
    before = run.report.read_bytes()
    shown = redraw.again(run.folder, load(run.folder / "recipe.yaml"), "full", examples_of(run))
    assert shown == {name: full[name] for name in shown}
    assert "@example.org" in redraw.redraw(run.folder, "full", page).read_text(encoding="utf-8")
    masked = redraw.redraw(run.folder, "masked", page).read_text(encoding="utf-8")
    assert "[e-mail]" in masked
    assert "@example.org" not in masked
    assert "only 3 words" not in redraw.redraw(run.folder, None, page).read_text(encoding="utf-8")
    assert run.report.read_bytes() == before
    (tmp_path / "in" / "0.jsonl").write_bytes(b"{}")
    with pytest.raises(InputError, match="no longer the file"):
        redraw.redraw(run.folder, "full", page)


def test_a_run_of_an_older_version_says_what_can_be_had(show, tmp_path):
    """A file that this version's page needs is named, with where the old page lies."""
    show([documents()])
    run = Run.load(tmp_path / "out")
    (run.folder / "examples.json").unlink()
    with pytest.raises(InputError, match=r"examples.json is missing: an older version"):
        redraw.redraw(run.folder, None, tmp_path / "page.html")


def test_a_probe_stands_on_the_page_that_is_drawn_again(show, tmp_path):
    """Each kind's effect with its interval and limits as text; what is no probe is refused."""
    show([documents()])
    effect = {"mean": 0.25, "low": 0.125, "high": 0.5, "p": 0.02, "seeds": 4}
    kinds = {"<b>runs": {"excess_loss": effect, "diverged": 1}}
    result = {
        "settings": [{"lr": 0.003, "checkpoint": 200, "kinds": kinds}],
        "limits": "Associations only.",
        "copies": False,
        "parameters": 80_000,
        "form": {
            "dose": 0.1,
            "batches": 1,
            "after": 100,
            "seeds": 4,
            "plan": {"shape": {"layers": 2, "width": 64, "length": 128}, "batch": 16},
        },
    }
    given, page = tmp_path / "probe.json", tmp_path / "again.html"
    given.write_bytes(orjson.dumps(result))
    run = Run.load(tmp_path / "out").folder
    drawn = redraw.redraw(run, None, page, given).read_text(encoding="utf-8")
    for text in ("&lt;b&gt;runs", "+0.2500 [+0.1250, +0.5000]", "1 of 4", "cannot copy", "0.003"):
        assert text in drawn.partition('<section id="probe">')[2].partition("</section>")[0]
    assert 'id="probe"' not in (run / "report.html").read_text(encoding="utf-8")
    given.write_bytes(b"{}")
    with pytest.raises(InputError, match="expected the probe"):
        redraw.redraw(run, None, page, given)


def examples_of(run):
    return orjson.loads((run.folder / "examples.json").read_bytes())


def test_hostile_text_is_text(show):
    """Markup in an excerpt or an id is shown, not obeyed."""
    evil = "<script>alert(1)</script> <img src=x onerror=alert(2)>"
    _, page = show([[{"id": evil, "text": evil}]], filter={"words": {"low": 50}})
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_picks_merge_in_any_order():
    """Blocks may come in any order, and of each rule the smallest chances stay."""
    picks = [
        {"kind": "rule", "name": "words", "chance": chance, "shard": 0, "row": chance}
        for chance in (5, 1, 9, 3, 7)
    ]
    blocks = [picks[:2], picks[2:4], picks[4:]]
    assert merged(blocks) == merged(blocks[::-1])
    assert [pick["chance"] for pick in merged(blocks)] == [1, 3, 5]
    assert pl.DataFrame(merged(blocks)).height == EACH
