"""How fast one core measures, normalizes and signs text from Arrow buffers, and hostile text.

    python benchmarks/kernels.py CORPUS.jsonl.zst[:LANG] ...

For each corpus (20 MB of it at most, of one language where it is named): all measures of the scan
together; normalize with its default fixes, of the text as it is and once more of its own result,
where nothing needs repair; signatures of 128 permutations. Then 1 MB and 10 MB of text that could
hurt: linear time is a quotient near 10. Seconds are of this thread, the best of five.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

import cleanpipe
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.minhash import permutations
from cleanpipe.kernels.scan import scan
from cleanpipe.text.normalize import Normalize

MOST, TIMES = 20_000_000, 5
NO_SIGNATURE = permutations(0, 1)
MEGABYTE = 1_000_000


def seconds(act: Callable[[], object], times: int = TIMES) -> float:
    """The least that this thread took."""
    least = float("inf")
    for _ in range(times):
        started = time.thread_time()
        act()
        least = min(least, time.thread_time() - started)
    return least


def texts_of(named: str) -> pl.Series:
    """The first texts of a corpus, of one language if one is named."""
    path, _, lang = named.partition(":")
    table = pl.read_ndjson(path)
    if lang:
        table = table.filter(pl.col("lang") == lang)
    texts = table["text"].drop_nulls()
    return texts.filter(texts.str.len_bytes().cum_sum() <= MOST)


def large(texts: pl.Series) -> pa.LargeStringArray:
    """A Series as the kernels take it."""
    return pa.array(texts.to_arrow(), pa.large_string())


def of_corpus(named: str) -> str:
    """A row of the first table."""
    texts = texts_of(named)
    raw = large(texts)
    fixes = Normalize()
    clean = fixes.apply(raw).texts
    size = int(texts.str.len_bytes().sum()) / MEGABYTE
    rates = [
        size / seconds(lambda: measure(raw)),
        size / seconds(lambda: fixes.apply(raw)),
        size / seconds(lambda: fixes.apply(clean)),
        size / seconds(lambda: cleanpipe.signatures(texts)),
    ]
    name = Path(named).parent.name + (f", {named.partition(':')[2]}" if ":" in named else "")
    cells = [name, f"{len(texts):,}", f"{size:.1f}", *(f"{rate:.0f}" for rate in rates)]
    return f"| {' | '.join(cells)} |"


def hostile(size: int) -> dict[str, str]:
    """Texts of so many bytes that could take more than linear time."""
    noise = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8).tobytes()
    return {
        "one character": "a" * size,
        "one word": "word " * (size // 5),
        "one line": "the same line again\n" * (size // 20),
        "random bytes": noise.decode("latin-1")[: size * 2 // 3],
        "combining marks": "e" + "\u0301" * (size // 2),
        "misread text": "Ã©" * (size // 4),
        "open brackets": "<(&[" * (size // 4),
    }


def measure(texts: pa.LargeStringArray) -> object:
    """All measures of the scan."""
    return scan(*text_buffers(texts), 5, *NO_SIGNATURE)


def of_hostile(name: str) -> str:
    """A row of the second table."""
    cells = [name]
    arrays = [pa.array([hostile(n * MEGABYTE)[name]], pa.large_string()) for n in (1, 10)]
    for act in (measure, Normalize().apply):
        small, big = (seconds(partial(act, array), 2) for array in arrays)
        cells += [f"{small:.2f}", f"{big:.2f}", f"{big / small:.1f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    cleanpipe.measure(["compile the kernels"])
    print("| corpus | documents | MB | measures | normalize | normalize clean text | signatures |")
    print("|---|---|---|---|---|---|---|")
    for corpus in sys.argv[1:]:
        print(of_corpus(corpus), flush=True)
    print("\n| text | measure 1 MB s | 10 MB s | times | normalize 1 MB s | 10 MB s | times |")
    print("|---|---|---|---|---|---|---|")
    for name in hostile(10):
        print(of_hostile(name), flush=True)
