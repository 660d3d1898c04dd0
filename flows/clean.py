"""The main job: raw shards in, clean parts out, every document accounted for.

[cut repeats ->] normalize and measure -> filter -> deduplicate -> balance -> augment and write ->
statistics -> report. Passes over the text are tasks a batch of blocks or parts; what stands between
is a query. Prefect shows and retries; what is done is said by our own receipts. The blocks and
parts of a task go to processes of this machine, or to the machines that the recipe names.
"""

from functools import partial
from pathlib import Path

from cleanpipe.flows.passes import TASKS_AT_ONCE, over, step, teller  # before prefect: its settings
from prefect import flow
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.task_runners import ThreadPoolTaskRunner

from cleanpipe.nights.incremental import Night
from cleanpipe.pace import timed
from cleanpipe.recipes.recipe_file import load
from cleanpipe.report.summary import attrition
from cleanpipe.run import Work, open_work

TITLES = {"filter": "filter", "dedup": "deduplicate", "balance": "balance"}


@flow(name="clean", task_runner=ThreadPoolTaskRunner(max_workers=TASKS_AT_ONCE), log_prints=False)
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
    with open_work(known, workers=workers, tell=teller(), begin=begin) as work:
        each = timed(partial(over, -(-work.pool.workers // TASKS_AT_ONCE)), work.seconds)
        work.cut(each)
        each("normalize and measure", work.measure, work.blocks_to_measure())
        work.measured()
        for stage in known.order:
            step(TITLES[stage], work.decide, stage, each)
        work.plan_parts()
        each("augment and write", work.write, work.parts_to_write())
        step("statistics", work.count)
        step("report", work.draw_report)
        run = work.publish()
    create_table_artifact(attrition(run.stats), key="kept-and-dropped")
    create_link_artifact(run.report.resolve().as_uri(), key="report-page", link_text="report.html")
    return str(run.folder)


if __name__ == "__main__":
    clean(str(Path(__file__).parents[1] / "configs" / "sample.yaml"))
