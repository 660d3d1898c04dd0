"""A batch again: what its gradient is without the suspects. Only this can show what they did.

From the checkpoint before an event the batch is given to the model once more, a sequence at a time.
Gradients of sequences add up, so the gradient norm without any of them follows from two passes; how
it falls without the suspects is compared with how it falls without as many others, drawn by chance.
At other checkpoints the same batch may do nothing (PaLM saw that): then batch and state did it
together, and it is the meeting that is reported, not a bad document.
"""

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cleanpipe.errors import InputError, RecipeError
from cleanpipe.stability.probe.gradients import SIZE

Ids = npt.NDArray[np.int64]
Loss = Callable[[Any, Tensor], Tensor]
Tell = Callable[[str, int, int], None]
DRAWS = 999
LEVEL = 0.05
PLACES = 1 << 22
"""Weights whose places in a sketch are drawn at once."""


def function(name: str) -> Callable[..., Any]:
    """A function by "module:function"; modules of the current folder are found, too.

    >>> function("math:sqrt")(9.0)
    3.0
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise RecipeError(f"{name!r}: expected module:function, such as my_model:loss")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"{name}: {error}") from error
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise RecipeError(f"{name} is no function")
    return found  # type: ignore[no-any-return]


def own_model(path: Path) -> nn.Module:
    """The model of a checkpoint that `cleanpipe stability probe` wrote."""
    from cleanpipe.stability.probe.training import Trainer, stored  # noqa: PLC0415 - torch only where it is used

    try:
        return Trainer.resume(stored(path)).model.cpu()
    except (
        *(OSError, RuntimeError, KeyError, TypeError, ValueError),
        UnpicklingError,
    ) as error:
        raise InputError(
            f"{path} is no checkpoint of a cleanpipe probe ({type(error).__name__}): name the "
            "function that makes your model of it, --load module:function"
        ) from error


def own_loss(model: Any, batch: Tensor) -> Tensor:
    """The loss of each token, of the probe's model."""
    found: Tensor = model.losses(batch)
    return found


class Replay:
    """One batch at one checkpoint: `loss` gives a mean, or a number a sequence or a token."""

    def __init__(self, model: nn.Module, loss: Loss, batch: Ids, seed: int = 0) -> None:
        self.model, self.loss, self.batch = model, loss, torch.from_numpy(batch.astype(np.int64))
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.seed = seed
        self.total = [torch.zeros_like(weight, dtype=torch.float64) for weight in self.weights]
        self.losses = np.zeros(len(batch))
        self.squares = np.zeros(len(batch))
        self.sketches = np.zeros((len(batch), SIZE))
        self.along = np.zeros(len(batch))

    def run(self, tell: Tell = lambda *_: None) -> None:
        """Two passes over the sequences: their gradients, and how these lie along the sum."""
        count = len(self.batch)
        for row in range(count):
            parts = self.gradient(self.batch[row : row + 1], row)
            _add(self.total, parts)
            self.squares[row] = sum(float((part.double() ** 2).sum()) for part in parts)
            self.sketches[row] = self._sketch(parts)
            tell("replay", row + 1, 2 * count)
        for row in range(count):
            parts = self.gradient(self.batch[row : row + 1])
            self.along[row] = sum(
                float((part.double() * whole).sum())
                for part, whole in zip(parts, self.total, strict=True)
            )
            tell("replay", count + row + 1, 2 * count)

    def gradient(self, rows: Tensor, row: int | None = None) -> Sequence[Tensor]:
        """The gradient of the mean loss of rows."""
        value = self.loss(self.model, rows).mean()
        if row is not None:
            self.losses[row] = value.item()
        found = torch.autograd.grad(value, self.weights, allow_unused=True)
        return [
            torch.zeros_like(weight) if part is None else part
            for part, weight in zip(found, self.weights, strict=True)
        ]

    def _sketch(self, parts: Sequence[Tensor]) -> npt.NDArray[np.float64]:
        """SIZE numbers whose sums and lengths are nearly those of gradients (Charikar 2002)."""
        chance = torch.Generator().manual_seed(self.seed)
        found = torch.zeros(SIZE, dtype=torch.float64)
        for part in parts:
            flat = part.reshape(-1)
            for start in range(0, len(flat), PLACES):
                some = flat[start : start + PLACES].double()
                place = torch.randint(SIZE, (len(some),), generator=chance)
                sign = torch.randint(2, (len(some),), generator=chance) * 2 - 1
                found.index_add_(0, place, some * sign)
        return np.asarray(found.numpy(), np.float64)

    @property
    def norm(self) -> float:
        """The gradient norm of the batch."""
        return _length(self.total) / len(self.batch)

    def without_each(self) -> npt.NDArray[np.float64]:
        """The gradient norm of the batch without each sequence."""
        square = _length(self.total) ** 2 - 2 * self.along + self.squares
        left = max(len(self.batch) - 1, 1)
        return np.asarray(np.sqrt(np.maximum(square, 0)) / left, np.float64)

    def without(self, suspects: Sequence[int]) -> dict[str, Any]:
        """The norm without all suspects; and how often without as many others it is as small."""
        count, bad = len(self.batch), len(suspects)
        left = [row for row in range(count) if row not in set(suspects)]
        rest = [torch.zeros_like(whole) for whole in self.total]
        for row in left:
            _add(rest, self.gradient(self.batch[row : row + 1]))
        norm = _length(rest) / len(left)
        sketched = self.sketches.sum(axis=0)
        chance = np.random.default_rng(self.seed)

        def length(rows: Any) -> float:
            return float(np.linalg.norm(sketched - self.sketches[rows].sum(axis=0)))

        own = length(list(suspects))
        others = [length(chance.choice(count, bad, replace=False)) for _ in range(DRAWS)]
        smaller = sum(other <= own * (1 + 1e-9) for other in others)
        return {"norm": norm, "ratio": self.norm / norm, "p": (1 + smaller) / (DRAWS + 1)}

    def masked(self, mask: npt.NDArray[np.bool_]) -> float:
        """The gradient norm where the tokens of the mask (sequences, targets) are read, not learnt.

        Errors: RecipeError if the loss function does not give a loss a token.
        """
        each = self.loss(self.model, self.batch)
        if tuple(each.shape) != mask.shape:
            raise RecipeError(
                f"a mask of {mask.shape} tokens needs a loss function that gives a loss for each; "
                f"it gave {tuple(each.shape)}"
            )
        keep = torch.from_numpy(~mask)
        value = (each * keep).sum() / keep.sum()
        found = torch.autograd.grad(value, self.weights, allow_unused=True)
        return _length([part for part in found if part is not None])


def _add(total: Sequence[Tensor], parts: Sequence[Tensor]) -> None:
    for whole, part in zip(total, parts, strict=True):
        whole.add_(part)


def _length(parts: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float((part.double() ** 2).sum()) for part in parts))


@dataclass(frozen=True)
class Asked:
    """A batch, and what is suspected of it."""

    batch: Ids
    """(sequences, tokens)."""
    suspects: tuple[int, ...] = ()
    """Rows."""
    mask: npt.NDArray[np.bool_] | None = None
    """(sequences, targets): tokens that are not to be learnt."""
    control: Ids | None = None
    """A batch in which nothing happened."""

    def check(self) -> None:
        """RecipeError for rows that the batch does not have, or ids that are none."""
        for name, array in (("batch", self.batch), ("control", self.control)):
            if array is not None and (array.ndim != 2 or array.dtype.kind not in "iu"):
                raise RecipeError(
                    f"the {name} has the shape {array.shape} of {array.dtype}: expected whole "
                    "numbers, a row a sequence"
                )
        count = len(self.batch)
        wrong = [row for row in self.suspects if not 0 <= row < count]
        if wrong or len(set(self.suspects)) >= count:
            raise RecipeError(
                f"suspects {list(self.suspects)}: expected some of the rows 0 to {count - 1}, "
                "not all"
            )


def array(path: Path) -> npt.NDArray[Any]:
    """A .npy file. Errors: InputError where it is none."""
    try:
        found: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no .npy file: {error}") from error
    return found


def at_checkpoints(
    checkpoints: Sequence[Path],
    asked: Asked,
    load: Callable[[Path], nn.Module],
    loss: Loss,
    tell: Tell = lambda *_: None,
) -> dict[str, Any]:
    """The same batch at every checkpoint, and in words what it showed."""
    asked.check()
    found = [
        {"checkpoint": str(path), **replayed(load(path), loss, asked, tell)} for path in checkpoints
    ]
    return {"checkpoints": found, "said": _said(found)}


def _said(found: list[dict[str, Any]]) -> str:
    falls = [one["without_suspects"] for one in found]
    if not all(falls):
        return "no suspects were named: sequences stand in the order in which the norm falls"
    shown = sum(one["p"] <= LEVEL for one in falls)
    if not shown:
        return (
            "rung R3 not begun: without the suspects the gradient norm falls no more than "
            "without as many other sequences"
        )
    where = f"at {shown} of {len(falls)} checkpoints" if len(falls) > 1 else "at this checkpoint"
    return (
        f"rung R3, its first part: {where} the gradient norm falls more without the suspects than "
        "without as many others; of this model and this state. What the step did to those that "
        "followed takes trainings on from here, with several seeds, and was not asked"
    )


def replayed(
    model: nn.Module, loss: Loss, asked: Asked, tell: Tell = lambda *_: None
) -> dict[str, Any]:
    """A batch at a checkpoint: its norm, each sequence's, and without the suspects.

    With a control batch: its norm, that with the suspects in the places of its first sequences,
    and that of the batch with these in the places of the suspects.
    Errors: RecipeError for rows that the batch does not have.
    """
    asked.check()
    suspects = sorted(set(asked.suspects))
    replay = Replay(model, loss, asked.batch)
    replay.run(tell)
    without = replay.without_each()
    found: dict[str, Any] = {
        "norm": replay.norm,
        "sequences": [
            {
                "row": int(row),
                "loss": float(replay.losses[row]),
                "norm": float(replay.squares[row] ** 0.5),
                "norm_without": float(without[row]),
                "suspect": int(row) in suspects,
            }
            for row in np.argsort(without, kind="stable")
        ],
        "without_suspects": replay.without(suspects) if suspects else None,
        "masked": None if asked.mask is None else replay.masked(asked.mask),
    }
    if asked.control is not None:
        found["control"] = _in_control(model, loss, asked.batch, suspects, asked.control)
    return found


def _in_control(
    model: nn.Module, loss: Loss, batch: Ids, suspects: Sequence[int], control: Ids
) -> dict[str, float]:
    if control.shape[1] != batch.shape[1] or len(control) < len(suspects):
        raise RecipeError(
            f"the control batch has {control.shape}, the batch {batch.shape}: expected sequences "
            "of the same length, and as many as there are suspects"
        )
    placed, refilled = control.copy(), batch.copy()
    placed[: len(suspects)] = batch[list(suspects)]
    refilled[list(suspects)] = control[: len(suspects)]
    norms = []
    for one in (control, placed, refilled):
        replay = Replay(model, loss, one)
        for row in range(len(one)):
            _add(replay.total, replay.gradient(replay.batch[row : row + 1]))
        norms.append(replay.norm)
    names = ("norm", "norm_with_suspects", "norm_of_batch_refilled")
    return dict(zip(names, norms, strict=True))
