"""A run's calls on the workers of a Dask scheduler."""

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from cleanpipe.errors import CleanpipeError, WorkerDiedError
from cleanpipe.machines.serving import (
    Call,
    Prepare,
    Ticket,
    introduce,
    leave,
    refuse_unfit,
    serve,
    take_over,
)
from cleanpipe.recipes.recipe import Recipe

PATIENCE = 60.0  # seconds: for a scheduler, for its first worker, for machines to leave


class OverDask:
    """A pool whose calls go to a Dask cluster; many threads may call it at once.

    Dask gives a call to another worker when the one that had it is gone. `workers` is how many
    calls run at once: the threads of all its workers when the run begins.
    """

    def __init__(self, address: str, recipe: Recipe, prepare: Prepare) -> None:
        from distributed import Client  # noqa: PLC0415 - the extra `dask`

        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # people are told by our errors
        given = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        try:
            self._client = Client(**given, timeout=PATIENCE, set_as_default=False)
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except (OSError, TimeoutError) as error:
            raise CleanpipeError(
                f"no Dask worker at {address} ({error}): start `dask scheduler` and workers with "
                "--no-nanny, and name the scheduler's address in the recipe's `machines`"
            ) from error
        try:
            self._begin(recipe, prepare)
        except BaseException:
            self._client.close()
            raise

    def _begin(self, recipe: Recipe, prepare: Prepare) -> None:
        self._fence = str(Path(recipe.output.path).absolute() / "_cleanpipe" / "machines")
        self._client.run(leave, self._fence)  # orphans of a killed run
        token = take_over(Path(self._fence), PATIENCE)
        self._ticket = Ticket(self._fence, token, recipe, prepare)
        refuse_unfit(self._ticket, list(self._client.run(introduce, self._ticket).values()))
        self.workers = sum(self._client.nthreads().values())

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one call on some machine and wait for it."""
        return self._ask(Call(function, arguments))

    def fails(self, share: float, function: Callable[..., Any], *arguments: Any) -> str | None:
        """Run one call once, with a share of the deadline; None, or how its process ended."""
        how: str | None = self._ask(Call(function, arguments, share))
        return how

    def _ask(self, call: Call) -> Any:
        from distributed import KilledWorker  # noqa: PLC0415 - the extra `dask`

        future = self._client.submit(_serve, self._ticket, call, pure=False)
        try:
            return future.result()
        except KilledWorker as error:
            raise WorkerDiedError(
                f"{call.function.__name__} ended every Dask worker that it was given to ({error})"
            ) from error
        except CancelledError as error:
            raise CleanpipeError(
                "the Dask scheduler is gone; start it and its workers and run again: the run goes "
                "on where it was"
            ) from error

    def close(self) -> None:
        """Let every machine end the processes of this run."""
        if self._client.status == "running":
            self._client.run(leave, self._fence, on_error="ignore")
        self._client.close()


def _serve(ticket: Ticket, call: Call) -> Any:
    from distributed import get_worker  # noqa: PLC0415 - the extra `dask`

    return serve(ticket, get_worker().state.nthreads, call)
