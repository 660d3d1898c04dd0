"""The files that trainers read, written from the formats' facts.

- nanogpt: train.bin, bare uint16.
- llmc: train_000001.bin and so on. Each begins with 256 int32 (magic, version, tokens; the rest 0);
  then uint16 under magic 20240520 version 1, or uint32 under 20240801 version 7.
- megatron: train.bin, bare tokens; train.idx, which tells their type (code 8 for uint16, 4 for
  int32), and the length and place of each document.
- datasets: what `datasets.load_from_disk` opens: a row a document, columns document (its row in the
  table of places) and input_ids. A name would not fit into a tensor.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cleanpipe import store
from cleanpipe.errors import RecipeError

FORMS = ("nanogpt", "llmc", "megatron", "datasets")
SMALL = 1 << 16  # ids that two bytes hold
LLMC_HEADER = 1024
LLMC_MOST = 2**31 - 1  # its header counts tokens in an int32
MEGATRON_TYPES = {"uint16": 8, "int32": 4}
CHUNK = 1 << 20
"""Tokens that are gathered at a time: 4 MB."""
Ids = npt.NDArray[np.uint32]
Lengths = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """The tokens of documents, in the order in which they are to stand."""

    stored: Ids
    """All tokens, in any order."""
    starts: Lengths
    lengths: Lengths
    """Where each document's tokens begin in `stored`, and how many they are, in final order."""

    def documents(self) -> Iterator[tuple[slice, Ids]]:
        """Whole documents, as many as have about CHUNK tokens, and one at least: which, tokens."""
        ends = np.cumsum(self.lengths)
        first = 0
        while first < len(ends):
            before = ends[first] - self.lengths[first]
            last = max(first + 1, int(np.searchsorted(ends, before + CHUNK, side="right")))
            starts, lengths = self.starts[first:last], self.lengths[first:last]
            inside = np.cumsum(lengths) - lengths
            places = np.repeat(starts - inside, lengths) + np.arange(lengths.sum())
            yield slice(first, last), self.stored[places]
            first = last

    def pieces(self, size: int) -> Iterator[Ids]:
        """All tokens; no piece goes on over a multiple of `size`."""
        room = size
        for _, ids in self.documents():
            rest = ids
            while len(rest):
                yield rest[:room]
                taken = min(room, len(rest))
                rest = rest[taken:]
                room = room - taken or size


def token_type(form: str, vocabulary: int) -> np.dtype[Any]:
    """The type of a token in a file; `vocabulary` is the number of ids.

    Errors: RecipeError where the trainer could not read the ids.

    >>> token_type("llmc", 50_257).name, token_type("megatron", 128_256).name
    ('uint16', 'int32')
    """
    if form == "datasets":
        return np.dtype("<i4")
    if vocabulary <= SMALL:
        return np.dtype("<u2")
    if form == "nanogpt":
        raise RecipeError(
            f"nanoGPT reads ids below 65,536 only, and the tokenizer has {vocabulary:,}: choose "
            "--format llmc, or a smaller tokenizer"
        )
    return np.dtype("<u4") if form == "llmc" else np.dtype("<i4")


def write(
    form: str,
    folder: Path,
    stream: Stream,
    kind: np.dtype[Any],
    file_tokens: int,
    name: str = "train",
) -> list[store.Record]:
    """Write the files of a format into `folder`; the records of those with tokens come first.

    `file_tokens` is the most that a file of llm.c holds; files begin with `name`, but a dataset
    that is not train has a folder of its own.
    """
    if form == "datasets":
        if name == "train":
            return _datasets(folder, stream, name)
        own = _datasets(folder / name, stream, name)
        return [{**record, "name": f"{name}/{record['name']}"} for record in own]
    if form == "llmc":
        return list(_llmc(folder, stream, kind, file_tokens, name))

    def fill(file: IO[bytes]) -> None:
        for _, some in stream.documents():
            file.write(some.astype(kind).tobytes())

    total = int(stream.lengths.sum())
    written = store.write_file(folder / f"{name}.bin", fill)
    records = [_tokens(written, kind, 0, 0, total)]
    if form == "megatron":
        index = folder / f"{name}.idx"
        records.append(
            store.write_file(index, lambda file: _megatron_index(file, kind, stream.lengths))
        )
    return records


def _tokens(
    record: store.Record, kind: np.dtype[Any], header: int, first: int, count: int
) -> store.Record:
    own = {"dtype": kind.name, "header_bytes": header, "first_token": first, "tokens": count}
    return {**record, **own}


def _llmc(
    folder: Path, stream: Stream, kind: np.dtype[Any], file_tokens: int, prefix: str
) -> Iterator[store.Record]:
    """Files of exactly `file_tokens` tokens but for the last: a document may go on in the next."""
    total = int(stream.lengths.sum())
    pieces = stream.pieces(file_tokens)
    for number, first in enumerate(range(0, total, file_tokens), 1):
        count = min(file_tokens, total - first)

        def fill(file: IO[bytes], count: int = count) -> None:
            file.write(_llmc_header(kind, count))
            while count:
                piece = next(pieces)
                file.write(piece.astype(kind).tobytes())
                count -= len(piece)

        record = store.write_file(folder / f"{prefix}_{number:06d}.bin", fill)
        yield _tokens(record, kind, LLMC_HEADER, first, count)


def _llmc_header(kind: np.dtype[Any], total: int) -> bytes:
    header = np.zeros(LLMC_HEADER // 4, "<i4")
    header[:3] = (20240520, 1, total) if kind.itemsize == 2 else (20240801, 7, total)
    return header.tobytes()


def _megatron_index(file: IO[bytes], kind: np.dtype[Any], lengths: Lengths) -> None:
    """Magic, version, type, counts, lengths, byte places, and the bounds of documents."""
    count = len(lengths)
    file.write(b"MMIDIDX\x00\x00")
    file.write(np.array([1], "<u8").tobytes())
    file.write(bytes([MEGATRON_TYPES[kind.name]]))
    file.write(np.array([count, count + 1], "<u8").tobytes())
    file.write(lengths.astype("<i4").tobytes())
    places = (np.cumsum(lengths) - lengths) * kind.itemsize
    file.write(places.astype("<i8").tobytes())
    file.write(np.arange(count + 1, dtype="<i8").tobytes())


def _datasets(folder: Path, stream: Stream, split: str) -> list[store.Record]:
    """An Arrow stream and the two small files by which `load_from_disk` knows it.

    dataset_info.json leaves the columns' types to the Arrow schema, which every version of the
    package reads; they were called otherwise before its version 4.
    """
    name = "data-00000-of-00001.arrow"
    schema = pa.schema({"document": pa.int64(), "input_ids": pa.large_list(pa.int32())})

    def fill(file: IO[bytes]) -> None:
        with pa.ipc.new_stream(file, schema) as writer:
            for rows, some in stream.documents():
                places = np.concatenate([[0], np.cumsum(stream.lengths[rows])])
                lists = pa.LargeListArray.from_arrays(places, some.astype(np.int32))
                numbers = pa.array(np.arange(rows.start, rows.stop))
                own = pa.table([numbers, lists], schema)
                writer.write_table(own, max_chunksize=store.ROWS_IN_GROUP)

    record = store.write_file(folder / name, fill)
    total = int(stream.lengths.sum())
    known: dict[str, Any] = {
        "dataset_info.json": {"citation": "", "description": "", "homepage": "", "license": ""},
        "state.json": {
            "_data_files": [{"filename": name}],
            "_fingerprint": record["xxh3_128"][:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        },
    }
    first = {**record, "first_token": 0, "tokens": total}  # without a type: no bare tokens
    return [first, *(store.write_json(folder / path, value) for path, value in known.items())]
