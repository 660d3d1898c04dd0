"""Near deduplication beside the peers: what each removes, misses and wrongly removes, how fast.

    python benchmarks/dedup_peers.py PEERS_PYTHON [--plot docs/dedup-peers.svg] CORPUS.jsonl.zst ...

PEERS_PYTHON is the Python of an environment with the peers (`make peers` makes it). Every program
is a process of its own, run by itself: seconds are of the whole process, from its start to its keep
list; memory is the largest sum over its processes (shared pages once). cleanpipe's run is a whole
run, which reads twice, writes the kept documents, verdicts, statistics and a report.

Truth is exact: all pairs of documents whose sets of 5-grams of words (casefolded, punctuation
dropped) have a Jaccard similarity of 0.8, by the program that the tests use. A removal is false if
no kept document is as similar as 0.8 to what was removed, and grossly false below 0.7, which
allows for the peers' own splitting into words. A pair is missed if both of it are kept.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from whole_runs import memory

import cleanpipe

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests"))
from similar_pairs import sets_of, similar_pairs  # noqa: E402 - of the tests

PEERS = ("datasketch", "rensa", "rensa-rho", "text-dedup", "datatrove")
OURS = "cleanpipe"
THRESHOLD, GROSS = 0.8, 0.7
HEAD = (
    "| program | removed | pairs missed | false removals | below 0.7 | short documents removed "
    "| seconds | peak MB |\n|---|---|---|---|---|---|---|---|"
)
SIGNING = "| program | MB/s | times ours |\n|---|---|---|"
Kept = npt.NDArray[np.bool_]


def run(command: Sequence[str | Path], **environment: str) -> tuple[float, float]:
    """Seconds and peak megabytes of a program; what it says is shown only if it fails."""
    started, peak = time.perf_counter(), 0.0
    with tempfile.TemporaryFile() as said:
        known = os.environ | environment
        process = subprocess.Popen(command, stdout=said, stderr=said, env=known)  # noqa: S603
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(0.25)
        seconds = time.perf_counter() - started
        if process.returncode:
            said.seek(0)
            sys.exit(said.read().decode()[-3000:])
    return seconds, peak


def ours(texts: Path, folder: Path) -> tuple[Kept, float, float]:
    """A whole run of cleanpipe that does nothing but drop duplicates."""
    folder.mkdir()
    recipe = folder / "recipe.yaml"
    known = {"input": str(texts), "output": str(folder / "out"), "seed": 1, "normalize": False}
    known |= {"measure": {"language": False}, "dedup": {"near": {"threshold": THRESHOLD}}}
    recipe.write_text(json.dumps(known), encoding="utf-8")
    program = Path(sys.executable).with_name("cleanpipe")
    seconds, peak = run([program, "run", recipe])
    files = (folder / "out" / "_cleanpipe" / "runs" / "0001" / "verdicts").glob("*.parquet")
    verdicts = pl.read_parquet(sorted(files), columns=["row", "verdict"]).sort("row")
    return (verdicts["verdict"] == "kept").to_numpy(), seconds, peak


def theirs(python: str, name: str, texts: Path, folder: Path) -> tuple[Kept, float, float]:
    """A peer's program, in its own environment."""
    kept = folder / f"{name}.npy"
    command = [python, HERE / "peers_dedup.py", name, texts, kept]
    seconds, peak = run(command, PYTHONPATH="", HF_HUB_OFFLINE="1")
    return np.load(kept), seconds, peak


def signing(python: str, texts: pl.Series, path: Path) -> Iterator[str]:
    """Rows: from text to signatures on one core, in processor seconds, by ours and by peers'."""
    size = int(texts.str.len_bytes().sum()) / 1e6
    cleanpipe.signatures(texts.head(2000))  # compiled or loaded, and memory at hand
    started = time.process_time()
    cleanpipe.signatures(texts)
    mine = time.process_time() - started
    yield f"| {OURS} | {size / mine:.1f} | 1 |"
    one_core = {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    for name in ("datasketch", "rensa", "rensa-rho"):
        command = [python, HERE / "peers_dedup.py", name, path, "sign"]
        told = subprocess.run(  # noqa: S603 - a program beside this one
            command, env=os.environ | one_core, check=True, capture_output=True, text=True
        )
        seconds = float(told.stdout)
        yield f"| {name} | {size / seconds:.1f} | {seconds / mine:.0f} |"


class Truth:
    """All similar pairs of a corpus."""

    def __init__(self, texts: pl.Series) -> None:
        offsets, hashes = sets_of(texts)
        self.short = np.diff(offsets) == 1
        self.one, self.other, self.jaccard = similar_pairs(offsets, hashes, GROSS)

    def judge(self, kept: Kept) -> dict[str, int]:
        """What a keep list removed, missed and wrongly removed."""
        near = self.jaccard >= THRESHOLD
        return {
            "removed": int((~kept).sum()),
            "missed": int((near & kept[self.one] & kept[self.other]).sum()),
            "false": self._without_partner(kept, near),
            "gross": self._without_partner(kept, np.ones(len(near), np.bool_)),
            "short": int((~kept & self.short & ~self._partners(kept, near)).sum()),
        }

    def _partners(self, kept: Kept, similar: Kept) -> Kept:
        """Which documents have a similar one that is kept."""
        has = np.zeros(len(kept), np.bool_)
        has[self.one[similar & kept[self.other]]] = True
        has[self.other[similar & kept[self.one]]] = True
        return has

    def _without_partner(self, kept: Kept, similar: Kept) -> int:
        return int((~kept & ~self._partners(kept, similar)).sum())


def compare(python: str, corpus: Path, only: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each program."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = folder / "texts.parquet"
        table = pl.read_ndjson(corpus).select("text").drop_nulls()
        table.write_parquet(texts)
        name = corpus.parent.name
        print(f"\n**{name}**, text to signature, one core\n\n{SIGNING}")
        for row in signing(python, table["text"], texts):
            print(row, flush=True)
        truth = Truth(table["text"])
        near = int((truth.jaccard >= THRESHOLD).sum())
        megabytes = int(table["text"].str.len_bytes().sum()) / 1e6
        print(
            f"\n**{name}**: {table.height:,} documents, {megabytes:.0f} MB, "
            f"{near:,} pairs from {THRESHOLD}\n\n{HEAD}",
            flush=True,
        )
        for program in (OURS, *only):
            if program == OURS:
                ours(texts, folder / "warm")  # a first run of a version compiles its kernels
                known = ours(texts, folder / "timed")
            else:
                known = theirs(python, program, texts, folder)
            kept, seconds, peak = known
            judged = truth.judge(kept)
            cells = [program, *(f"{judged[n]:,}" for n in ("removed", "missed", "false", "gross"))]
            cells += [f"{judged['short']:,}", f"{seconds:.1f}", f"{peak:,.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
            yield {"corpus": name, "program": program, "seconds": seconds, **judged}


def main() -> None:
    """Print a table a corpus, and draw them."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("python", help="the Python of the peers' environment")
    options.add_argument("corpora", nargs="+", type=Path)
    options.add_argument("--only", nargs="*", choices=PEERS, default=PEERS)
    options.add_argument("--json", type=Path, help="where to leave the rows for the picture")
    known = options.parse_args()
    rows = [row for corpus in known.corpora for row in compare(known.python, corpus, known.only)]
    if known.json:
        known.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
