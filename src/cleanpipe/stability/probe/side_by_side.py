"""Trainings side by side, each on one thread: results do not depend on how many there are."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cleanpipe.errors import RecipeError
from cleanpipe.pool import Pool
from cleanpipe.stability.probe.training import Machine

DEADLINE = 6 * 3600.0
"""Seconds for one training: two hundred times what the longest of the standard form took."""
AHEAD = 2
"""Trainings a process that are made ready before they are asked for: each holds its text."""


def side_by_side(
    function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], workers: int | None = None
) -> Iterator[Any]:
    """What `function` gives for the arguments of each task, in their order.

    One process a processor if `workers` is not given; on a GPU one, since they would share it.

    >>> list(side_by_side(pow, [(2, 3), (3, 2)], workers=1))
    [8, 9]

    Errors: RecipeError for no worker; whatever `function` raises; WorkerDiedError if a process
    died twice.
    """
    if workers is not None and workers < 1:
        raise RecipeError(f"--workers {workers}: expected 1 at least, or none for one a processor")
    on_gpu = Machine.here().device != "cpu"
    count = workers or (1 if on_gpu else os.cpu_count() or 1)
    with Path(os.devnull).open("rb") as nothing, ThreadPoolExecutor(count) as threads:
        pool = Pool(count, nothing.fileno(), DEADLINE)
        waiting: deque[Future[Any]] = deque()
        try:
            for task in tasks:
                waiting.append(threads.submit(pool.call, function, *task))
                if len(waiting) == count * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.close()
            threads.shutdown(cancel_futures=True)
