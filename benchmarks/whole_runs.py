"""Whole runs on corpora, beside Polars' copy of the same files: seconds by pass, MB/s, memory.

    .venv/bin/python benchmarks/whole_runs.py RECIPE CORPUS [CORPUS ...]

A corpus is a folder of Parquet files, or of JSON lines. Each is cleaned once to warm the caches and
three times to count; the median is printed as a row of a Markdown table. Memory is the sum over
the run's processes (proportional set size: shared pages count once), sampled ten times a second.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

RUNS = 3
HEAD = (
    "| corpus | documents | text MB | kept | seconds | measure | decide | write | MB/s | peak MB "
    "| Polars' copy s | ratio |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def memory(process: int) -> float:
    """Megabytes of a process and all that it started."""
    total = 0.0
    waiting = [process]
    while waiting:
        one = waiting.pop()
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii").splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000
            children = Path(f"/proc/{one}/task/{one}/children").read_text(encoding="ascii").split()
        except (OSError, ProcessLookupError):
            continue
        waiting += map(int, children)
    return total


def clean(recipe: str, corpus: Path, pattern: str, output: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of one run in processes of its own."""
    shutil.rmtree(output, ignore_errors=True)
    command = [Path(sys.executable).with_name("cleanpipe"), "run", recipe]
    command += ["--input", corpus / pattern, "--output", output]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        run = subprocess.Popen(command, stdout=said, stderr=said)  # noqa: S603 - our own program
        peak = 0.0
        while run.poll() is None:
            peak = max(peak, memory(run.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        if run.returncode:
            said.seek(0)
            sys.exit(said.read().decode())
    return seconds, peak


def copy(corpus: Path, pattern: str) -> float:
    """Seconds in which Polars reads the corpus and writes it as Parquet with zstd 3."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for number, path in enumerate(sorted(corpus.glob(pattern))):
            frame = pl.read_parquet(path) if pattern.endswith("parquet") else pl.read_ndjson(path)
            frame.write_parquet(Path(folder) / f"{number}.parquet", compression_level=3)
        return time.perf_counter() - started


def row(recipe: str, corpus: Path) -> str:
    """One corpus as a row of the table."""
    pattern = "*.parquet" if any(corpus.glob("*.parquet")) else "*.jsonl"
    output = Path(tempfile.mkdtemp()) / "out"
    copies, runs = [], []
    for counted in range(RUNS + 1):
        copied = copy(corpus, pattern)
        seconds, peak = clean(recipe, corpus, pattern, output)
        if counted:
            folder = output / "_cleanpipe" / "runs" / "0001"
            passes = json.loads((folder / "timing.json").read_bytes())["seconds"]
            runs.append((seconds, peak, passes))
            copies.append(copied)
    seconds, peak, passes = sorted(runs, key=lambda one: one[0])[RUNS // 2]
    stats = json.loads((folder / "stats.json").read_bytes())
    size = stats["raw"]["bytes"] / 1e6
    decide = sum(passes[name] for name in ("filter", "dedup", "balance"))
    shutil.rmtree(output.parent)
    one = statistics.median(copies)
    return (
        f"| {corpus.name} ({pattern[2:]}) | {stats['documents']['read']:,} | {size:.1f} "
        f"| {stats['documents']['kept']:,} | {seconds:.1f} "
        f"| {passes['normalize and measure']:.1f} | {decide:.1f} "
        f"| {passes['augment and write']:.1f} "
        f"| {size / seconds:.1f} | {peak:.0f} | {one:.2f} | {seconds / one:.1f} |"
    )


if __name__ == "__main__":
    print(HEAD)
    for name in sys.argv[2:]:
        print(row(sys.argv[1], Path(name)), flush=True)
