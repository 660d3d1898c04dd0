"""What each preset drops of corpora, by corpus and by language: what docs/presets.md tells.

    .venv/bin/python benchmarks/preset_drops.py CORPUS.jsonl.zst [CORPUS.jsonl.zst ...]

A corpus is a file of JSON lines with a `text`. It is measured once, and once more for each preset
with line rules of its own; then every preset is a query. Languages are lid.176's, of the text as it
came. A document of which the line rules leave nothing counts as dropped, by `empty`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa
import zstandard

from cleanpipe.measures.measure import measures
from cleanpipe.measures.measuring import Measure
from cleanpipe.presets import extended, files, load
from cleanpipe.rules.filter import Filter
from cleanpipe.text.normalize import Normalize

BATCH = 20_000  # documents
MANY = 300  # a language with fewer documents says little


def rules(name: str) -> tuple[Normalize, Filter]:
    """The fixes and rules of a preset over those that it extends."""
    tree = extended(load(name, files()[name]).tree)[0].plain()
    return Normalize(**tree.get("normalize", {})), Filter(**tree["filter"])


def texts(path: Path) -> Iterator[pa.Array]:
    """The texts of a corpus, a batch at a time; a null is empty."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        lines = stream.read().split(b"\n")
    for start in range(0, len(lines), BATCH):
        found = [orjson.loads(line)["text"] or "" for line in lines[start : start + BATCH] if line]
        yield pa.array(found, pa.large_string())


def measured(path: Path, normalize: Normalize, langs: pl.DataFrame | None) -> pl.DataFrame:
    """The measures of a corpus after these fixes, with its languages, found out or given."""
    frames = []
    for batch in texts(path):
        done = normalize.apply(batch)
        frame = measures(done.texts, None, 0, Measure(language=langs is None))
        frames.append(frame.with_columns(removed_word_frac=pl.Series(done.removed_word_frac)))
    table = pl.concat(frames)
    return table if langs is None else table.hstack(langs)


def dropped(table: pl.DataFrame, chosen: Filter) -> pl.DataFrame:
    """A Boolean column a rule, `empty` first, and `any`."""
    empty = (table["bytes"] == 0) | (table["space_char_frac"] == 1.0)
    failed = pl.DataFrame([empty.alias("empty"), *chosen.failures(table)])
    return failed.with_columns(any=pl.any_horizontal(pl.all()))


def percent(part: float) -> str:
    """A share as a table shows it."""
    return f"{100 * part:.1f}"


def head(*cells: str) -> str:
    """The first two lines of a Markdown table."""
    return f"| {' | '.join(cells)} |\n|{'---|' * len(cells)}"


def report(path: Path) -> Iterator[str]:
    """Two tables: each preset and its rules, then each language and what presets drop of it."""
    plain = measured(path, Normalize(), None)
    langs = plain.select("lang", "lang_score")
    tables = {Normalize(): plain}
    counts = langs["lang"].value_counts(sort=True)
    shown = counts.filter(pl.col("count") >= MANY)["lang"].to_list()
    by_lang: dict[str, list[str]] = {lang: [] for lang in shown}
    yield f"\n### {path.parent.name}: {plain.height:,} documents\n"
    yield head("preset", "dropped %", "text left %", "by (% of documents)")
    for preset in files():
        normalize, chosen = rules(preset)
        if normalize not in tables:
            tables[normalize] = measured(path, normalize, langs)
        table = tables[normalize]
        failed = dropped(table, chosen)
        parts = sorted(((failed[rule].mean(), rule) for rule in failed.columns[:-1]), reverse=True)
        most = ", ".join(f"{rule} {percent(part)}" for part, rule in parts[:3] if part >= 0.0005)
        left = table.filter(~failed["any"])["bytes"].sum() / plain["bytes"].sum()
        yield f"| {preset} | {percent(failed['any'].mean())} | {percent(left)} | {most} |"
        share = pl.DataFrame({"lang": langs["lang"], "any": failed["any"]}).group_by("lang").mean()
        known = dict(share.iter_rows())
        for lang, cells in by_lang.items():
            cells.append(percent(known[lang]))
    if len(by_lang) > 1:
        yield ""
        yield head("language", "documents", *files())
        for lang, cells in by_lang.items():
            count = counts.filter(pl.col("lang") == lang)["count"].item()
            yield f"| {lang} | {count:,} | {' | '.join(cells)} |"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        for line in report(Path(name)):
            print(line, flush=True)
