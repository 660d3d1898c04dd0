"""The local engine: a pool of spawned processes that a crash or a hang costs one block only.

Processes are spawned, never forked: Polars, Arrow and numba hold threads and locks that a fork
would copy in an unknown state. Pebble replaces a worker that died or overran its deadline, where
concurrent.futures loses every task that follows.
"""

import multiprocessing
import multiprocessing.reduction
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

import pebble
import pyarrow as pa
from pebble import ProcessExpired

from cleanpipe.errors import CleanpipeError, WorkerDiedError

DEADLINE = 600.0  # seconds for one block of 32 MB: at least 50 times what the slowest one took
LEAST_DEADLINE = 30.0
"""Seconds for a single document of 32 MB, ten times what the slowest took."""
ATTEMPTS = 2
RENEWALS = 8
"""How often a call may lose its pool through no fault of its own."""
POLL = 1.0
STARTING = 5.0  # seconds; a worker is up in one
PARENT_IS_GONE = 70


class _LostError(Exception):
    """The pool was given up while it held a call."""


class Inherited:
    """A file descriptor that a spawned process gets a duplicate of."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _received, (multiprocessing.reduction.DupFd(self.descriptor),)


def _received(duplicate: Any) -> Inherited:
    return Inherited(duplicate.detach())


def _start_worker(parent: Connection, lock: Inherited, started: Connection) -> None:
    """Say so; keep the lock open, and leave as soon as the parent's end of the pipe closes."""

    def watch() -> None:
        try:
            parent.recv_bytes()
        except (EOFError, OSError):
            os._exit(PARENT_IS_GONE)

    started.send_bytes(b"s")
    pa.set_cpu_count(1)  # as many processes as processors: threads in them only get in the way
    _held.append(lock)
    threading.Thread(target=watch, daemon=True).start()


_held: list[Inherited] = []


class Pool:
    """Workers for one run; many threads may call it at once."""

    def __init__(self, workers: int, lock: int, deadline: float | None = None) -> None:
        self.workers = workers
        self.deadline = deadline or DEADLINE
        reader, self._writer = multiprocessing.Pipe(duplex=False)
        # read when a worker imports Polars, long before it gets a task
        os.environ["POLARS_MAX_THREADS"] = "1"
        self._reader, self._lock = reader, Inherited(lock)
        self._started, self._says_so = multiprocessing.Pipe(duplex=False)
        self._called = False
        self._renewing = threading.Lock()
        self._closed = False
        self._pool = self._start()

    def _start(self) -> pebble.ProcessPool:
        return pebble.ProcessPool(
            max_workers=self.workers,
            initializer=_start_worker,
            initargs=(self._reader, self._lock, self._says_so),
            context=multiprocessing.get_context("spawn"),
        )

    def _renew(self, broken: pebble.ProcessPool) -> None:
        """Start anew: Pebble gives up a pool of which a worker dies while none has a task."""
        with self._renewing:
            if self._pool is broken and not self._closed:
                broken.stop()  # type: ignore[no-untyped-call]
                broken.join()
                self._pool = self._start()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one call in a worker and wait for it; a crash is tried once more, a hang is not."""
        failures: list[BaseException] = []
        for _ in range(ATTEMPTS + RENEWALS):
            pool = self._pool
            self._called = True
            try:
                future = pool.schedule(function, args=arguments, timeout=self.deadline)
                return self._result(future, pool)
            except (ProcessExpired, FutureTimeoutError) as error:
                failures.append(error)
                if len(failures) == ATTEMPTS or isinstance(error, FutureTimeoutError):
                    break
            except _LostError:
                self._renew(pool)
            except RuntimeError:
                if self._closed or pool.active:
                    raise
                self._renew(pool)
        cause = failures[-1] if failures else None
        raise WorkerDiedError(_what_happened(function, arguments, failures)) from cause

    def fails(self, share: float, function: Callable[..., Any], *arguments: Any) -> str | None:
        """Run one call once, with a share of the deadline; None, or how its worker ended."""
        while True:
            pool = self._pool
            self._called = True
            try:
                future = pool.schedule(
                    function, args=arguments, timeout=max(LEAST_DEADLINE, share * self.deadline)
                )
                self._result(future, pool)
            except (ProcessExpired, FutureTimeoutError) as error:
                return _how(error)
            except _LostError:
                self._renew(pool)
            else:
                return None

    def _result(self, future: Future[Any], pool: pebble.ProcessPool) -> Any:
        """Wait for a call; Pebble leaves calls of a pool that broke or was stopped unanswered."""
        deadline = time.monotonic() + 2 * self.deadline
        while not wait([future], timeout=POLL).done:
            if self._closed:
                raise CleanpipeError("the run was stopped; run again to go on where it was")
            if pool is not self._pool or not pool.active or time.monotonic() > deadline:
                raise _LostError
        try:
            return future.result()
        except (BrokenProcessPool, CancelledError):
            raise _LostError from None

    def _wait_for_starts(self) -> None:
        """Let workers that are just starting come up, for a moment.

        What they inherit is gone with the pool, and each would say so in a traceback.
        """
        deadline = time.monotonic() + STARTING
        for _ in range(self.workers if self._called else 0):
            if self._started.poll(max(0.0, deadline - time.monotonic())):
                self._started.recv_bytes()

    def close(self) -> None:
        """End the workers: at once, since what they did is on disk or not at all."""
        if self._closed:
            return
        self._closed = True
        self._wait_for_starts()
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()
        for end in (self._writer, self._reader, self._says_so, self._started):
            end.close()


def _what_happened(
    function: Callable[..., Any], arguments: tuple[Any, ...], errors: Sequence[BaseException]
) -> str:
    if not errors:
        return (
            "no worker could be started. In a script, call cleanpipe.run under "
            'if __name__ == "__main__": since workers import the script that started them'
        )
    return (
        f"a worker {_how(errors[-1])} in {function.__name__} of {_shortly(arguments)}"
        f"{', twice' if len(errors) > 1 else ''}. What it was reading may be hostile, or memory "
        "ran out; run again with --workers 1 to see"
    )


def _how(error: BaseException) -> str:
    return "took too long, and was ended" if isinstance(error, TimeoutError) else f"died: {error}"


def _shortly(arguments: tuple[Any, ...]) -> str:
    """The arguments that name a piece of work: numbers, blocks, shards; no tables."""
    shown = [repr(value) for value in arguments]
    return ", ".join(text if len(text) < 200 else f"{text[:200]}..." for text in shown)
