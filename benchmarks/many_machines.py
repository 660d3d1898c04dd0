"""What a run costs by document, block and pass, and what a cluster adds: for docs/many-machines.md.

    .venv/bin/python benchmarks/many_machines.py RECIPE CORPUS [--machines dask:ADDRESS]

The corpus is cleaned once by one worker: a row a kind of call, in seconds of a processor, with its
arguments' bytes as they are sent, and a row for what the deciding process does between calls. With
`--machines`, a thousand empty calls, one by one and from 32 threads, say what a call costs.
"""

import argparse
import pickle
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cleanpipe.machines import machines
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, compile_for, open_work

CALLS = 1000
THREADS = 32


def measured(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float]:
    """A call's result, and the processor's seconds that it took."""
    started = time.process_time()
    return function(*arguments), time.process_time() - started


class Timed:
    """A pool that keeps the time of its calls."""

    def __init__(self, pool: machines.Calls) -> None:
        self.pool, self.workers = pool, 1
        self.calls: dict[str, list[tuple[float, int]]] = defaultdict(list)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        sent = len(pickle.dumps(arguments))
        result, seconds = self.pool.call(measured, function, arguments)
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self.calls[name].append((seconds, sent))
        return result

    def fails(self, share: float, function: Callable[..., Any], *arguments: Any) -> str | None:
        return self.pool.fails(share, function, *arguments)

    def close(self) -> None:
        self.pool.close()


class Seen(Work):
    """A run that says what it has on the disk before it is published and its scratch goes."""

    def publish(self) -> Any:
        self.sizes = dict(folders(self.folder))
        return super().publish()


def costs(recipe: Recipe) -> None:
    """Clean once, and print Markdown tables of what each kind of call took, and what it left."""
    begun: list[Timed] = []

    def begin(known: Recipe, pool: machines.Calls, tell: Any) -> Work:
        begun.append(Timed(pool))
        pool.call(compile_for, known, print)  # the first call pays for a worker's start
        return Seen(known, begun[0], tell)

    with open_work(recipe, workers=1, begin=begin) as work:
        started = time.process_time()
        run = all_steps(work)
        rest = time.process_time() - started
    documents, blocks = run.stats["documents"]["read"], len(work.blocks)
    size = sum(span.text_bytes for block in work.blocks for span in block.spans)
    print(f"{documents:,} documents, {blocks} blocks, {size / 1e6:,.0f} MB of text\n")
    print(
        "| call | calls | s | us a document | s a block | bytes sent |\n|---|--:|--:|--:|--:|--:|"
    )
    calls = {
        name: (len(found), sum(one for one, _ in found), sum(sent for _, sent in found))
        for name, found in begun[0].calls.items()
    }
    for name, (count, seconds, sent) in {**calls, "the deciding process": (1, rest, 0)}.items():
        each = f"{1e6 * seconds / documents:.1f} | {seconds / blocks:.3f} | {sent // count:,}"
        print(f"| {name} | {count} | {seconds:.2f} | {each} |")
    print("\n| folder | files | bytes a document |\n|---|--:|--:|")
    for name, (files, held) in work.sizes.items():  # type: ignore[attr-defined]
        print(f"| {name} | {files} | {held / documents:.1f} |")


def folders(run: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """How many files each folder of a run holds, and how many bytes."""
    data = run.parents[2] / "data" / run.name
    for folder in [*sorted(path for path in run.iterdir() if path.is_dir()), data]:
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        yield "data" if folder == data else folder.name, (len(sizes), sum(sizes))


def overhead(recipe: Recipe) -> None:
    """What an empty call costs, one after another and from many threads."""
    (Path(recipe.output.path) / "_cleanpipe").mkdir(parents=True, exist_ok=True)
    cluster = machines.connect(recipe, compile_for)
    if cluster is None:
        raise SystemExit("--machines names no cluster")
    try:
        cluster.call(max, 1, 2)
        for threads in (1, THREADS):
            started, own = time.perf_counter(), time.process_time()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda number: cluster.call(max, number, 0), range(CALLS)))
            each = 1000 * (time.perf_counter() - started) / CALLS
            here = 1000 * (time.process_time() - own) / CALLS
            print(f"{threads} threads: {each:.2f} ms an empty call, {here:.2f} ms of it here")
    finally:
        cluster.close()


@contextmanager
def emptied() -> Iterator[Path]:
    """A folder for one run."""
    folder = Path(tempfile.mkdtemp(prefix="cleanpipe-machines-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("recipe", type=Path)
    given.add_argument("corpus")
    given.add_argument("--machines", default="")
    asked = given.parse_args()
    with emptied() as folder:
        known = load(asked.recipe, input=asked.corpus, output=str(folder))
        if asked.machines:
            overhead(known.model_copy(update={"machines": asked.machines}))
        else:
            costs(known)
