"""A corpus -> a recipe to begin with: which column is what, and rules for its language.

What is chosen is what the first documents show; the comments of the recipe say so, and `plan` says
what it would do.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from cleanpipe.errors import InputError
from cleanpipe.input import readers
from cleanpipe.input.batch import Batch
from cleanpipe.input.corpus import Input, Shard, find_shards, glance
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.measures.language import Language
from cleanpipe.pool import Pool

TEXTS = ("text", "content", "body", "raw_content", "contents", "document", "article", "code")
"""Names of the column that holds the text, as corpora have it, the likeliest first."""
IDS = ("id", "doc_id", "document_id", "uuid", "warc_record_id", "url")
LOOKED_AT = 200
"""Documents of an input whose languages are told."""
SHARDS = 20
"""Shards of an input that are looked into for documents."""
ENGLISH = 0.8
"""Share of documents in English from which rules that were made for English are proposed."""


@dataclass(frozen=True)
class Seen:
    """What the first documents of an input show."""

    path: str
    text: str
    id: str | None
    says_source: bool
    """Whether documents say their source themselves, in a column of that name."""
    documents: int
    langs: dict[str, int]


def look(path: str, folder: Path, text: str | None) -> Seen:
    """Look into the first shards of an input until one has documents with a text.

    `text` names the column; None tries TEXTS. Errors: InputError where nothing matches, and where
    no column of that name holds texts, with what the first shard has.
    """
    shards = find_shards([Input(path=path)], folder)
    why = ""
    for shard in shards[:SHARDS]:
        for name in (text,) if text else TEXTS:
            batch = _first(shard, Input(path=path, text=name))
            if len(batch.texts) > batch.texts.null_count:
                table, texts = batch.table[:LOOKED_AT], batch.texts[:LOOKED_AT]
                own = "source" in table.column_names
                return Seen(path, name, _id(table), own, len(texts), _languages(texts))
            why = why or f"{shard.name}: {_why_not(batch)}"
    raise InputError(
        f"{path}: no texts in a column named {text or ', '.join(TEXTS)} ({why}); "
        "name the column that holds them with --text"
    )


def _first(shard: Shard, given: Input) -> Batch:
    """The first batch with a document, or else the last one, whose quarantine says why."""
    for span in glance(shard, given).spans[:1]:
        for batch in readers.read(span, shard, given):
            if len(batch.texts):
                break
    return batch


def _why_not(batch: Batch) -> str:
    if len(batch.texts):
        return f"columns {', '.join(batch.table.column_names) or 'none'}"
    return batch.quarantined[0].detail if batch.quarantined else "no document"


def _id(table: pa.Table) -> str | None:
    """The first of IDS that names each of these documents once."""
    for name in IDS:
        if name in table.column_names:
            values = table[name]
            if not values.null_count and pc.count_distinct(values).as_py() == len(values):
                return name
    return None


def _languages(texts: pa.LargeStringArray) -> dict[str, int]:
    known = Language().identify(*text_buffers(pc.fill_null(texts, "")))["lang"]
    return dict(Counter(known.to_list()).most_common())


def look_into(paths: Sequence[str], folder: Path, text: str | None = None) -> list[Seen]:
    """What each input's first documents show, read by a process that a hostile file may end.

    Paths go from `folder`.
    """
    with Path(os.devnull).open("rb") as nothing:
        pool = Pool(1, nothing.fileno())
        try:
            return [pool.call(look, path, folder, text) for path in paths]
        finally:
            pool.close()


def recipe(seen: Sequence[Seen], output: str) -> str:
    """The text of a recipe for these inputs.

    >>> one = Seen("news/*.jsonl", "body", None, False, 20, {"en": 19, "fr": 1})
    >>> print(recipe([one], "clean").partition("input:")[2].lstrip().partition("}")[0])
    - {path: "news/*.jsonl", text: "body"
    """
    langs: Counter[str] = sum((Counter(one.langs) for one in seen), Counter())
    total = langs.total()
    return _WHOLE.format(
        inputs="\n".join(map(_entry, seen, _sources(seen))),
        total=f"{total:,}",
        langs=", ".join(f"{lang} {n / total:.0%}" for lang, n in langs.most_common(4)),
        rules=_ENGLISH if langs["en"] >= ENGLISH * total else _ANY_LANGUAGE,
        output=_quoted(output),
    )


def _entry(seen: Seen, source: str | None) -> str:
    options = {"path": seen.path, "text": seen.text, "id": seen.id, "source": source}
    told = ", ".join(f"{name}: {_quoted(value)}" for name, value in options.items() if value)
    return f"  - {{{told}}}"


def _sources(seen: Sequence[Seen]) -> list[str | None]:
    """A name of its own for each of several inputs, by its path; none where documents say theirs.

    >>> paths = ["a/x.jsonl", "b/x.csv", "y/*"]
    >>> _sources([Seen(path, "text", None, False, 1, {}) for path in paths])
    ['a/x', 'b/x', 'y']
    """
    found: list[str | None] = [None] * len(seen)
    if len(seen) == 1:
        return found
    paths = [Path(one.path.rstrip("/*")) for one in seen]
    stems = [(*path.parent.parts, path.name.partition(".")[0]) for path in paths]
    for at, (one, stem) in enumerate(zip(seen, stems, strict=True)):
        others = [other for place, other in enumerate(stems) if place != at]
        parts = range(1, len(stem) + 1)
        alone = (n for n in parts if all(other[-n:] != stem[-n:] for other in others))
        if not one.says_source and stem[-1]:
            found[at] = "/".join(stem[-next(alone, len(stem)) :])
    return found


def _quoted(text: str) -> str:
    """A text as JSON has it, which YAML reads as it is, whatever stands in it."""
    return orjson.dumps(text).decode()


_ENGLISH = """\
# Rules that were made for English: Gopher's (Rae et al. 2021), and OLMo 2's against text that
# repeats itself. `cleanpipe presets` names others. A document is dropped by the first it fails.
extends: [gopher, olmo2-repetition]
"""
_ANY_LANGUAGE = """\
# Rules of English prose drop most of other languages: these ask for a word, and for text that does
# not repeat itself. For bounds of 42 languages see `cleanpipe presets fineweb2`.
extends: [minimal, olmo2-repetition]
"""
_WHOLE = """\
# See what it would do: cleanpipe plan THIS_FILE. Then: cleanpipe run THIS_FILE. All options:
# docs/recipe.md, or in your editor by `cleanpipe schema`.
version: 1

# Of the first {total} documents: {langs}.
{rules}
# Other columns are carried along. An input without `id` gets ids of shard and row.
input:
{inputs}

# Exact duplicates, and near ones whose word 5-grams are at least 0.8 alike.
dedup:
  near: {{ngram: 5, threshold: 0.8}}

output: {{path: {output}}}
"""
