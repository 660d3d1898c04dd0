"""The whole answer of `cleanpipe stability attribute`, as plain data; what it may be called."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.errors import InputError, RecipeError
from cleanpipe.outcome import Run
from cleanpipe.stability.attribution import permutation
from cleanpipe.stability.attribution.alignment import Proof
from cleanpipe.stability.attribution.attribution import (
    Attribution,
    Tell,
    TooFewEventsError,
    attribute,
)
from cleanpipe.stability.attribution.batches import Batches
from cleanpipe.stability.attribution.naming import candidates
from cleanpipe.stability.attribution.question import Question
from cleanpipe.stability.attribution.remedy import measured, rules
from cleanpipe.stability.logs import logs
from cleanpipe.stability.logs.log import Log
from cleanpipe.stability.spikes.events import CLASSES, Bounds, find

Steps = npt.NDArray[np.int64]
NEAR = 2
"""Steps within which events of two runs of the same order are the same."""
SHIFTS = 999
ASKED = ("content outlier", "gradient spike", "instability")
"""Classes that are asked about: a level shift or a divergence has no batch of its own."""
RUNGS = {
    "R0": "co-occurrence: nothing was tested, or nothing came out",
    "R1": "matched enrichment: associated with events, beside matched batches of the same log",
    "R2": "replication: R1, and events recur at the same steps in runs of the same order",
}
"""How far an answer goes towards a cause. The next rung is a replay, which no log can give."""
LIMITS = (
    "Associations in this log. Documents are candidates: that one of them made an event is shown "
    "by a replay only (cleanpipe stability replay), and holds for the model and the state that it "
    "was made with."
)


def one_log(path: Path) -> Log:
    """The run of a log file. Errors: InputError where there are several."""
    found = logs.read(path)
    if len(found) != 1:
        named = ", ".join(log.name for log in found[:5])
        raise InputError(f"{path} holds {len(found)} runs ({named}): give each a file of its own")
    return found[0]


def events_of(log: Log, bounds: Bounds, kinds: tuple[str, ...] = ()) -> pl.DataFrame:
    """The events of some classes. Errors: RecipeError for a class that there is not."""
    for kind in kinds:
        if kind not in CLASSES:
            raise RecipeError(f"--kind {kind}: expected one of {', '.join(CLASSES)}")
    return find(log, bounds).filter(pl.col("class").is_in(kinds or ASKED))


def answered(
    events: pl.DataFrame,
    log: pl.DataFrame,
    order: tuple[pl.DataFrame | Batches, Proof],
    run: Run,
    question: Question,
    *,
    twins: tuple[pl.DataFrame, ...] = (),
    tell: Tell = lambda *_: None,
) -> dict[str, Any]:
    """Everything that is to be said of events (step, class) of a log, by an order and a run.

    `status` is: attributed; nothing associated; controls fail; too few events; order not verified.
    `twins` are events of other runs that had the same order.
    """
    exposure, proof = order
    steps = np.unique(events["step"].to_numpy())
    found: dict[str, Any] = {
        "events": len(steps),
        "classes": {
            row["class"]: row["len"]
            for row in events.group_by("class").len().sort("class").iter_rows(named=True)
        },
        "order": {"verified": proof.verified, "how": proof.how, "said": proof.said},
        "question": {
            "feature": question.feature,
            "measures": list(question.measures),
            "lags": list(question.lags),
            "seed": question.seed,
        },
        "replication": [
            replication(steps, twin["step"].to_numpy(), log["step"].to_numpy()) for twin in twins
        ],
        "limits": LIMITS,
    }
    if not proof.verified:
        return found | _ended("order not verified", f"{proof.said}: no attribution")
    try:
        done = attribute(steps, log, exposure, measured(run.folder), question, tell)
    except TooFewEventsError as error:
        return found | _ended("too few events", str(error))
    return found | _told(done, run, found["replication"])


def _ended(status: str, why: str) -> dict[str, Any]:
    nothing: dict[str, Any] = {"findings": [], "controls": [], "candidates": [], "rules": []}
    return {"status": status, "why": why, "rung": "R0", "rung_said": RUNGS["R0"], **nothing}


def _told(done: Attribution, run: Run, replicated: list[dict[str, Any]]) -> dict[str, Any]:
    sets = done.asked.sets
    count = int(done.associated.sum())
    named = candidates(done) if done.clean else []
    rung = "R0"
    if count and done.clean:
        rung = "R2" if any(one["p"] <= permutation.LEVEL for one in replicated) else "R1"
    if not done.clean:
        failed = [control["control"] for control in done.controls if not control["holds"]]
        status, why = "controls fail", f"{', '.join(failed)} came out: findings are not believed"
    elif count:
        status, why = "attributed", f"{count} of {len(done.asked.features)} numbers are associated"
    else:
        status, why = "nothing associated", f"none of {len(done.asked.features)} numbers"
    return {
        "status": status,
        "why": why,
        "rung": rung,
        "rung_said": RUNGS[rung],
        "design": {
            "events_asked": len(sets.cases),
            "left_out": sets.left_out,
            "controls_each": sets.controls.shape[1],
            "distance": sets.distance,
            "tenths": sets.tenths,
            "lags": list(done.asked.question.lags),
            "numbers": len(done.asked.features),
            "detectable_auroc": permutation.detectable(
                len(sets.cases), sets.controls.shape[1], max(len(done.asked.features), 1)
            ),
        },
        "findings": done.findings(),
        "associated": count,
        "controls": done.controls,
        "candidates": named,
        "rules": rules(done, named, run),
    }


def replication(events: Steps, twin: Steps, steps: Steps, seed: int = 0) -> dict[str, Any]:
    """How many events recur within NEAR steps in another run, and how many would by chance.

    Chance: the other run's events shifted around the log, SHIFTS times.

    >>> found = replication(np.array([50, 90]), np.array([51, 70]), np.arange(1, 1001))
    >>> found["events"], found["recur"], found["p"] < 0.05
    (2, 1, True)
    """
    first, length = int(steps.min()), int(steps.max() - steps.min() + 1)

    def recur(other: Steps) -> int:
        if not len(other) or not len(events):
            return 0
        return int((np.abs(events[:, None] - other[None, :]).min(axis=1) <= NEAR).sum())

    own = recur(twin)
    offsets = np.random.default_rng(seed).integers(NEAR + 1, max(length - NEAR, NEAR + 2), SHIFTS)
    null = [recur((twin - first + offset) % length + first) for offset in offsets]
    p = (1 + sum(count >= own for count in null)) / (SHIFTS + 1)
    return {"events": len(events), "recur": own, "by_chance": float(np.mean(null)), "p": p}
