"""Arms trained from the start: what they see, what is told of a run, and a small sweep whole."""

import io
import re
from dataclasses import replace

import numpy as np
import orjson
import polars as pl
import pytest
from rich.console import Console

torch = pytest.importorskip("torch", reason="the extra probe is not installed")
pytest.importorskip("tokenizers", reason="the extra probe is not installed")

from cleanpipe.cli.cli_stability import stability  # noqa: E402
from cleanpipe.errors import InputError, RecipeError  # noqa: E402
from cleanpipe.report import redraw, rendering  # noqa: E402
from cleanpipe.stability.probe import endpoints, packing, pools, shown, sweep, twins  # noqa: E402
from cleanpipe.stability.probe.model import Shape  # noqa: E402
from cleanpipe.stability.probe.training import Optimizer, Trainer  # noqa: E402

SHAPE = Shape(vocabulary=300, width=16, layers=1, heads=2, length=16)
FORM = sweep.Sweep(
    seeds=2, rates=(1e-2, 1e-1), base=1e-2, steps=12, batch=4, every=3, warmup=3, shape=SHAPE,
    arms=("raw", "clean", "random_removed", "spread", "repeats", "noise 55 %", "ZClip"),
)  # fmt: skip
WORDS = np.array(["red", "green", "blue", "ten", "cat", "dog", "sat", "on"])


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """300 clean documents; the raw form has as many lines of dashes, and 60 documents again."""
    home = tmp_path_factory.mktemp("texts")
    chance = np.random.default_rng(0)
    clean = [" ".join(chance.choice(WORDS, 60)) for _ in range(300)]
    bad = [" ".join(chance.choice(np.array(["--", "==", "=-"]), 60)) + str(n) for n in range(300)]
    raw = [*clean, *bad, *clean[:60]]
    for name, texts in (("raw", raw), ("clean", clean)):
        lines = [orjson.dumps({"text": text}) + b"\n" for text in texts]
        (home / f"{name}.jsonl").write_bytes(b"".join(lines))
    return str(home / "raw.jsonl"), str(home / "clean.jsonl")


@pytest.fixture(scope="module")
def pool(paths):
    return pools.read([paths[0]], [paths[1]])


@pytest.fixture(scope="module")
def drawn(pool):
    tokenizer = packing.trained_tokenizer(pool.sample(), SHAPE.vocabulary)
    return tokenizer, pools.chosen(pool, tokenizer, 0, FORM.tokens)


def test_documents_that_differ_in_spaces_and_marks_are_one():
    """Letters and digits decide; where there are none, the text does."""
    assert pools.key("Red, green:\n1") == pools.key("red green 1!")
    assert pools.key("red green 2") != pools.key("red green 1")
    assert pools.key("--") != pools.key("==")


def test_the_raw_text_holds_what_cleaning_dropped_and_nothing_is_held_out_and_seen(pool, drawn):
    """Duplicates stay in the raw text, and the share of tokens lost is told by both."""
    _, text = drawn
    names = [name for name, _ in text.raw]
    assert len(names) > len(set(names))
    assert {name for name, _ in text.clean} < set(names)
    assert all(name % pools.HELD for name in names)
    assert text.tokens[1] < 0.7 * text.tokens[0]
    seen = {words for _, words in text.raw}
    assert not seen & set(pool.held("raw"))
    ranks = [names.index(name) for name, _ in text.clean]
    assert ranks == sorted(ranks)  # the order of the raw text


def test_arms_see_equal_numbers_of_sequences_of_what_they_are_named_after(drawn):
    """Spread and gathered hold the raw arm's own sequences; repeats a quarter, four times."""
    tokenizer, text = drawn
    size = (FORM.steps, FORM.batch, SHAPE.length)
    made = {order: pools.sequences(text, order, tokenizer, size, 0) for order in pools.ORDERS}
    assert {found.shape for found in made.values()} == {(48, 17)}
    rows = {order: sorted(map(tuple, found.tolist())) for order, found in made.items()}
    assert rows["spread"] == rows["gathered"] == rows["raw"] != rows["random_removed"]
    assert len(set(rows["repeats"])) <= 12 < len(set(rows["clean"]))
    bad = {
        order: np.array(["-" in text or "=" in text for text in tokenizer.decode_batch(found)])
        for order, found in made.items()
    }
    assert not bad["clean"].any()
    assert bad["raw"].mean() > 0.3
    assert bad["random_removed"].mean() > 0.3
    of_a_batch = {order: each.reshape(FORM.steps, -1).sum(axis=1) for order, each in bad.items()}
    assert np.ptp(of_a_batch["spread"]) < np.ptp(of_a_batch["gathered"])


def test_noise_is_inserted_and_nothing_else_is_changed(drawn):
    """Over half of the places hold one of five tokens; the others hold the text, in its order."""
    tokenizer, text = drawn
    clean, noisy = (
        sweep._given(text, sweep.ARMS[arm], tokenizer, FORM, 0) for arm in ("clean", "noise 55 %")
    )
    often = np.argsort(np.bincount(noisy.ravel()))[::-1][:5]
    for row, was in zip(noisy, clean, strict=True):
        rest = row[~np.isin(row, often)]
        wanted = iter(was[~np.isin(was, often)].tolist())
        assert all(token in wanted for token in rest.tolist())  # a subsequence
    assert np.isin(noisy, often).mean() > 0.5


def test_zclip_shortens_what_stands_out_and_is_taken_along():
    """A trainer that goes on from a saved state clips as the one that was never stopped."""
    chance = np.random.default_rng(0)
    batches = chance.integers(1, 300, (40, 4, 17))
    options = Optimizer(clip=None, zclip=2.5, warmup=3)
    whole = Trainer.begin(SHAPE, options, seed=0)
    lines = [whole.take(batch) for batch in batches]
    begun = Trainer.begin(SHAPE, options, seed=0)
    for batch in batches[:30]:
        begun.take(batch)
    twin = Trainer.resume(begun.state())
    assert [twin.take(batch) for batch in batches[30:]] == lines[30:]
    plain = Trainer.begin(SHAPE, replace(options, zclip=None), seed=0)
    assert [plain.take(batch) for batch in batches] != lines
    whole.zclip.variance, whole.zclip.mean = 0.01, 1.0
    assert whole.zclip.limit(11.0) == pytest.approx(1 + 2.5**2 / 100 * 0.1, rel=1e-3)
    assert np.isfinite(whole.zclip.limit(float("inf")))


def test_a_skipped_step_changes_no_weight_and_is_taken_along():
    """The weights before and after are the same bytes; a resumed trainer skips the same steps."""
    chance = np.random.default_rng(0)
    batches = chance.integers(1, 300, (80, 2, 17))
    batches[70] = 7  # one token without end: its loss stands out
    options = Optimizer(skip=6.0, warmup=3)
    whole = Trainer.begin(SHAPE, options, seed=0)
    lines = [whole.take(batch) for batch in batches]
    assert [number for number, line in enumerate(lines) if line["update_norm"] == 0] == [70]
    begun = Trainer.begin(SHAPE, options, seed=0)
    for batch in batches[:66]:
        begun.take(batch)
    twin = Trainer.resume(begun.state())
    assert [twin.take(batch) for batch in batches[66:]] == lines[66:]


def test_masked_tokens_are_read_and_not_learnt():
    """The loss is that of the counted tokens; a batch's masked targets may be any others."""
    batch = np.random.default_rng(0).integers(1, 300, (4, 17))
    counted = np.ones((4, 16), bool)
    counted[:, 15] = False  # the last target is read by no other token
    other = batch.copy()
    other[:, 16] = 5
    weights = []
    for given in (batch, other):
        trainer = Trainer.begin(SHAPE, Optimizer(warmup=3), seed=0)
        expected = trainer.losses(given)[counted].mean()
        assert trainer.take(given, counted)["loss"] == pytest.approx(expected, rel=1e-5)
        weights.append(torch.cat([one.flatten() for one in trainer.model.parameters()]))
    assert torch.equal(*weights)


def run(arm, seed, lr, losses, **more):
    looks = [{"tokens": 100 * i, "clean": x, "raw": x} for i, x in enumerate(losses)]
    known = {"arm": arm, "seed": seed, "lr": lr, "looks": looks, "own": "clean", "seen_loss": 3.0,
             "finished": True, "steps": 100, "events": 0, "max_attn_logit": 2.0}  # fmt: skip
    return known | more


def test_end_points_have_the_values_that_are_planted():
    """Diverged, sensitivity, the largest stable rate, tokens to a target: computed by hand."""
    runs = []
    for seed in range(6):
        over = 0.01 * seed
        runs += [
            run("raw", seed, 1e-2, [6, 5 + over, 4 + over]),
            run("raw", seed, 1e-1, [6, 4.1, 5.9]),
            run("clean", seed, 1e-2, [6, 4 + over, 3 + over + 0.001 * seed]),
            run("clean", seed, 1e-1, [6, 4.2, 4.0], events=1),
        ]
    found = endpoints.compared(runs, {"clean": "raw"}, 1e-2)
    raw, clean = found["raw"], found["clean"]
    assert (raw["diverged"], clean["diverged"]) == (6, 0)
    assert raw["diverged_at"] == {"0.01": 0, "0.1": 6}
    assert raw["levels"]["sensitivity"] == pytest.approx((1.9 - 0.025) / 2)
    effects = clean["effects"]
    assert effects["held_clean"]["mean"] == pytest.approx(-1 + 0.0025)
    assert effects["held_clean"]["p"] == effects["held_clean"]["p_of_all"] == 2 / 64
    assert effects["log2_largest_stable_lr"]["mean"] == pytest.approx(np.log2(10))
    assert effects["events_per_1000"]["mean"] == pytest.approx(5)
    assert np.exp(effects["log_tokens_to_target"]["mean"]) == pytest.approx(0.5, rel=0.01)
    assert endpoints.diverged(run("raw", 0, 1e-2, [6, 5], finished=False))
    assert endpoints.diverged(run("raw", 0, 1e-2, [6, None]))


def test_events_are_steps_that_stand_out_and_seldom_chance():
    """Of 20,000 norms without an event hardly any is one; a planted one and its echo count once."""
    chance = np.random.default_rng(0)
    quiet = chance.lognormal(0, 0.2, 20_000)
    assert endpoints.events(quiet) <= 2
    quiet = quiet[:400]
    quiet[200], quiet[203], quiet[300] = 50, 40, 60
    assert endpoints.events(quiet) == 2


@pytest.fixture(scope="module")
def swept(paths, tmp_path_factory):
    home = tmp_path_factory.mktemp("sweep")
    said = []
    result = sweep.sweep([paths[0]], [paths[1]], home, FORM, lambda *told: said.append(told))
    return home, result, said


def test_a_sweep_leaves_named_columns_and_goes_on_where_it_was_stopped(swept, paths):
    """A line a step for every run, a line a run in runs.csv; what was run is not run again."""
    home, result, said = swept
    count = len(FORM.arms) * 2 * 2
    assert said[-1] == ("runs", count, count)
    table = pl.read_csv(home / "runs.csv")
    assert table.height == count
    assert {"seed", "arm", "lr", "held_clean", "held_raw", "gap", "diverged"} <= set(table.columns)
    logs = sorted((home / "runs").glob("*.jsonl"))
    assert len(logs) == count
    logged = pl.read_ndjson(logs[0])
    assert logged["step"].to_list() == list(range(1, 13))
    assert {"loss", "grad_norm", "lr", "tokens", "max_attn_logit"} <= set(logged.columns)
    assert len({pl.read_ndjson(log)["tokens"][-1] for log in logs}) == 1  # equal tokens
    for path in list((home / "runs").glob("clean*seed-1.json")):
        path.unlink()
    again = sweep.sweep([paths[0]], [paths[1]], home, FORM, lambda *_: None)
    assert orjson.dumps(again) == (orjson.dumps(orjson.loads((home / "sweep.json").read_bytes())))
    assert orjson.dumps(again) == orjson.dumps(result)
    with pytest.raises(RecipeError, match="other settings"):
        sweep.sweep([paths[0]], [paths[1]], home, replace(FORM, seeds=3), lambda *_: None)


def test_a_real_sweep_and_a_real_probe_stand_on_the_page(swept, paths, tmp_path):
    """What tiny models gave, not JSON by hand, goes through the report: every arm and kind."""
    home, result, _ = swept
    form = replace(twins.QUICK, seeds=2, school=2, checkpoints=(2,), kinds=("noise_5",), after=4)
    form = replace(form, plan=replace(form.plan, shape=SHAPE, batch=4))
    twinned = twins.probe(*paths, tmp_path / "probe", form, lambda *_: None)
    path = tmp_path / "probe.json"
    path.write_bytes(orjson.dumps({**twinned, "sweep": result}))
    known = redraw._probe(path)
    section = rendering._templates(is_html=True).get_template("sections/probe.html.jinja")
    html = section.render(probe=known)
    cells = re.findall("<tr><td>(.*?)</td>", html.replace("\n", ""))
    assert cells[-len(FORM.arms) :] == list(FORM.arms)
    assert html.count("<table>") == 2
    assert "2 seeds, batches of 64 tokens, faults in 50 % of the sequences of 3 batches" in html
    assert html.count("<td>spread</td>") == 2 + 1  # the fault, what was removed, and the arm
    assert "2 seeds, batches of 64 tokens, 768 tokens a run, learning rate 0.01" in html
    assert all(f"<td>{kind}</td>" in html for kind in ("placebo_again", "noise_5", "removed"))
    assert sweep.LIMITS.split(".")[0] in html or twins.LIMITS.split(".")[0] in html
    assert redraw._probe(home / "sweep.json")["rows"] == []
    page = io.StringIO()
    shown.show_sweep(Console(file=page, width=200), result)
    assert "noise 55 %" in page.getvalue()
    assert "held-out clean text than the arm beside it" in page.getvalue()


def test_too_little_text_and_an_unknown_form_are_refused(paths, tmp_path):
    """The messages say what there was and what is expected."""
    with pytest.raises(InputError, match=r"tokens of raw and .* of cleaned text, expected"):
        sweep.sweep([paths[0]], [paths[1]], tmp_path, replace(FORM, steps=9000), lambda *_: None)
    with pytest.raises(RecipeError, match="expected one of quick, standard"):
        stability(
            ["sweep", "--raw", "a", "--clean", "b", "--form", "x"], result_action="return_value"
        )
