"""How far a step is and how fast, as it is told while a run goes on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from cleanpipe.store import Record


class Tell(Protocol):
    """What is told of how far a step is."""

    def __call__(self, step: str, done: int, total: int, note: str = "", /) -> None:
        """The step's name, how many are done, of how many, and how fast."""


@dataclass
class Pace:
    """Documents and text a second of one step, from what its tasks give: `rows`, `bytes`.

    >>> Pace(kept=0.5).after({})
    ''
    """

    kept: float | None = None
    """The share of the documents that is written, where that is known."""
    rows: int = 0
    size: int = 0
    started: float = field(default_factory=time.monotonic)

    def after(self, done: Record) -> str:
        """What to tell when one more task is done; nothing of tasks that count no documents."""
        self.rows += done.get("rows", 0)
        self.size += done.get("bytes", 0)
        seconds = time.monotonic() - self.started
        if not self.rows or not seconds:
            return ""
        told = [f"{self.rows / seconds:,.0f} docs/s"]
        told += [f"{self.size / seconds / 1e6:,.1f} MB/s"] if self.size else []
        told += [] if self.kept is None else [f"{self.kept:.1%} kept"]
        return ", ".join(told)


def silent(step: str, done: int, total: int, note: str = "", /) -> None:
    """Tell nobody."""


def timed(map_: Callable[..., Any], seconds: dict[str, float]) -> Callable[..., Any]:
    """A `map` of another's whose passes leave their seconds here, by their names.

    >>> taken = {}
    >>> timed(lambda name, step, numbers: [step(n) for n in numbers], taken)("double", abs, [-1])
    [1]
    >>> list(taken)
    ['double']
    """

    def passing(name: str, step: Any, numbers: Any) -> Any:
        started = time.monotonic()
        results = map_(name, step, numbers)
        seconds[name] = time.monotonic() - started
        return results

    return passing
