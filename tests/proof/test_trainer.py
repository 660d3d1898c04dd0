"""The step log in Hugging Face's own Trainer; wants transformers and accelerate installed."""

import warnings

import numpy as np
import pytest
from exported import made

from cleanpipe.export import step_log
from cleanpipe.export.exposure import digests, exposure
from cleanpipe.training.callback import StepLog

pytestmark = pytest.mark.proof
LENGTHS = [9, 30, 17, 25, 12, 8, 31, 20] * 8


def test_trainers_batches_are_told_by_digest(tmp_path):
    """16 steps of 2 micro steps, evaluation between: each digest is its documents' tokens'."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what transformers would like to have, too
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
        datasets = pytest.importorskip("datasets")
        export = made(tmp_path / "e", LENGTHS, "datasets")
        rows = datasets.load_from_disk(str(tmp_path / "e"))
        config = transformers.GPT2Config(
            vocab_size=50_000, n_positions=32, n_embd=8, n_layer=1, n_head=1
        )
        model = transformers.GPT2LMHeadModel(config)
        log = StepLog(tmp_path / "steps.jsonl")

        def collate(picked):
            width = max(len(row["input_ids"]) for row in picked)
            ids = np.zeros((len(picked), width), np.int64)
            mask = np.zeros_like(ids)
            for place, row in enumerate(picked):
                ids[place, : len(row["input_ids"])] = row["input_ids"]
                mask[place, : len(row["input_ids"])] = 1
            labels = np.where(mask, ids, -100)
            document = np.array([row["document"] for row in picked])
            named = {"input_ids": ids, "attention_mask": mask, "labels": labels}
            return {
                name: torch.from_numpy(x) for name, x in (named | {"document": document}).items()
            }

        transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=str(tmp_path / "out"),
                per_device_train_batch_size=2,
                gradient_accumulation_steps=2,
                max_steps=16,
                eval_strategy="steps",
                eval_steps=5,
                save_strategy="no",
                report_to=[],
                remove_unused_columns=False,
                use_cpu=True,
            ),
            train_dataset=rows,
            eval_dataset=rows.select(range(6)),
            data_collator=collate,
            callbacks=[log.callback(model)],
        ).train()
    found = step_log.read(export, [tmp_path / "steps.jsonl"])
    assert found.digests["step"].to_list() == list(range(1, 17))
    assert digests(export, found.spans).equals(found.digests)
    told = exposure(export, found.spans).group_by("step").len().sort("step")
    assert told["len"].to_list() == [4] * 16  # documents of two micro steps of two
