"""Events in training logs: what stands out, what recurs in twins, what was read twice."""
