"""Is an output folder in order? What was published when, and how the newest run came out.

For schedulers and for people at night: only small files are read, and nothing is written. Whether
the published files are still whole is another question, which `verify` answers.
"""

import fcntl
import re
import time
from dataclasses import dataclass
from pathlib import Path

from cleanpipe import identity, store
from cleanpipe.errors import RecipeError
from cleanpipe.rules import gates

AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
CONFIRMED = "confirmed.json"
"""Names the run that a later night found to be what it would have given itself."""


@dataclass(frozen=True)
class Status:
    """What is known of an output folder, and what is wrong with it."""

    output: Path
    run: str | None
    """The published run's number."""
    age: float | None
    """Seconds since it was published, or since a night found nothing new."""
    under_way: bool
    """Whether a run holds the folder's lock now."""
    faults: tuple[str, ...]
    """A sentence for each thing that somebody should look at; none is a clean bill."""
    stats: tuple[Path, ...]
    """stats.json of every run that was published, oldest first."""


def status_of(output: Path, max_age: str | None = None) -> Status:
    """Look at an output folder; `max_age`, such as 26h, is how old its publication may be.

    Publication is when HEAD.json was written: a copy of the folder that did not keep the times of
    files counts as published when it was copied.

    Errors: RecipeError where `max_age` is no length of time.
    """
    allowed = None if max_age is None else seconds(max_age)
    control = output / "_cleanpipe"
    known = store.manifests(control)
    run = known[-1]["run"] if known else None
    age = None if run is None else _age(control, run)
    under_way = is_locked(control / "lock")
    faults = [] if under_way else _unfinished(control)
    if age is None:
        faults.append(
            f"{output} holds no published run: there is no _cleanpipe/HEAD.json. If this is the "
            "right folder, its first run is still to come, or has failed"
        )
    elif allowed is not None and age > allowed:
        faults.append(
            f"run {run} was published or confirmed {told(age)} ago, and {max_age} is allowed. Look "
            "whether the scheduler started a run, and how that one ended"
        )
    stats = tuple(control / "runs" / manifest["run"] / "stats.json" for manifest in known)
    return Status(output, run, age, under_way, tuple(faults), stats)


def _age(control: Path, run: str) -> float:
    """Seconds since the run was published or confirmed, whichever was later."""
    files = [control / "HEAD.json"]
    confirmed = control / CONFIRMED
    if confirmed.exists() and store.read_json(confirmed)["run"] == run:
        files.append(confirmed)
    return max(time.time() - max(file.stat().st_mtime for file in files), 0.0)


def _unfinished(control: Path) -> list[str]:
    """What is to be said of the newest run, if it was not published and nobody works on it."""
    numbers = sorted(path.name for path in (control / "runs").glob("[0-9]*"))
    if not numbers or numbers[-1] in identity.ever_published(control):
        return []
    folder = control / "runs" / numbers[-1]
    if (folder / "stats.json").exists():
        failed = gates.failures(store.read_json(folder / "stats.json")["gates"])
        if failed:
            said = "; gate ".join(failed)
            report = folder / "report.html"
            return [f"run {folder.name} was not published: gate {said}. Look at {report}"]
    fault = (
        f"run {folder.name} stopped before it was published. Run again: it goes on where it was, "
        "and what is published stays until then"
    )
    return [fault]


def is_locked(path: Path) -> bool:
    """Whether a run holds this lock; taken and given back where nobody does."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def seconds(age: str) -> float:
    """A length of time, such as 90s, 15m, 26h or 1.5d, in seconds.

    >>> seconds("26h")
    93600.0
    """
    found = AGE.fullmatch(age)
    if found is None:
        raise RecipeError(f"--max-age {age}: expected a number and s, m, h or d, such as 26h")
    return float(found[1]) * SECONDS[found[2]]


def told(age: float) -> str:
    """A length of time for people, in the largest unit that it holds twice.

    >>> told(93_600), told(59), told(86_400 * 3)
    ('26 h', '59 s', '3 d')
    """
    unit = next((unit for unit in "dhm" if age >= 2 * SECONDS[unit]), "s")
    return f"{age / SECONDS[unit]:.3g} {unit}"
