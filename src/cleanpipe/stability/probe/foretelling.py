"""How well cheap measures of a document foretell its part in a batch's gradient.

Two outcomes. *Length*: the documents of a corpus whose gradient is longest, one in ten; a measure
is asked to rank them (area under the ROC curve, average precision). *Lift*: an eighth of a batch
is made of the documents that a measure ranks highest, and the batch's gradient norm compared with
that of documents drawn by chance. The first is nearly an identity where tokens repeat; the second
is what a batch sees.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

Floats = npt.NDArray[np.float64]
SINGLE = {
    "repeat_tokens": 1,
    "repeat_run": 1,
    "same_token_run": 1,
    "window_entropy_min": -1,
    "window_period_max": 1,
    "compression_ratio": 1,
    "unigram_entropy": -1,
    "olmo_flag": 1,
}
"""Measures, and whether more or less of them is expected with a longer gradient."""
COMBINED = tuple(name for name in SINGLE if name != "olmo_flag")
POSITIVES = 0.1
BATCH = 128
"""Documents of a batch, of which IN_FRONT are those ranked highest."""
IN_FRONT = 16
RESAMPLED = 1000


def features(measured: pl.DataFrame) -> dict[str, Floats]:
    """Each single statistic, turned so that more of it means a longer gradient.

    A document without a whole window has the median of those that have one.
    """
    flagged = measured.with_columns(olmo_flag=(pl.col("repeat_run") >= 32).cast(pl.Float64))
    found = {}
    for name, sign in SINGLE.items():
        values = flagged[name].cast(pl.Float64)
        found[name] = sign * values.fill_null(values.median() or 0.0).to_numpy()
    return found


def auroc(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """The chance that a positive scores above a negative; ties count half.

    >>> auroc(np.array([1.0, 2, 2, 3]), np.array([False, False, True, True]))
    0.875
    """
    ranks = stats.rankdata(scores)
    good = int(positive.sum())
    above = ranks[positive].sum() - good * (good + 1) / 2
    return float(above / (good * (len(scores) - good)))


def average_precision(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Mean precision where each positive is met, equal scores met together.

    >>> average_precision(np.array([3.0, 2, 1]), np.array([True, False, True]))
    0.8333333333333333
    """
    values, group = np.unique(-scores, return_inverse=True)
    met = np.bincount(group, minlength=len(values)).cumsum()
    good = np.bincount(group, weights=positive, minlength=len(values))
    return float((good * good.cumsum() / met).sum() / positive.sum())


def design(found: Mapping[str, Floats]) -> Floats:
    """The columns of the linear model: a constant, and statistics, long tails shortened."""
    columns = [np.ones(len(next(iter(found.values()))))]
    for name in COMBINED:
        values = found[name]
        columns.append(np.sign(values) * np.log1p(np.abs(values)))
    return np.stack(columns, axis=1)


def coefficients(
    groups: Mapping[str, tuple[Mapping[str, Floats], Floats]], but: str | None
) -> Floats:
    """Ridge regression of log norm over the corpus's median, on all corpora but one."""
    rows, wanted = [], []
    for name, (found, norms) in groups.items():
        if name != but:
            rows.append(design(found))
            wanted.append(np.log(norms / np.median(norms)))
    x, y = np.concatenate(rows), np.concatenate(wanted)
    spread = np.maximum(x.std(axis=0), 1e-9)
    penalty = np.diag([0.0, *([1.0] * len(COMBINED))])
    z = x / spread
    solved: Floats = np.linalg.solve(z.T @ z + penalty, z.T @ y) / spread
    return solved


def lift(sketches: npt.NDArray[np.float32], scores: Floats, seed: int, draws: int = 20) -> float:
    """A batch's gradient norm with the documents of highest score in front, over chance's."""
    chance = np.random.default_rng(seed)
    tied = chance.random(len(scores))  # a flag that nobody has is as good as chance
    first = np.lexsort((tied, scores))[-IN_FRONT:]
    others = np.setdiff1d(np.arange(len(scores)), first)
    ratios = []
    for _ in range(draws):
        drawn = chance.choice(others, BATCH, replace=False)
        front = np.concatenate([drawn[IN_FRONT:], first])
        ratios.append(_norm(sketches[front]) / _norm(sketches[drawn]))
    return float(np.mean(ratios))


def _norm(sketches: npt.NDArray[np.float32]) -> float:
    return float(np.linalg.norm(sketches.mean(axis=0, dtype=np.float64)))


def compare(
    groups: Mapping[str, tuple[Mapping[str, Floats], Floats]],
    sketches: Mapping[str, npt.NDArray[np.float32]],
    seed: int,
) -> dict[str, Any]:
    """Each statistic and the linear model (fitted on the other corpora), within each corpus.

    `gain` is the model's macro-mean AUROC less that of the best single statistic, with an interval
    of 95 % from drawing documents again. The best is chosen with the outcome in sight, which makes
    the gain smaller, if anything.
    """
    scores: dict[str, dict[str, Floats]] = {}
    positive = {}
    calibration = {}
    for name, (found, norms) in groups.items():
        predicted = design(found) @ coefficients(groups, but=name)
        scores[name] = {**found, "model": predicted}
        positive[name] = norms > np.quantile(norms, 1 - POSITIVES)
        slope = stats.linregress(predicted, np.log(norms / np.median(norms)))
        calibration[name] = {"slope": slope.slope, "spearman": stats.spearmanr(predicted, norms)[0]}
    measures = [*SINGLE, "model"]
    table = {
        measure: {
            name: {
                "auroc": auroc(scores[name][measure], positive[name]),
                "average_precision": average_precision(scores[name][measure], positive[name]),
                "lift": lift(sketches[name], scores[name][measure], seed),
            }
            for name in groups
        }
        for measure in measures
    }
    oracle = {name: lift(sketches[name], norms, seed) for name, (_, norms) in groups.items()}
    means = {
        measure: {
            number: float(np.mean([row[number] for row in rows.values()]))
            for number in ("auroc", "average_precision", "lift")
        }
        for measure, rows in table.items()
    }
    best = max(SINGLE, key=lambda measure: means[measure]["auroc"])
    gains = []
    chance = np.random.default_rng(seed)
    for _ in range(RESAMPLED):
        one = []
        for name in groups:
            again = chance.integers(0, len(positive[name]), len(positive[name]))
            flags = positive[name][again]
            ours = auroc(scores[name]["model"][again], flags)
            one.append(ours - auroc(scores[name][best][again], flags))
        gains.append(np.mean(one))
    return {
        "documents": {name: len(norms) for name, (_, norms) in groups.items()},
        "positives": {name: int(flags.sum()) for name, flags in positive.items()},
        "measures": table,
        "means": means,
        "oracle_lift": oracle,
        "calibration": calibration,
        "best_single": best,
        "gain": {
            "estimate": means["model"]["auroc"] - means[best]["auroc"],
            "low": float(np.quantile(gains, 0.025)),
            "high": float(np.quantile(gains, 0.975)),
        },
        "coefficients": dict(
            zip(("constant", *COMBINED), coefficients(groups, but=None).tolist(), strict=True)
        ),
    }
