"""What runs are compared by: losses on the same held-out text, stability, speed, smoothness.

The primary end point, named before the first run: the loss on held-out cleaned text at the base
learning rate. All others are told beside it, unadjusted.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanpipe.stability.probe.exact import effect, together

Floats = npt.NDArray[np.float64]
Run = dict[str, Any]
BEFORE = 50
"""Steps of whose gradient norms the median is a step's measure."""
SPIKE = 8.0
"""Robust deviations of the log gradient norm above it that make a spike."""
WORSE = 1.1
"""A run that ends so many times above the lowest loss that it had has diverged."""


def events(norms: Floats) -> int:
    """Steps whose gradient norm stands out from those before; neighbours are one event.

    A floor of a twentieth for the deviation, so that hardly any noise makes no spikes.

    >>> events(np.array([1.0, 1.1] * 40 + [9.0] + [1.0, 1.1] * 20))
    1
    """
    logs = np.log(np.maximum(norms, 1e-12))
    found, last = 0, -BEFORE
    for step in range(BEFORE, len(logs)):
        before = logs[step - BEFORE : step]
        middle = np.median(before)
        deviation = max(0.05, 1.4826 * float(np.median(np.abs(before - middle))))
        if logs[step] - middle > SPIKE * deviation or not np.isfinite(logs[step]):
            found += step - last > 5
            last = step
    return found


def of_log(lines: list[dict[str, float]], steps: int) -> Run:
    """What a run's log says of its steps."""
    norms = np.array([line["grad_norm"] for line in lines])
    return {
        "finished": len(lines) == steps and bool(np.isfinite(lines[-1]["loss"])),
        "steps": len(lines),
        "events": events(norms),
        "max_attn_logit": float(np.nanmax([line["max_attn_logit"] for line in lines])),
    }


def diverged(run: Run) -> bool:
    """Broken off, worse than it began, or well above the lowest loss that it had."""
    losses = [look["clean"] for look in run["looks"]]
    if not run["finished"] or any(loss is None for loss in losses):
        return True
    return bool(losses[-1] > min(losses[0], WORSE * min(losses)))


def row(run: Run) -> dict[str, Any]:
    """One run as a line of a table."""
    last = run["looks"][-1]
    held = last[run["own"]]
    gap = None if held is None or run["seen_loss"] is None else held - run["seen_loss"]
    return {
        "seed": run["seed"],
        "arm": run["arm"],
        "lr": run["lr"],
        "held_clean": last["clean"],
        "held_raw": last["raw"],
        "gap": gap,
        "roughness": roughness(run),
        "events": run["events"],
        "steps": run["steps"],
        "max_attn_logit": run["max_attn_logit"],
        "diverged": diverged(run),
    }


def roughness(run: Run) -> float | None:
    """The mean size of second differences of the held-out loss, after the first third."""
    losses = [look["clean"] for look in run["looks"]]
    if any(loss is None for loss in losses) or len(losses) < 6:
        return None
    return float(np.abs(np.diff(losses[len(losses) // 3 :], 2)).mean())


def tokens_to(run: Run, target: float) -> float:
    """Tokens until the held-out loss is first at the target, between two looks; inf if never.

    >>> looks = [{"tokens": 0, "clean": 6.0}, {"tokens": 100, "clean": 4.0}]
    >>> tokens_to({"looks": looks}, 5.0), tokens_to({"looks": looks}, 3.0)
    (50.0, inf)
    """
    tokens, loss = 0.0, np.inf
    for look in run["looks"]:
        after, now = float(look["tokens"]), look["clean"]
        if now is None:
            return np.inf
        if now <= target:
            share = 1.0 if not loss > now or loss == np.inf else (loss - target) / (loss - now)
            return tokens + share * (after - tokens)
        tokens, loss = after, now
    return np.inf


def compared(runs: list[Run], against: Mapping[str, str], base: float) -> dict[str, Any]:
    """For each arm its level, and its differences to the arm that it is compared with."""
    seeds = sorted({run["seed"] for run in runs})
    arms = list(dict.fromkeys(run["arm"] for run in runs))
    numbers = {
        (arm, seed): _numbers([r for r in runs if r["arm"] == arm and r["seed"] == seed], base)
        for arm in arms
        for seed in seeds
    }
    found: dict[str, Any] = {}
    for arm in arms:
        own = [numbers[arm, seed] for seed in seeds]
        mine = [run for run in runs if run["arm"] == arm]
        found[arm] = {
            "runs": len(mine),
            "diverged": sum(map(diverged, mine)),
            "diverged_at": {
                f"{rate:g}": sum(diverged(r) for r in mine if r["lr"] == rate)
                for rate in sorted({r["lr"] for r in mine})
            },
            "seeds": len(seeds),
            "levels": {name: _mean([each[name] for each in own]) for name in own[0]},
        }
        control = against.get(arm, arm)
        if control != arm:
            found[arm]["against"] = control
            found[arm]["effects"] = {
                name: _effect([numbers[arm, s][name] - numbers[control, s][name] for s in seeds])
                for name in own[0]
            }
            pairs = [[_at(runs, one, seed, base) for one in (arm, control)] for seed in seeds]
            found[arm]["effects"]["log_tokens_to_target"] = _effect([_slower(*p) for p in pairs])
    others = [arm for arm in found if "effects" in found[arm]]
    rows = np.array(
        [
            [
                numbers[arm, seed]["held_clean"] - numbers[against[arm], seed]["held_clean"]
                for seed in seeds
            ]
            for arm in others
        ]
    )
    if others:
        adjusted = together(np.nan_to_num(rows, nan=1e3, posinf=1e3, neginf=-1e3))
        for arm, p in zip(others, adjusted, strict=True):
            found[arm]["effects"]["held_clean"]["p_of_all"] = p
    return found


def _slower(run: Run, control: Run) -> float:
    """The logarithm of the tokens that it took, over the control's, to a loss that both reached.

    Infinite where only one of the two learnt anything that lasted.
    """
    lost = diverged(run), diverged(control)
    if any(lost):
        return 0.0 if all(lost) else np.inf if lost[0] else -np.inf
    target = max(run["looks"][-1]["clean"], control["looks"][-1]["clean"])
    return float(np.log(tokens_to(run, target) / tokens_to(control, target)))


def _at(runs: list[Run], arm: str, seed: int, rate: float) -> Run:
    wanted = (arm, seed, rate)
    return next(run for run in runs if (run["arm"], run["seed"], run["lr"]) == wanted)


def _numbers(runs: list[Run], base: float) -> dict[str, float]:
    """The end points of one arm and seed; `runs` are of all learning rates."""
    runs = sorted(runs, key=lambda run: float(run["lr"]))
    line = row(next(run for run in runs if run["lr"] == base))
    ends = np.array([_capped(run) for run in runs])
    stable = [run["lr"] for run in runs]
    for place, run in enumerate(runs):
        if diverged(run):
            stable = stable[:place]
            break
    found = {name: line[name] for name in ("held_clean", "held_raw", "gap", "roughness")}
    return {
        **{name: np.inf if value is None else float(value) for name, value in found.items()},
        "log_logit": float(np.log(max(1e-9, line["max_attn_logit"]))),
        "best_clean": float(ends.min()),
        "sensitivity": float((ends - ends.min()).mean()),
        "log2_largest_stable_lr": float(np.log2(stable[-1] if stable else runs[0]["lr"] / 2)),
        "events_per_1000": 1000 * sum(r["events"] for r in runs) / sum(r["steps"] for r in runs),
    }


def _capped(run: Run) -> float:
    """The last held-out loss, at most that before training (Wortsman et al. 2023)."""
    first, last = run["looks"][0]["clean"], run["looks"][-1]["clean"]
    return float(first if last is None or not run["finished"] else min(first, last))


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if np.isfinite(values).all() else None


def _effect(values: list[float]) -> dict[str, Any]:
    """As exact.effect; what is not finite in both arms is no difference."""
    return effect(np.array([0.0 if np.isnan(value) else value for value in values]))
