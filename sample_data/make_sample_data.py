"""Write the sample corpus: a few hundred invented documents with faults planted on purpose.

    python sample_data/make_sample_data.py [FOLDER]

Beside the files stands expected.csv: for every document its fault, and what must happen to it by
configs/sample.yaml. The same documents come out on every machine.
"""

import csv
import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import zstandard
from faults import FAULTS, PLANTED, REPAIRED, crlf
from prose import LANGUAGES, Author

HERE = Path(__file__).parent
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "text", "url", "date")])
FIRST_DAY = np.datetime64("2024-01-01")

# Clean documents by file and language. English has most, as on the web: balance has work to do.
CLEAN = {
    "web.arrow": {"en": 24, "de": 11, "es": 8, "fr": 8, "ru": 8, "ja": 8},
    "news.parquet": {"en": 18, "de": 9, "es": 6, "fr": 6, "ru": 6, "ja": 6},
    "forum.jsonl.zst": {"en": 14, "de": 7, "es": 5, "fr": 5, "ru": 4, "ja": 4},
    "notes.csv": {"en": 9, "de": 4, "es": 3, "fr": 3, "ru": 3, "ja": 3},
    "letters.arrows": {"en": 6, "de": 3, "es": 2, "fr": 2, "ru": 2, "ja": 2},
}
# Faults that a document of its own shows, in these languages, dealt to the files in turn.
SHOWN = {
    "mojibake": ("fr", "de", "es", "ru", "ja", "fr"),
    "html_entities": ("en", "fr", "de", "es"),
    "control_characters": ("en", "es", "de"),
    "terminal_escapes": ("en", "de", "fr"),
    "crlf": ("en", "ru", "fr"),
    "decomposed": ("fr", "es", "de", "ru"),
    "some_bullets": ("en", "de", "es"),
    "short_run": ("en",),
    "short_japanese": ("ja", "ja", "ja"),
    "too_short": ("en", "de", "es", "ru"),
    "too_long": ("en",),
    "long_words": ("de",),
    "base64_run": ("en", "es"),
    "hashtags": ("en", "fr"),
    "bullet_list": ("en", "de", "ru"),
    "ellipsis_lines": ("en", "fr", "es"),
    "numbers": ("en", "en"),
    "no_stop_words": ("en",),
    "repeated_line": ("en", "ru", "de"),
    "repeated_phrase": ("en", "en"),
    "token_flood": ("en", "fr"),
    "repeated_sentence": ("en", "de"),
    "token_run": ("en", "en"),
    "number_run": ("en", "en"),
}
# Texts that are no text: CSV cannot say which of them it means.
BLANK = {"null": None, "empty": "", "only_spaces": " \t \n\n   \u3000 \n"}
BROKEN_LINES = {
    "not_utf8": '{"id": "forum-latin-1", "text": "Der Müller öffnet das Wehr."}'.encode("latin-1"),
    "not_json": b'{"id": "forum-cut", "text": "The line stops in the mid',
    "not_an_object": b'["forum-list", "a list is no document"]',
}


@dataclass(frozen=True)
class Document:
    """A row of a file; `line` is what stands there instead, where it is no document."""

    id: str
    fault: str
    text: str | None
    detail: str = ""
    line: bytes | None = None


@dataclass
class Corpus:
    """The files and their documents, in the order in which they are written."""

    files: dict[str, list[Document]] = field(default_factory=lambda: {name: [] for name in CLEAN})

    def add(self, file: str, fault: str, text: str | None, detail: str = "") -> Document:
        rows = self.files[file]
        name = f"{file.partition('.')[0]}-{len(rows):04}"
        rows.append(Document(name, fault, text, detail))
        return rows[-1]

    def add_broken(self, file: str, fault: str, line: bytes) -> None:
        rows = self.files[file]
        source = file.partition(".")[0]  # a shard is named <source>/<file>
        rows.append(Document(f"{source}/{file}:{len(rows)}", fault, None, line=line))


def plan(authors: dict[str, Author]) -> list[tuple[str, str, str]]:
    """(file, fault, language) of every document but the duplicates, well shuffled."""
    wanted = [
        (file, "none", lang)
        for file, counts in CLEAN.items()
        for lang, count in counts.items()
        for _ in range(count)
    ]
    files = list(CLEAN)
    shown = [(fault, lang) for fault, langs in SHOWN.items() for lang in langs]
    wanted += [(files[place % 3], *one) for place, one in enumerate(shown)]
    order = authors["en"].random.permutation(len(wanted))
    return [wanted[place] for place in order]


def plant(corpus: Corpus, authors: dict[str, Author]) -> None:
    for file, fault, lang in plan(authors):
        author = authors[lang]
        if fault in REPAIRED:
            text = REPAIRED[fault](author.prose())
        elif fault in PLANTED:
            text = PLANTED[fault](author)
        else:
            text = author.prose()
        corpus.add("forum.jsonl.zst" if fault == "too_long" else file, fault, text)
    for place, (fault, blank) in enumerate(BLANK.items()):
        for file in ("web.arrow", "news.parquet", "forum.jsonl.zst")[: 3 - place % 2]:
            corpus.add(file, fault, blank)
    for fault, line in BROKEN_LINES.items():
        corpus.add_broken("forum.jsonl.zst", fault, line)


def plant_duplicates(corpus: Corpus, authors: dict[str, Author]) -> None:
    """The one that dedup keeps always has more characters, or the smaller id, than the others."""
    clean = {
        name: [one for one in rows if one.fault == "none"] for name, rows in corpus.files.items()
    }
    for file, other, place in (
        ("web.arrow", "web.arrow", 3),
        ("web.arrow", "web.arrow", 8),
        ("news.parquet", "news.parquet", 5),
        ("news.parquet", "notes.csv", 9),
        ("forum.jsonl.zst", "notes.csv", 4),
        ("forum.jsonl.zst", "web.arrow", 11),
    ):
        original = clean[file][place]
        corpus.add(other, "exact_duplicate", original.text, f"as {original.id}")
    for file, place in (("web.arrow", 14), ("news.parquet", 12)):
        original = clean[file][place]
        corpus.add(file, "exact_after_repair", crlf(str(original.text)), f"as {original.id}")
    for place, lang in enumerate(("en", "de", "ru", "ja", "fr", "en")):
        author = authors[lang]
        sentences = author.sentences(24)
        text = author.paragraphs(list(sentences))
        original = corpus.add("web.arrow", "none", text)
        near = thinned(text, lang)
        corpus.add(list(CLEAN)[place % 3], "near_duplicate", near, f"as {original.id}")
    for lang in ("en", "de", "es", "ja"):
        author = authors[lang]
        sentences = author.sentences(20)
        original = corpus.add("news.parquet", "none", author.paragraphs(list(sentences)))
        fresh = lines_not_in(sentences, author)
        rewritten = [fresh.pop() if at % 4 == 1 else one for at, one in enumerate(sentences)]
        corpus.add("web.arrow", "similar", author.paragraphs(rewritten), f"to {original.id}")


def thinned(text: str, lang: str) -> str:
    """The text without a word (in Japanese: without a character) in each of three places."""
    glue = "" if lang == "ja" else " "
    words = list(text) if lang == "ja" else text.split(" ")
    lost = {len(words) * quarter // 4 for quarter in (1, 2, 3)}
    return glue.join(word for place, word in enumerate(words) if place not in lost)


def lines_not_in(sentences: list[str], author: Author) -> list[str]:
    return [one for one in author.sentences(27) if one not in sentences]


def write(corpus: Corpus, folder: Path) -> None:
    tables = {name: table(name, rows) for name, rows in corpus.files.items()}
    with pa.ipc.new_file(folder / "web.arrow", SCHEMA) as sink:
        sink.write_table(tables["web.arrow"], max_chunksize=40)
    with pa.ipc.new_stream(folder / "letters.arrows", SCHEMA) as sink:
        sink.write_table(tables["letters.arrows"])
    pa.parquet.write_table(
        tables["news.parquet"], folder / "news.parquet", row_group_size=30, compression="zstd"
    )
    lines = [
        document.line or json.dumps(row, ensure_ascii=False).encode()
        for document, row in zip(
            corpus.files["forum.jsonl.zst"], tables["forum.jsonl.zst"].to_pylist(), strict=True
        )
    ]
    packed = zstandard.ZstdCompressor(level=19).compress(b"\n".join(lines) + b"\n")
    (folder / "forum.jsonl.zst").write_bytes(packed)
    (folder / "notes.csv").write_bytes(as_csv(tables["notes.csv"].to_pylist()))
    (folder / "expected.csv").write_bytes(as_csv(expected(corpus)))
    (folder / "README.md").write_text(readme(corpus), "utf-8")


def table(file: str, rows: list[Document]) -> pa.Table:
    stem = file.partition(".")[0]
    return pa.Table.from_pylist(
        [
            {
                "id": document.id,
                "text": document.text,
                "url": f"https://example.org/{stem}/{row}",
                "date": str(FIRST_DAY + row),
            }
            for row, document in enumerate(rows)
        ],
        schema=SCHEMA,
    )


def as_csv(rows: list[dict[str, str]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def expected(corpus: Corpus) -> list[dict[str, str]]:
    return [
        {
            "id": document.id,
            "file": file,
            "fault": document.fault,
            "verdict": FAULTS[document.fault].verdict,
            "stage": FAULTS[document.fault].stage,
            "rule": FAULTS[document.fault].rule,
            "why": " ".join(filter(None, (FAULTS[document.fault].why, document.detail))),
        }
        for file, rows in corpus.files.items()
        for document in rows
    ]


def readme(corpus: Corpus) -> str:
    planted = [document.fault for rows in corpus.files.values() for document in rows]
    table_rows = "\n".join(
        f"| {name} | {planted.count(name)} | {fault.verdict} | {fault.stage} | {fault.rule} "
        f"| {fault.why} |"
        for name, fault in FAULTS.items()
    )
    return (
        (HERE / "README.template")
        .read_text("utf-8")
        .format(documents=len(planted), table=table_rows)
    )


def main(folder: Path) -> None:
    corpus = Corpus()
    authors = {lang: Author(lang, seed) for seed, lang in enumerate(LANGUAGES)}
    plant(corpus, authors)
    plant_duplicates(corpus, authors)
    write(corpus, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
