"""The local engine: a pool of spawned processes that a crash or a hang costs one block only.

Processes are spawned, never forked: Polars, Arrow and numba hold threads and locks that a fork
would copy in an unknown state. Pebble replaces a worker that died or overran its deadline, where
concurrent.futures loses every task that follows.
"""

import multiprocessing
import multiprocessing.reduction
import os
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from multiprocessing.connection import Connection
from typing import Any

import pebble
import pyarrow as pa
from pebble import ProcessExpired

from cleanpipe.errors import CleanpipeError

DEADLINE = 600.0  # seconds for one block of 32 MB: at least 50 times what the slowest one took
ATTEMPTS = 2
PARENT_IS_GONE = 70


class Inherited:
    """A file descriptor that a spawned process gets a duplicate of."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _received, (multiprocessing.reduction.DupFd(self.descriptor),)


def _received(duplicate: Any) -> Inherited:
    return Inherited(duplicate.detach())


def _start_worker(parent: Connection, lock: Inherited) -> None:
    """Keep the lock open, and leave as soon as the parent's end of the pipe closes."""

    def watch() -> None:
        try:
            parent.recv_bytes()
        except (EOFError, OSError):
            os._exit(PARENT_IS_GONE)

    pa.set_cpu_count(1)  # as many processes as processors: threads in them only get in the way
    _held.append(lock)
    threading.Thread(target=watch, daemon=True).start()


_held: list[Inherited] = []


class Pool:
    """Workers for one run; many threads may call it at once."""

    def __init__(self, workers: int, lock: int) -> None:
        self.workers = workers
        reader, self._writer = multiprocessing.Pipe(duplex=False)
        # read when a worker imports Polars, long before it gets a task
        os.environ["POLARS_MAX_THREADS"] = "1"
        self._pool = pebble.ProcessPool(
            max_workers=workers,
            initializer=_start_worker,
            initargs=(reader, Inherited(lock)),
            context=multiprocessing.get_context("spawn"),
        )
        self._reader = reader

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one call in a worker and wait for it; a crash or hang is tried once more."""
        for attempt in range(1, ATTEMPTS + 1):
            future = self._pool.schedule(function, args=arguments, timeout=DEADLINE)
            try:
                return future.result()
            except (ProcessExpired, FutureTimeoutError) as error:
                if attempt == ATTEMPTS:
                    raise CleanpipeError(_what_happened(function, arguments, error)) from error
        raise AssertionError

    def close(self) -> None:
        """End the workers: at once, since what they did is on disk or not at all."""
        self._pool.stop()
        self._pool.join()
        self._writer.close()
        self._reader.close()


def _what_happened(
    function: Callable[..., Any], arguments: tuple[Any, ...], error: BaseException
) -> str:
    how = "took longer than 10 minutes" if isinstance(error, TimeoutError) else f"died: {error}"
    return (
        f"a worker {how} in {function.__name__}{arguments!r}, {ATTEMPTS} times. The input it was "
        "reading may be hostile, or memory ran out; run again with --workers 1 to see"
    )
