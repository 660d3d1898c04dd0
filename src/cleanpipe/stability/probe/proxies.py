"""Small models that were trained on a mix of languages, and can copy: what gradients are asked of.

A model first learns to copy from repeats of random tokens, and then reads text, of which a few
sequences go on being repeats. Both kinds have spans of 4 to 64 tokens, of any content.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cleanpipe.stability.probe.model import Shape
from cleanpipe.stability.probe.training import Optimizer, Trainer, copy_ratio, stored

Ids = npt.NDArray[np.int64]
Tell = Callable[[str, int, int], None]
COPIES = 0.3
"""The most that the loss of a stretch may be when it comes again, over that of the first time."""


@dataclass(frozen=True)
class Plan:
    """How a proxy is trained."""

    seed: int = 0
    shape: Shape = field(default_factory=Shape)
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(lr=4e-3, warmup=100))
    school: int = 400
    """Steps on repeats of random tokens."""
    steps: int = 1200
    """Steps on text, after these."""
    batch: int = 16
    """Sequences."""
    repeats: float = 0.15
    """The share of sequences that are repeats, among those of text."""

    @property
    def name(self) -> str:
        """A file's."""
        shape = self.shape
        return f"proxy-{shape.layers}x{shape.width}-seed{self.seed}"

    def path(self, folder: Path) -> Path:
        """Where the trained proxy is kept."""
        return folder / f"{self.name}.pt"


def repeated(spans: Ids, periods: Ids) -> Ids:
    """Each row's first tokens, as many as its period, again and again."""
    places = np.arange(spans.shape[1]) % periods[:, None]
    return np.take_along_axis(spans, places, axis=1)


def batch_of(plan: Plan, step: int, sequences: Ids) -> Ids:
    """The batch of a step, from the sequences that are to be trained on; steps begin with 0."""
    chance = np.random.default_rng([plan.seed, step])
    periods = chance.integers(4, 65, plan.batch)
    if step < plan.school:
        form = (plan.batch, sequences.shape[1])
        return repeated(chance.integers(1, plan.shape.vocabulary, form), periods)
    order = np.random.default_rng(plan.seed).permutation(len(sequences))
    first = (step - plan.school) * plan.batch
    batch = sequences[order[np.arange(first, first + plan.batch) % len(order)]]
    again = chance.random(plan.batch) < plan.repeats
    batch[again] = repeated(batch[again], periods[again])
    return batch


def train(
    plan: Plan, sequences: Ids, held_out: Ids, folder: Path, tell: Tell
) -> tuple[Trainer, float]:
    """The proxy of a plan, and its copy ratio; goes on where an earlier call was stopped."""
    path = plan.path(folder)
    log = folder / f"{plan.name}.jsonl"
    if path.exists():
        trainer = Trainer.resume(stored(path), log)
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[: trainer.step]))  # later steps are taken again
    else:
        log.unlink(missing_ok=True)
        trainer = Trainer.begin(plan.shape, plan.optimizer, plan.seed, log)
    whole = plan.school + plan.steps
    while trainer.step < whole:
        trainer.take(batch_of(plan, trainer.step, sequences))
        tell(f"train {plan.name}", trainer.step, whole)
        if trainer.step % 200 == 0 or trainer.step == whole:
            part = path.with_suffix(".part")
            torch.save(trainer.state(), part)
            part.replace(path)
    return trainer, copy_ratio(trainer, held_out)
