"""Logs of many trainers, recognized by what is in them: `read(path)`.

Text goes through in blocks, so that memory is that of the numbers.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from cleanpipe.errors import InputError
from cleanpipe.input.bytestream import BrokenStreamError, ByteStream, compression_of
from cleanpipe.stability.logs import log_json, log_lines, log_tensorboard
from cleanpipe.stability.logs.log import Log, Note, logs
from cleanpipe.stability.logs.log_columns import chosen, listed
from cleanpipe.stability.logs.log_numbers import Numbers

BLOCK = 16 << 20
LARGEST = 512 << 20
"""Bytes of a file that has to be read as a whole: one JSON document, a CSV, an event file."""
CUT_OFF = Note(
    "cut_off",
    "the file ends in the middle of a line or record, which is left out: a copy, or a run, that "
    "was stopped",
)
HEADER = 1
"""Lines of a table above its rows."""
AVERAGED = {"huggingface", "megatron"}
"""Forms whose loss is a mean over the rows' interval, while the norm is that of one step."""
EXPECTED = (
    "expected a log of Megatron, NeMo, nanotron, llm.c, nanoGPT, modded-nanogpt, OLMo, torchtitan "
    "or Composer, a trainer_state.json, TensorBoard event files, or CSV or JSON lines with a step "
    "and a loss"
)


def read(path: Path | str, columns: Mapping[str, str] | None = None) -> list[Log]:
    """The runs that a file, or a folder of TensorBoard event files, tells of; mostly one.

    `columns` names the columns of a CSV or JSON lines: {"loss": "my loss"}. Errors: InputError
    where there is no log in the file, RecipeError for a column that it has not.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    try:
        with path.open("rb") as file:
            compression = compression_of(file.read(16))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    with ByteStream(str(path), compression, None) as stream:
        head = _take(stream, BLOCK)
        if log_tensorboard.is_event_file(head[:12]):
            raw, cut = log_tensorboard.rows(_whole(path, head, stream))
            form, notes = "tensorboard", [CUT_OFF] if cut else []
        else:
            raw, form, notes = _text(path, head, stream, columns)
    if stream.is_broken and CUT_OFF not in notes:
        notes.append(CUT_OFF)
    return [_told(log) for log in logs(raw, path.name, form, tuple(notes))]


def _folder(path: Path) -> list[Log]:
    """Event files of a folder, one after the other: a resumed run begins another file."""
    files = sorted(path.glob("*tfevents*"))
    if not files:
        raise InputError(f"{path}: a folder without TensorBoard event files; name the log itself")
    parts = []
    cut = False
    for file in files:
        with ByteStream(str(file), "none", None) as stream:
            part, ends_early = log_tensorboard.rows(_whole(file, b"", stream))
        parts.append(part)
        cut |= ends_early
    found = logs(pl.concat(parts), path.name, "tensorboard", (CUT_OFF,) if cut else ())
    return [_told(log) for log in found]


def _text(
    path: Path, head: bytes, stream: ByteStream, columns: Mapping[str, str] | None
) -> tuple[pl.DataFrame, str, list[Note]]:
    """Rows, their form, and what was lost of them."""
    start = head.decode(errors="replace").lstrip("\ufeff \r\n\t")
    if not start:
        raise InputError(f"{path}: the file is empty; {EXPECTED}")
    if not columns and '"log_history"' in head.decode(errors="replace"):
        raw, notes = _huggingface(path, _whole(path, head, stream))
        return raw, "huggingface", notes
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: text in UTF-16; expected UTF-8: iconv -f utf-16 -t utf-8")
    blocks = _Blocks(head, stream)
    keys = log_json.keys(start[: 1 << 20], str(path), columns) if start[0] == "{" else None
    if keys is not None:
        raw, notes = log_json.rows(iter(blocks), keys)
        return raw, keys.name, [*notes, *([CUT_OFF] if blocks.cut else [])]
    form = None
    if not columns:
        form = log_lines.recognized(start[: 1 << 20])
        form = form or log_lines.recognized(start)
    if form is None and start[0] == "[" and start[1:].lstrip().startswith("{"):
        raise InputError(f"{path}: one list of JSON; expected an object a line: jq -c '.[]'")
    if form is None:
        return _csv(path, _whole(path, head, stream), columns)
    raw, notes = log_lines.rows(iter(blocks), form)
    return raw, form.name, [*notes, *([CUT_OFF] if blocks.cut else [])]


class _Blocks:
    """Whole lines of a stream, a block at a time; `cut` afterwards: whether the last had no end."""

    def __init__(self, head: bytes, stream: ByteStream) -> None:
        self._head, self._stream = head, stream
        self.cut = False

    def __iter__(self) -> Iterator[str]:
        held = self._head
        while True:
            place = max(held.rfind(b"\n"), held.rfind(b"\r")) + 1
            if place:
                yield held[:place].decode(errors="replace")
            more = _take(self._stream, BLOCK)
            if not more:
                self.cut = bool(held[place:].strip())
                return
            held = held[place:] + more


def _take(stream: ByteStream, size: int) -> bytes:
    """What precedes a break is read like any other; `stream.is_broken` says that there was one."""
    try:
        return stream.read(size)
    except BrokenStreamError:
        return b""


def _whole(path: Path, head: bytes, stream: ByteStream) -> bytes:
    data = head + _take(stream, LARGEST + 1)
    if len(data) > LARGEST:
        raise InputError(
            f"{path}: more than {LARGEST >> 20} MB in one document; write the steps as JSON lines"
        )
    return data


def _huggingface(path: Path, data: bytes) -> tuple[pl.DataFrame, list[Note]]:
    """The history of a trainer_state.json, which may hold NaN (that is no JSON)."""
    try:
        history = json.loads(data)["log_history"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: a trainer_state.json that cannot be read ({error}): cut off? each checkpoint "
            "folder has a copy"
        ) from error
    rows = [row for row in history if isinstance(row, dict)]
    names = chosen(dict.fromkeys(key for row in rows for key in row))
    if "step" not in names:
        raise InputError(f"{path}: a trainer_state.json whose log_history has no step")
    account = Numbers("row")
    text = pl.DataFrame(
        {ours: [_text_of(row.get(theirs)) for row in rows] for ours, theirs in names.items()},
        schema=dict.fromkeys(names, pl.String),
    )
    return account.of(text, 1), account.notes()


def _text_of(value: Any) -> str | None:
    return None if value is None else str(value)


def _csv(
    path: Path, data: bytes, columns: Mapping[str, str] | None
) -> tuple[pl.DataFrame, str, list[Note]]:
    """A table with a header. W&B's export has a column a run: `name - metric`."""
    notes = [] if data.endswith((b"\n", b"\r")) else [CUT_OFF]
    data = data if b"\n" in data else data.replace(b"\r", b"\n")
    end = data.rfind(b"\n") + 1
    first = data[: data.find(b"\n")] if b"\n" in data else data
    separator = max(",;\t", key=first.decode(errors="replace").count)
    try:
        table = pl.read_csv(
            data[:end] if notes else data,
            separator=separator,
            infer_schema=False,
            truncate_ragged_lines=True,
            encoding="utf8-lossy",
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: no log is recognized in it; {EXPECTED}") from error
    plain = data.count(b"\n", 0, end) == table.height + HEADER  # no blank lines, none in quotes
    begin = HEADER + 1 if plain else 1
    account = Numbers("line" if plain else "row")
    exported = _exported(table, account, begin)
    if exported is not None:
        return exported, "wandb", [*account.notes(), *notes]
    names = chosen(table.columns, columns)
    if "step" not in names or not {"loss", "grad_norm"} & set(names):
        if _is_table(table):
            raise InputError(f"{path}: a table {listed(table.columns, names)}")
        raise InputError(f"{path}: no log is recognized in it; {EXPECTED}")
    form = "csv"
    if "_step" in table.columns:
        form = "wandb"
    elif "epoch" in table.columns and names["step"] == "step":
        form = "lightning"
    twice = [name for name in names.values() if f"{name}_duplicated_0" in table.columns]
    notes += [
        Note("same_name", f"more than one column is named {name}: the first is read")
        for name in twice
    ]
    text = table.select(pl.col(names[ours]).alias(ours) for ours in names)
    return account.of(text, begin), form, [*account.notes(), *notes]


def _is_table(table: pl.DataFrame) -> bool:
    """Whether some column is mostly numbers: prose can be read as a table, too."""
    if not table.height or not "".join(table.columns).isprintable():
        return False
    sample = table.head(1000).cast(pl.Float64, strict=False)
    return any(2 * column.null_count() <= len(column) for column in sample.iter_columns())


def _exported(table: pl.DataFrame, account: Numbers, begin: int) -> pl.DataFrame | None:
    """W&B's table of charts as rows with a run; None where it is none."""
    step = table.columns[0]
    runs: dict[str, dict[str, str]] = {}
    for name in table.columns[1:]:
        run, dash, metric = name.rpartition(" - ")
        if dash and not metric.endswith(("__MIN", "__MAX")):
            runs.setdefault(run, {})[metric] = name
    parts = []
    for run, metrics in runs.items():
        names = chosen([*metrics, step])
        if "step" in names and len(names) > 1:
            ours = {n: metrics.get(theirs, theirs) for n, theirs in names.items()}
            text = table.select(pl.col(column).alias(name) for name, column in ours.items())
            parts.append(account.of(text, begin).with_columns(run=pl.lit(run)))
    return pl.concat(parts, how="diagonal") if parts else None


def _told(log: Log) -> Log:
    """The log with what its form is known to hide."""
    notes = list(log.notes)
    notes += [note for form in log_lines.FORMS if form.name == log.form for note in form.notes]
    if log.form == "huggingface":
        notes.append(
            Note(
                "nan_filter",
                "Hugging Face's Trainer puts the mean in place of a NaN or infinite loss unless "
                "logging_nan_inf_filter=False: a divergence may not show",
            )
        )
    if log.interval > 1:
        text = f"a row every {log.interval} steps"
        if log.form in AVERAGED:
            text += "; its loss is their mean, its gradient norm that of the last"
        notes.append(Note("interval", f"{text}: what lasts a step is diluted or missed"))
    if log.form == "wandb" and any(note.kind == "missing_steps" for note in notes):
        notes.append(
            Note("sampled", "W&B's history() gives 500 sampled rows; scan_history() gives all")
        )
    return replace(log, notes=tuple(notes))
