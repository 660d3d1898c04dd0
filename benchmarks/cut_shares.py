"""What cuts take from corpora, by options, and how fast: a table in Markdown for docs/numbers.md.

    .venv/bin/python benchmarks/cut_shares.py CORPUS.jsonl.zst ... [--show 30]

Chances are drawn by lot; nothing but the default fixes and cuts is applied. Seconds are of one
core.
"""

import argparse
import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa
import zstandard

from cleanpipe.duplicates.cuts import Cuts, measures, remove
from cleanpipe.duplicates.repeats import repeats
from cleanpipe.text.normalize import Normalize

OPTIONS: list[dict[str, Any]] = [
    {},
    {"min_words": 5},
    {"min_words": 1},
    {"min_documents": 3},
    {"min_documents": 5},
    {"same_digits": False},
    {"min_words": 1, "same_digits": False, "min_documents": 1},
    {"unit": "paragraphs"},
    {"unit": "sentences"},
    {"unit": "sentences", "ngram": 1},
]


def texts_of(path: Path) -> pa.LargeStringArray:
    """The normalized texts of a corpus."""
    with zstandard.open(path, "rb") as file:
        found = [orjson.loads(line).get("text") or "" for line in io.BufferedReader(file)]
    return Normalize().apply(pa.array(found, pa.large_string())).texts


def row(texts: pa.LargeStringArray, chosen: Cuts) -> tuple[list[str], npt.NDArray[Any]]:
    """The cells of one line of the table, and what was cut."""
    size = pl.Series(texts).str.len_bytes().sum() / 1e6
    keys = np.random.default_rng(0).permutation(len(texts)).astype(np.uint64)
    started = time.process_time()
    spans = chosen.spans(texts, 1)
    hashed = time.process_time()
    cut = repeats(spans, keys[spans["document"]], np.zeros(len(spans), np.uint32), chosen)
    grouped = time.process_time()
    cut = cut[np.lexsort((cut["start"], cut["document"]))]
    start = cut["start"].astype(np.int64)
    frame = pl.DataFrame({"row": cut["document"], "start": start, "end": start + cut["size"]})
    left = remove(texts, np.arange(len(texts), dtype=np.uint64), frame)
    gone = measures(texts, left)
    share = gone["cut_bytes"].sum() / size / 1e4
    cells = [
        f"{len(spans):,}",
        f"{int(cut['first'].sum()):,}",
        f"{len(cut):,}",
        f"{int((gone['cut_bytes'] > 0).sum()):,}",
        f"{share:.1f} %",
        f"{size / (hashed - started):.0f}",
        f"{size / (grouped - hashed):.0f}",
    ]
    return cells, cut


def say(line: str) -> None:
    """A line of the result, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print the tables, and some spans that are cut."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--show", type=int, default=0)
    asked = parser.parse_args()
    Cuts().spans(pa.array(["compiled before it is timed"], pa.large_string()), 1)
    say("| corpus, options | spans | repeat | cut | documents | bytes | hash MB/s | group MB/s |")
    say("|---|---|---|---|---|---|---|---|")
    for path in asked.corpora:
        texts = texts_of(path)
        for options in OPTIONS:
            cells, cut = row(texts, Cuts(**options))
            named = ", ".join(f"{name} {value}" for name, value in options.items()) or "default"
            say(f"| {path.parent.name}, {named} | {' | '.join(cells)} |")
            firsts = np.flatnonzero(cut["first"]).tolist() if not options else []
            for place in np.random.default_rng(1).permutation(firsts)[: asked.show]:
                text = texts[int(cut["document"][place])].as_py().encode()
                start, size = int(cut["start"][place]), int(cut["size"][place])
                say(repr(text[start : start + size].decode()[:150]))


if __name__ == "__main__":
    main()
