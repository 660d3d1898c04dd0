"""The documents of a published corpus, part after part, in the order of the manifest."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cleanpipe import store
from cleanpipe.errors import InputError

ROWS = 1_000
CARRIED = ("source", "lang")
"""Columns that are carried into the table of documents, where a part has them."""


def manifest_of(output: Path) -> store.Record:
    """The manifest of what is published in an output folder.

    Errors: InputError where nothing is, or where a part is not what was published.
    """
    manifest = store.current_manifest(output)
    if manifest is None:
        raise InputError(
            f"{output} holds no published run: there is no _cleanpipe/HEAD.json; name the output "
            "folder of a finished run"
        )
    faults = store.check_files(output, ({**p, "name": p["path"]} for p in manifest["parts"]))
    if faults:
        raise InputError(f"{faults[0]}; run again, or roll back, before you export")
    return manifest


def nothing(output: Path) -> InputError:
    """The error of a publication without a document."""
    return InputError(
        f"{output} has published no document, so there is nothing to export; `cleanpipe report` "
        "says what dropped them"
    )


def documents(output: Path, manifest: store.Record) -> Iterator[pa.Table]:
    """Tables of at most 1,000 rows: id, copy, part, row, source, lang, text; part by its path."""
    for part in manifest["parts"]:
        row = 0
        for table in tables(output / part["path"]):
            yield _chosen(table, part["path"], row)
            row += table.num_rows


def tables(path: Path) -> Iterator[pa.Table]:
    """A part's rows in tables of at most 1,000."""
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS):
                yield pa.Table.from_batches([batch])
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
            for number in range(reader.num_record_batches):
                whole = pa.Table.from_batches([reader.get_batch(number)])
                for start in range(0, whole.num_rows, ROWS):
                    yield whole.slice(start, ROWS)
    else:
        for lines in _batched(store.read_lines(path)):
            names = dict.fromkeys(name for line in lines for name in line)
            yield pa.table({n: [line.get(n) for line in lines] for n in names})


def _batched(lines: Iterator[store.Record]) -> Iterator[list[store.Record]]:
    held: list[store.Record] = []
    for line in lines:
        held.append(line)
        if len(held) == ROWS:
            yield held
            held = []
    if held:
        yield held


def _chosen(table: pa.Table, part: str, first: int) -> pa.Table:
    if "text" not in table.column_names:
        raise InputError(f"{part} has no column text; it has {', '.join(table.column_names)}")
    count = table.num_rows
    few = pa.dictionary(pa.int32(), pa.large_string())
    columns = {
        "id": table["id"].cast(pa.large_string()),
        "copy": table["copy"].cast(pa.int64()),
        "part": pa.repeat(pa.scalar(part, pa.large_string()), count).dictionary_encode(),
        "row": pa.array(np.arange(first, first + count)),
    }
    for name in CARRIED:
        values = table[name] if name in table.column_names else pa.nulls(count)
        columns[name] = values.cast(pa.large_string()).dictionary_encode().cast(few)
    return pa.table({**columns, "text": table["text"].cast(pa.large_string())})
