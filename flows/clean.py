"""The main job: raw shards in, clean parts out, every document accounted for.

[cut repeats ->] normalize and measure -> filter -> deduplicate -> balance -> augment and write ->
statistics -> report. Passes over the text are tasks a batch of blocks or parts; what stands between
is a query. Prefect shows and retries; what is done is said by our own receipts.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from cleanpipe.flows import embedded  # noqa: F401 - its settings come before prefect
from prefect import flow, task
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from cleanpipe.errors import CleanpipeError
from cleanpipe.nights.incremental import Night
from cleanpipe.pace import Tell
from cleanpipe.recipes.recipe_file import load
from cleanpipe.report.summary import attrition
from cleanpipe.run import Work, open_work

told: ContextVar[Tell] = ContextVar("told", default=lambda *_: None)
"""Who is told how far a run is, beside Prefect: the command line sets its progress bars."""
MOST_TASKS = 500  # a flow run; Prefect's server records about 100 task runs a second
TITLES = {"filter": "filter", "dedup": "deduplicate", "balance": "balance"}


@flow(name="clean", task_runner=ThreadPoolTaskRunner(max_workers=8), log_prints=False)
def clean(
    recipe: str,
    settings: dict[str, str] | None = None,
    input: str | None = None,  # noqa: A002 - as the command line calls it
    output: str | None = None,
    workers: int | None = None,
    incremental: bool = False,
) -> str:
    """Clean a corpus as the recipe at this path says, or what is new of it; gives the run."""
    known = load(Path(recipe), settings or {}, input=input, output=output)
    begin = Night if incremental else Work
    with open_work(known, workers=workers, tell=told.get(), begin=begin) as work:
        work.cut(over)
        over("normalize and measure", work.measure, work.blocks_to_measure())
        work.measured()
        for stage in known.order:
            step(TITLES[stage], work.decide, stage, over)
        work.plan_parts()
        over("augment and write", work.write, work.parts_to_write())
        step("statistics", work.count)
        step("report", work.draw_report)
        run = work.publish()
    create_table_artifact(attrition(run.stats), key="kept-and-dropped")
    create_link_artifact(run.report.resolve().as_uri(), key="report-page", link_text="report.html")
    return str(run.folder)


def over(
    name: str, act: Callable[[int], dict[str, Any]], numbers: Sequence[int]
) -> list[dict[str, Any]]:
    """Prefect's map: a task a batch of blocks or parts, tried three times, with progress."""
    size = -(-len(numbers) // MOST_TASKS) or 1
    batches = [list(numbers[start : start + size]) for start in range(0, len(numbers), size)]

    def batch(numbers: list[int]) -> list[dict[str, Any]]:
        return [act(number) for number in numbers]

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


if __name__ == "__main__":
    clean(str(Path(__file__).parents[1] / "configs" / "sample.yaml"))
