"""An order is proved by digests or by losses; a wrong one never is. Step logs, written and read."""

import sys
import types

import numpy as np
import orjson
import polars as pl
import pytest
from exported import made, stream

from cleanpipe.errors import InputError
from cleanpipe.export import mappers, step_log
from cleanpipe.export.exposure import digest, digests, exposure, steps_of
from cleanpipe.stability.attribution.alignment import by_digest, by_losses, difficulty
from cleanpipe.stability.attribution.batches import Batches
from cleanpipe.training.callback import StepLog

STEPS = 1_500
WORDS = 300


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An export of easy and hard documents, its order, and the losses of a model that learns it.

    The model is one of bigrams that learns on the way: its losses fall, and are its own.
    """
    chance = np.random.default_rng(4)
    lengths = chance.integers(20, 400, 2_500)
    sizes = 2 + 298 * chance.random(len(lengths)) ** 2  # how many words a document draws from
    tokens = np.concatenate(
        [chance.integers(0, int(size), n) for size, n in zip(sizes, lengths, strict=True)]
    )
    export = made(tmp_path_factory.mktemp("export") / "e", lengths, tokens=tokens)
    order = mappers.llmc(export, sequences=4, length=64, steps=STEPS, rule="python")
    counts = np.ones((WORDS, WORDS))
    losses = []
    for _, _, start, length in order.iter_rows():
        ids = tokens[start : start + length].astype(int)
        seen = counts[ids[:-1], ids[1:]] / counts.sum(axis=1)[ids[:-1]]
        losses.append(-np.log(seen).mean() + chance.normal(0, 0.02))
        np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return export, order, np.array(losses)


def test_the_order_that_was_trained_on_is_verified(trained):
    """Lag 0, beyond every shift; the sentence names the numbers."""
    export, order, losses = trained
    steps, foretold = difficulty(export, order)
    assert steps.tolist() == list(range(STEPS))
    proof = by_losses(steps, foretold, np.arange(STEPS), losses)
    assert proof.verified
    assert proof.lag == 0
    assert proof.correlation > 0.5 > proof.null
    assert "order verified by the losses of 1,500 steps" in proof.said


@pytest.mark.parametrize("shift", [-7, 1, 30])
def test_a_shifted_order_is_refused_and_the_shift_is_named(trained, shift):
    """A log whose steps are counted from elsewhere is not verified; people learn from where."""
    export, order, losses = trained
    steps, foretold = difficulty(export, order)
    proof = by_losses(steps, foretold, np.arange(STEPS) + shift, losses)
    assert not proof.verified
    assert proof.lag == shift
    move = f"{shift} taken off" if shift > 0 else f"{-shift} added to"
    assert f"with {move} the log's step numbers" in proof.said


@pytest.mark.parametrize("seed", range(6))
def test_another_order_is_refused(trained, seed):
    """The same batches in another order, as of another seed or epoch."""
    export, order, losses = trained
    steps, foretold = difficulty(export, order)
    other = np.random.default_rng(seed).permutation(foretold)
    proof = by_losses(steps, other, np.arange(STEPS), losses, seed=seed)
    assert not proof.verified
    assert proof.said.startswith("order not verified")


def test_losses_that_are_missing_or_not_finite_are_left_out(trained):
    """Gaps and NaN do not shift the rest; too few steps are too few; doubles are refused."""
    export, order, losses = trained
    steps, foretold = difficulty(export, order)
    holes = losses.copy()
    holes[100:130] = np.nan
    holes[7] = np.inf
    kept = np.arange(STEPS) % 5 > 0
    proof = by_losses(steps, foretold, np.arange(STEPS)[kept], holes[kept])
    assert proof.verified
    assert proof.steps == kept.sum() - np.isnan(holes[kept]).sum() - np.isinf(holes[kept]).sum()
    short = by_losses(steps[:900], foretold[:900], np.arange(STEPS), losses)
    assert (short.verified, short.how) == (False, "none")
    with pytest.raises(InputError, match="a step twice"):
        by_losses(steps, foretold, np.zeros(STEPS), losses)


def test_digests_verify_or_refuse(trained):
    """All steps that both know must agree; nothing in common proves nothing."""
    export, order, _ = trained
    foretold = digests(export, steps_of(order, range(50)), 64)
    known = foretold.filter(pl.col("step").is_between(10, 39))
    assert by_digest(known, foretold).verified
    other = pl.when(pl.col("step") == 20).then(pl.col("digest") ^ 1).otherwise("digest")
    wrong = by_digest(known.with_columns(digest=other), foretold)
    assert not wrong.verified
    assert "1 of 30 steps differ, the first at step 20" in wrong.said
    assert not by_digest(known.with_columns(pl.col("step") + 99), foretold).verified


def test_a_step_log_tells_documents_and_digests(trained, tmp_path):
    """A loop of two ranks with micro steps, written and read: spans, digests, and who stood there.

    A resumed rank wrote two steps again, and the last line of a killed one is cut off.
    """
    export, _, _ = trained
    tokens = stream(export)
    order = mappers.llmc(
        export, sequences=2, length=32, steps=6, micro_steps=2, ranks=2, rule="python"
    )
    paths = [tmp_path / "logs" / f"rank{rank}.jsonl" for rank in range(2)]
    for rank, path in enumerate(paths):
        for steps in (range(4), range(2, 6)):
            with StepLog(path) as log:
                for step in steps:
                    own = order.filter(step=step)[rank * 2 : rank * 2 + 2]
                    for start in own["start"]:
                        starts = np.array([start, start + 32])
                        log.batch(np.stack([tokens[s : s + 32] for s in starts]), starts=starts)
                    log.step(step, loss=1.5, grad_norm=None)
        with path.open("ab") as file:
            file.write(b'{"step": 6, "dig')
    found = step_log.read(export, paths)
    assert found.digests.equals(digests(export, order, 32))
    assert exposure(export, found.spans).equals(exposure(export, order))
    assert len(found.notes) == 4
    with StepLog(paths[1]) as log:  # takes the line that was cut off away
        log.step(6)
    with pytest.raises(InputError, match="step 6"):
        step_log.read(export, paths)
    for odd in (
        b'{"loss": 3}',
        b'{"step": 1, "digest": "no"}',
        b'{"step": "1", "digest": "0a"}',
        b"3",
    ):
        (tmp_path / "odd.jsonl").write_bytes(b'{"step": 7, "digest": "0a"}\n' + odd + b"\n")
        with pytest.raises(InputError, match=r"odd\.jsonl:2 is no line"):
            step_log.read(export, [tmp_path / "odd.jsonl"])


def test_blocks_of_a_step_log_change_nothing(trained, tmp_path, monkeypatch):
    """Spans, digests and notes are the same however few lines are read at a time."""
    export, order, _ = trained
    with StepLog(tmp_path / "steps.jsonl") as log:
        for step in [*range(40), *range(30, 60)]:
            starts = order.filter(step=step)["start"].to_numpy()
            log.batch(starts[:, None] + np.arange(8), starts=starts)
            log.step(step)
    whole = step_log.read(export, [tmp_path / "steps.jsonl"])
    monkeypatch.setattr(step_log, "BLOCK", 300)
    pieces = step_log.read(export, [tmp_path / "steps.jsonl"])
    assert whole.digests.equals(pieces.digests)
    assert whole.spans.equals(pieces.spans)
    assert (
        whole.notes
        == pieces.notes
        == [f"{tmp_path}/steps.jsonl has 10 steps twice: the later line counts"]
    )
    assert whole.digests["step"].to_list() == list(range(60))


def test_batches_of_spans_are_the_exposure_table(trained):
    """Sizes, totals and rows of any steps, without the table of all of them."""
    export, order, _ = trained
    table = exposure(export, order)
    lean, whole = (
        Batches.of_spans(export, order.sample(fraction=1, shuffle=True, seed=1)),
        Batches.whole(table),
    )
    assert lean.sizes().equals(whole.sizes())
    trained_on = [dict(zip(one.ids, one.totals, strict=True)) for one in (lean, whole)]
    assert {name: count for name, count in trained_on[0].items() if count} == trained_on[1]
    steps = np.array([7, 3, 3, 1199, 5000])
    assert lean.named(steps).equals(whole.named(steps))
    with pytest.raises(InputError, match="another export"):
        Batches.of_spans(export, order.with_columns(pl.col("start") + 10**9))


def test_a_table_of_ones_own_is_read(trained, tmp_path):
    """CSV, JSON lines and Parquet with step, start and length; what is missing is named."""
    order = trained[1]
    own = order.select("step", "start", "length")
    own.write_csv(tmp_path / "o.csv")
    own.write_ndjson(tmp_path / "o.jsonl")
    own.write_parquet(tmp_path / "o.parquet")
    for name in ("o.csv", "o.jsonl", "o.parquet"):
        assert step_log.read_table(tmp_path / name).equals(order)
    own.drop("length").write_csv(tmp_path / "o.csv")
    with pytest.raises(InputError, match="no column length"):
        step_log.read_table(tmp_path / "o.csv")
    pl.DataFrame({"step": ["a"], "start": [1], "length": [1]}).write_csv(tmp_path / "o.csv")
    with pytest.raises(InputError, match="whole numbers"):
        step_log.read_table(tmp_path / "o.csv")


def test_the_callback_of_trainer_sees_what_the_model_is_given(tmp_path, monkeypatch):
    """Documents, padding left out, evaluation not noted, and the model never sees `document`."""
    torch = pytest.importorskip("torch")
    base = types.ModuleType("transformers")
    base.TrainerCallback = type("TrainerCallback", (), {})
    if "transformers" not in sys.modules:
        monkeypatch.setitem(sys.modules, "transformers", base)

    class Model(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            return (input_ids * attention_mask).sum()

    export = made(tmp_path / "e", [3, 2, 5], "datasets")
    model = Model()
    recorder = StepLog(tmp_path / "steps.jsonl").callback(model)
    ids = torch.tensor([[5, 6, 7], [8, 9, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    model(input_ids=ids, attention_mask=mask, document=torch.tensor([0, 1]))
    model.eval()
    model(input_ids=ids, attention_mask=mask, document=torch.tensor([0, 1]))
    recorder.on_step_end(None, types.SimpleNamespace(global_step=1), None)
    recorder.on_train_end(None, None, None)
    (line,) = map(orjson.loads, (tmp_path / "steps.jsonl").read_bytes().splitlines())
    wanted = (digest([[5, 6, 7]]) + digest([[8, 9]])) % 2**64
    assert (int(line["digest"], 16), line["tokens"]) == (wanted, 5)
    found = step_log.read(export, [tmp_path / "steps.jsonl"])
    assert exposure(export, found.spans).rows() == [(1, 0, "d0", 3), (1, 1, "d1", 2)]
    assert digests(export, found.spans)["digest"].to_list() == [
        (digest([stream(export)[:3]]) + digest([stream(export)[3:5]])) % 2**64
    ]  # of sequences as long as they are
