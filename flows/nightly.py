"""The nightly job: clean if anything changed since the published run, else end in seconds.

`prefect deploy --all` schedules it as prefect.yaml says. When it fails, the command in
CLEANPIPE_ALERT is given the reason on its standard input, with or without a server; alerts.py
has the alerts that a server gives. A failed gate ends the flow in a state of its own, GateFailed.
"""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from cleanpipe.flows.clean import clean  # its settings come before prefect
from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.states import Failed

from cleanpipe.errors import GateError
from cleanpipe.nights.incremental import nothing_new
from cleanpipe.nights.nightly import changes, confirm
from cleanpipe.recipes.recipe_file import load

PATIENCE = 60.0  # seconds for the alert's command
GATE_FAILED = "GateFailed"  # the run is whole and can be looked at: nothing to start again


def alert(flow: Any, flow_run: Any, state: Any) -> None:
    """Tell the person on call, through whatever command they chose; workers call it by names."""
    command = os.environ.get("CLEANPIPE_ALERT")
    if command:
        said = f"{flow.name} {flow_run.name} {state.name}: {state.message}\nsee docs/nightly.md\n"
        words = shlex.split(command)
        subprocess.run(words, input=said, text=True, check=False, timeout=PATIENCE)  # noqa: S603


@flow(name="nightly", on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
def nightly(
    recipe: str,
    settings: dict[str, str] | None = None,
    input: str | None = None,  # noqa: A002 - as the command line calls it
    output: str | None = None,
    workers: int | None = None,
    incremental: bool = False,
) -> str:
    """Clean a corpus as the recipe at this path says, if need be; gives the published run.

    `incremental` cleans only what is new and adds it; otherwise everything is cleaned again.
    """
    known = load(Path(recipe), settings or {}, input=input, output=output)
    if incremental:
        why = [] if nothing_new(known) else ["new or changed files: they are added"]
    else:
        why = changes(known)
    found = [{"why": reason} for reason in why or ["nothing changed: the published run stays"]]
    create_table_artifact(found, key="why-tonight", description="What changed since the last run")
    if not why:
        return str(confirm(known))
    try:
        return clean(recipe, settings, input, output, workers, incremental)
    except GateError as error:
        return Failed(name=GATE_FAILED, message=str(error), data=error)


if __name__ == "__main__":
    nightly(str(Path(__file__).parents[1] / "configs" / "sample.yaml"))
