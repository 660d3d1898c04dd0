"""Which machines do a run's work: processes of this one, a Dask cluster, or a Ray cluster."""

from collections.abc import Callable
from typing import Any, Protocol

from cleanpipe.errors import RecipeError
from cleanpipe.machines.serving import Prepare
from cleanpipe.recipes.recipe import Recipe


class Calls(Protocol):
    """What a run needs of whoever does its work: `Pool`, `Here`, a cluster."""

    workers: int
    """How many calls run at once."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one call somewhere and wait for it."""

    def fails(self, share: float, function: Callable[..., Any], *arguments: Any) -> str | None:
        """Run one call once, with a share of the deadline; None, or how its process ended."""

    def close(self) -> None:
        """End what was started for this run."""


def connect(recipe: Recipe, prepare: Prepare) -> Calls | None:
    """The cluster that the recipe names; None where the work is this machine's.

    `prepare` is what each machine does before its first call. Hold the output folder's lock.
    Errors: RecipeError where the extra is not installed, CleanpipeError where the cluster cannot be
    reached or a machine of it is unfit.
    """
    kind, _, address = recipe.machines.partition(":")
    try:
        if kind == "dask":
            from cleanpipe.machines.over_dask import OverDask  # noqa: PLC0415 - the extra `dask`

            return OverDask(address, recipe, prepare)
        if kind == "ray":
            from cleanpipe.machines.over_ray import OverRay  # noqa: PLC0415 - the extra `ray`

            return OverRay(address, recipe, prepare)
    except ImportError as error:
        raise RecipeError(
            f"machines is {recipe.machines!r}, and {error.name} is not installed: "
            f"pip install 'cleanpipe[{kind}]'"
        ) from error
    return None
