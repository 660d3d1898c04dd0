"""`cleanpipe quality fit`: the scores against a slow reference, the split, the whole way."""

import os
import shlex
import subprocess
import sys
import time
from itertools import product

import numpy as np
import orjson
import pyarrow as pa
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from cleanpipe.errors import RecipeError
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.measures.classifier import Classifier
from cleanpipe.measures.fasttext_format import Head
from cleanpipe.measures.fasttext_models import labels
from cleanpipe.measures.measure import measures
from cleanpipe.measures.measuring import Measure
from cleanpipe.measures.quality import LEAST, THRESHOLDS, Fit, _clock, chosen, scored
from cleanpipe.recipes.recipe_file import load

SCORES = st.lists(st.integers(0, 65536).map(lambda n: n / 65536) | st.just(float("nan")))


@given(SCORES, SCORES)
def test_scores_equal_a_slow_reference(good, bad):
    """AUROC counts pairs; precision and recall count documents; what has no score is aside."""
    found = scored(np.array(good), np.array(bad))
    goods, bads = ([s for s in scores if s == s] for scores in (good, bad))  # noqa: PLR0124 - NaN
    wins = sum((g > b) + (g == b) / 2 for g, b in product(goods, bads))
    assert found["auroc"] == (
        pytest.approx(wins / len(goods) / len(bads)) if wins else found["auroc"]
    )
    assert (found["auroc"] is None) == (not goods or not bads)
    assert found["without_score"] == len(good) + len(bad) - len(goods) - len(bads)
    for row, low in zip(found["thresholds"], THRESHOLDS, strict=True):
        kept, wrong = (sum(s >= low for s in scores) for scores in (goods, bads))
        assert row["low"] == low
        assert row["precision"] == (kept / (kept + wrong) if kept + wrong else None)
        assert row["recall"] == (kept / len(goods) if goods else None)
        assert row["bad_kept"] == (wrong / len(bads) if bads else None)


def examples(path, words, count, repeated=1):
    """Documents of six words each, every one `repeated` times, in a JSON lines file."""
    chance = np.random.default_rng(len(words))
    lines = [orjson.dumps({"text": " ".join(chance.choice(words, 6))}) for _ in range(count)]
    path.write_bytes(b"\n".join(line for line in lines for _ in range(repeated)) + b"\n")
    return str(path)


FRUIT = [f"{kind} {colour}" for kind in ("apple", "pear", "plum") for colour in ("red", "green")]
STONE = [f"{kind} {size}" for kind in ("granite", "slate", "chalk", "flint") for size in ("a", "b")]


@pytest.fixture
def trainer():
    """The extra `quality`."""
    return pytest.importorskip("fasttext_new")


def silent(*_):
    pass


def test_a_model_is_fitted_scored_and_measures(trainer, tmp_path):
    """What the model learnt decides in a run; held-out scores are of texts it never saw."""
    assert trainer
    good = examples(tmp_path / "good.jsonl", FRUIT, 300)
    bad = examples(tmp_path / "bad.jsonl", STONE, 300)
    output = tmp_path / "made" / "model.bin"
    found = Fit(held_out=0.25).train(good, bad, output, silent)
    assert found["auroc"] == 1
    assert set(labels(str(output))) == {"good", "bad"}
    used = found["examples"]["good"]
    assert used["read"] == 300
    assert 40 < used["held_out"] < 110
    assert [path.name for path in output.parent.iterdir()] == ["model.bin"]
    wanted = Measure(language=False, models={"quality": {"path": str(output)}})
    texts = pa.array(["red apple green plum", "slate b\nflint a"], pa.large_string())
    scores = measures(texts, None, 0, wanted)["quality"]
    assert scores[0] > 0.9
    assert scores[1] < 0.1


def test_the_same_examples_give_the_same_bytes(trainer, tmp_path):
    """In whatever files and order they stand; another seed divides them in another way."""
    assert trainer
    good = examples(tmp_path / "good.jsonl", FRUIT, 150)
    bad = examples(tmp_path / "bad.jsonl", STONE, 150)
    first = Fit().train(good, bad, tmp_path / "first.bin", silent)
    lines = (tmp_path / "good.jsonl").read_bytes().splitlines()
    (tmp_path / "halves").mkdir()
    for number, half in enumerate((lines[70:], lines[:70])):
        (tmp_path / "halves" / f"{number}.jsonl").write_bytes(b"\n".join(reversed(half)))
    again = Fit().train(str(tmp_path / "halves"), bad, tmp_path / "again.bin", silent)
    assert (tmp_path / "first.bin").read_bytes() == (tmp_path / "again.bin").read_bytes()
    assert first["thresholds"] == again["thresholds"]
    other = Fit(seed=1).train(good, bad, tmp_path / "other.bin", silent)
    assert (tmp_path / "first.bin").read_bytes() != (tmp_path / "other.bin").read_bytes()
    assert other["examples"] != first["examples"]


def test_a_text_stands_on_one_side_only(trainer, tmp_path):
    """Repeats count once, so none is both trained on and held out; none is both good and bad."""
    assert trainer
    good = examples(tmp_path / "good.jsonl", FRUIT, 150, repeated=4)
    bad = examples(tmp_path / "bad.jsonl", STONE, 150)
    shared = (tmp_path / "good.jsonl").read_bytes().splitlines()[0] + b"\n"
    with (tmp_path / "bad.jsonl").open("ab") as file:
        file.write(shared)
    found = Fit().train(good, bad, tmp_path / "model.bin", silent)
    assert (found["in_both"], found["repeated"]) == (1, 3 * 150 + 1)
    used = found["examples"]["good"]
    assert used["trained_on"] + used["held_out"] == 149


def test_a_label_within_a_text_is_none(trainer, tmp_path):
    """An example cannot bring labels of its own."""
    assert trainer
    good = examples(tmp_path / "good.jsonl", ["__label__bad apple", *FRUIT], 400)
    bad = examples(tmp_path / "bad.jsonl", STONE, 150)
    found = Fit().train(good, bad, tmp_path / "model.bin", silent)
    assert set(labels(str(tmp_path / "model.bin"))) == {"good", "bad"}
    assert found["auroc"] == 1


def test_too_few_examples_are_refused(trainer, tmp_path):
    """With how many there are, and how many it takes; nothing is left behind."""
    assert trainer
    good = examples(tmp_path / "good.jsonl", FRUIT, LEAST - 1, repeated=9)
    bad = examples(tmp_path / "bad.jsonl", STONE, 150)
    with pytest.raises(RecipeError, match=r"good\.jsonl: 99 good examples .* give 100 at least"):
        Fit().train(good, bad, tmp_path / "model.bin", silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "good.jsonl"]


def test_without_the_extra_the_next_move_is_told(tmp_path, monkeypatch):
    """Before anything is read."""
    monkeypatch.setitem(sys.modules, "fasttext_new", None)
    with pytest.raises(RecipeError, match=r"pip install 'cleanpipe\[quality\]'"):
        Fit().train("nowhere", "nowhere", tmp_path / "model.bin", silent)


def test_an_option_that_cannot_be_is_named():
    """As it is called on the command line."""
    with pytest.raises(RecipeError, match=r"--held-out: expected less than or equal to 0.5, found"):
        chosen(held_out=0.9)


def test_the_trainers_options_are_the_users(trainer, tmp_path):
    """Dim and bucket are the sizes of the file's matrices; lr changes what is learnt."""
    assert trainer
    good = examples(tmp_path / "good.jsonl", FRUIT, 150)
    bad = examples(tmp_path / "bad.jsonl", STONE, 150)
    made = {}
    for name, options in (
        ("plain", {}),
        ("sized", {"dim": 3, "bucket": 77}),
        ("slow", {"lr": 0.01}),
    ):
        chosen(**options).train(good, bad, tmp_path / name, silent)
        made[name] = (tmp_path / name).read_bytes()
    heads = {name: Head.read(content) for name, content in made.items()}
    assert [(head.dim, head.bucket) for head in heads.values()] == [
        (10, 1 << 18),
        (3, 77),
        (10, 1 << 18),
    ]
    assert made["slow"] != made["plain"]
    for wrong in ({"dim": 0}, {"bucket": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"epochs": 0}):
        with pytest.raises(RecipeError, match=f"--{next(iter(wrong))}: expected"):
            chosen(**wrong)


def test_seconds_are_counted_while_it_trains():
    """The line before says how long it may take; what takes longer is told to, to its end."""
    told = []
    with _clock("train", 0, lambda *line: told.append(line)):
        time.sleep(1.4)
    assert told == [("train", 0, 1), ("train", 1, 2), ("train", 2, 2)]


def test_the_verb_prints_scores_and_json(trainer, tmp_path):
    """A table for people, one JSON value for machines, progress on standard error."""
    assert trainer
    words = [
        *(sys.executable, "-m", "cleanpipe", "quality", "fit"),
        examples(tmp_path / "good.jsonl", FRUIT, 150),
        examples(tmp_path / "bad.jsonl", STONE, 150),
        *("--output", str(tmp_path / "model.bin")),
    ]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ)
    assert "AUROC of the held out 1.0000" in shown.stdout
    assert "train on" in shown.stderr
    assert "times (elsewhere 10 MB took a second), seconds: 0 of 1" in " ".join(
        shown.stderr.split()
    )
    machine = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True)
    assert orjson.loads(machine.stdout)["auroc"] == 1
    scores = Classifier(path=str(tmp_path / "model.bin")).scores(
        *text_buffers(pa.array(["plum red"], pa.large_string()))
    )
    assert scores[0] > 0.5


def test_the_documented_way_works(trainer, write, tmp_path):
    """The command and the recipe of docs/models.md, as they stand there."""
    assert trainer
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    command = shlex.split(page.partition("```sh\n")[2].partition("```")[0])
    recipe = page.partition("Then use it:\n\n```yaml\n")[2].partition("```")[0]
    for name, words in (("good", FRUIT), ("bad", STONE)):
        (tmp_path / name).mkdir()
        examples(tmp_path / name / "a.jsonl", words, 150)
    assert command[0] == "cleanpipe"
    subprocess.run([sys.executable, "-m", "cleanpipe", *command[1:]], cwd=tmp_path, check=True)
    known = load(write(f"input: {{path: good}}\noutput: {{path: out}}\n{recipe}"))
    known.measure.check()
    assert known.filter.rules["quality"].low == 0.5
