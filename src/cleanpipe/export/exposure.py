"""Which documents stood in which step's batch, in tokens; and what proves it.

A mapper (`export.mappers`) or a step log (`export.step_log`) gives the *spans* of steps:

| column | type | meaning |
|---|---|---|
| step | Int64 | the trainer's own number of the step |
| file | Int32 | which token file, in the order of export.json |
| start | Int64 | the first token, counted from the file's first token (headers are none) |
| length | Int64 | how many tokens stood in the batch as input |

`exposure` joins them with train.docs.parquet into the *exposure table*, a row for each document in
each step, ordered by step and document:

| column | type | meaning |
|---|---|---|
| step | Int64 | as above |
| document | Int64 | the row of train.docs.parquet |
| id | String | the document's id there |
| tokens | Int64 | how many of its tokens, its end token among them, stood in the step's batch |

A document's share of a batch is its tokens over the sum of `tokens` of the step. Tokens are counted
as inputs: the target of a sequence's last token is counted nowhere, that of its first one twice.
"""

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import xxhash

from cleanpipe import store
from cleanpipe.errors import InputError

Places = npt.NDArray[np.int64]
SPANS = {"step": pl.Int64, "file": pl.Int32, "start": pl.Int64, "length": pl.Int64}
EXPOSURE = {"step": pl.Int64, "document": pl.Int64, "id": pl.String, "tokens": pl.Int64}
DATASET = "datasets"
CHUNK = 1 << 20
"""Tokens that are gathered at a time."""
SPANS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Export:
    """An export, opened: who stands where, and the tokens."""

    folder: Path
    said: dict[str, Any]
    """What export.json says."""
    ids: pl.Series
    bounds: Places
    """Where each document begins among all tokens, and where the last one ends."""
    first: Places
    """(files + 1,): the number of each file's first token among all, and how many there are."""

    @classmethod
    def open(cls, folder: Path) -> "Export":
        """Open an export. Its files are not hashed: `verify` does that.

        Errors: InputError for a folder that is no export, or whose table does not fit its files.
        """
        proof = folder / "export.json"
        if not proof.is_file():
            raise InputError(f"{folder} holds no export.json; name a folder of cleanpipe export")
        said = store.read_json(proof)
        table = pl.read_parquet(folder / "train.docs.parquet")
        starts, ends = (table[name].to_numpy() for name in ("token_start", "token_end"))
        bounds = np.concatenate([starts, ends[-1:]])
        counts = [file["tokens"] for file in said["files"] if "tokens" in file]
        first = np.concatenate([[0], np.cumsum(counts)])
        if (bounds[1:] != ends).any() or bounds[0] != 0 or bounds[-1] != first[-1]:
            raise InputError(f"{folder}/train.docs.parquet does not fit the files; export again")
        return cls(folder, said, table["id"], bounds, first)

    def verify(self) -> None:
        """Hash all files again. Errors: InputError where one is not as it was written."""
        files = [*self.said["files"], *self.said.get("validation", {}).get("files", [])]
        if faults := store.check_files(self.folder, files):
            raise InputError(f"{faults[0]}; export again")

    def tokens(self, file: int) -> npt.NDArray[Any]:
        """The tokens of a token file, read where they are touched.

        Those of a Hugging Face dataset, which lie in pieces, are held in memory: 4 bytes each.
        """
        known = [file for file in self.said["files"] if "tokens" in file][file]
        if self.said["format"] == DATASET:
            return self._of_rows
        return np.memmap(self.folder / known["name"], known["dtype"], "r", known["header_bytes"])

    @functools.cached_property
    def _of_rows(self) -> npt.NDArray[Any]:
        (name,) = (file["name"] for file in self.said["files"] if "tokens" in file)
        with pa.memory_map(str(self.folder / name)) as file, pa.ipc.open_stream(file) as stream:
            rows = [batch.column("input_ids").flatten().to_numpy() for batch in stream]
            return np.concatenate([np.zeros(0, np.int32), *rows])


def spans(step: Any, file: Any, start: Any, length: Any) -> pl.DataFrame:
    """A table of spans from columns, any of which may be one number for all."""
    columns = np.broadcast_arrays(step, file, start, length)
    flat = {name: np.ravel(column) for name, column in zip(SPANS, columns, strict=True)}
    return pl.DataFrame(flat).cast(SPANS)  # type: ignore[arg-type]


def exposure(export: Export, spans: pl.DataFrame) -> pl.DataFrame:
    """The exposure table of some steps: who stood in their batches, and with how many tokens.

    It has a row for each document of each step: for long runs, ask for the steps that matter.

    Errors: InputError for a span that goes beyond its file.
    """
    found = placed(export, spans)
    ids = export.ids.gather(found["document"]).alias("id")
    return found.with_columns(ids).select(list(EXPOSURE)).cast(EXPOSURE)  # type: ignore[arg-type]


def placed(export: Export, spans: pl.DataFrame) -> pl.DataFrame:
    """The exposure table without ids: step, document, tokens."""
    start, stop = among_all(export, spans)
    used = np.flatnonzero(stop > start)
    start, stop = start[used], stop[used]
    first = np.searchsorted(export.bounds, start, side="right") - 1
    last = np.searchsorted(export.bounds, stop, side="left")
    counts = last - first
    ramp = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    document = np.repeat(first, counts) + ramp
    low = np.maximum(np.repeat(start, counts), export.bounds[document])
    high = np.minimum(np.repeat(stop, counts), export.bounds[document + 1])
    step = np.repeat(spans["step"].to_numpy()[used], counts)
    found = pl.DataFrame({"step": step, "document": document, "tokens": high - low})
    later = np.diff(step)
    if ((later > 0) | (later == 0) & (np.diff(document) > 0)).all():
        return found  # as the tokens stand in their files, which is the rule
    summed = found.group_by("step", "document").agg(pl.col("tokens").sum())
    return summed.sort("step", "document")


def among_all(export: Export, spans: pl.DataFrame) -> tuple[Places, Places]:
    """Where spans begin and end among all tokens.

    Errors: InputError for a span that goes beyond its file.
    """
    file, start, length = (spans[name].to_numpy() for name in ("file", "start", "length"))
    files = len(export.first) - 1
    inside = (file >= 0) & (file < files) & (start >= 0) & (length >= 0)
    known = np.where(inside, file, 0)
    begin = export.first[known] + start
    inside &= begin + length <= export.first[known + 1]
    if not inside.all():
        step, *wrong = spans.row(int(np.flatnonzero(~inside)[0]))
        raise InputError(
            f"step {step}: file {wrong[0]}, tokens {wrong[1]} to {wrong[1] + wrong[2]} are not in "
            f"{export.folder}, which has {files} token files of "
            f"{np.diff(export.first).tolist()[:5]} tokens: the order is of another export"
        )
    return begin, begin + length


def digest(sequences: npt.ArrayLike) -> int:
    """The batch digest: the sum of the xxh3_64 of each sequence's int32 bytes, modulo 2^64.

    It does not depend on the order of the sequences, and the digests of parts of a batch (micro
    steps, ranks) add up to that of the batch.

    >>> whole = digest([[1, 2], [3, 4], [5, 6]])
    >>> whole == digest([[5, 6], [1, 2], [3, 4]])
    True
    >>> whole == (digest([[1, 2]]) + digest([[3, 4], [5, 6]])) % 2**64
    True
    """
    rows = np.ascontiguousarray(sequences, "<i4")
    return sum(xxhash.xxh3_64_intdigest(row.tobytes()) for row in np.atleast_2d(rows)) % (1 << 64)


def digests(export: Export, spans: pl.DataFrame, length: int | None = None) -> pl.DataFrame:
    """The digest that each step's batch must have had, of sequences of `length` tokens.

    Without a length each span is one sequence, as in a step log. Columns step (ascending) and
    digest (u64). Errors: InputError for spans beyond a file, or that are not whole sequences.
    """
    if not spans["step"].is_sorted():
        spans = spans.sort("step", maintain_order=True)
    parts = [spans[low : low + SPANS_AT_ONCE] for low in range(0, spans.height, SPANS_AT_ONCE)]
    own = np.concatenate([np.zeros(0, np.uint64), *(_each(export, part, length) for part in parts)])
    step = spans["step"].to_numpy()
    first = np.flatnonzero(np.diff(step, prepend=step[:1] - 1))
    summed = np.add.reduceat(own, first) if len(first) else own
    return pl.DataFrame({"step": step[first], "digest": summed})


def _each(export: Export, spans: pl.DataFrame, length: int | None) -> npt.NDArray[np.uint64]:
    """The digest of each span."""
    among_all(export, spans)
    step, file, start, count = (spans[name].to_numpy() for name in SPANS)
    odd = np.flatnonzero(count % (length or 1))
    if len(odd):
        wrong = f"step {step[odd[0]]}: {count[odd[0]]} tokens"
        raise InputError(f"{wrong} are not whole sequences of {length}")
    own = np.zeros(len(step), np.uint64)
    for number in np.unique(file).tolist():
        ids = np.asarray(export.tokens(number))
        for some in _about(np.flatnonzero((file == number) & (count > 0)), count):
            own[some] = _hashed(ids, start[some], count[some], length)
    return own


def _about(chosen: Places, count: Places) -> list[Places]:
    """The chosen spans in groups of about CHUNK tokens."""
    group = np.cumsum(count[chosen]) // CHUNK
    return np.split(chosen, np.flatnonzero(np.diff(group)) + 1) if len(chosen) else []


def _hashed(ids: npt.NDArray[Any], start: Places, count: Places, length: int | None) -> Any:
    """The digest of each span: of its sequences of `length` tokens, or of it as one."""
    ends = np.cumsum(count)
    ramp = np.arange(ends[-1]) - np.repeat(ends - count, count)
    held = memoryview(ids[np.repeat(start, count) + ramp].astype("<i4")).cast("B")
    pieces = count // length if length else np.ones_like(count)
    stops = 4 * np.cumsum(np.repeat(count // pieces, pieces))
    bounds = itertools.pairwise([0, *stops.tolist()])
    hashes = (xxhash.xxh3_64_intdigest(held[low:high]) for low, high in bounds)
    return np.add.reduceat(np.fromiter(hashes, np.uint64, len(stops)), np.cumsum(pieces) - pieces)


def steps_of(spans: pl.DataFrame, steps: npt.ArrayLike) -> pl.DataFrame:
    """The spans of some steps."""
    return spans.filter(pl.col("step").is_in(pl.Series(np.asarray(steps, np.int64)).implode()))
