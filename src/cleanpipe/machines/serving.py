"""What a machine of a cluster does for a run: its calls, in a pool of processes of its own.

So a crash or a hang costs a machine one block, as it does where there is only one machine. Who may
write into an output folder is held by a file in it, `_cleanpipe/machines`: the newest run writes
its token there, and every machine keeps a shared lock on it while it serves. A run begins only when
nobody serves an earlier one any more, and a machine that comes late finds another token and leaves.
"""

import fcntl
import multiprocessing
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cleanpipe import identity
from cleanpipe.errors import CleanpipeError, LockedError
from cleanpipe.pool import DEADLINE, Pool
from cleanpipe.recipes.recipe import Recipe

POLL = 0.05  # seconds
Prepare = Callable[[Recipe, Callable[[str], None]], None]
"""What a machine does once before its first call: compile what the recipe needs."""


@dataclass(frozen=True)
class Ticket:
    """What a call says of the run that it belongs to."""

    fence: str
    """The path of `_cleanpipe/machines`, the same on every machine."""
    token: str
    recipe: Recipe
    prepare: Prepare


@dataclass(frozen=True)
class Call:
    """What a machine is asked for: `Pool.call`, or `Pool.fails` with a share of the deadline."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    share: float | None = None


@dataclass
class Service:
    """The processes that a machine keeps for a run."""

    token: str
    pool: Pool
    lock: int

    def close(self) -> None:
        """End them, and let the fence go."""
        self.pool.close()
        os.close(self.lock)


_services: dict[str, Service] = {}
_beginning = threading.Lock()


def serve(ticket: Ticket, width: int, call: Call) -> Any:
    """Run one call of a run in one of `width` processes of this machine, and wait for it."""
    with _beginning:
        service = _services.get(ticket.fence)
        if service is None or service.token != ticket.token:
            leave(ticket.fence)
            service = _services[ticket.fence] = _begin(ticket, width)
    if call.share is None:
        return service.pool.call(call.function, *call.arguments)
    return service.pool.fails(call.share, call.function, *call.arguments)


def _begin(ticket: Ticket, width: int) -> Service:
    lock = _share(ticket)
    pool = Pool(width, lock)
    try:
        pool.call(
            ticket.prepare, ticket.recipe, _unheard
        )  # one process compiles, the others find it done
    except BaseException:
        pool.close()
        os.close(lock)
        raise
    return Service(ticket.token, pool, lock)


def _unheard(_: str) -> None:
    """Where compiling says what it does: nobody sits at this machine."""


def _share(ticket: Ticket) -> int:
    """A shared lock on the fence, as long as it stands for this run."""
    lock = os.open(ticket.fence, os.O_RDWR)
    try:
        _lock(lock, fcntl.LOCK_SH, DEADLINE)
        if os.pread(lock, 100, 0).decode() == ticket.token:
            return lock
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    raise CleanpipeError("another run has begun in this output folder: this one is over")


def _lock(descriptor: int, kind: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL)
        else:
            return


def leave(fence: str) -> None:
    """End the processes of whatever run this machine serves in that output folder."""
    service = _services.pop(fence, None)
    if service is not None:
        service.close()


def take_over(fence: Path, patience: float) -> str:
    """Wait until no machine serves an earlier run, and give the token of the new one."""
    descriptor = os.open(fence, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, fcntl.LOCK_EX, patience)
        token = secrets.token_hex(8)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, token.encode(), 0)
        os.fsync(descriptor)
    except BlockingIOError:
        raise LockedError(
            f"{fence.parents[1]} is still being written by a machine that served an earlier run; "
            "end its worker, or wait for it to end, and run again"
        ) from None
    finally:
        os.close(descriptor)
    return token


def introduce(ticket: Ticket) -> dict[str, Any]:
    """What a machine is, so that a run may refuse it before anything is done."""
    try:
        seen = Path(ticket.fence).read_text(encoding="ascii") == ticket.token
    except OSError:
        seen = False
    return {
        "machine": socket.gethostname(),
        "versions": identity.versions(ticket.recipe.measure.packages()),
        "sees": seen,
        "daemon": multiprocessing.current_process().daemon,
    }


def refuse_unfit(ticket: Ticket, machines: list[dict[str, Any]]) -> None:
    """Raise CleanpipeError for a machine that would write other bytes, or none."""
    here = identity.versions(ticket.recipe.measure.packages())
    output = Path(ticket.fence).parents[1]
    for machine in machines:
        name = machine["machine"]
        other = {k: v for k, v in machine["versions"].items() if here.get(k) != v}
        if other:
            said = ", ".join(f"{k} {v} (here {here.get(k)})" for k, v in sorted(other.items()))
            raise CleanpipeError(
                f"machine {name} has {said}: the output could differ by who wrote it; install the "
                "same versions everywhere"
            )
        if not machine["sees"]:
            raise CleanpipeError(
                f"machine {name} does not see {output}: mount the same folder under the same path "
                "on every machine"
            )
        if machine["daemon"]:
            raise CleanpipeError(
                f"the worker on machine {name} may start no processes: start it with --no-nanny, "
                "since cleanpipe brings processes of its own that it restarts"
            )
