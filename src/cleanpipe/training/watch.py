"""What a step was, said at once: a hard batch, a gradient spike, an instability, a divergence.

    watch = Watch(agree=mean_over_ranks)
    event = watch.see(step, loss, grad_norm, documents)
    if event and event.kind == "gradient spike":
        optimizer.zero_grad()  # on every rank, or on none

The median is of the steps before, since what follows is not known yet. So a hard batch and the
first step of an instability look alike; the latter is said when the loss has stayed up for PERSISTS
steps.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

WINDOW = 101
"""Steps before, whose median is what a value is compared with."""
MEMORY = 1001
"""Differences from that median, whose own median is the scale."""
MAD = 1.4826
"""Makes of a median of absolute differences the deviation of a normal distribution."""
FLOOR = 1e-3
"""The least scale, in units of the logarithm: a log that is printed roughly has none."""
HARD, SPIKE, UP = 6.0, 8.0, 4.0
PERSISTS = 4


@dataclass(frozen=True)
class Event:
    """A step that stands out."""

    step: int
    kind: str
    """hard batch, gradient spike, instability, or divergence (NaN or infinite)."""
    loss_z: float
    grad_z: float
    """How far the logarithms stand above those before, in robust deviations."""
    documents: tuple[str | int, ...]
    """What stood in the batch, as it was told."""

    def __str__(self) -> str:
        """A line for a log."""
        told = f"; documents {', '.join(map(str, self.documents))}" if self.documents else ""
        return (
            f"step {self.step}: {self.kind} (loss {self.loss_z:+.1f}, gradient {self.grad_z:+.1f} "
            f"deviations){told}"
        )


class Trailing:
    """How far a value stands above those before it."""

    def __init__(self) -> None:
        """Nothing was seen."""
        self.values: deque[float] = deque(maxlen=WINDOW)
        self.residuals: deque[float] = deque(maxlen=MEMORY)

    def z(self, value: float) -> float:
        """The score of a value, which is then known; 0 until WINDOW values were.

        NaN and infinite values score infinity, and are not kept.
        """
        if not (math.isfinite(value) and value > 0):
            return math.inf
        own = math.log(value)
        known = len(self.values) == WINDOW
        residual = own - float(np.median(self.values)) if self.values else 0.0
        score = 0.0
        if len(self.residuals) >= WINDOW:
            scale = max(MAD * float(np.median(np.abs(self.residuals))), FLOOR)
            score = residual / scale
        if known:
            self.residuals.append(residual)
        self.values.append(own)
        return score


class Watch:
    """The online form of the detectors: says of each step at once what it was, or nothing."""

    def __init__(self, agree: Callable[[float], float] = lambda value: value) -> None:
        """`agree` makes of a rank's value that of all, as by all_reduce: then all say the same."""
        self.agree = agree
        self.loss, self.norm = Trailing(), Trailing()
        self.up = 0

    def see(
        self,
        step: int,
        loss: float,
        grad_norm: float | None = None,
        documents: Iterable[str | int] = (),
    ) -> Event | None:
        """Take the values of a step (the gradient norm before clipping); the event, if it is one.

        Until about 200 steps were seen, only what is not finite is one. While the loss falls
        steeply, as in the first thousand steps, the scale is wide, and little stands out.
        """
        loss_z = self.loss.z(self.agree(loss))
        grad_z = 0.0 if grad_norm is None else self.norm.z(self.agree(grad_norm))
        self.up = self.up + 1 if loss_z > UP else 0
        kind = None
        if math.isinf(loss_z) or math.isinf(grad_z):
            kind = "divergence"
        elif self.up >= PERSISTS:
            kind = "instability"
        elif loss_z > HARD:
            kind = "hard batch"
        elif grad_z > SPIKE:
            kind = "gradient spike"
        return None if kind is None else Event(step, kind, loss_z, grad_z, tuple(documents))
