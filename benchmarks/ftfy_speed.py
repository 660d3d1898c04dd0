"""normalize beside ftfy on every document: CPU seconds of both, in turns, as a Markdown table.

    .venv/bin/python benchmarks/ftfy_speed.py [CORPORA]

CORPORA is the folder of the development corpora (by default the one beside the checkout). Each is
taken in slices: normalize reads a slice, then ftfy reads the same slice, so that whatever else the
machine does falls on both. *Spliced* is 100,000 clean package descriptions of which a share holds
one of ftfy's own test cases at a random place. The texts of both are compared. The last columns are
the speeds of all default fixes, and of all fixes together.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ftfy
import pyarrow as pa

from cleanpipe.text.fixes import DEFAULT
from cleanpipe.text.normalize import Normalize

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
from real_texts import records, spliced  # noqa: E402 - the tests' way to the corpora

SLICE = 16_000_000  # characters
SIX = Normalize(fixes=DEFAULT[:6])
EVERYTHING = Normalize(
    fixes=("+zero_width", "+bidi", "+html", "+broken_entities"),
    urls="<URL>",
    pii={"email": "<EMAIL>", "ip": "<IP>"},
    unbroken_runs={},
)
CONFIG = ftfy.TextFixerConfig(
    fix_latin_ligatures=False, fix_character_width=False, uncurl_quotes=False
)


def slices(texts: list[str]) -> Iterator[list[str]]:
    """The texts, about SLICE characters at a time."""
    some: list[str] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text)
        if size >= SLICE:
            yield some
            some, size = [], 0
    yield some


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of all threads, and the result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def row(name: str, texts: list[str]) -> str:
    """One corpus as a row of the table."""
    spent = dict.fromkeys(("six", "ftfy", "default", "everything"), 0.0)
    size, changed = 0, 0
    for some in slices(texts):
        array = pa.array(some, pa.large_string())
        size += array.nbytes - 8 * (len(array) + 1)
        for key, model in (("six", SIX), ("default", Normalize()), ("everything", EVERYTHING)):
            taken, result = seconds(lambda m=model, a=array: m.apply(a))
            spent[key] += taken
            if key == "six":
                ours = result.texts.to_pylist()
        taken, theirs = seconds(
            lambda some=some: [ftfy.fix_and_explain(text, CONFIG).text for text in some]
        )
        spent["ftfy"] += taken
        if ours != theirs:
            sys.exit(f"{name}: normalize and ftfy differ")
        changed += sum(before != after for before, after in zip(some, theirs, strict=True))
    speed = {key: size / 1e6 / taken for key, taken in spent.items()}
    return (
        f"| {name} | {len(texts):,} | {size / 1e6:.1f} | {changed:,} | {speed['ftfy']:.1f} "
        f"| {speed['six']:.1f} | {speed['six'] / speed['ftfy']:.1f} | {speed['default']:.1f} "
        f"| {speed['everything']:.1f} |"
    )


if __name__ == "__main__":
    corpora = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "corpora"
    EVERYTHING.apply(pa.array(["Ã© <b>x</b> a@b.org"], pa.large_string()))  # compiles the kernels
    print(
        "| corpus | documents | MB | changed by ftfy | ftfy MB/s | its six fixes MB/s | ratio "
        "| default MB/s | all fixes MB/s |\n|---|---|---|---|---|---|---|---|---|"
    )
    known = {}
    for name in ("web_pages", "20news_bydate", "debian_descriptions"):
        known[name] = [record["text"] for record in records(name, corpora)]
        print(row(name, known[name]), flush=True)
    texts = known["debian_descriptions"]
    fixed = SIX.apply(pa.array(texts, pa.large_string())).fixes
    clean = [text for text, bits in zip(texts, fixed, strict=True) if not bits][:100_000]
    damaged = [record["original"] for record in records("ftfy_cases", corpora)]
    for share in (0.0, 0.01, 0.05):
        print(row(f"spliced, {share:.0%}", spliced(clean, damaged, share)), flush=True)
