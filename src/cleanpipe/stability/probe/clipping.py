"""What trainers do about a step that stands out: scale its gradient down, or leave the step out.

ZClip (Kumar et al. 2025, arXiv 2504.02507): running mean and variance of the norm (alpha 0.97,
begun from 25 steps), and a norm whose z-score passes 2.5 is brought down to mean + 2.5^2 / z
deviations. Skip-step (OLMo-core's SkipStepOptimizer, read at fa6c501): no step is taken where loss
or norm stands 6 deviations above the mean of the 128 before.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

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


WINDOW, LEAST = 128, 64
"""Steps before, with which a step is compared; and without which none is left out."""


@dataclass
class SkipStep:
    """The memory of one training run. What is left out is remembered, too, as in OLMo-core."""

    threshold: float
    """Deviations above the mean from which a step is left out: 6 in OLMo-core."""
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    norms: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def out(self, loss: float, norm: float) -> bool:
        """Whether to leave this step out; its values are then remembered.

        >>> skip = SkipStep(6.0)
        >>> [skip.out(2.0 + n % 3 / 10, 1.0) for n in range(90)] == [False] * 90
        True
        >>> skip.out(9.0, 1.0), skip.out(2.1, 1.0)
        (True, False)
        """
        found = False
        for known, value in ((self.losses, loss), (self.norms, norm)):
            if len(known) >= LEAST:
                bound = np.mean(known) + self.threshold * np.std(known, ddof=1)
                found |= not value <= bound  # also where it is not a number
            known.append(value)
        return found
