"""From small training runs to a mixture: which shares of groups would have the lowest loss.

RegMix (Liu et al. 2024, arXiv 2407.01492): train many tiny models on random mixtures, fit loss as a
function of shares, and take the mixture that the fit likes best. They fit boosted trees; here it is
a Gaussian process over the logarithms of shares, which ranks as well on their published runs and
says how sure it is.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cleanpipe.errors import InputError
from cleanpipe.nearest import did_you_mean

Floats = npt.NDArray[np.float64]

FLOOR = 0.003
"""Added to shares before their logarithm: what is smaller is hardly told apart."""
LENGTHS = (2.0, 4.0, 8.0, 16.0)
NOISES = (1e-4, 1e-3, 1e-2, 1e-1)
"""What the marginal likelihood of the given runs chooses from: reach of a run, noise of a loss."""
SIMULATED = 100_000
BEST = 128
"""Mixtures that are tried, and the best of them whose mean is proposed: RegMix's numbers."""
FEWEST = 16


@dataclass(frozen=True)
class Runs:
    """Small training runs: the groups, each run's shares of them (a row, 1 in all), its loss."""

    groups: tuple[str, ...]
    shares: Floats
    losses: Floats


@dataclass(frozen=True)
class Regression:
    """Loss as a function of shares: a Gaussian process, linear and local, over log shares."""

    mean: Floats
    scale: Floats
    known: Floats
    """The runs' features, standardized."""
    length: float
    noise: float
    centre: float
    spread: float
    weights: Floats
    inverse: Floats
    likelihood: float

    def predict(self, shares: Floats) -> tuple[Floats, Floats]:
        """Loss and its standard deviation for mixtures (n, groups); a new run's noise aside."""
        features = (_features(shares) - self.mean) / self.scale
        among = _kernel(features, self.known, self.length)
        loss = among @ self.weights * self.spread + self.centre
        own = 1 + (features**2).mean(axis=1)
        left = own - np.einsum("ij,jk,ik->i", among, self.inverse, among)
        return loss, np.sqrt(np.maximum(left, 0)) * self.spread


@dataclass(frozen=True)
class Proposal:
    """The mixture of the lowest predicted loss, and what is known of it."""

    shares: Mapping[str, float]
    loss: float
    deviation: float
    """Standard deviation of the prediction; a new run has its own noise besides."""
    best_run: float
    """The lowest loss among the given runs."""


def load(path: Path, loss: str = "loss") -> Runs:
    """Read runs from a CSV: a column a group with shares, and the one of the loss.

    A column named index is left out; shares are divided by their sum. Errors: InputError with what
    is missing or no number.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else []
    if loss not in columns:
        raise InputError(
            f"{path} has no column {loss!r}{did_you_mean(loss, columns)}: name the loss"
        )
    groups = tuple(name for name in columns if name not in {loss, "index"})
    if len(rows) < FEWEST or len(groups) < 2:
        raise InputError(
            f"{path} has {len(rows)} runs of {len(groups)} groups: expected {FEWEST} runs of 2 at "
            "least"
        )
    try:
        shares = np.array([[float(row[name]) for name in groups] for row in rows])
        losses = np.array([float(row[loss]) for row in rows])
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}; every cell but those of index is a number") from None
    sums = shares.sum(axis=1)
    if (
        not np.isfinite(losses).all()
        or not (np.isfinite(sums) & (sums > 0)).all()
        or shares.min() < 0
    ):
        raise InputError(f"{path}: shares are 0 or more, not all 0, and losses finite numbers")
    return Runs(groups, shares / sums[:, None], losses)


def fit(runs: Runs) -> Regression:
    """The regression whose length and noise give the runs' losses the highest likelihood.

    >>> shares = np.random.default_rng(0).dirichlet([1, 1, 1], 60)
    >>> known = fit(Runs(("a", "b", "c"), shares, 3 - shares[:, 0]))
    >>> loss, _ = known.predict(np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]))
    >>> bool(loss[0] < loss[1])
    True
    """
    features = _features(runs.shares)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    known = (features - mean) / scale
    centre, spread = float(runs.losses.mean()), float(runs.losses.std()) or 1.0
    wanted = (runs.losses - centre) / spread
    found = []
    for length, noise in product(LENGTHS, NOISES):
        covariance = _kernel(known, known, length) + noise * np.eye(len(known))
        inverse: Floats = np.linalg.inv(covariance).astype(np.float64)
        weights = inverse @ wanted
        _, determinant = np.linalg.slogdet(covariance)
        likelihood = float(-wanted @ weights - determinant) / 2
        found.append(
            Regression(
                *(mean, scale, known),
                length=length,
                noise=noise,
                centre=centre,
                spread=spread,
                weights=weights,
                inverse=inverse,
                likelihood=likelihood,
            )
        )
    return max(found, key=lambda one: one.likelihood)


def propose(runs: Runs, known: Regression, seed: int = 0) -> Proposal:
    """The mean of the mixtures of which the regression expects most, among random ones.

    Mixtures are drawn round the runs' mean shares, as RegMix does, some near it and some far, and
    none has more of a group than a run had: beyond what was tried nothing is known.
    """
    generator = np.random.default_rng(seed)
    prior = runs.shares.mean(axis=0)
    strengths = np.exp(generator.uniform(math.log(1), math.log(100), SIMULATED))
    drawn = generator.gamma(np.maximum(strengths[:, None] * prior, 1e-3))
    shares = drawn / np.maximum(drawn.sum(axis=1, keepdims=True), 1e-300)
    inside = (shares <= runs.shares.max(axis=0)).all(axis=1) & (shares.sum(axis=1) > 0.5)
    shares = np.concatenate([shares[inside], runs.shares])
    losses = np.concatenate([known.predict(part)[0] for part in np.array_split(shares, 100)])
    best = shares[np.argsort(losses, kind="stable")[:BEST]].mean(axis=0)
    loss, deviation = known.predict(best[None])
    named = {name: round(float(s), 4) for name, s in zip(runs.groups, best, strict=True)}
    return Proposal(named, float(loss[0]), float(deviation[0]), float(runs.losses.min()))


def _features(shares: Floats) -> Floats:
    found: Floats = np.log(shares + FLOOR)
    return found


def _kernel(one: Floats, other: Floats, length: float) -> Floats:
    apart = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    found: Floats = np.exp(-np.maximum(apart, 0) / (2 * length**2)) + one @ other.T / one.shape[1]
    return found


def weights(shares: Mapping[str, float]) -> dict[str, float]:
    """Shares as `balance.weights` takes them: four decimals that sum to 1.

    >>> weights({"a": 0.33333, "b": 0.66666})
    {'a': 0.3333, 'b': 0.6667}
    """
    total = sum(shares.values())
    found = {name: round(share / total, 4) for name, share in shares.items()}
    largest = max(found, key=lambda name: found[name])
    found[largest] = round(1 - sum(v for name, v in found.items() if name != largest), 4)
    return found
