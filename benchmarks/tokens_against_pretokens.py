"""How well words and symbols stand for a tokenizer's tokens in the measures of repeats.

    python benchmarks/tokens_against_pretokens.py TOKENIZER CORPUS.jsonl.zst...

TOKENIZER is a tokenizer.json, or a folder with vocab.json and merges.txt. Documents count up to
--documents of a corpus, spread over it. Prints a Markdown table: Spearman's correlation of each
measure by words and symbols with the same by tokens; documents that OLMo 2's bound of 32 repeats
would drop by either and by both; tokens; seconds of one process; memory.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import zstandard
from scipy.stats import spearmanr
from tokenizers import ByteLevelBPETokenizer

from cleanpipe.measures.measure import measures
from cleanpipe.measures.measuring import Measure

NAMES = (
    "repeat_run",
    "repeat_tokens",
    "same_token_run",
    "window_entropy_min",
    "window_period_max",
)
REPEATS = 32  # OLMo 2, arXiv 2501.00656, section 3.1


@contextmanager
def tokenizer_file(given: Path) -> Iterator[str]:
    """The path of a tokenizer.json, made for the time being where a vocabulary is given."""
    if given.is_file():
        yield str(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "tokenizer.json")
        vocabulary, merges = (str(given / name) for name in ("vocab.json", "merges.txt"))
        ByteLevelBPETokenizer(vocabulary, merges).save(path)
        yield path


def texts_of(corpus: Path, documents: int, *, one_blank: bool) -> pa.LargeStringArray:
    """At most that many texts, at even distances."""
    with zstandard.ZstdDecompressor().stream_reader(corpus.open("rb")) as file:
        texts = [orjson.loads(line)["text"] or "" for line in file.read().splitlines()]
    step = max(1, -(-len(texts) // documents))
    chosen = pl.Series(texts[::step])
    if one_blank:
        chosen = chosen.str.replace_all("[ \t]+", " ")
    return chosen.to_arrow().cast(pa.large_string())


def correlation(ours: pl.Series, theirs: pl.Series) -> str:
    """Spearman's, over documents that have both values."""
    both = ours.is_not_null() & theirs.is_not_null()
    pair = ours.filter(both).to_numpy(), theirs.filter(both).to_numpy()
    if min(len(np.unique(side)) for side in pair) < 2:
        return "-"
    return f"{spearmanr(*pair).statistic:.2f}"


def row(corpus: Path, texts: pa.LargeStringArray, tokenizer: str) -> str:
    """A line of the table."""
    ours = measures(texts, None, 0, Measure(language=False))
    started = time.process_time()
    theirs = measures(texts, None, 0, Measure(language=False, tokenizer=tokenizer))
    seconds = time.process_time() - started
    cells = [corpus.parent.name, f"{len(texts):,}", f"{ours['bytes'].sum() / 1e6:.1f}"]
    cells.append(f"{theirs['tokens'].sum() / ours['bytes'].sum():.2f}")
    cells += [correlation(ours[name], theirs[name]) for name in NAMES]
    flags = [table["repeat_run"] >= REPEATS for table in (ours, theirs)]
    cells += [str(int(flag.sum())) for flag in (*flags, flags[0] & flags[1])]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    cells += [f"{seconds:.0f}", f"{peak:.0f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("corpus", type=Path, nargs="+")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--one-blank", action="store_true", help="make runs of blanks one first")
    given = parser.parse_args()
    heads = ["corpus", "documents", "MB", "tokens/byte", *NAMES]
    heads += ["32 by words", "by tokens", "by both", "s", "peak MB"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    with tokenizer_file(given.tokenizer) as path:
        for corpus in given.corpus:
            texts = texts_of(corpus, given.documents, one_blank=given.one_blank)
            print(row(corpus, texts, path), flush=True)


if __name__ == "__main__":
    main()
