"""Logs of each trainer, in its own words: what is read of them, and what they are said to hide."""

import gzip
import json
import struct

import numpy as np
import polars as pl
import pytest

from cleanpipe.errors import InputError, RecipeError
from cleanpipe.stability.logs.log_tensorboard import _masked
from cleanpipe.stability.logs.logs import read

MEGATRON = (
    " [2024-05-01 10:00:0{n}] iteration       {n}/  100 | consumed samples:      {n}00 | elapsed "
    "time per iteration (ms): 100.1 | learning rate: 1.000000E-04 | global batch size:   100 | "
    "lm loss: {loss:.6E} | loss scale: 1.0 | grad norm: {norm:.3f} | number of skipped "
    "iterations:   0 | number of nan iterations:   0 |\n"
)
COMPOSER = (
    "[batch={n}/100]:\n\t Train time/batch: {n}\n\t Train time/token: {n}000\n"
    "\t Train loss/train/total: {loss:.4f}\n\t Train l2_norm/grad/global: {norm:.4f}\n"
    "\t Train lr-DecoupledAdamW/group0: 0.0001\n"
)
OLMO = (
    "2025-01-01 [step={n}/100,epoch=1]\n    optim/LR (group 0)=1.0E-4\n"
    "    optim/total grad norm={norm:.4f}\n    train/CE loss={loss:.4f}\n"
    "    throughput/total tokens=4,194,304\n"
)
TITAN = (
    "[titan] 2025-01-01 - root - INFO - \x1b[31mstep: {n:2}  \x1b[32mloss: {loss:7.4f}  "
    "\x1b[38;2;180;60;0mgrad_norm: {norm:7.4f}  \x1b[38;2;54;234;195mmemory:  0.9GiB(1.00%)\n"
)
NANOTRON = (
    "01/17/2024 13:47:27 [INFO|DP=0|PP=0|TP=0|ip-26-0-160-225]: iteration: {n} / 1000 | "
    "consumed_tokens: 634K | elapsed_time_per_iteration_ms: 45 | tokens_per_sec: 14.2K | "
    "tokens_per_sec_per_gpu: 1.78K | global_batch_size: 20 | lm_loss: {loss} | lr: 1e-05 | "
    "model_tflops_per_gpu: 0.00869 | hardware_tflops_per_gpu: 0.00869 | grad_norm: {norm} | "
    "cuda_memory_allocated: 75.2M\n"
)
NEMO = (
    "Training epoch 0, iteration {n}/149 | lr: 3e-05 | consumed_samples: 121 | global_batch_size: "
    "1 | global_step: {n} | grad_norm: {norm} | reduced_train_loss: {loss} | train_step_timing in "
    "s: 0.03146 | val_loss: 4.106\n"
)
NEMO_BAR = (
    "\rEpoch 0: :   3%|▎         | {n}/301500 [1:42:42<55:37:46, v_num=0-56, "
    "reduced_train_loss={loss:.3f}, global_step=9e+3, consumed_samples=6.3e+5, "
    "train_step_timing in s=0.615, val_loss=7.040]"
)
BRIDGE = MEGATRON + (
    "Step Time : 14.26s GPU utilization: 58.2TFLOP/s/GPU\n"  # Megatron-Bridge's, between
)
FORMS = {
    "build-nanogpt": "step {n:5d} | loss: {loss:.6f} | lr 1.0e-04 | norm: {norm:.4f} | dt: 4ms\n",
    "llm.c": "s:{n} trl:{loss:.4f} lr:0.000100 norm:{norm:.2f}\n",
    "modded-nanogpt": "step:{n}/100 train_loss:{loss:.4f} train_time:221ms step_avg:nanms\n",
    "nanogpt": "iter {n}: loss {loss:.4f}, time 91.20ms, mfu 3.10%\n",
    "megatron": BRIDGE,
    "nanotron": NANOTRON,
    "nemo": NEMO,
    "composer": COMPOSER,
    "olmo": OLMO,
    "torchtitan": TITAN,
    "jsonl": '{{"loss": {loss:.4f}, "step": {n}, "grad_norm": {norm:.4f}}}\n',
    "wandb": '{{"train/loss": {loss:.4f}, "_step": {n}, "train/grad_norm": {norm:.4f}}}\n',
}
NO_NORM = {"modded-nanogpt", "nanogpt"}
PROSE = "Starting up on 8 devices...\nnumber of parameters: 124M\n"
LOSSES = [9.5, 8.25, float("nan"), 6.125]


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_log_is_recognized_and_read(form, packed, tmp_path):
    """Step, loss (NaN among them) and gradient norm stand in the table, whatever is around."""
    lines = [FORMS[form].format(n=n + 1, loss=loss, norm=0.25) for n, loss in enumerate(LOSSES)]
    text = ("" if form in {"jsonl", "wandb"} else PROSE) + "".join(lines)
    path = tmp_path / "any.name"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    [log] = read(path)
    assert log.form == form
    assert log.steps["step"].to_list() == [1, 2, 3, 4]
    np.testing.assert_array_equal(log.steps["loss"].to_numpy(), LOSSES)
    assert log.steps["grad_norm"].to_list() == [None if form in NO_NORM else 0.25] * 4
    assert "not_finite" in {note.kind for note in log.notes}


def test_nemo_1_tells_its_steps_in_a_progress_bar(tmp_path):
    """The bar's counter is the step: global_step=9e+3 is nine steps in a thousand's place."""
    text = "".join(NEMO_BAR.format(n=9000 + n, loss=loss) for n, loss in enumerate(LOSSES))
    text = text.replace("=nan,", "=nan.0,")  # as Lightning pads it
    [log] = read(written(tmp_path / "out.txt", PROSE + text + "\n"))
    assert log.form == "nemo"
    assert log.steps["step"].to_list() == [9000, 9001, 9002, 9003]
    np.testing.assert_array_equal(log.steps["loss"].to_numpy(), LOSSES)


def test_letters_of_nanotron_are_thousands(tmp_path):
    """A gradient norm of 12.3K is 12,300; a loss of two digits has a resolution of a hundredth."""
    text = "".join(
        NANOTRON.format(n=n, loss=loss, norm=norm)
        for n, (loss, norm) in enumerate(
            [(2.38, "1.25"), (2.35, "12.3K"), (2.51, "1.5M"), ("1.1E+00", "2B"), (2.4, "3E")], 1
        )
    )
    [log] = read(written(tmp_path / "out.txt", text))
    assert log.steps["grad_norm"].to_list() == [1.25, 12_300, 1_500_000, 2e9, 3e18]
    assert log.steps["loss"].to_list() == [2.38, 2.35, 2.51, 1.1, 2.4]
    assert log.resolution["loss"] == 0.01
    assert "rounded" in {note.kind for note in log.notes}


def test_a_trainer_state_with_nan_and_evaluations(tmp_path):
    """Rows of evaluations are none; the filter and the averages are told."""
    history = [{"step": 20 * n, "loss": 9.0 - n, "learning_rate": 1e-4} for n in range(1, 4)]
    history[1]["loss"] = float("nan")
    history.insert(1, {"step": 20, "eval_loss": 3.0})
    path = written(tmp_path / "t.json", json.dumps({"log_history": history}))
    [log] = read(path)
    assert log.form == "huggingface"
    assert log.steps["step"].to_list() == [20, 40, 60]
    assert log.interval == 20
    assert {"nan_filter", "interval", "no_grad_norm"} <= {note.kind for note in log.notes}
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="cut off"):
        read(path)


def test_lightning_writes_a_row_for_each_callback(tmp_path):
    """Two rows of one step are one step."""
    text = (
        "epoch,lr-AdamW,step,train_loss,val_loss\n0,0.1,0,,\n0,,0,2.5,\n0,0.1,50,,\n0,,50,2.25,\n"
    )
    [log] = read(written(tmp_path / "metrics.csv", text))
    assert log.form == "lightning"
    assert log.steps.select("step", "loss", "lr").rows() == [(0, 2.5, 0.1), (50, 2.25, 0.1)]


def test_charts_that_wandb_exports_hold_a_run_a_column(tmp_path):
    """Each run becomes a log; the columns of extremes are left out."""
    header = '"Step","a - train/loss","a - train/loss__MIN","b - train/loss"'
    text = f"{header}\n1,3.5,3.5,4.5\n2,3.25,3.25,4.25\n"
    first, second = read(written(tmp_path / "chart.csv", text))
    assert first.steps["loss"].to_list() == [3.5, 3.25]
    assert second.steps["loss"].to_list() == [4.5, 4.25]
    assert second.name == "chart.csv#b"


def _record(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", _masked(head)) + data + struct.pack("<I", _masked(data))


def _event(step: int, tag: str, value: float, tensor: bool) -> bytes:
    number = struct.pack("<f", value)
    held = b"\x42\x08\x08\x01\x2a\x04" + number if tensor else b"\x15" + number
    scalar = b"\x0a" + bytes([len(tag)]) + tag.encode() + held
    summary = b"\x0a" + bytes([len(scalar)]) + scalar
    return b"\x09" + bytes(8) + b"\x10" + bytes([step]) + b"\x2a" + bytes([len(summary)]) + summary


@pytest.mark.parametrize("tensor", [False, True])
def test_event_files_of_tensorboard(tensor, tmp_path):
    """Old scalars and new tensors, in a folder of two files, the second cut off."""
    for part, steps in enumerate([(1, 2), (3, 4)]):
        data = _record(b"\x09" + bytes(8) + b"\x1a\x0dbrain.Event:2")
        for step in steps:
            data += _record(_event(step, "lm loss", 4 - step / 2, tensor))
            data += _record(_event(step, "grad-norm", 0.5, tensor))
        (tmp_path / f"events.out.tfevents.{part}.host").write_bytes(data[:-3] if part else data)
    [log] = read(tmp_path)
    assert log.steps.select("step", "loss", "grad_norm").rows() == [
        *((1, 3.5, 0.5), (2, 3.0, 0.5), (3, 2.5, 0.5)),
        (4, 2.0, None),
    ]
    assert "cut_off" in {note.kind for note in log.notes}
    assert len(read(tmp_path / "events.out.tfevents.0.host")) == 1


def test_a_line_that_is_cut_off_is_left_out(tmp_path):
    """3.0832 cut after 3.0 is another number."""
    text = "".join(FORMS["llm.c"].format(n=n, loss=3.5, norm=1) for n in range(5))
    [log] = read(written(tmp_path / "main.log", text + "s:5 trl:3.0"))
    assert log.steps["step"].to_list() == [0, 1, 2, 3, 4]
    assert "cut_off" in {note.kind for note in log.notes}


def test_a_gzip_that_is_cut_off_gives_what_precedes_the_break(tmp_path):
    """A truncated download is read as far as it goes, and says so."""
    chance = np.random.default_rng(0)
    text = "".join(
        FORMS["llm.c"].format(n=n, loss=x, norm=1) for n, x in enumerate(chance.random(5000))
    )
    path = tmp_path / "main.log.gz"
    path.write_bytes(gzip.compress(text.encode())[:-5000])
    [log] = read(path)
    assert 100 < log.steps.height < 5000
    assert "cut_off" in {note.kind for note in log.notes}


def test_blocks_change_nothing(tmp_path, monkeypatch):
    """Rows are the same where lines, and a step's values, are spread over blocks."""
    lines = [OLMO.format(n=n, loss=n / 8, norm=0.25) for n in range(1, 200)]
    path = written(tmp_path / "a.log", "".join(lines))
    [whole] = read(path)
    monkeypatch.setattr("cleanpipe.stability.logs.logs.BLOCK", 700)
    [pieces] = read(path)
    assert whole.steps.equals(pieces.steps)
    assert whole.steps.height == 199


def test_resumed_runs_and_others_in_one_file(tmp_path):
    """A fall to the first step begins a run; a lesser one is a resumption, whose steps count."""
    steps = [1, 2, 3, 4, 5, 3, 4, 5, 6, 1, 2, 4]
    text = "".join(FORMS["llm.c"].format(n=n, loss=i, norm=1) for i, n in enumerate(steps))
    first, second = read(written(tmp_path / "main.log", text))
    assert first.steps["loss"].to_list() == [0, 1, 5, 6, 7, 8]
    assert second.steps["step"].to_list() == [1, 2, 4]
    assert {"resumed", "several_runs"} <= {note.kind for note in first.notes}
    assert {"missing_steps", "several_runs"} <= {note.kind for note in second.notes}


def test_columns_can_be_named(tmp_path):
    """A name that is not there is an error that tells the nearest."""
    path = written(tmp_path / "a.csv", "n;mine\n1;2.5\n2;2.25\n")
    [log] = read(path, {"step": "n", "loss": "mine"})
    assert log.steps["loss"].to_list() == [2.5, 2.25]
    with pytest.raises(RecipeError, match="did you mean 'mine'"):
        read(path, {"step": "n", "loss": "mime"})
    with pytest.raises(RecipeError, match="expected one of step"):
        read(path, {"lss": "mine"})
    lines = written(tmp_path / "a.jsonl", '{"n": 1, "mine": "NaN"}\n{"n": 2, "mine": 2.25}\n')
    [log] = read(lines, {"step": "n", "loss": "mine"})
    assert np.isnan(log.steps["loss"][0])


@pytest.mark.parametrize(
    "text", ["", "just\nprose\n", "a,b\n1,2\n", '{"a": 1}\n', "\x00\x01\x02", "step,loss\n"]
)
def test_what_is_no_log_is_refused(text, tmp_path):
    """With what was expected, and no other error."""
    with pytest.raises(InputError):
        read(written(tmp_path / "a.txt", text))


def test_the_real_logs_are_read_whole(corpora):
    """Every step of every log beside the checkout, and the numbers of the published spike."""
    folder = corpora / "training_logs"
    logs = {path.name: read(path) for path in sorted(folder.glob("*.zst"))}
    rows = {name.split(".")[0]: log.steps.height for name, [log] in logs.items()}
    assert rows["build-nanogpt_1_epoch"] == 19_073
    assert rows["llmc_124M_main"] == 19_560
    assert rows["hf_HangerYang-Star_trainer_state"] == 2000
    assert rows["hf_aloshdenny_trainer_state"] == 100
    assert rows["2024-10-20_ScaleUp1B__c0078066"] == 15_258
    [bloom] = logs["megatron_bloom176B_chronicles.md.zst"]
    spike = bloom.steps.filter(pl.col("step").is_between(31_214, 31_222))
    assert spike["grad_norm"].round(0).to_list() == [0, 1, 2, 16, 145, 960, 353, 379, 650]
