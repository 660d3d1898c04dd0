"""A plain training loop that logs what goes wrong first: a line a step, as log readers know it."""

import math
import os
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson
import torch

from cleanpipe.stability.probe.clipping import SkipStep, ZClip
from cleanpipe.stability.probe.model import Model, Shape

Ids = npt.NDArray[np.int64]
Line = dict[str, float]


@dataclass(frozen=True)
class Optimizer:
    """AdamW and what stands around it. The rate rises over `warmup` steps and then stays.

    Constant, so that a step's rate does not depend on how long training goes on: twins may branch.
    """

    lr: float = 1e-3
    warmup: int = 50
    """Steps."""
    beta1: float = 0.9
    beta2: float = 0.95
    """0.999 forgets a shock later, and is the spike-prone one of the two."""
    eps: float = 1e-8
    weight_decay: float = 0.1
    """Of matrices, but not of the embedding."""
    clip: float | None = 1.0
    """The gradient norm above which gradients are scaled down; None: they never are."""
    zclip: float | None = None
    """The z-score of the gradient norm above which gradients are scaled down (clipping.py)."""
    skip: float | None = None
    """Deviations of loss or gradient norm above which a step is left out (clipping.py)."""

    def rate(self, step: int) -> float:
        """The learning rate of a step; the first is 1.

        >>> Optimizer(lr=0.01, warmup=10).rate(1), Optimizer(lr=0.01).rate(50)
        (0.001, 0.01)
        """
        return self.lr * min(1.0, step / max(1, self.warmup))


def deterministic() -> None:
    """One thread and no algorithm that draws lots: the same seeds then give the same bytes."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS draws lots, too
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # that also fills new memory, a tenth of a step; nothing here reads what was not written
    torch.utils.deterministic.fill_uninitialized_memory = False


@dataclass(frozen=True)
class Machine:
    """What trains: a GPU where there is one, in bfloat16 if it can, or else the processor."""

    device: str
    is_bf16: bool

    @classmethod
    def here(cls) -> Self:
        """The one that runs this."""
        has_gpu = torch.cuda.is_available()
        return cls("cuda" if has_gpu else "cpu", has_gpu and torch.cuda.is_bf16_supported())

    def __str__(self) -> str:
        return f"{self.device}, {'bfloat16' if self.is_bf16 else 'float32'}"

    def precision(self) -> torch.autocast:
        """Products of matrices in bfloat16, where that is on; weights and sums stay float32."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.is_bf16)


@dataclass
class Trainer:
    """A model, the state of its optimizer, and its log."""

    model: Model
    options: Optimizer
    log: Path | None = None
    """Where a line of JSON is added a step."""
    step: int = 0
    tokens: int = 0
    machine: Machine = field(default_factory=Machine.here)
    adam: torch.optim.AdamW = field(init=False)
    zclip: ZClip | None = field(init=False)
    skip: SkipStep | None = field(init=False)

    def __post_init__(self) -> None:
        self.model.to(self.machine.device)
        self.zclip = None if self.options.zclip is None else ZClip(self.options.zclip)
        self.skip = None if self.options.skip is None else SkipStep(self.options.skip)
        decayed: list[torch.Tensor] = []
        kept: list[torch.Tensor] = []
        for name, weight in self.model.named_parameters():
            matrix = weight.dim() == 2 and not name.startswith("embedding")
            (decayed if matrix else kept).append(weight)
        self.adam = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.options.weight_decay},
                {"params": kept, "weight_decay": 0.0},
            ],
            lr=self.options.lr,
            betas=(self.options.beta1, self.options.beta2),
            eps=self.options.eps,
        )

    @classmethod
    def begin(cls, shape: Shape, options: Optimizer, seed: int, log: Path | None = None) -> Self:
        """A model that has learnt nothing."""
        deterministic()
        return cls(Model(shape, seed), options, log)

    def take(self, batch: Ids, counted: npt.NDArray[np.bool_] | None = None) -> Line:
        """Train on (n, length + 1) token ids, and say what happened.

        Where `counted` (n, length) is given, the loss is of its tokens alone; those of a mask are
        read, and not learnt.

        `grad_norm` is before clipping, `update_norm` the length of the step in the weights, and
        `second_moment` the root of the mean of Adam's running mean of squares.
        """
        self.step += 1
        self.tokens += batch.shape[0] * (batch.shape[1] - 1)
        rate = self.options.rate(self.step)
        for group in self.adam.param_groups:
            group["lr"] = rate
        with self.machine.precision():
            losses = self.model.losses(torch.from_numpy(batch))
        chosen = ... if counted is None else torch.from_numpy(counted)
        loss = losses[chosen].mean()
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        weights = list(self.model.parameters())
        limit = math.inf if self.options.clip is None else self.options.clip
        norm = torch.nn.utils.clip_grad_norm_(weights, limit)
        if self.zclip:
            torch.nn.utils.clip_grad_norm_(weights, self.zclip.limit(float(norm)))
        before = [weight.detach().clone() for weight in weights]
        if not (self.skip and self.skip.out(loss.item(), float(norm))):
            self.adam.step()
        moved = sum(
            float((weight.detach() - was).square().sum())
            for weight, was in zip(weights, before, strict=True)
        )
        squares = [state["exp_avg_sq"].mean() for state in self.adam.state.values()]
        line = {
            "step": self.step,
            "loss": loss.item(),
            "grad_norm": float(norm),
            "lr": rate,
            "max_attn_logit": self.model.largest_logit,
            "update_norm": math.sqrt(moved),
            "second_moment": float(torch.stack(squares).mean().sqrt()),
            "tokens": self.tokens,
        }
        if self.log:
            with self.log.open("ab") as file:
                file.write(orjson.dumps(line) + b"\n")
        return line

    def loss(self, sequences: Ids, at_once: int = 64) -> float:
        """The mean loss on sequences, of which nothing is learnt."""
        found = [
            self.losses(sequences[start : start + at_once]).mean(axis=1)
            for start in range(0, len(sequences), at_once)
        ]
        return float(np.concatenate(found).mean())

    def losses(self, sequences: Ids) -> npt.NDArray[np.float64]:
        """(n, length): the loss of each token but a sequence's first."""
        with torch.no_grad(), self.machine.precision():
            found = self.model.losses(torch.from_numpy(sequences))
        return np.asarray(found.cpu().numpy(), np.float64)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on; torch.save writes it."""
        return {
            "shape": self.model.shape.__dict__,
            "options": self.options.__dict__,
            "step": self.step,
            "tokens": self.tokens,
            "model": {name: weight.clone() for name, weight in self.model.state_dict().items()},
            "adam": deepcopy(self.adam.state_dict()),  # holds the live tensors
            "zclip": None if self.zclip is None else deepcopy(self.zclip.__dict__),
            "skip": None if self.skip is None else deepcopy(self.skip.__dict__),
        }

    @classmethod
    def resume(cls, state: dict[str, Any], log: Path | None = None, **changed: Any) -> Self:
        """A trainer that goes on from a state; `changed` are options that are others now."""
        deterministic()
        model = Model(Shape(**state["shape"]), seed=0)
        model.load_state_dict(state["model"])
        options = Optimizer(**{**state["options"], **changed})
        trainer = cls(model, options, log, state["step"], state["tokens"])
        trainer.adam.load_state_dict(_copied(state["adam"]))
        if state.get("zclip") and trainer.zclip:
            trainer.zclip = ZClip(**deepcopy(state["zclip"]))
        if state.get("skip") and trainer.skip:
            trainer.skip = SkipStep(**deepcopy(state["skip"]))
        return trainer


def stored(path: Path) -> dict[str, Any]:
    """A state that torch.save wrote: on the processor, wherever it was trained."""
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _copied(adam: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state whose tensors are its own: twins must not share them."""
    moments = {
        number: {name: value.clone() for name, value in state.items()}
        for number, state in adam["state"].items()
    }
    return {"state": moments, "param_groups": adam["param_groups"]}


def copy_ratio(trainer: Trainer, sequences: Ids) -> float:
    """The loss of a stretch when it comes again at once, over its loss the first time.

    A model with a ratio above 0.3 cannot copy, and says nothing about repeats.
    """
    half = (sequences.shape[1] - 1) // 2
    first = sequences[:, : half + 1]
    losses = trainer.losses(np.concatenate([first[:, :1], first[:, 1:], first[:, 1:]], axis=1))
    return float(losses[:, half + 1 :].mean() / losses[:, 1:half].mean())
