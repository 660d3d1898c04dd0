"""Gradients of sequences, sketched: the gradient of any batch of them is then a weighted mean.

A sketch (Charikar et al. 2002) adds each weight's gradient, with a sign drawn by chance, to one of
8,192 numbers drawn by chance. Sums stay sums, and lengths are right to about one part in a hundred.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cleanpipe.stability.probe.faults import FAULTS, Ground
from cleanpipe.stability.probe.training import Trainer

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
SIZE = 8192
PIECE = 4
"""Sequences whose gradient is taken together."""
BATCHES = (2048, 8192, 32_768, 131_072)
"""Tokens."""
DOSES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
DRAWS = 12
"""Batches of each size and dose."""


class Sketcher:
    """Sketches of one model's gradients."""

    def __init__(self, trainer: Trainer, seed: int = 0) -> None:
        self.model = trainer.model
        self.weights = list(self.model.parameters())
        total = sum(weight.numel() for weight in self.weights)
        chance = np.random.default_rng(seed)
        self.place = torch.from_numpy(chance.integers(0, SIZE, total))
        self.sign = torch.from_numpy(chance.choice(np.array([-1, 1], np.float32), total))

    def sketch(self, sequences: Ids) -> npt.NDArray[np.float32]:
        """The sketch of the gradient of the mean loss of sequences."""
        loss = self.model.losses(torch.from_numpy(sequences)).mean()
        found = torch.autograd.grad(loss, self.weights)
        flat = torch.cat([part.reshape(-1) for part in found]).cpu() * self.sign
        return np.asarray(torch.zeros(SIZE).index_add_(0, self.place, flat).numpy())

    def sketches(self, sequences: Ids, piece: int = PIECE) -> npt.NDArray[np.float32]:
        """(n / piece, SIZE): of every `piece` sequences that follow each other."""
        starts = range(0, len(sequences) - piece + 1, piece)
        return np.stack([self.sketch(sequences[start : start + piece]) for start in starts])


def norm(sketches: npt.NDArray[np.float32]) -> float:
    """The gradient norm of the batch that the pieces make."""
    return float(np.linalg.norm(sketches.mean(axis=0, dtype=np.float64)))


@dataclass(frozen=True)
class Pieces:
    """Sketches of clean pieces, and of pieces in which a fault stands everywhere."""

    clean: npt.NDArray[np.float32]
    faulty: npt.NDArray[np.float32]
    tokens: int
    """Of a piece."""

    def batch(self, size: int, dose: float, chance: np.random.Generator) -> tuple[float, float]:
        """The dose that a batch of `size` tokens could have, and its gradient norm."""
        count = size // self.tokens
        bad = round(dose * count)
        chosen = [self.clean[chance.choice(len(self.clean), count - bad, replace=False)]]
        if bad:
            chosen.append(self.faulty[chance.choice(len(self.faulty), bad, replace=False)])
        return bad / count, norm(np.concatenate(chosen))

    def possible(self, size: int, dose: float) -> bool:
        """Whether there are pieces enough, and at least one bad one where one is asked for."""
        count = size // self.tokens
        bad = round(dose * count)
        enough = bad <= len(self.faulty) and count - bad <= len(self.clean)
        return enough and count > 0 and (bad > 0 or dose == 0)


def curve(pieces: Pieces, seed: int) -> dict[str, Any]:
    """Batches of all sizes and doses, and the fit |G|^2 = mu^2 + sigma^2 / B + c dose^2.

    B counts tokens. `r2` is the share of the variance of log |G|^2 that the fit explains;
    `c_over_mu2` how often the squared clean gradient a batch of nothing else would add; `table` the
    mean norm over that of clean batches of the same size.
    """
    chance = np.random.default_rng(seed)
    rows = [
        (size, *pieces.batch(size, dose, chance))
        for size in BATCHES
        for dose in DOSES
        if pieces.possible(size, dose)
        for _ in range(DRAWS)
    ]
    size, dose, length = np.array(rows).T
    terms = np.stack([np.ones(len(size)), 1 / size, dose**2], axis=1)
    wanted = length**2
    weights = 1 / wanted  # relative errors count
    from scipy.optimize import nnls  # noqa: PLC0415 - none of the three can be negative

    (mu2, sigma2, coherent), _ = nnls(terms * weights[:, None], wanted * weights)
    fitted = terms @ np.array([mu2, sigma2, coherent])
    rest = np.log(fitted / wanted)
    r2 = 1 - float(rest.var() / np.log(wanted).var())
    clean = {each: length[(size == each) & (dose == 0)].mean() for each in np.unique(size)}
    table = [
        {"tokens": int(each), "dose": round(part, 4), "ratio": float(mean / clean[each])}
        for each, part in sorted(set(zip(size.tolist(), dose.tolist(), strict=True)))
        for mean in [length[(size == each) & (dose == part)].mean()]
    ]
    return {
        "mu2": float(mu2),
        "sigma2": float(sigma2),
        "c": float(coherent),
        "c_over_mu2": float(coherent / mu2) if mu2 else None,
        "r2": r2,
        "table": table,
    }


def fault_curves(
    trainer: Trainer, sketcher: Sketcher, clean: Ids, ground: Ground, seed: int
) -> dict[str, Any]:
    """For each kind of fault its curve, and the largest attention logit where it stands."""
    most = trainer.model.shape.length * PIECE
    pieces = sketcher.sketches(clean)
    found = {}
    for number, (kind, fault) in enumerate(sorted(FAULTS.items())):
        made = fault(ground, 32 * PIECE, np.random.default_rng([seed, number]))
        curves = curve(Pieces(pieces, sketcher.sketches(made), most), seed)
        trainer.losses(made[:PIECE])
        found[kind] = {**curves, "max_attn_logit": trainer.model.largest_logit}
    return found
