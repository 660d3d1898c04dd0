"""A published corpus -> token files in one final order, and the table of who stands where.

Each document is tokenized once, into a scratch file beside the result; the final files are read
from there in the chosen order. Memory holds a batch of texts, and a row of the table a document;
disk holds the tokens twice while it works. Every file is whole or not there, and export.json comes
last: without it an export is not finished, and starts over.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cleanpipe import store, tokenizer
from cleanpipe.errors import RecipeError
from cleanpipe.export import forms, published
from cleanpipe.kernels.buffers import text_buffers

ORDERS = ("shuffle", "stored")
CHUNK = 1 << 20
"""Tokens that are gathered before they are written: 4 MB."""
Ids = npt.NDArray[np.uint32]
Keys = npt.NDArray[np.uint64]


def export(
    output: Path, to: Path, *, form: str, tokens: str, end: str, order: str, seed: int
) -> dict[str, Any]:
    """Write the current corpus of `output` into the folder `to`; what export.json says.

    Errors: RecipeError for an unknown format, order or end token, or ids that the format cannot
    hold; InputError where nothing is published or a part was changed.
    """
    for name, value, known in (("format", form, forms.FORMS), ("order", order, ORDERS)):
        if value not in known:
            raise RecipeError(f"--{name} {value} is unknown; expected {', '.join(known)}")
    if not 0 <= seed < 1 << 64:
        raise RecipeError(f"--seed {seed}: expected 0 to 2^64 - 1")
    library = tokenizer.loaded(tokens)
    end_id = library.token_to_id(end)
    if end_id is None:
        raise RecipeError(f"--end {end}: {tokens} has no such token; name one that it has")
    vocabulary = max(library.get_vocab().values()) + 1
    forms.token_type(form, vocabulary)
    manifest = published.manifest_of(output)
    to.mkdir(parents=True, exist_ok=True)
    store.remove_leftovers(to)
    (to / "export.json").unlink(missing_ok=True)
    scratch = to / f"{store.TEMPORARY}tokens-0-{secrets.token_hex(4)}"
    try:
        table, lengths = _tokenized(output, manifest, tokens, end_id, scratch)
        starts = np.cumsum(lengths) - lengths
        rows = np.arange(len(lengths))
        if order == "shuffle":
            rows = np.argsort(scrambled(len(lengths), seed), kind="stable")
        chunks = _reader(scratch, starts[rows], lengths[rows])
        files = forms.write(form, to, chunks, lengths[rows], vocabulary)
    finally:
        scratch.unlink(missing_ok=True)
    files.append(_write_places(to / "train.docs.parquet", table.take(rows), lengths[rows]))
    said = {
        "version": 1,
        "format": form,
        "corpus": {"manifest": manifest["number"], "run": manifest["run"]},
        "tokenizer": {"name": Path(tokens).name, "xxh3_128": store.file_hash(Path(tokens))},
        "vocabulary": vocabulary,
        "end_of_document": {"token": end, "id": end_id, "policy": "after each document"},
        "order": order,
        "seed": seed if order == "shuffle" else None,
        "documents": len(lengths),
        "tokens": int(lengths.sum()),
        "files": files,
    }
    store.write_json(to / "export.json", said)
    return said


def scrambled(count: int, seed: int) -> Keys:
    """A 64-bit key for each place, all different: splitmix64 from a start that the seed chooses.

    >>> len(set(scrambled(1000, 7).tolist()))
    1000
    """

    def mixed(keys: Keys) -> Keys:
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return keys ^ (keys >> np.uint64(31))

    step = np.uint64(0x9E3779B97F4A7C15)
    start = mixed(np.array([seed], np.uint64) + step)
    return mixed(start + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * step)


def _tokenized(
    output: Path, manifest: store.Record, tokens: str, end_id: int, scratch: Path
) -> tuple[pa.Table, forms.Lengths]:
    """Write all tokens in stored order; the documents, and how many tokens each has."""
    tables, lengths = [], [np.zeros(0, np.int64)]
    with scratch.open("xb") as file:
        scratch.chmod(0o600)
        for table in published.documents(output, manifest):
            texts = table["text"].combine_chunks().fill_null("")
            places, ids = tokenizer.encode(tokens, *text_buffers(texts))
            file.write(np.insert(ids, places[1:], end_id).astype(np.uint32).tobytes())
            lengths.append(np.diff(places) + 1)
            tables.append(table.drop_columns(["text"]))
    if not tables:
        raise RecipeError(f"{output}: the published corpus has no documents to export")
    return pa.concat_tables(tables).combine_chunks(), np.concatenate(lengths)


def _reader(scratch: Path, starts: forms.Lengths, lengths: forms.Lengths) -> forms.Chunks:
    """The tokens in final order; pieces of at most CHUNK tokens, however long a document is."""

    def chunks() -> Iterator[Ids]:
        stored = np.memmap(scratch, np.uint32, "r")
        held: list[Ids] = []
        size = 0
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            for at in range(start, start + length, CHUNK):
                piece = np.asarray(stored[at : min(at + CHUNK, start + length)])
                held.append(piece)
                size += len(piece)
                if size >= CHUNK:
                    yield np.concatenate(held)
                    held, size = [], 0
        if held:
            yield np.concatenate(held)

    return chunks


def _write_places(path: Path, documents: pa.Table, lengths: forms.Lengths) -> store.Record:
    ends = np.cumsum(lengths)
    table = documents.add_column(0, "token_start", pa.array(ends - lengths, pa.int64()))
    table = table.add_column(1, "token_end", pa.array(ends, pa.int64()))
    return store.write_table(path, [table], table.schema)
