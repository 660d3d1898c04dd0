"""Whether the batches of events differ from their controls, asked of many numbers at once.

Of each set of an event's batch and its controls only ranks are used: numbers of documents have
long tails, and one batch would decide a mean. Who is the event is drawn again within each set,
9,999 times, the same draw for all numbers, so that what hangs together stays together: p-values of
the largest deviation (Westfall and Young 1993) then hold for the whole family without assuming
anything of how its members depend on each other.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
DRAWS = 9_999
RESAMPLED = 2_000
LEVEL = 0.05
POWER = 0.8
PIECE = 64
"""Numbers whose draws are kept in memory at once."""


def set_ranks(values: Floats) -> Floats:
    """Ranks within each set of (sets, members, numbers), from 1; of equals the mean rank.

    >>> set_ranks(np.array([[[5.0], [1.0], [5.0]]]))[0, :, 0]
    array([2.5, 1. , 2.5])
    """
    return np.asarray(stats.rankdata(values, axis=1), np.float64)


def auroc(values: Floats) -> Floats:
    """(sets, numbers): the share of controls that the event (member 0) is above; equals half.

    >>> auroc(np.array([[[3.0], [1.0], [3.0], [2.0]]]))
    array([[0.83333333]])
    """
    case, controls = values[:, :1], values[:, 1:]
    return np.asarray(((case > controls) + 0.5 * (case == controls)).mean(axis=1), np.float64)


@dataclass(frozen=True)
class Judged:
    """What a family of numbers says; an entry each."""

    auroc: Floats
    """The mean over events of the share of controls that the event is above: 0.5 is nothing."""
    z: Floats
    """Its distance from 0.5 in standard deviations of the draws."""
    p: Floats
    """Two-sided, of this number alone."""
    p_family: Floats
    """That any number of the family deviates so far (Westfall and Young, stepping down)."""
    q: Floats
    """The share of false ones among those with such a p (Benjamini and Hochberg)."""

    @property
    def cliffs_delta(self) -> Floats:
        """Chance to be above, less chance to be below: -1 to 1."""
        return 2 * self.auroc - 1


def judged(values: Floats, seed: int, draws: int = DRAWS) -> Judged:
    """Test numbers (sets, members, numbers), whose member 0 is the event.

    A number that is the same in all members of all sets has p-values of 1.
    """
    ranks = set_ranks(values)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    sets, members, _ = values.shape
    deviation = np.sqrt((centred**2).mean(axis=1).sum(axis=0))
    scaled = centred / np.where(deviation > 0, deviation, 1)
    z = scaled[:, 0].sum(axis=0)
    chosen = np.random.default_rng(seed).integers(0, members, (draws, sets))
    p, p_family = _compared(scaled, z, chosen)
    return Judged(auroc(values).mean(axis=0), z, p, p_family, discoveries(p))


def _compared(scaled: Floats, z: Floats, chosen: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """p-values of each number, and of the family; from the least deviating number to the most."""
    draws, sets = chosen.shape
    order = np.argsort(np.abs(z), kind="stable")
    own = np.abs(z) * (1 - 1e-9) - 1e-12  # sums of the same ranks in another order
    above = np.zeros(len(z))
    family = np.zeros(len(z))
    largest = np.zeros(draws)
    for start in range(0, len(order), PIECE):
        piece = order[start : start + PIECE]
        found = np.zeros((draws, len(piece)))
        for one in range(sets):
            found += scaled[one][:, piece][chosen[:, one]]
        found = np.abs(found)
        above[piece] = (found >= own[piece]).sum(axis=0)
        upto = np.maximum.accumulate(np.column_stack([largest, found]), axis=1)
        family[piece] = (upto[:, 1:] >= own[piece]).sum(axis=0)
        largest = upto[:, -1]
    p = (1 + above) / (draws + 1)
    stepped = (1 + family[order[::-1]]) / (draws + 1)
    p_family = np.empty(len(z))
    p_family[order[::-1]] = np.maximum.accumulate(stepped)
    return p, p_family


def discoveries(p: Floats) -> Floats:
    """Benjamini and Hochberg's adjusted p-values (1995).

    >>> discoveries(np.array([0.01, 0.04, 0.03, 0.5])).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]
    """
    return np.asarray(stats.false_discovery_control(p), np.float64) if len(p) else p


def interval(each: Floats, seed: int, resampled: int = RESAMPLED) -> tuple[Floats, Floats]:
    """Bounds (95 %) of means over events of (events, numbers): events are drawn, not batches.

    BCa: corrected for bias and skew (Efron 1987). Where all events agree both bounds are the mean.
    """
    count = len(each)
    chance = np.random.default_rng(seed)
    weights = chance.multinomial(count, np.full(count, 1 / count), resampled) / count
    means = np.sort(weights @ each, axis=0)
    mean = each.mean(axis=0)
    below = ((means < mean - 1e-12).mean(axis=0) + (means <= mean + 1e-12).mean(axis=0)) / 2
    bias = stats.norm.ppf(np.clip(below, 1 / resampled, 1 - 1 / resampled))
    left = each - mean  # of the jackknife's means of all but one, up to a factor
    cubes, squares = (left**3).sum(axis=0), (left**2).sum(axis=0)
    skew = cubes / (6 * np.where(squares > 0, squares, 1) ** 1.5)
    bounds = []
    for quantile in (LEVEL / 2, 1 - LEVEL / 2):
        far = bias + stats.norm.ppf(quantile)
        share = stats.norm.cdf(bias + far / (1 - skew * far))
        place = np.clip((share * resampled).astype(int), 0, resampled - 1)
        bounds.append(np.take_along_axis(means, place[None], axis=0)[0])
    return bounds[0], bounds[1]


def detectable(events: int, controls: int, numbers: int) -> float:
    """The least AUROC that is found in four of five cases; above 1 where none would be.

    The event's rank among its controls, as normal; the level shared out over the numbers.

    >>> round(detectable(20, 20, 1), 2), round(detectable(20, 20, 30), 2)
    (0.69, 0.77)
    """
    deviation = ((controls + 2) / (12 * controls) / events) ** 0.5
    far = stats.norm.isf(LEVEL / (2 * numbers)) + stats.norm.ppf(POWER)
    return float(0.5 + far * deviation)
