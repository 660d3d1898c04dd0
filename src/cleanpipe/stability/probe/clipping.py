"""ZClip: gradients are scaled down where their length stands out from those before.

Kumar et al. 2025, arXiv 2504.02507: running mean and variance of the norm (alpha 0.97, begun from
25 steps), and a norm whose z-score passes 2.5 is brought down to mean + 2.5^2 / z deviations.
"""

import math
from dataclasses import dataclass, field

ALPHA = 0.97
FIRST = 25
"""Steps that are only looked at."""


@dataclass
class ZClip:
    """The memory of one training run."""

    threshold: float
    """The z-score beyond which a gradient is scaled down: 2.5 in the paper."""
    first: list[float] = field(default_factory=list)
    mean: float = 0.0
    variance: float = 0.0

    def limit(self, norm: float) -> float:
        """The length that a gradient of this norm may have; the norm is then remembered.

        >>> clip = ZClip(2.5)
        >>> all(clip.limit(norm) == norm for norm in [1.0, 1.2] * 13)
        True
        >>> 1.1 < clip.limit(9.0) < 1.2
        True
        """
        if len(self.first) < FIRST:
            self.first.append(norm)
            if len(self.first) == FIRST:
                self.mean = sum(self.first) / FIRST
                self.variance = sum((each - self.mean) ** 2 for each in self.first) / FIRST
            return norm
        deviation = math.sqrt(self.variance) + 1e-6
        z = (norm - self.mean) / deviation
        allowed = norm
        if not z <= self.threshold:  # also where the norm is not a number
            allowed = self.mean + self.threshold**2 / z * deviation if z < math.inf else self.mean
        self.mean = ALPHA * self.mean + (1 - ALPHA) * allowed
        self.variance = ALPHA * self.variance + (1 - ALPHA) * (allowed - self.mean) ** 2
        return allowed
