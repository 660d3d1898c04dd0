"""A published corpus -> token files in one final order, and the table of who stands where.

Each document is tokenized once, into a scratch file beside the result; the final files are read
from there in the chosen order. Memory holds a batch of texts, and a row of the table a document;
disk holds the tokens twice while it works. The folder appears, or is replaced, as a whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from cleanpipe import store
from cleanpipe.errors import RecipeError
from cleanpipe.export import folder, forms, holding_out, masks, order, published, spreading
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.hashing import hash_texts
from cleanpipe.kernels.spread import repeat_spans
from cleanpipe.measures import tokenizer

PROOF = "export.json"
TRAIN, VALIDATION = "train", "val"
PLACES = "{}.docs.parquet"
ORDERS = ("shuffle", "spread", "stored")
FILE_TOKENS = 100_000_000
ROWS_AT_ONCE = 65_536
Tell = Callable[[str, int, int], None]
PLACE = pa.schema(
    [
        ("token_start", pa.int64()),
        ("token_end", pa.int64()),
        ("id", pa.large_string()),
        ("copy", pa.int64()),
        ("part", pa.large_string()),
        ("row", pa.int64()),
        ("source", pa.large_string()),
        ("lang", pa.large_string()),
    ]
)
"""The table of places: a row a document, in the order of the tokens. Its tokens are those from
token_start to token_end, of all token files one after another; the last one ends the document."""


def export(
    output: Path,
    to: Path,
    *,
    tokens: str,
    form: str = "nanogpt",
    end: str = "<|endoftext|>",
    arranged: str = "shuffle",
    seed: int = 0,
    file_tokens: int = FILE_TOKENS,
    bounds: spreading.Bounds | None = None,
    validation: float = 0.0,
    tell: Tell = lambda *_: None,
) -> dict[str, Any]:
    """Write the current corpus of `output` into the folder `to`; what export.json says.

    `bounds` are those of the order spread, and are asked for by no other; `validation` the share of
    documents that are held out, by whole clusters of near-duplicates (see `holding_out`).

    Errors: RecipeError for an unknown format, order or end token, or ids that the format cannot
    hold; InputError where nothing is published, or no document, or a part was changed; OutputError
    where `to` holds something that is no export; LockedError while another export writes it.
    """
    _check(form, arranged, seed, file_tokens, validation)
    if arranged == "spread":
        file_tokens = _whole_batches(form, file_tokens, bounds)
    library = tokenizer.loaded(tokens)
    end_id = library.token_to_id(end)
    if end_id is None:
        raise RecipeError(f"--end {end}: {tokens} has no such token; name one that it has")
    vocabulary = max(library.get_vocab().values()) + 1
    kind = forms.token_type(form, vocabulary)
    manifest = published.manifest_of(output)
    with folder.replaced(to, PROOF) as new:
        scratch = new / "tokens"
        alike = validation > 0
        every, hashes = _tokenized(output, manifest, tokens, end_id, scratch, tell, alike=alike)
        trained = every
        held = None
        if alike:
            out = holding_out.held_out(every.table, hashes, every.lengths, validation, seed)
            trained, held = every.some(np.flatnonzero(~out)), every.some(np.flatnonzero(out))
        rows, kept = _ordered(trained, bounds, arranged, seed)
        ids = np.memmap(scratch, np.uint32, "r")
        files = forms.write(form, new, trained.stream(ids, rows), kind, file_tokens)
        files.append(_write_places(new, TRAIN, trained, rows))
        stretches = masks.table(trained.repeats, rows, trained.lengths[rows])
        files.append(store.write_table(new / masks.FILE, [stretches], masks.STRETCH))
        if held:
            own, _ = _ordered(held, None, "stored" if arranged == "stored" else "shuffle", seed)
            aside = forms.write(form, new, held.stream(ids, own), kind, file_tokens, VALIDATION)
            aside.append(_write_places(new, VALIDATION, held, own))
        del ids
        scratch.unlink()
        said = {
            "version": 1,
            "format": form,
            "corpus": {"manifest": manifest["number"], "run": manifest["run"]},
            "tokenizer": {"name": Path(tokens).name, "xxh3_128": store.file_hash(Path(tokens))},
            "vocabulary": vocabulary,
            "end_of_document": {"token": end, "id": end_id, "policy": "after each document"},
            "order": arranged,
            "seed": None if arranged == "stored" else seed,
            "spread": kept,
            "documents": len(trained.lengths),
            "tokens": int(trained.lengths.sum()),
            "files": files,
        }
        if held:
            said["validation"] = {
                "share": validation,
                "documents": len(held.lengths),
                "tokens": int(held.lengths.sum()),
                "files": aside,
            }
        store.write_json(new / PROOF, said)
    return said


def _check(form: str, arranged: str, seed: int, file_tokens: int, validation: float) -> None:
    """That options are what they may be."""
    for name, value, known in (("format", form, forms.FORMS), ("order", arranged, ORDERS)):
        if value not in known:
            raise RecipeError(f"--{name} {value} is unknown; expected {', '.join(known)}")
    if not 0 <= seed < 1 << 64:
        raise RecipeError(f"--seed {seed}: expected 0 to 2^64 - 1")
    if not 1 <= file_tokens <= forms.LLMC_MOST:
        raise RecipeError(f"--file-tokens {file_tokens}: expected 1 to {forms.LLMC_MOST:,}")
    if not 0 <= validation < 1:
        raise RecipeError(f"--validation {validation}: expected a share from 0 to below 1")


def _whole_batches(form: str, file_tokens: int, bounds: spreading.Bounds | None) -> int:
    """The most tokens of a file of whole batches."""
    if form == "megatron":
        raise RecipeError(
            "--order spread: Megatron draws an order of its own, which would undo it; export as "
            "llmc or nanogpt for a loader that reads from the beginning, or choose --order shuffle"
        )
    if bounds is None:
        raise RecipeError("--order spread needs --batch-tokens: the tokens of a step")
    bounds.check()
    if file_tokens < bounds.batch_tokens:
        raise RecipeError(
            f"--file-tokens {file_tokens:,} is less than a batch of {bounds.batch_tokens:,} tokens"
        )
    return file_tokens - file_tokens % bounds.batch_tokens


@dataclass(frozen=True)
class Tokenized:
    """Documents whose tokens stand in the scratch file."""

    table: pa.Table
    """As `published.documents` has them, with the hash of the text in its place."""
    starts: forms.Lengths
    lengths: forms.Lengths
    repeats: forms.Lengths
    """Rows of (document, start, end, period); see `masks`."""

    def some(self, chosen: forms.Lengths) -> "Tokenized":
        """Some of the documents, by their numbers (ascending)."""
        number = np.full(len(self.lengths), -1)
        number[chosen] = np.arange(len(chosen))
        own = self.repeats[number[self.repeats[:, 0]] >= 0]
        renumbered = np.column_stack([number[own[:, 0]], own[:, 1:]])
        table = self.table.take(chosen)
        return Tokenized(table, self.starts[chosen], self.lengths[chosen], renumbered)

    def stream(self, ids: npt.NDArray[np.uint32], rows: order.Rows) -> forms.Stream:
        """Their tokens in an order."""
        return forms.Stream(ids, self.starts[rows], self.lengths[rows])


def _ordered(
    documents: Tokenized, bounds: spreading.Bounds | None, arranged: str, seed: int
) -> tuple[order.Rows, dict[str, Any] | None]:
    """The documents' numbers in final order; and what was kept of the bounds, if there are any."""
    lengths, repeats = documents.lengths, documents.repeats
    table = pl.DataFrame(documents.table.select([*order.NAMES, "source"]))
    if arranged == "stored":
        return np.arange(len(lengths)), None
    if arranged == "shuffle" or bounds is None:
        return order.shuffled(table, seed), None
    sizes = repeats[:, 2] - repeats[:, 1]
    coherent = np.bincount(repeats[:, 0], sizes, len(lengths)).astype(np.int64)
    return spreading.arranged(table, lengths, coherent, bounds, seed)


def _tokenized(
    output: Path,
    manifest: store.Record,
    tokens: str,
    end_id: int,
    scratch: Path,
    tell: Tell,
    *,
    alike: bool,
) -> tuple[Tokenized, holding_out.Hashes]:
    """Write all tokens in stored order; the documents, and if asked what makes them alike."""
    tables, lengths, repeats = [], [], []
    hashes = [np.zeros((0, holding_out.BANDS), np.uint64)]
    total = sum(part["rows"] for part in manifest["parts"])
    done = 0
    with scratch.open("xb") as file:
        for table in published.documents(output, manifest):
            tell("tokenize", done, total)
            offsets, data = text_buffers(table["text"].combine_chunks().fill_null(""))
            places, ids = tokenizer.encode(tokens, offsets, data)
            file.write(np.insert(ids, places[1:], end_id).astype(np.uint32).tobytes())
            lengths.append(np.diff(places) + 1)
            found = repeat_spans(ids, places, masks.TIMES, masks.LEAST)
            repeats.append(found + np.array([done, 0, 0, 0]))
            if alike:
                hashes.append(holding_out.bands(offsets, data))
            low, high = hash_texts(offsets, data, np.uint64(0))
            known = table.drop_columns(["text"]).append_column("text_lo", pa.array(low))
            tables.append(known.append_column("text_hi", pa.array(high)))
            done += table.num_rows
    if not done:
        raise published.nothing(output)
    tell("tokenize", done, total)
    whole = pa.concat_tables(tables).unify_dictionaries()
    sizes = np.concatenate(lengths)
    every = Tokenized(whole, np.cumsum(sizes) - sizes, sizes, np.concatenate(repeats))
    return every, np.concatenate(hashes)


def _write_places(new: Path, name: str, documents: Tokenized, rows: order.Rows) -> store.Record:
    tables = _places(documents.table, rows, documents.lengths[rows])
    return store.write_table(new / PLACES.format(name), tables, PLACE)


def _places(table: pa.Table, rows: order.Rows, lengths: forms.Lengths) -> Iterator[pa.Table]:
    ends = np.cumsum(lengths)
    for first in range(0, len(rows), ROWS_AT_ONCE):
        own = slice(first, first + ROWS_AT_ONCE)
        taken = table.take(rows[own])
        bounds = [pa.array(ends[own] - lengths[own]), pa.array(ends[own])]
        columns = [*bounds, *(taken[name] for name in PLACE.names[2:])]
        yield pa.table([c.cast(k) for c, k in zip(columns, PLACE.types, strict=True)], PLACE)
