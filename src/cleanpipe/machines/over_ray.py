"""A run's calls on the machines of a Ray cluster."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cleanpipe.errors import CleanpipeError, WorkerDiedError
from cleanpipe.machines.serving import (
    Call,
    Prepare,
    Ticket,
    introduce,
    refuse_unfit,
    serve,
    take_over,
)
from cleanpipe.recipes.recipe import Recipe

PATIENCE = 60.0  # seconds: for machines to leave an earlier run
RETRIES = 3


class OverRay:
    """A pool whose calls go to a Ray cluster, a processor each; many threads may call it at once.

    Ray gives a call to another machine when the one that had it is gone. `workers` is how many
    calls run at once: the processors of all its machines when the run begins. The run is started
    on a machine of the cluster; Ray ends the processes of a run that is over or was killed.
    """

    def __init__(self, address: str, recipe: Recipe, prepare: Prepare) -> None:
        import ray  # noqa: PLC0415 - the extra `ray`

        self._ray = ray
        try:
            ray.init(
                address=address,
                logging_level=logging.ERROR,
                log_to_driver=False,
                include_dashboard=None,
            )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise CleanpipeError(
                f"no Ray cluster at {address} ({error}): run `ray start --head` and name its "
                "address in the recipe's `machines`, or ray:auto on a machine of the cluster"
            ) from error
        try:
            self._begin(recipe, prepare)
        except BaseException:
            ray.shutdown()
            raise

    def _begin(self, recipe: Recipe, prepare: Prepare) -> None:
        fence = Path(recipe.output.path).absolute() / "_cleanpipe" / "machines"
        self._ticket = Ticket(str(fence), take_over(fence, PATIENCE), recipe, prepare)
        self._known = self._ray.put(self._ticket)
        self._serve = self._ray.remote(num_cpus=1, max_retries=RETRIES)(_serve)
        self.workers = int(self._ray.cluster_resources().get("CPU", 1))
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        asked = [
            self._ray.remote(num_cpus=0)(introduce)
            .options(resources={f"node:{node['NodeManagerAddress']}": 0.001})
            .remote(self._known)
            for node in nodes
        ]
        refuse_unfit(self._ticket, self._ray.get(asked))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one call on some machine and wait for it."""
        return self._ask(Call(function, arguments))

    def fails(self, share: float, function: Callable[..., Any], *arguments: Any) -> str | None:
        """Run one call once, with a share of the deadline; None, or how its process ended."""
        how: str | None = self._ask(Call(function, arguments, share))
        return how

    def _ask(self, call: Call) -> Any:
        try:
            return self._ray.get(self._serve.remote(self._known, call))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.WorkerCrashedError as error:
            raise WorkerDiedError(
                f"{call.function.__name__} ended every Ray worker that it was given to ({error})"
            ) from error
        except self._ray.exceptions.RayError as error:
            raise CleanpipeError(
                f"the Ray cluster failed ({error}); run again: the run goes on where it was"
            ) from error

    def close(self) -> None:
        """Leave the cluster, which ends the processes of this run."""
        self._ray.shutdown()


def _serve(ticket: Ticket, call: Call) -> Any:
    return serve(ticket, 1, call)
