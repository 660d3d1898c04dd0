"""Documents that end the process which measures them: found by halving, named, left out.

A user's function or model may hang on one text, or take its process with it; a library below us
may have a fault that one text in a billion finds. Such a block is measured again in halves, each
in a worker of its own, down to the documents that do it: these go to quarantine, and the block
goes on without them. A worker that died while none of its documents is to blame alone (memory ran
out, somebody killed it) stays an error, as before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from cleanpipe import store
from cleanpipe.errors import WorkerDiedError
from cleanpipe.input import readers
from cleanpipe.input.batch import Batch
from cleanpipe.input.corpus import Block, Shard
from cleanpipe.measures.measure import documents, measure_block
from cleanpipe.measures.poison import Poison
from cleanpipe.recipes.recipe import Recipe

MOST = 20
"""Documents of one block; where more end their process, it is the function that wants mending."""


class Workers(Protocol):
    """What is needed of a pool."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one call in a worker; WorkerDiedError where the worker dies of it, twice."""

    def fails(self, share: float, function: Callable[..., Any], *arguments: Any) -> str | None:
        """Run one call once, with a share of the deadline: None, or how the worker ended."""


@dataclass(frozen=True)
class Task:
    """A block to measure, and what it takes."""

    folder: Path
    recipe: Recipe
    seed: int
    block: Block
    shards: tuple[Shard, ...]


def measure(pool: Workers, task: Task, tell: Callable[[str], None]) -> store.Record:
    """The receipt of a block, measured without the documents that end their worker.

    Raises WorkerDiedError where no document by itself is to blame, or more than `MOST` are.
    """
    try:
        return _measured(pool, task)
    except WorkerDiedError as error:
        tell(f"a worker ended in block {task.block.number}: looking for the document, by halving")
        found = _search(pool, task, error)
        if not found:
            raise
        return _measured(pool, task, found)


def _measured(pool: Workers, task: Task, found: tuple[Poison, ...] = ()) -> store.Record:
    given = (task.folder, task.recipe, task.seed, task.block, task.shards)
    receipt: store.Record = pool.call(measure_block, *given, found)
    return receipt


def _search(pool: Workers, task: Task, error: WorkerDiedError) -> tuple[Poison, ...]:
    places: list[tuple[int, int]] = pool.call(places_of, task)
    found: list[Poison] = []
    waiting = _halves(0, len(places))  # of the whole block it is known
    while waiting:
        first, last = waiting.pop()
        how = pool.fails((last - first) / len(places), attempt, task, first, last)
        if how is None:
            continue
        if last - first > 1:
            waiting += _halves(first, last)
            continue
        found.append(Poison(*places[first], how))
        if len(found) > MOST:
            raise WorkerDiedError(
                f"more than {MOST} documents of block {task.block.number} end the worker that "
                f"measures them, {task.shards[found[0].shard].name} row {found[0].row} among them "
                f"({how}): mend or leave out what the recipe's `measure` adds, and run again"
            ) from error
    return tuple(found)


def _halves(first: int, last: int) -> list[tuple[int, int]]:
    middle = (first + last + 1) // 2
    return [(low, high) for low, high in ((middle, last), (first, middle)) if low < high]


def places_of(task: Task) -> list[tuple[int, int]]:
    """The shard and row of each document of a block, as it is read; nothing is measured."""
    return [(batch.shard, int(row)) for batch in _batches(task) for row in batch.rows]


def attempt(task: Task, first: int, last: int) -> None:
    """Measure some documents of a block, counted as `places_of` has them, for nothing."""
    begun = 0
    for batch in _batches(task):
        low, high = max(first - begun, 0), min(last - begun, len(batch.rows))
        if low < high:
            some = slice(low, high)
            part = replace(
                batch,
                table=batch.table.slice(low, high - low),
                texts=batch.texts.slice(low, high - low),
                rows=batch.rows[some],
                quarantined=(),
            )
            documents(part, task.shards[batch.shard], task.recipe, task.seed)
        begun += len(batch.rows)


def _batches(task: Task) -> Iterator[Batch]:
    for span in task.block.spans:
        shard = task.shards[span.shard]
        yield from readers.read(span, shard, task.recipe.input[shard.input])
