"""How a run's passes and steps become Prefect's tasks, with progress and artifacts."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from cleanpipe.flows import embedded  # noqa: F401 - its settings come before prefect
from prefect import task
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed

from cleanpipe.errors import CleanpipeError
from cleanpipe.pace import Tell

told: ContextVar[Tell] = ContextVar("told", default=lambda *_: None)
"""Who is told how far a run is, beside Prefect: the command line sets its progress bars."""
MOST_TASKS = 500  # a flow run; Prefect's server records about 100 task runs a second
TASKS_AT_ONCE = 8
"""Tasks that run at once. A cluster has more workers than that: then a task's own blocks or parts
go out at once."""


def teller() -> Tell:
    """Who is told. Flows ask here: `serve` pickles them with their globals; `told` cannot be."""
    return told.get()


def over(
    at_once: int, name: str, act: Callable[[int], dict[str, Any]], numbers: Sequence[int]
) -> list[dict[str, Any]]:
    """Prefect's map: a task a batch of blocks or parts, tried three times, with progress.

    `at_once` is how many blocks or parts a task gives to workers at a time.
    """
    size = max(-(-len(numbers) // MOST_TASKS), at_once)
    batches = [list(numbers[start : start + size]) for start in range(0, len(numbers), size)]

    def batch(numbers: list[int]) -> list[dict[str, Any]]:
        if at_once == 1:
            return [act(number) for number in numbers]
        with ThreadPoolExecutor(at_once) as threads:
            return list(threads.map(act, numbers))

    retrying = {"retries": 2, "retry_delay_seconds": 1, "retry_condition_fn": might_pass}
    named = task(batch, name=name, cache_policy=NO_CACHE, **retrying)
    progress = create_progress_artifact(0.0, key=name.replace(" ", "-"), description=name)
    futures = named.map(batches)
    for done, _ in enumerate(as_completed(futures), 1):
        update_progress_artifact(progress, 100.0 * done / len(futures))
        told.get()(name, done, len(futures))
    return [result for future in futures for result in future.result()]


def might_pass(task: Any, run: Any, state: Any) -> bool:  # noqa: ARG001 - Prefect's signature
    """Whether trying again can help: a wrong recipe or a broken input stays as it is."""
    return not isinstance(state.result(raise_on_failure=False), CleanpipeError)


def step(name: str, act: Callable[..., Any], *arguments: Any) -> None:
    """One deciding step as a task; what it did is its artifact."""
    result = task(lambda: act(*arguments), name=name, cache_policy=NO_CACHE)()
    row = result if isinstance(result, dict) else {"written": Path(str(result)).name}
    create_table_artifact([row], key=f"{name.replace(' ', '-')}-result", description=name)
