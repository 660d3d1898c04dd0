"""The documents of a published corpus, part after part, in the order of the manifest."""

from collections.abc import Iterator
from pathlib import Path

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


def documents(output: Path, manifest: store.Record) -> Iterator[pa.Table]:
    """Tables of at most 1,000 rows: id, part, row, source, lang, text; part by its path."""
    for part in manifest["parts"]:
        row = 0
        for table in _tables(output / part["path"]):
            yield _chosen(table, part["path"], row)
            row += table.num_rows


def _tables(path: Path) -> Iterator[pa.Table]:
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
            names = ("id", "text", *CARRIED)
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
    count = table.num_rows
    columns = {
        "id": table["id"].cast(pa.large_string()),
        "part": pa.array([part] * count, pa.large_string()),
        "row": pa.array(range(first, first + count), pa.int64()),
    }
    for name in CARRIED:
        here = name in table.column_names
        values = table[name] if here else pa.nulls(count)
        columns[name] = values.cast(pa.large_string())
    if "text" not in table.column_names:
        raise InputError(f"{part} has no column text; it has {', '.join(table.column_names)}")
    columns["text"] = table["text"].cast(pa.large_string())
    return pa.table(columns)
