"""Evaluation sets: MB/s a core, bytes of the table, and what documents share by chance.

    python benchmarks/evaluations_speed.py DOCUMENTS.jsonl.zst EXAMPLES.jsonl.zst

Examples are stretches of 300 characters of the second file's texts. The documents never saw them,
so that what is found is chance, quotation, or the everyday phrase. Processor time, best of five.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import zstandard

from cleanpipe.kernels import minhash, overlap, scan
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.jaccard import secret_key
from cleanpipe.measures.evaluations import Evaluations, table

SEED = 5
MOST = 60_000_000


def texts(path: str) -> list[str]:
    """The texts of a file's first 60 MB."""
    found, size = [], 0
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            found.append(orjson.loads(line)["text"] or "")
            size += len(found[-1])
            if size > MOST:
                break
    return found


def seconds(work: Callable[[], Any], times: int = 5) -> float:
    """The least processor time of some calls, after one that compiles."""
    work()
    taken = []
    for _ in range(times):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken)


def main(documents_path: str, examples_path: str) -> None:
    """Print a line a size of the sets, and the scan of all measures beside it."""
    documents = pa.array(texts(documents_path), pa.large_string())
    buffers = text_buffers(documents)
    megabytes = float(buffers[0][-1] - buffers[0][0]) / 1e6
    pages = [text for text in texts(examples_path) if len(text) > 600]
    chance = np.random.default_rng(1)
    for count, ngram in ((1_300, 8), (14_000, 8), (14_000, 13), (100_000, 8)):
        chosen = [pages[i] for i in chance.integers(len(pages), size=count)]
        starts = [(text, int(chance.integers(len(text) - 300))) for text in chosen]
        examples = pa.array([text[i : i + 300] for text, i in starts], pa.large_string())
        runs = Evaluations(sets={"examples": examples_path}, ngram=ngram).runs(examples, SEED)
        known = table([runs], ngram)
        size = sum(array.nbytes for array in known)
        taken = seconds(lambda known=known: overlap.shared(*buffers, known, *secret_key(SEED)))
        _, _, ends, met, seen = overlap.shared(*buffers, known, *secret_key(SEED))
        share = seen / runs.of[met]
        sys.stdout.write(
            f"{count:,} examples, ngram {ngram}: {len(known.hashes):,} runs, {size / 1e6:.1f} MB "
            f"({size / len(known.hashes):.0f} bytes a run), {megabytes / taken:.0f} MB/s; "
            f"{(np.diff(ends) > 0).sum():,} of {len(documents):,} documents share a run, "
            f"{(share > 0.5).sum()} hold more than half of an example\n"
        )
    permutations = minhash.permutations(0, SEED)
    taken = seconds(lambda: scan.scan(*buffers, 5, *permutations), 3)
    sys.stdout.write(f"all measures of the scan: {megabytes / taken:.0f} MB/s\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
