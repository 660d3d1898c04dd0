"""Plans against the runs that they foretell; what they refuse, and that they leave nothing."""

import io
import os

import numpy as np
import orjson
import polars as pl
import pytest
from conftest import InProcess
from rich.console import Console
from test_cli import cleanpipe

from cleanpipe.cli.plan_view import show_plan
from cleanpipe.errors import QuarantineError, RecipeError
from cleanpipe.input.intake import find_shards
from cleanpipe.planning.plan import Sampled, plan
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, silent

WORDS = ["river", "stone", "bread", "1984", "paper", "north", "cloud", "2001", "glass", "wheel"]
RULES = {
    "words": {"low": 20, "high": 400},
    "digit_char_frac": {"high": 0.3},
    "stop_words": {"low": 1, "langs": ["en"]},
    "repeat_run": {"high": 31},
    "where": "topic <> 'zz'",
}


def documents(count, chance):
    """Texts of many lengths; the later, the more digits: sorted by quality."""
    for i in range(count):
        weights = np.ones(len(WORDS)) + 4 * (i / count) * np.array([w.isdigit() for w in WORDS])
        length = int(chance.lognormal(3.5, 0.9)) + 1
        words = chance.choice(WORDS, length, p=weights / weights.sum())
        text = None if i % 97 == 0 else " ".join(["the", *words, str(chance.random())])
        yield {"id": str(i), "text": text, "lang": "en" if i % 3 else "de", "topic": f"t{i % 4}"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """4,000 documents in five shards, some lines of which are broken."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = [orjson.dumps(d) for d in documents(4000, np.random.default_rng(0))]
    for i in range(9, 4000, 211):
        lines[i] = b"{broken"
    for number in range(5):
        shard = b"\n".join(lines[number * 800 : (number + 1) * 800])
        (folder / f"{number}.jsonl").write_bytes(shard + b"\n\n")
    return folder


def recipe_of(corpus, output, **sections):
    path = output.parent / "recipe.yaml"
    known = {
        "version": 1,
        "seed": 3,
        "input": {"path": str(corpus / "*.jsonl")},
        "output": {"path": str(output)},
        "measure": {"language": False},
        "filter": RULES,
        **sections,
    }
    path.write_bytes(orjson.dumps(known))
    return load(path)


def foretold(recipe, folder, share, seed=0, **limits):
    """A plan without processes; `limits` undo what makes small corpora be measured in whole."""
    inside = recipe.model_copy(
        update={
            "output": recipe.output.model_copy(update={"path": str(folder)}),
            "max_quarantined": 1.0,
        }
    )
    limits = {"whole": 0, "fewest": 1, **limits}
    shards = find_shards(recipe)
    return Sampled(inside, InProcess(), silent, shards, share, seed, **limits).foretold(recipe)


def counted(run):
    """What a run dropped, as a plan lists it."""
    return {(row["stage"], row["rule"]): row for row in run.stats["stages"]}


@pytest.mark.parametrize("balance", [None, {"by": "topic", "strategy": "temperature"}])
def test_a_small_corpus_is_measured_in_whole_and_the_plan_is_the_run(corpus, tmp_path, balance):
    """Every count of the plan is the run's: read, dropped by each rule, duplicates, kept, bytes."""
    recipe = recipe_of(corpus, tmp_path / "out", dedup={}, balance=balance)
    told = foretold(recipe, tmp_path / "plan", 0.01, whole=1 << 40)
    relaxed = recipe.model_copy(update={"max_quarantined": 0.1})
    run = all_steps(Work(relaxed, InProcess(), silent))
    assert told["sample"]["whole"]
    for line in told["attrition"]:
        real = counted(run).get((line["stage"], line["rule"]), {"documents": 0, "bytes": 0})
        for name in ("documents", "bytes"):
            assert set(line[name].values()) == {real[name] or 0}
    names = {(line["stage"], line["rule"]) for line in told["attrition"]}
    assert counted(run).keys() <= names
    assert told["kept"]["documents"]["estimate"] == run.stats["documents"]["kept"]
    assert told["kept"]["bytes"]["estimate"] == run.stats["clean"]["bytes"]
    assert told["duplicates"]["near"]["estimate"] == run.stats["duplicates"]["near"]
    rules = {rule["rule"]: rule for rule in run.stats["rules"]}
    for line in told["rules"]:
        assert line["failed"]["estimate"] == rules[line["rule"]]["failed"]
        assert line["alone"]["estimate"] == rules[line["rule"]]["alone"]


def test_the_runs_numbers_are_within_the_ranges(corpus, tmp_path):
    """Of all ranges that ten samples give, 19 in 20 hold what the run then does."""
    recipe = recipe_of(corpus, tmp_path / "out", max_quarantined=0.1)
    run = all_steps(Work(recipe, InProcess(), silent))
    real, held = counted(run), []
    for seed in range(10):
        told = foretold(recipe, tmp_path / f"plan{seed}", 0.1, seed=seed)
        pairs = [
            (line[name], real.get((line["stage"], line["rule"]), {}).get(name) or 0)
            for line in told["attrition"]
            for name in ("documents", "bytes")
        ]
        pairs.append((told["kept"]["documents"], run.stats["documents"]["kept"]))
        pairs.append((told["kept"]["bytes"], run.stats["clean"]["bytes"]))
        pairs.append((told["documents"]["read"], run.stats["documents"]["read"]))
        pairs.append((told["documents"]["quarantined"], run.stats["documents"]["quarantined"]))
        pairs.append((told["text"], run.stats["raw"]["bytes"]))
        held += [found["low"] <= truth <= found["high"] for found, truth in pairs]
        assert 300 < told["sample"]["documents"] < 900
        assert told["documents"]["read"]["low"] == told["documents"]["read"]["high"] == 4000
    assert np.mean(held) >= 0.95
    assert len(held) > 150


def test_stretches_of_a_larger_corpus_are_drawn(tmp_path):
    """Where not all is read, the number of documents is a range, too, and holds."""
    folder = tmp_path / "in"
    folder.mkdir()
    lines = [orjson.dumps(d) for d in documents(3000, np.random.default_rng(1))]
    for number in range(100):
        (folder / f"{number:03}.jsonl").write_bytes(b"\n".join(lines[number * 30 :][:30]))
    recipe = recipe_of(folder, tmp_path / "out")
    work = foretold(recipe, tmp_path / "all", 0.3, whole=1 << 40)
    import cleanpipe.input.corpus as module

    before = module.BLOCK
    module.BLOCK = 20_000  # blocks of a shard or two
    try:
        told = foretold(recipe, tmp_path / "some", 0.3, read=1)
    finally:
        module.BLOCK = before
    sample = told["sample"]
    assert 30 < sample["stretches"] < sample["of_stretches"]
    read = told["documents"]["read"]
    assert read["low"] < read["high"]
    assert read["low"] <= 3000 <= read["high"]
    truth = {
        (line["stage"], line["rule"]): line["documents"]["estimate"] for line in work["attrition"]
    }
    for line in told["attrition"]:
        low, high = line["documents"]["low"], line["documents"]["high"]
        assert low <= truth.get((line["stage"], line["rule"]), 0) <= high


def test_of_duplicates_a_plan_says_no_more_than_there_are(tmp_path):
    """A lower bound from copies that were drawn; near ones are unknown, and kept has an end."""
    folder = tmp_path / "in"
    folder.mkdir()
    texts = [f"the same text stands here many times {i % 40}" for i in range(2000)]
    (folder / "a.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": t}) for t in texts))
    recipe = recipe_of(folder, tmp_path / "out", dedup={}, filter=None)
    for seed in range(5):
        told = foretold(recipe, tmp_path / f"plan{seed}", 0.2, seed=seed)
        exact = told["duplicates"]["exact"]
        assert exact["estimate"] is None
        assert 1000 < exact["at_least"] <= 1960
        assert told["duplicates"]["near"] == {"estimate": None, "at_least": 0}
        assert told["kept"]["documents"]["estimate"] is None
        assert 40 <= told["kept"]["documents"]["high"] <= 1000


def test_a_plan_refuses_what_the_run_would(corpus, tmp_path):
    """A column that is not there, a measure that nobody makes: refused in the same words."""
    for changes in ({"balance": {"by": "topik"}}, {"filter": {"where": "nothing > 3"}}):
        recipe = recipe_of(corpus, tmp_path / "out", **changes)
        with pytest.raises(RecipeError) as planned:
            foretold(recipe, tmp_path / "plan", 0.1)
        with pytest.raises(RecipeError) as run:
            Work(recipe, InProcess(), silent)
        assert str(planned.value) == str(run.value)


def test_too_much_quarantine_is_foretold(corpus, tmp_path):
    """What would fail the run is a notice, with its range; 19 of 4,000 lines are broken."""
    recipe = recipe_of(corpus, tmp_path / "out", max_quarantined=0.0001)
    told = foretold(recipe, tmp_path / "plan", 0.4)
    assert any("will fail" in notice for notice in told["notices"])
    allowed = recipe.model_copy(update={"max_quarantined": 0.05})
    assert not any("fail" in n for n in foretold(allowed, tmp_path / "again", 0.4)["notices"])
    with pytest.raises(QuarantineError):
        all_steps(Work(recipe, InProcess(), silent))


def test_notices_name_rules_that_do_not_fit(corpus, tmp_path):
    """A rule of one language that others pass unseen, and one that drops half of everything."""
    rules = {"stop_words": {"low": 1, "langs": ["en"]}, "words": {"low": 60}}
    recipe = recipe_of(corpus, tmp_path / "out", filter=rules, notices=["as the recipe says"])
    told = foretold(recipe, tmp_path / "plan", 0.3)
    assert told["notices"][0] == "as the recipe says"
    said = "\n".join(told["notices"])
    assert "stop_words is about en only: 3" in said
    assert "words drops" in said


def test_the_mixture_is_foretold_by_group(corpus, tmp_path):
    """Epochs of each group with a range that holds the run's; none where weights cannot be met."""
    balance = {"by": "topic", "strategy": "explicit", "weights": {"t0": 0.7, "t1": 0.1}}
    balance["weights"] |= {"t2": 0.1, "t3": 0.1}
    recipe = recipe_of(corpus, tmp_path / "out", balance=balance, max_quarantined=0.1)
    told = foretold(recipe, tmp_path / "plan", 0.2)["balance"]
    run = all_steps(Work(recipe, InProcess(), silent))
    real = {row["group"]: row for row in run.stats["groups"]}
    assert [line["group"] for line in told["groups"]] == ["t0", "t1", "t2", "t3"]
    for line in told["groups"]:
        epochs = line["epochs"]
        assert epochs["low"] <= real[line["group"]]["epochs"] <= epochs["high"]
        assert line["size"]["low"] <= real[line["group"]]["size"] <= line["size"]["high"]
    balance["weights"] = {"t0": 0.5, "elsewhere": 0.5}
    other = recipe_of(corpus, tmp_path / "out", balance=balance)
    assert "elsewhere" in foretold(other, tmp_path / "other", 0.2)["balance"]["left_out"]


def test_the_command_leaves_nothing_and_fits_a_screen(corpus, tmp_path):
    """With processes: JSON that says its version, no output folder, and 40 lines for people."""
    recipe_of(corpus, tmp_path / "out", dedup={}, balance={"by": "topic"})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = ("plan", tmp_path / "recipe.yaml", "--json", "--workers", "2")
    done = cleanpipe(*words, env={**os.environ, "TMPDIR": str(scratch)})
    assert done.returncode == 0, done.stderr
    told = orjson.loads(done.stdout)
    assert told["version"] == 1
    assert told["costs"]["workers"] == 2
    assert all(seconds >= 0 for seconds in told["costs"]["steps"].values())
    assert told["bands"]["found"][3] == [0.8, pytest.approx(0.947, abs=0.001)]
    assert not (tmp_path / "out").exists()
    assert list(scratch.iterdir()) == []
    screen = Console(file=io.StringIO(), width=100)
    show_plan(screen, told)
    lines = screen.file.getvalue().splitlines()
    assert len(lines) <= 40
    assert any(line.startswith("kept") for line in lines)


def test_a_sample_is_shown_with_ranges(corpus, tmp_path):
    """A line a rule with its range, what is unknown called so."""
    recipe = recipe_of(corpus, tmp_path / "out", dedup={})
    screen = Console(file=io.StringIO(), width=100)
    show_plan(screen, foretold(recipe, tmp_path / "plan", 0.1))
    text = screen.file.getvalue()
    assert "19 times in 20" in text
    assert "hidden from a sample" in text
    assert "at most" in text


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_share_that_is_none_is_refused(corpus, tmp_path, share):
    """The message says what a share is."""
    with pytest.raises(RecipeError, match="more than 0 and at most 1"):
        plan(recipe_of(corpus, tmp_path / "out"), share=share)


def test_a_cap_on_hosts_is_left_out_by_name(tmp_path):
    """Two documents of each host in a sample are not two in the corpus: said, not guessed."""
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [{"text": f"{i} words", "url": f"https://h{i % 3}.example/{i}"} for i in range(600)]
    (folder / "a.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    recipe = recipe_of(folder, tmp_path / "out", filter={"urls": {"per_domain": 10}})
    told = foretold(recipe, tmp_path / "plan", 0.3)
    assert told["kept"]["documents"]["estimate"] is None
    assert told["kept"]["documents"]["low"] <= 30 <= told["kept"]["documents"]["high"]
    assert "per_domain is left out" in told["notices"][0]
    assert told["left_out"] == [["filter", "domain_cap"]]
    shown = Console(file=io.StringIO(), width=100)
    show_plan(shown, told)
    (line,) = (x for x in shown.file.getvalue().splitlines() if "domain_cap" in x)
    assert "unknown" in line
    assert "hidden from a sample" in line
    whole = foretold(recipe, tmp_path / "whole", 0.3, whole=1 << 40)
    assert whole["left_out"] == []
    assert whole["kept"]["documents"]["estimate"] == 30


def test_a_plan_has_the_seed_that_the_run_will_have(tmp_path, write_recipe):
    """The recipe's or the output's own; without one the plan says that chance may differ."""
    (tmp_path / "in").mkdir()
    rows = {"text": [f"a text of its own, number {n}" for n in range(20)]}
    pl.DataFrame(rows).write_parquet(tmp_path / "in" / "0.parquet")
    path = write_recipe(seed=None, input="in/*.parquet", measure={"language": False})
    drawn = plan(load(path), workers=1)
    assert drawn["sample"]["seed"] is False
    screen = Console(file=io.StringIO(), width=100)
    show_plan(screen, drawn)
    assert "but for what goes by chance: the run will draw a seed" in screen.file.getvalue()
    control = tmp_path / "out" / "_cleanpipe"
    control.mkdir(parents=True)
    (control / "seed").write_text("41", encoding="ascii")
    assert plan(load(path), workers=1)["sample"]["seed"] is True
    with pytest.raises(RecipeError, match="was begun with another"):
        plan(load(path, {"seed": "7"}), workers=1)
