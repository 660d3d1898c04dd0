"""Near-deduplication of many millions of documents, with signatures made up and clusters known.

    .venv/bin/python benchmarks/simulate_dedup.py [--documents 1000000] [--memory 4GB]

A fifth of the documents belong to clusters, whose sizes follow Zipf's law up to a hundredth of the
corpus. A member shares some bands with its cluster's first document, and nineteen of twenty
shingles. Ten templates put a thousandth of the corpus each into one bucket of documents that are
not alike. The tables of pass 1 and the candidates' shingles come from a generator in place of
texts; all between, from the tables to every document's fate and the books of dedup, is what a run
does, by the same functions in two processes. Says the seconds of each step, the peak of memory over
all processes, the disk used, and whether the clusters found are those that were made.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ByteSize, TypeAdapter

from cleanpipe.decide import NOBODY, Decisions
from cleanpipe.documents import Documents
from cleanpipe.duplicates import compare, deduplicate
from cleanpipe.input.corpus import Block
from cleanpipe.kernels.hashing import mix_arrays
from cleanpipe.measures.measure import band_name, block_name
from cleanpipe.recipes.recipe import Recipe

BANDS, WORKERS, BLOCK, SHINGLES = 16, 2, 500_000, 20


def make_clusters(documents: int, folder: Path) -> None:
    """Save the cluster of each document: its first document's number, or its own."""
    chance = np.random.default_rng(0)
    wanted, sizes = documents // 5, []
    while wanted > 0:
        drawn = np.minimum(chance.zipf(1.7, 100_000) + 1, max(2, documents // 100))
        drawn = drawn[: np.searchsorted(np.cumsum(drawn), wanted) + 1]
        sizes.append(drawn)
        wanted -= int(drawn.sum())
    size = np.concatenate(sizes)
    members = chance.permutation(documents).astype(np.int32)[: size.sum()]
    starts = np.concatenate([[0], np.cumsum(size)[:-1]])
    first = np.minimum.reduceat(members, starts)
    cluster = np.arange(documents, dtype=np.int32)
    cluster[members] = np.repeat(first, size)
    np.save(folder / "cluster.npy", cluster)


def make_block(number: int, folder: Path) -> None:
    """The table that pass 1 would leave of one block of documents."""
    cluster = np.load(folder / "cluster.npy", mmap_mode="r")
    first = number * BLOCK
    own = np.arange(first, min(first + BLOCK, len(cluster)), dtype=np.uint64)
    base = np.array(cluster[first : first + BLOCK], dtype=np.uint64)
    draws = mix_arrays(own, np.full(len(own), 7, np.uint64))
    surely = draws % np.uint64(BANDS)
    template = (draws >> np.uint64(32)) % np.uint64(1000)  # ten of a thousand, in band 0
    columns = {
        "shard": np.zeros(len(own), np.uint32),
        "row": own,
        "id": pl.Series(own).cast(pl.String).to_arrow(),
        "has_id": np.ones(len(own), np.bool_),
        "early": pa.nulls(len(own), pa.large_string()),
        "given": own,
        "text_lo": draws,
        "text_hi": draws,
        "words": np.full(len(own), SHINGLES),
        # the first of a cluster is its best document
        "chars": 1000 - (own != base).astype(np.int64),
        "replacement_chars": np.zeros(len(own), np.int64),
    }
    for band in range(BANDS):
        label = np.full(len(own), band + 100, np.uint64)
        same = (mix_arrays(own, label) & np.uint64(1023)) < 440  # 0.9 ** 8 = 0.43
        source = np.where(same | (surely == band) | (own == base), base, own + np.uint64(1 << 40))
        if band == 0:
            crowd = (template < 10) & (own == base)
            source = np.where(crowd, template + np.uint64(1 << 50), source)
        columns[band_name(band)] = mix_arrays(source, label)
    path = folder / "measures" / f"{block_name(number)}.parquet"
    pq.write_table(pa.table(columns), path, compression="lz4", row_group_size=65_536)


def make_sets(
    documents: Documents, _recipe: object, block: Block, _shards: object, rows: np.ndarray
) -> None:
    """In place of `compare.compare_block`: a cluster's shingles, one of them changed."""
    cluster = np.load(documents.folder / "cluster.npy", mmap_mode="r")
    base = np.array(cluster[rows], dtype=np.uint64)
    shingles = np.empty((len(rows), SHINGLES), np.uint64)
    for k in range(SHINGLES):
        shingles[:, k] = mix_arrays(base, np.full(len(rows), 1000 + k, np.uint64))
    other = rows != cluster[rows]
    place = rows[other] % SHINGLES
    shingles[other, place] = mix_arrays(rows[other].astype(np.uint64), place.astype(np.uint64))
    shingles.sort(axis=1)
    offsets = np.arange(0, shingles.size + 1, SHINGLES)
    keep = ("replacement_chars", "chars", "id")
    compare.save(documents, block.number, rows, offsets, shingles.ravel(), keep)


def tell(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Peak:
    """The most memory that this process and its children took together, sampled."""

    def __init__(self) -> None:
        self.megabytes = 0.0
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while True:
            time.sleep(0.2)
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            total = 0.0
            for process in [str(os.getpid()), *children]:
                try:
                    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
                except OSError:
                    continue
                # mapped files are the page cache's and can be dropped; what is anonymous cannot
                kinds = ("Pss_Anon", "Pss_Shmem")
                total += sum(int(x.split()[1]) for x in lines if x.startswith(kinds))
            self.megabytes = max(self.megabytes, total / 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    memory = TypeAdapter(ByteSize).validate_python(given.memory)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        (folder / "measures").mkdir()
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(WORKERS, spawn) as pool:
            pool.submit(make_clusters, given.documents, folder).result()
            blocks = range(-(-given.documents // BLOCK))
            list(pool.map(make_block, blocks, [folder] * len(blocks)))
        simulate(given.documents, memory, folder, spawn)


def simulate(count: int, memory: int, folder: Path, spawn: BaseContext) -> None:
    recipe = Recipe.model_validate(
        {"input": {"path": "in"}, "output": {"path": "out"}, "dedup": {}, "memory": memory}
    )
    starts = [*range(0, count, BLOCK), count]
    receipts = [
        {"block": n, "rows": stop - start} for n, (start, stop) in enumerate(pairwise(starts))
    ]
    peak, started = Peak(), time.monotonic()

    def say(step: str, since: float) -> None:
        seconds = time.monotonic() - since
        tell(f"{step:<24}{seconds:8.1f} s   peak {peak.megabytes:8,.0f} MB")

    documents = Documents.of(folder, recipe, 1, receipts, pa.schema([]), ())
    decisions = Decisions(recipe, documents)
    say("load", started)
    with ProcessPoolExecutor(WORKERS, spawn) as pool, ThreadPoolExecutor(WORKERS) as threads:

        def call(function: Callable[..., Any], *arguments: Any) -> Any:
            stand_in = make_sets if function is compare.compare_block else function
            return pool.submit(stand_in, *arguments).result()

        def over(name: str, step: Callable[[int], Any], numbers: Sequence[int]) -> list[Any]:
            since = time.monotonic()
            found = list(threads.map(step, numbers))
            say(f"{name} ({len(numbers)})", since)
            return found

        blocks = [Block(receipt["block"], ()) for receipt in receipts]
        done = deduplicate.Deduplication(decisions, blocks, (), call, over)
        result = done.run()
    seconds = time.monotonic() - started
    check(decisions, folder, result)
    disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9
    tables = sum(path.stat().st_size for path in (folder / "measures").iterdir()) / 1e9
    tell(
        f"{count:,} documents in {seconds:.1f} s, {disk:.1f} GB of disk ({tables:.1f} GB of tables "
        f"of pass 1), peak {peak.megabytes:,.0f} MB; {done.counts}"
    )


def check(decisions: Decisions, folder: Path, result: dict[str, int]) -> None:
    """Say how many members of clusters gave way, and how many to another cluster."""
    cluster = np.load(folder / "cluster.npy", mmap_mode="r")
    gone = np.flatnonzero(decisions.duplicate_of != NOBODY)
    wrong = int((cluster[decisions.duplicate_of[gone]] != cluster[gone]).sum())
    members = int((cluster != np.arange(len(cluster))).sum())
    tell(f"{result['dropped']:,} of {members:,} members found, {wrong} wrongly")


if __name__ == "__main__":
    main()
