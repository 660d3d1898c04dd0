"""The probe as a job: small twins train on planted faults and on what cleaning removed.

Needs the extra `probe`. Stopped or retried, it goes on with the twins that are not done yet.
"""

from contextvars import ContextVar
from pathlib import Path
from typing import Any

from cleanpipe.flows import embedded  # noqa: F401 - its settings come before prefect
from prefect import flow, task
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from cleanpipe.stability.probe import probing, shown

told: ContextVar[probing.Tell] = ContextVar("told", default=lambda *_: None)
"""Who is told how far a probe is, beside Prefect."""


@flow(name="stability", log_prints=False)
def stability(raw: str, clean: str, output: str = "probe", form: str = "quick") -> str:
    """Probe the raw text and the output folder that it was cleaned into; gives probe.json's path.

    `form` is quick (minutes) or standard (a night).
    """
    result = train_twins(raw, clean, output, form, told.get())
    create_table_artifact(shown.rows(result), key="twins", description=result["limits"])
    if "sweep" in result:
        arms = result["sweep"]
        create_table_artifact(shown.sweep_rows(arms), key="arms", description=arms["limits"])
    return str(Path(output) / "probe.json")


@task(name="train twins", cache_policy=NO_CACHE, retries=1, persist_result=False)
def train_twins(raw: str, clean: str, output: str, form: str, tell: probing.Tell) -> dict[str, Any]:
    """All twins of a form, and its arms, with a bar."""
    bar = create_progress_artifact(progress=0.0, key="twins-done")

    def both(step: str, done: int, total: int) -> None:
        tell(step, done, total)
        if step in {"twins", "runs"}:
            update_progress_artifact(artifact_id=bar, progress=100 * done / total)

    return probing.probe(raw, clean, Path(output), form, both)
