"""Twins against their placebo: exact tests, for a handful of seeds.

Whether a difference could be chance is asked of all ways in which its signs could have fallen;
whether one arm diverges more, of the seeds in which only one of the two did (McNemar's test).
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

SPREAD = ", spread"
"""What the name of a kind ends in whose sequences are not placed together."""
Floats = npt.NDArray[np.float64]
MOST_EXACT = 16


def sign_flip(differences: Floats) -> float:
    """The two-sided p-value of a mean of paired differences, over all 2^n choices of signs.

    >>> sign_flip(np.array([1.0, 2, 3, 4, 5, 6]))
    0.03125
    """
    if len(differences) > MOST_EXACT:
        raise ValueError(f"{len(differences)} pairs, expected {MOST_EXACT} at most")
    signs = np.array(list(product((-1.0, 1.0), repeat=len(differences))))
    sums = np.abs(signs @ differences)
    return float((sums >= abs(differences.sum()) * (1 - 1e-12)).mean())


def together(differences: Floats) -> list[float]:
    """p-values of several rows of (kinds, seeds), adjusted for their number: 0.031 at six seeds.

    The largest |t| of all rows over the same choices of signs (Westfall and Young 1993): exact, and
    with few seeds far less strict than multiplying p-values, which begin at 2 / 2^n.

    >>> together(np.array([[1.0, 2, 3, 4, 5, 6], [2.0, -1, 0, 1, -2, 0.5]]))
    [0.03125, 1.0]
    """
    count = differences.shape[1]
    signs = np.array(list(product((-1.0, 1.0), repeat=count)))
    means = differences @ signs.T / count
    squares = (differences**2).mean(axis=1, keepdims=True)  # no sign changes them
    rest = np.maximum(squares - means**2, 1e-12 * squares + 1e-300)
    found = np.abs(means) / np.sqrt(rest)
    largest = found.max(axis=0)
    own = found[:, -1]  # all signs as they are
    return [float((largest >= each * (1 - 1e-9)).mean()) for each in own]


def effect(differences: Floats) -> dict[str, Any]:
    """The mean difference, an interval of 95 % (Student's t), and the exact p-value."""
    mean = float(differences.mean())
    finite = np.isfinite(differences).all() and len(differences) > 1
    margin = (
        float(stats.t.isf(0.025, len(differences) - 1) * stats.sem(differences)) if finite else None
    )
    return {
        "mean": mean if np.isfinite(mean) else None,
        "low": None if margin is None else mean - margin,
        "high": None if margin is None else mean + margin,
        "p": sign_flip(np.nan_to_num(differences, nan=1e3, posinf=1e3)),
        "seeds": len(differences),
    }


def excess(arm: dict[str, Any], placebo: dict[str, Any]) -> float:
    """The mean of the loss on the fixed batch over that of the placebo, over the steps watched.

    Infinite where the arm broke off.
    """
    if len(arm["losses"]) < len(placebo["losses"]):
        return float("inf")
    steps = np.array(placebo["steps"], np.float64)
    over = np.array(arm["losses"]) - np.array(placebo["losses"])
    return float(np.trapezoid(over, steps) / (steps[-1] - steps[0]))


def recovery(arm: dict[str, Any], placebo: dict[str, Any], again: Floats) -> float:
    """The first step from which the excess stays under twice that of placebos; or the last step."""
    over = (
        np.array(arm["losses"])[: len(placebo["steps"])]
        - np.array(placebo["losses"])[: len(arm["losses"])]
    )
    above = np.flatnonzero(over > 2 * again)
    if not len(above):
        return 0.0
    return float(placebo["steps"][min(above[-1] + 1, len(placebo["steps"]) - 1)])


def compared(arms: list[dict[str, Any]], kinds: Sequence[str]) -> dict[str, Any]:
    """For each kind but the placebo: the effects over seeds, and how many diverged."""
    by = {(arm["kind"], arm["seed"]): arm for arm in arms}
    seeds = sorted({arm["seed"] for arm in arms})
    placebos = [by["placebo", seed] for seed in seeds]
    spread = np.std(
        [
            np.subtract(by["placebo_again", seed]["losses"], placebo["losses"])
            for seed, placebo in zip(seeds, placebos, strict=True)
        ]
    )
    found: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        if kind == "placebo":
            continue
        twins = [by[kind, seed] for seed in seeds]
        pairs = list(zip(twins, placebos, strict=True))
        only = [
            sum(a["diverged"] and not b["diverged"] for a, b in some)
            for some in (pairs, [(b, a) for a, b in pairs])
        ]
        found[kind] = {
            "excess_loss": effect(np.array([excess(*pair) for pair in pairs])),
            "diverged": sum(twin["diverged"] for twin in twins),
            "diverged_placebo": sum(placebo["diverged"] for placebo in placebos),
            "diverged_p": float(stats.binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0,
            "recovery_steps": float(np.median([recovery(*pair, spread) for pair in pairs])),
            "peaks": {
                name: effect(
                    np.log([twin["peaks"][name] / base["peaks"][name] for twin, base in pairs])
                )
                for name in placebos[0]["peaks"]
            },
        }
    faults = [kind for kind in found if kind != "placebo_again"]
    rows = np.array([[excess(by[kind, s], by["placebo", s]) for s in seeds] for kind in faults])
    adjusted = together(np.nan_to_num(rows, nan=1e3, posinf=1e3))
    for kind, p in zip(faults, adjusted, strict=True):
        found[kind]["excess_loss"]["p_of_all"] = p
    return {"kinds": found, "placebo_spread": float(spread)}
