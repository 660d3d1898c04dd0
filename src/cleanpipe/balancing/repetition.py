"""What repeated text is worth: Muennighoff et al. 2023, "Scaling Data-Constrained Language Models".

Text seen again teaches less each time. U units of different text, each seen 1 + r times, are worth
D' = U + U R* (1 - exp(-r / R*)) units of different text, R* = 15.39 by their fit (datablations;
15.387756). It was fitted on English web text and models of up to 9 billion parameters.
"""

import math
from collections.abc import Iterable

R_STAR = 15.39


def worth(epochs: float) -> float:
    """What one unit is worth that is seen so often, in units seen once; 1 epoch is worth 1.

    Below one epoch each unit that is seen is new.

    >>> [round(worth(epochs), 3) for epochs in (0.5, 1, 2, 4, 8)]
    [0.5, 1.0, 1.968, 3.726, 6.624]
    """
    if epochs <= 1:
        return float(epochs)
    return 1 - R_STAR * math.expm1((1 - epochs) / R_STAR)


def cost_of_more(epochs: float) -> float:
    """How much more must be written for one more unit's worth, after so many epochs: 1 is fresh.

    >>> [round(cost_of_more(epochs), 2) for epochs in (1, 4, 16, 40)]
    [1.0, 1.22, 2.65, 12.61]
    """
    return math.exp(max(epochs - 1, 0) / R_STAR)


def effective(copies: Iterable[tuple[int, int]]) -> int:
    """The worth of text of which (size, times) is written: what is never written is worth nothing.

    >>> effective([(1000, 1), (1000, 4), (500, 0)])
    4726
    """
    return round(math.fsum(size * worth(times) for size, times in copies))
