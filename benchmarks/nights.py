"""A night against a large published corpus: seconds, memory and disk, with duplicates to verify.

Publishes `--documents` synthetic documents by a run over everything, then lets one night add a
hundredth of them, of which 5 % are copies or near-copies of published ones; the first night also
makes the index, so that a second one is what every later night costs.

    python benchmarks/nights.py --documents 1000000 --folder /tmp/nights
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

WORDS = 40
VOCABULARY = np.array([f"w{number}" for number in range(50_000)])
SHARD = 100_000
DUPLICATES = 20  # one document in so many is a duplicate, every other one of them a near-one


def texts(first: int, count: int) -> list[str]:
    """Texts that are similar to none of another number."""
    chosen = np.random.default_rng(first).integers(0, len(VOCABULARY), (count, WORDS))
    return [" ".join(row) for row in VOCABULARY[chosen]]


def deliver(folder: Path, documents: int) -> None:
    """The files of the published corpus."""
    for first in range(0, documents, SHARD):
        body = texts(first, min(SHARD, documents - first))
        ids = [f"{first + number}" for number in range(len(body))]
        pl.DataFrame({"id": ids, "text": body}).write_parquet(folder / f"{first:09d}.parquet")


def deliver_night(folder: Path, night: int, documents: int, count: int) -> int:
    """One night's file; how many of its documents are duplicates."""
    body = texts(-night % (1 << 40), count)
    chosen = np.arange(0, count, DUPLICATES)
    chance = np.random.default_rng(night)
    shard = int(chance.integers(0, -(-documents // SHARD))) * SHARD
    old = texts(shard, min(SHARD, documents - shard))
    for place, number in enumerate(chosen):
        text = old[int(chance.integers(0, len(old)))]
        body[number] = text.rpartition(" ")[0] if place % 2 else text
    ids = [f"night {night}, {number}" for number in range(count)]
    pl.DataFrame({"id": ids, "text": body}).write_parquet(folder / f"night-{night}.parquet")
    return len(chosen)


def clean(recipe: Path, *options: str) -> tuple[float, dict[str, object]]:
    """Run the command line; seconds and statistics."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "cleanpipe", "run", str(recipe), "--json", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - started, json.loads(done.stdout)["stats"]


def main() -> None:
    """Print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--nights", type=int, default=2)
    parser.add_argument("--folder", type=Path, required=True)
    asked = parser.parse_args()
    folder = asked.folder / "in"
    folder.mkdir(parents=True)
    recipe = asked.folder / "recipe.yaml"
    recipe.write_text(
        "version: 1\nseed: 7\ninput: {path: in/*.parquet}\nmeasure: {language: false}\n"
        "dedup: {}\noutput: {path: out}\n"
    )
    deliver(folder, asked.documents)
    seconds, _ = clean(recipe)
    print(f"everything: {asked.documents:,} documents in {seconds:.1f} s", flush=True)
    for night in range(1, asked.nights + 1):
        planted = deliver_night(folder, night, asked.documents, asked.documents // 100)
        seconds, stats = clean(recipe, "--incremental")
        found = stats["duplicates"]["earlier"]
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        out = asked.folder / "out"
        index = sum(path.stat().st_size for path in (out / "_cleanpipe" / "index").rglob("*.npy"))
        print(
            f"night {night}: {asked.documents // 100:,} documents in {seconds:.1f} s; "
            f"{found['exact'] + found['near']:,} of {planted:,} planted duplicates; "
            f"largest process of any run {peak:,.0f} MB; index {index / 1e6:,.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
