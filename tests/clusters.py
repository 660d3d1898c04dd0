"""A Dask cluster of real processes on this machine, and an end to each of them by its id."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

DASK = [sys.executable, "-m", "dask"]
PATIENCE = 60.0


@dataclass
class Cluster:
    """A scheduler and its workers."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        worker.send_signal(signal.SIGKILL)
        worker.wait()


@contextmanager
def dask_cluster(folder: Path, workers: int = 2, *options: str) -> Iterator[Cluster]:
    """A Dask scheduler and workers of one thread each, on loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "scheduler.json"
    known = {**os.environ, "DASK_DISTRIBUTED__ADMIN__LOG_FORMAT": "%(message)s"}
    quiet = {"stdout": subprocess.DEVNULL, "env": known, "cwd": folder}
    words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
    with (folder / "log").open("wb") as log:
        cluster = Cluster(
            f"dask:{address}",
            subprocess.Popen([*DASK, *words, "--scheduler-file", address], **quiet, stderr=log),
        )
        try:
            wait_for(address, cluster.scheduler)
            words = ["worker", "--scheduler-file", str(address), "--nthreads", "1", *options]
            words += ["--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(folder)]
            for _ in range(workers):
                started = subprocess.Popen([*DASK, *words, "--no-nanny"], **quiet, stderr=log)
                cluster.workers.append(started)
            yield cluster
        finally:
            for process in (*cluster.workers, cluster.scheduler):
                process.terminate()
            for process in (*cluster.workers, cluster.scheduler):
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Until a process has written a file."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.05)
