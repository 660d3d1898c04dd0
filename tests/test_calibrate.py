"""The experiment on gradients: its arithmetic on known answers, and a small one from end to end."""

import numpy as np
import orjson
import pytest

torch = pytest.importorskip("torch", reason="the extra probe is not installed")
pytest.importorskip("tokenizers", reason="the extra probe is not installed")

from cleanpipe.errors import InputError, RecipeError  # noqa: E402
from cleanpipe.report import redraw, rendering  # noqa: E402
from cleanpipe.stability.probe import (  # noqa: E402
    excerpts,
    foretelling,
    gradients,
    placed,
    proxies,
)
from cleanpipe.stability.probe.calibrate import Settings, by_script, calibrate  # noqa: E402
from cleanpipe.stability.probe.model import Shape  # noqa: E402
from cleanpipe.stability.probe.training import Optimizer, Trainer  # noqa: E402

SHAPE = Shape(vocabulary=300, width=16, layers=2, heads=2, length=32)


def test_a_sketch_has_the_length_of_its_gradient_and_adds_up():
    """Within three parts in a hundred of the norm; the mean of sketches is the batch's sketch."""
    trainer = Trainer.begin(SHAPE, Optimizer(), seed=0)
    sequences = np.random.default_rng(1).integers(1, 300, (8, 33))
    sketcher = gradients.Sketcher(trainer)
    loss = trainer.model.losses(torch.from_numpy(sequences)).mean()
    loss.backward()
    exact = torch.cat([w.grad.reshape(-1) for w in trainer.model.parameters()]).norm()
    pieces = sketcher.sketches(sequences, piece=4)
    assert gradients.norm(pieces) == pytest.approx(float(exact), rel=0.03)
    assert np.allclose(pieces.mean(axis=0), sketcher.sketch(sequences), atol=1e-5)


def test_the_fit_finds_planted_noise_and_coherence():
    """Clean pieces of noise around a mean, faulty ones that all agree: mu, sigma and c come back.

    About: the fit has no (1 - dose)^2 for what the fault displaces.
    """
    chance = np.random.default_rng(0)
    size, tokens = gradients.SIZE, 512
    mean, fault = np.zeros(size), np.zeros(size)
    mean[0], fault[1] = 1, 5
    clean = mean + chance.normal(0, 3 / size**0.5, (256, size))
    found = gradients.curve(
        gradients.Pieces(clean.astype("f4"), np.tile(fault, (64, 1)).astype("f4"), tokens), seed=1
    )
    assert found["mu2"] == pytest.approx(1, rel=0.25)
    assert found["sigma2"] / tokens == pytest.approx(9, rel=0.25)
    assert found["c"] == pytest.approx(25, rel=0.2)
    assert found["r2"] > 0.95
    noise = chance.normal(0, 3 / size**0.5, (64, size)) + mean
    found = gradients.curve(
        gradients.Pieces(clean.astype("f4"), noise.astype("f4"), tokens), seed=1
    )
    assert found["c_over_mu2"] < 0.2  # more of the same is no fault


def test_the_page_by_batch_size_says_what_batches_had_that_were_measured():
    """Together and spread: the page's ratios are those measured, nearly; half removed: shorter.

    Two models whose faults are twice as long in one give a range.
    """
    chance = np.random.default_rng(0)
    size, tokens = 512, 512
    mean = np.zeros(size)
    mean[0] = 1
    clean = (mean + chance.normal(0, 3 / size**0.5, (256, size))).astype("f4")
    known, spread, together = [], [], []
    for length in (20, 40):
        fault = np.zeros((64, size), "f4")
        fault[:, 1] = length
        pieces = gradients.Pieces(clean, fault, tokens)
        known.append({"faults": {"digits": gradients.curve(pieces, seed=1)}})
        spread.append(_lengthened(pieces, 131_072, 0.05, chance))
        together.append(_lengthened(pieces, 8192, 1, chance))
    rows = {row["tokens a batch"]: row for row in placed.batch_rows({"proxies": known})}
    said = [float(x) for x in rows["131,072"]["spread"].split(" to ")]
    assert said == pytest.approx(spread, rel=0.15)
    said = [float(x) for x in rows["8,192"]["together"].split(" to ")]
    assert said == pytest.approx(together, rel=0.15)
    half = [float(x) for x in rows["131,072"]["spread, half removed"].split(" to ")]
    assert 1 < half[0] < spread[0]
    assert half[1] < spread[1]
    assert rows["8,192"]["measured to"] == "100 %"
    assert rows["131,072"]["measured to"] == "25 %"  # there are no more faulty pieces


def _lengthened(pieces, batch, dose, chance):
    with_fault, without = (
        np.mean([pieces.batch(batch, part, chance)[1] for _ in range(8)]) for part in (dose, 0)
    )
    return with_fault / without


def test_scores_are_compared_as_they_should():
    """A measure that is the outcome wins over noise, and the lift of the longest is above one."""
    chance = np.random.default_rng(0)
    groups, sketches = {}, {}
    for name in ("a", "b", "c"):
        norms = chance.lognormal(0, 0.5, 400)
        found = {measure: chance.random(400) for measure in foretelling.SINGLE}
        found["repeat_tokens"] = norms
        groups[name] = (found, norms)
        together = np.zeros((400, 64), np.float32)
        together[:, 0] = norms
        sketches[name] = together
    result = foretelling.compare(groups, sketches, seed=0)
    assert result["best_single"] == "repeat_tokens"
    assert result["means"]["repeat_tokens"]["auroc"] == 1
    assert result["means"]["repeat_tokens"]["average_precision"] == 1
    assert result["means"]["repeat_tokens"]["lift"] > 1.1
    assert 0.9 < result["means"]["window_entropy_min"]["lift"] < 1.1
    assert result["gain"]["low"] <= result["gain"]["estimate"] <= 0 <= result["gain"]["high"] + 1e-9
    assert set(result["positives"].values()) == {40}


def test_scripts_are_compared_with_latin_of_equal_entropy():
    """A script whose norms are double is told so, although its entropy is that of Latin."""
    names = ["LATIN"] * 100 + ["CYRILLIC"] * 50
    norms = np.concatenate([np.linspace(1, 1.2, 100), np.full(50, 2.2)])
    scores = {"window_entropy_min": np.tile(np.linspace(0, 1, 50), 3)}
    found = by_script(names, norms, scores)
    assert found["CYRILLIC"]["matched"] == pytest.approx(2, rel=0.05)
    assert found["CYRILLIC"]["flagged"]["norm"] == 1
    assert found["LATIN"]["flagged"]["norm"] == pytest.approx(0.05, abs=0.01)


def written(path, count, words, seed):
    chance = np.random.default_rng(seed)
    with path.open("wb") as file:
        for number in range(count):
            text = " ".join(chance.choice(words, chance.integers(120, 150)))
            file.write(orjson.dumps({"id": str(number), "text": text, "lang": "en"}) + b"\n")
    return str(path)


def test_halves_share_no_text(tmp_path):
    """A text that stands in a corpus twice is trained on or asked about, never both, and once."""
    words = np.array(["red", "green", "blue", "ten"])
    path = written(tmp_path / "a.jsonl", 30, words, 0)
    (tmp_path / "b.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes())
    found = excerpts.halves(str(tmp_path / "*.jsonl"), seed=1)
    train = [text for texts in found.train.values() for text in texts]
    assert len(set(train) | set(found.test)) == len(train) + len(found.test) == 30
    assert set(excerpts.halves(path, seed=1).test) == set(found.test)


def test_an_experiment_runs_and_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """Two corpora and one proxy: every table is there; again it gives the same, at once."""
    monkeypatch.setattr(gradients, "DRAWS", 2)
    corpora = {
        "one": written(tmp_path / "one.jsonl", 500, np.array(["red", "green", "blue", "ten"]), 0),
        "two": written(tmp_path / "two.jsonl", 500, np.array(["cat", "dog", "bird", "sat"]), 1),
    }
    hard = {"few": written(tmp_path / "few.jsonl", 60, np.array(["-"]), 2)}
    plan = proxies.Plan(shape=SHAPE, school=3, steps=3, batch=4)
    settings = Settings(
        corpora=corpora, hard=hard, documents=210, clean_tokens=2048, plans=(plan,),
        scripts=corpora["one"],
    )  # fmt: skip
    said = []
    result = calibrate(settings, tmp_path / "out", lambda *told: said.append(told))
    (proxy,) = result["proxies"]
    assert proxy["copy_ratio"] > proxies.COPIES
    assert not proxy["counts"]
    assert proxy["faults"].keys() >= {"placebo", "noise_5", "single_token"}
    assert proxy["documents"] == {"one": 210, "two": 210}
    assert proxy["hard"]["few"]["flagged"]["repeat_tokens"] > 0.5
    assert {"train proxy-2x16-seed0"} < {step for step, _, _ in said}
    (tmp_path / "out" / "proxy-2x16-seed0.json").unlink()
    said.clear()
    again = calibrate(settings, tmp_path / "out", lambda *told: said.append(told))
    again["proxies"][0]["seconds"] = proxy["seconds"]
    assert again["proxies"] == result["proxies"]
    assert not any(step.startswith("train") for step, _, _ in said)
    told = redraw._probe(tmp_path / "out" / "calibration.json")
    html = rendering._templates(is_html=True).get_template("sections/probe.html.jinja")
    page = html.render(probe=told)
    assert len(told["batches"]) == page.count("<tr><td>") >= len(proxy["faults"])
    assert "seed 0, 3 steps on text (hardly copies" in page
    assert "<td>noise 5</td><td>2,048</td>" in page.replace("\n", "")
    both = redraw._both({**told, "batches": [], "rows": [1], "limits": "of twins"}, told, tmp_path)
    assert (both["rows"], both["limits"], len(both["batches"])) == (
        [1], "of twins", len(told["batches"])
    )  # fmt: skip
    with pytest.raises(InputError, match="one of each kind"):
        redraw._both(told, told, tmp_path)
    other = Settings(corpora=corpora, plans=(plan,), seed=1)
    with pytest.raises(RecipeError, match="other settings"):
        calibrate(other, tmp_path / "out", lambda *_: None)


def test_halves_of_a_large_corpus_are_a_sample_that_no_order_of_reading_changes(
    tmp_path, monkeypatch
):
    """Of many texts those of the least hashes stay, whichever file they stand in."""
    monkeypatch.setattr(excerpts, "OFFERED", 10)
    path = tmp_path / "a.jsonl"
    written(path, 100, np.array(["red", "green", "blue", "ten"]), 0)
    (tmp_path / "b.jsonl").write_bytes(b"".join(reversed(path.read_bytes().splitlines(True))))
    one, other = (excerpts.halves(str(tmp_path / name), seed=1) for name in ("a.jsonl", "b.jsonl"))
    assert one == other
    assert len(one.test) == 10
    assert len(one.train["en"]) == 10
