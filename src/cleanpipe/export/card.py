"""What others' tools read of a published corpus: a Hugging Face dataset card, Croissant metadata.

Both stand in the output folder, beside `data/`, and say what HEAD names. The card's front matter is
written by a YAML serializer and the rest holds numbers, rules' names and escaped labels alone; no
text of a document is in either.
"""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from cleanpipe import store
from cleanpipe.export.published import manifest_of
from cleanpipe.outcome import Run
from cleanpipe.report.rendering import cell
from cleanpipe.report.summary import attrition, megabytes, share

CROISSANT = "http://mlcommons.org/croissant/1.1"
HEADER = "<!-- Written by cleanpipe from the run's books; `cleanpipe card` writes it anew. -->"
MOST_ROWS = 30
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
LARGER = ((10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"))
MIME = {".parquet": "application/x-parquet", ".arrow": "application/vnd.apache.arrow.file"}
"""JSON lines, compressed, are application/zstd."""
KINDS = (
    (pa.types.is_boolean, "sc:Boolean"),
    (pa.types.is_integer, "sc:Integer"),
    (pa.types.is_floating, "sc:Float"),
    (pa.types.is_temporal, "sc:Date"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject"),
            *("fileProperty", "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key"),
            *("md5", "parentField", "path", "recordSet", "references", "regex", "repeated"),
            *("replace", "samplingRate", "separator", "source", "subField", "transform"),
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "sc": "https://schema.org/",
}
"""The vocabulary's names, as Croissant's specification gives them."""


def write(output: Path, name: str, license_: str | None = None) -> tuple[Path, Path]:
    """Write README.md and croissant.json into an output folder; gives their paths.

    `name` is the corpus', `license_` an identifier such as `cc-by-4.0`, which cleanpipe cannot
    know. Errors: InputError where nothing is published, or parts are not what was.
    """
    manifest = manifest_of(output)
    run = Run.load(output)
    published = datetime.fromtimestamp(
        (output / "_cleanpipe" / f"manifest-{manifest['number']}.json").stat().st_mtime, UTC
    )
    described = croissant(output, manifest, run, name, license_, published)
    card = readme(run, manifest, name, license_)
    paths = output / "README.md", output / "croissant.json"
    content = card.encode(), orjson.dumps(described, option=orjson.OPT_INDENT_2) + b"\n"
    for path, data in zip(paths, content, strict=True):
        store.write_file(path, lambda file, data=data: file.write(data))  # type: ignore[misc]
    return paths


def _patterns(manifest: store.Record) -> list[str]:
    """A pattern for the parts of each of the manifest's folders."""
    folders = {(Path(one["path"]).parent, Path(one["path"]).name) for one in manifest["parts"]}
    endings = {(folder, name.partition(".")[2]) for folder, name in folders}
    return sorted(f"{folder.as_posix()}/part-*.{ending}" for folder, ending in endings)


def readme(run: Run, manifest: store.Record, name: str, license_: str | None) -> str:
    """The card: front matter as Hugging Face reads it, then the numbers in Markdown."""
    stats = run.stats
    languages = [one for one in stats["by"].get("lang", {}).get("clean", {}) if _is_code(one)]
    patterns = _patterns(manifest)
    front: dict[str, Any] = {
        "pretty_name": name,
        **({"license": license_} if license_ else {}),
        **({"language": sorted(languages)} if languages else {}),
        "size_categories": [_category(stats["documents"]["written"])],
        "task_categories": ["text-generation"],
        "tags": ["cleanpipe", "croissant"],
        **(
            {"configs": [{"config_name": "default", "data_files": patterns}]}
            if manifest["parts"]
            else {}
        ),
    }
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False
    text = io.StringIO()
    yaml.dump(front, text)
    return f"---\n{text.getvalue()}---\n\n{HEADER}\n\n" + "\n".join(_body(run, name)) + "\n"


def _body(run: Run, name: str) -> Iterator[str]:
    stats = run.stats
    documents, clean = stats["documents"], stats["clean"]
    yield f"# {cell(name)}\n"
    yield (
        f"{documents['written']:,} documents, {megabytes(clean['bytes'])} of text without extra "
        f"copies: {documents['kept']:,} of {documents['read']:,} that were read, and "
        f"{documents['added']:,} extra copies. Run {run.folder.name}.\n"
    )
    yield "## What was dropped\n"
    yield "| stage | rule | documents | share |\n|---|---|---|---|"
    for row in attrition(stats):
        label = row["stage"] or row["verdict"]
        part = share(row["documents"], documents["read"])
        yield f"| {label} | {cell(row['rule'] or '')} | {row['documents']:,} | {part} |"
    yield ""
    for column, sides in stats["by"].items():
        yield from _groups(column, sides)
    duplicates = stats["duplicates"]
    yield "## Duplicates\n"
    yield (
        f"{duplicates['exact']:,} documents gave way to an equal one, {duplicates['near']:,} to "
        "one whose exact Jaccard similarity reached the threshold; each names the one that "
        "stayed.\n"
    )
    ngrams = stats["diversity"]["ngrams"]
    yield "## Diversity\n"
    yield (
        f"Of all word 5-grams {ngrams['raw']['share']:.1%} were different before, "
        f"{ngrams['clean']['share']:.1%} after (estimated, ± {ngrams['clean']['error']:.0%}).\n"
    )
    yield "## Columns\n"
    yield (
        "`id`, `text`, `copy` (0: the original), `augmented_by` (what made an extra copy differ), "
        "and what the input carried. The books of the run, with every rule's verdict on every "
        "document, are in `_cleanpipe`; the whole recipe is `recipe.yaml` there.\n"
    )
    yield "## Limits\n"
    yield (
        "Filters judge by form, not by truth; personal data may remain. Where text came from and "
        "under which licence is known to whoever gave it, not to cleanpipe."
    )


def _groups(column: str, sides: dict[str, Any]) -> Iterator[str]:
    yield f"## By {cell(column)}\n"
    yield f"| {cell(column)} | read | kept | clean text |\n|---|---|---|---|"
    nothing = {"documents": 0, "bytes": 0}
    for value, raw in list(sides["raw"].items())[:MOST_ROWS]:
        clean = sides["clean"].get(value, nothing)
        counts = f"{raw['documents']:,} | {clean['documents']:,} | {megabytes(clean['bytes'])}"
        yield f"| {cell(value)} | {counts} |"
    if len(sides["raw"]) > MOST_ROWS:
        yield f"| and {len(sides['raw']) - MOST_ROWS:,} more | | | |"
    yield ""


def _is_code(lang: str) -> bool:
    """Whether a language's label is a code that Hugging Face knows: two or three letters."""
    return len(lang) in {2, 3} and lang.isascii() and lang.isalpha() and lang != "und"


def _category(documents: int) -> str:
    return next((name for most, name in (*SIZES, *LARGER) if documents < most), "n>1T")


def croissant(
    output: Path,
    manifest: store.Record,
    run: Run,
    name: str,
    license_: str | None,
    published: datetime,
) -> dict[str, Any]:
    """The corpus as Croissant 1.1 has it: the parts as a set of files, their columns as fields.

    Only Parquet's columns are fields: no reader of Croissant takes compressed JSON lines.
    """
    parts = [output / one["path"] for one in manifest["parts"]]
    ending = parts[0].suffix if parts else ".parquet"
    files = {
        "@type": "cr:FileSet",
        "@id": "parts",
        "name": "parts",
        "encodingFormat": MIME.get(ending, "application/zstd"),
        "includes": _patterns(manifest) or ["data/*.parquet"],
    }
    stats = run.stats
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": (
            f"{stats['documents']['written']:,} documents of clean text, of "
            f"{stats['documents']['read']:,} that cleanpipe read in run {run.folder.name}."
        ),
        "conformsTo": CROISSANT,
        "datePublished": published.isoformat(timespec="seconds"),
        "version": f"{manifest['number']}.0.0",
        "isLiveDataset": False,
        **({"license": license_} if license_ else {}),
        "distribution": [files],
    }
    if parts and ending == ".parquet":
        described["recordSet"] = [_records(pq.read_schema(parts[0]))]
    return described


def _records(schema: pa.Schema) -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"documents/{number}",
            "name": field.name,
            "dataType": next((name for test, name in KINDS if test(field.type)), "sc:Text"),
            "source": {"fileSet": {"@id": "parts"}, "extract": {"column": field.name}},
        }
        for number, field in enumerate(schema)
    ]
    return {"@type": "cr:RecordSet", "@id": "documents", "name": "documents", "field": fields}
