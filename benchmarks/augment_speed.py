"""How fast each operation of augment makes copies, and how like their parents these are.

`python benchmarks/augment_speed.py FILE [--megabytes 4]`, FILE being JSON lines (plain or zst).
"""

import argparse
import io
import time
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import zstandard

from cleanpipe.augmenting.augment import LEAST, Augment


def texts_of(path: Path, most: int) -> list[str]:
    """The first texts of a file, up to so many characters."""
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        found, size = [], 0
        for line in io.BufferedReader(stream):  # type: ignore[arg-type]
            found.append(orjson.loads(line)["text"])
            size += len(found[-1])
            if size > most:
                break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--megabytes", type=float, default=4)
    given = parser.parse_args()
    texts = texts_of(given.file, int(given.megabytes * 1e6))
    array = pa.array(texts, pa.large_string())
    size = sum(len(text.encode()) for text in texts)
    ids, copies = [str(i) for i in range(len(texts))], np.ones(len(texts), np.int32)
    keys = np.arange(len(texts), dtype=np.uint64)
    print(f"{len(texts)} texts, {size / 1e6:.1f} MB")
    for operation in LEAST:
        if operation == "synonyms":
            continue
        augment = Augment(operations=(operation,))
        augment.augment(array[:9], ids[:9], copies[:9], keys[:9])
        started = time.perf_counter()
        rows = augment.augment(array, ids, copies, keys).rows
        taken = time.perf_counter() - started
        written = rows.filter(pl.col("outcome") == "written")
        alike = [written["similarity"].quantile(q) or 0.0 for q in (0.01, 0.5)]
        changed = written["changed_share"].median() or 0.0
        print(
            f"{operation:18} {size / 1e6 / taken:6.1f} MB/s written {written.height / len(ids):.3f}"
            f"  similarity 1 %: {alike[0]:.2f} median: {alike[1]:.2f}  changed {changed:.2f}"
        )


if __name__ == "__main__":
    main()
