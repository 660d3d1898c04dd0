"""A published corpus -> token files in one final order, and the table of who stands where.

Each document is tokenized once, into a scratch file beside the result; the final files are read
from there in the chosen order. Memory holds a batch of texts, and a row of the table a document;
disk holds the tokens twice while it works. The folder appears, or is replaced, as a whole.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from cleanpipe import store
from cleanpipe.errors import RecipeError
from cleanpipe.export import folder, forms, masks, order, published, spreading
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.hashing import hash_texts
from cleanpipe.kernels.spread import repeat_spans
from cleanpipe.measures import tokenizer

PROOF = "export.json"
PLACES = "train.docs.parquet"
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
    tell: Tell = lambda *_: None,
) -> dict[str, Any]:
    """Write the current corpus of `output` into the folder `to`; what export.json says.

    `bounds` are those of the order spread, and are asked for by no other.

    Errors: RecipeError for an unknown format, order or end token, or ids that the format cannot
    hold; InputError where nothing is published, or no document, or a part was changed; OutputError
    where `to` holds something that is no export; LockedError while another export writes it.
    """
    for name, value, known in (("format", form, forms.FORMS), ("order", arranged, ORDERS)):
        if value not in known:
            raise RecipeError(f"--{name} {value} is unknown; expected {', '.join(known)}")
    if not 0 <= seed < 1 << 64:
        raise RecipeError(f"--seed {seed}: expected 0 to 2^64 - 1")
    if not 1 <= file_tokens <= forms.LLMC_MOST:
        raise RecipeError(f"--file-tokens {file_tokens}: expected 1 to {forms.LLMC_MOST:,}")
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
        table, lengths, repeats = _tokenized(output, manifest, tokens, end_id, scratch, tell)
        rows, kept = _ordered(table, lengths, repeats, bounds, arranged, seed)
        starts = (np.cumsum(lengths) - lengths)[rows]
        stream = forms.Stream(np.memmap(scratch, np.uint32, "r"), starts, lengths[rows])
        files = forms.write(form, new, stream, kind, file_tokens)
        del stream
        scratch.unlink()
        tables = _places(table, rows, lengths[rows])
        files.append(store.write_table(new / PLACES, tables, PLACE))
        stretches = masks.table(repeats, rows, lengths[rows])
        files.append(store.write_table(new / masks.FILE, [stretches], masks.STRETCH))
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
            "documents": len(lengths),
            "tokens": int(lengths.sum()),
            "files": files,
        }
        store.write_json(new / PROOF, said)
    return said


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


def _ordered(
    table: pa.Table,
    lengths: forms.Lengths,
    repeats: forms.Lengths,
    bounds: spreading.Bounds | None,
    arranged: str,
    seed: int,
) -> tuple[order.Rows, dict[str, Any] | None]:
    """The documents' numbers in final order; and what was kept of the bounds, if there are any."""
    documents = pl.DataFrame(table.select([*order.NAMES, "source"]))
    if arranged == "stored":
        return np.arange(len(lengths)), None
    if arranged == "shuffle" or bounds is None:
        return order.shuffled(documents, seed), None
    sizes = repeats[:, 2] - repeats[:, 1]
    coherent = np.bincount(repeats[:, 0], sizes, len(lengths)).astype(np.int64)
    return spreading.arranged(documents, lengths, coherent, bounds, seed)


def _tokenized(
    output: Path, manifest: store.Record, tokens: str, end_id: int, scratch: Path, tell: Tell
) -> tuple[pa.Table, forms.Lengths, forms.Lengths]:
    """Write all tokens in stored order; the documents, how many tokens each has, its repeats."""
    tables, lengths, repeats = [], [], []
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
            low, high = hash_texts(offsets, data, np.uint64(0))
            known = table.drop_columns(["text"]).append_column("text_lo", pa.array(low))
            tables.append(known.append_column("text_hi", pa.array(high)))
            done += table.num_rows
    if not done:
        raise published.nothing(output)
    tell("tokenize", done, total)
    whole = pa.concat_tables(tables).unify_dictionaries()
    return whole, np.concatenate(lengths), np.concatenate(repeats)


def _places(table: pa.Table, rows: order.Rows, lengths: forms.Lengths) -> Iterator[pa.Table]:
    ends = np.cumsum(lengths)
    for first in range(0, len(rows), ROWS_AT_ONCE):
        own = slice(first, first + ROWS_AT_ONCE)
        taken = table.take(rows[own])
        bounds = [pa.array(ends[own] - lengths[own]), pa.array(ends[own])]
        columns = [*bounds, *(taken[name] for name in PLACE.names[2:])]
        yield pa.table([c.cast(k) for c, k in zip(columns, PLACE.types, strict=True)], PLACE)
