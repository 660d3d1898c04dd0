"""A training log as a table, whoever wrote it: one row a step, and what the log does not show.

Rows of a file become logs here: several runs in a file are told apart, a resumed run's repeated
steps are taken from the later try, and whatever a reader should know is a note.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.errors import InputError

CHANNELS = ("loss", "grad_norm")
SCHEMA = {
    "step": pl.Int64,
    "loss": pl.Float64,
    "grad_norm": pl.Float64,
    "lr": pl.Float64,
    "tokens": pl.Float64,
}
UNSORTED = 100
"""Falls of the step number in one file above which it is no resumed run, but out of order."""
ASKED = 1000
"""Values by whose digits the resolution is judged."""
EXACT = 12
"""Digits after the point from which a number was printed in full."""


FEW = 50
"""Rows under which a log tells nothing of a trend."""
VALUED = pl.any_horizontal(pl.col(CHANNELS).is_not_null())


class Note(NamedTuple):
    """Something that the log hides, or that is wrong with it."""

    kind: str
    text: str


@dataclass(frozen=True)
class Log:
    """One run's log.

    `steps` has a row a logged step, ascending and unique: step (i64), and as f64 loss, grad_norm
    (before clipping, where the trainer logs that), lr, tokens (trained up to and with the step).
    Null is not logged; NaN and infinities are what was logged.
    """

    name: str
    form: str
    """Whose log it is: "megatron", "huggingface", "csv", ..."""
    steps: pl.DataFrame
    resolution: dict[str, float]
    """By channel, the smallest difference that the printed numbers show; 0 where it is none."""
    interval: int
    """Steps from one row to the next, mostly."""
    notes: tuple[Note, ...]

    def has(self, channel: str) -> bool:
        """Whether the log tells of a channel at all."""
        return self.steps[channel].null_count() < self.steps.height


def logs(raw: pl.DataFrame, name: str, form: str, notes: tuple[Note, ...] = ()) -> list[Log]:
    """The logs in rows as they stand in a file; columns that are missing become null.

    A step number that falls to where its run began, or before, begins another run; one that falls
    less far is a run that was resumed. Errors: InputError where no row has a step and a value.

    >>> rows = pl.DataFrame({"step": [1, 2, 3, 2, 3, 4, 1], "loss": [9, 8, 7, 6, 5, 4, 3]})
    >>> [log.steps["loss"].to_list() for log in logs(rows, "a.csv", "csv")]
    [[9.0, 6.0, 5.0, 4.0], [3.0]]
    """
    if "run" in raw.columns:
        runs = [
            (f"{name}#{key[0]}", part) for key, part in raw.group_by("run", maintain_order=True)
        ]
    else:
        runs = [(name, raw)]
    parts = [(run, part) for run, rows in runs for part in _runs(_typed(rows))]
    parts = [(run, part) for run, part in parts if part.select(VALUED).to_series().any()]
    if not parts:
        lost = "".join(f": {note.text}" for note in notes if note.kind == "left_out")
        raise InputError(f"{name}: no row has a step and a loss or gradient norm{lost}")
    if len(parts) == 1:
        return [_log(parts[0][1], name, form, notes)]
    told = Note("several_runs", f"{len(parts)} runs in one file, read as a log each")
    names = [
        run if len(runs) == len(parts) else f"{name}#{n + 1}" for n, (run, _) in enumerate(parts)
    ]
    return [
        _log(part, run, form, (*notes, told)) for run, (_, part) in zip(names, parts, strict=True)
    ]


def _typed(raw: pl.DataFrame) -> pl.DataFrame:
    """The known columns, rows that have a step and a value; rows of one step become one.

    Rows that are `odd`, which have a step and lost their value, stay: they are no missing steps.
    """
    columns = [
        (pl.col(name) if name in raw.columns else pl.lit(None)).cast(kind, strict=False).alias(name)
        for name, kind in SCHEMA.items()
    ]
    odd = pl.col("odd") if "odd" in raw.columns else pl.lit(value=False).alias("odd")
    rows = raw.lazy().select(*columns, odd).filter(pl.col("step").is_not_null()).collect()
    if (rows["step"].diff() == 0).any():
        names = [name for name in SCHEMA if name != "step"]
        rows = (
            rows.lazy()
            .group_by(pl.col("step").rle_id().alias("place"), maintain_order=True)
            .agg(pl.col("step").first(), pl.col(names).drop_nulls().first(), pl.col("odd").any())
            .drop("place")
            .collect()
        )
    return rows.filter(VALUED | pl.col("odd")).drop("odd")


def _runs(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows cut where another run begins."""
    steps = rows["step"].to_numpy()
    start = 0
    falls = np.flatnonzero(np.diff(steps) < 0) + 1
    if len(falls) <= UNSORTED:
        for fall in falls:
            if steps[fall] <= steps[start]:
                yield rows[start:fall]
                start = int(fall)
    yield rows[start:]


def _log(rows: pl.DataFrame, name: str, form: str, notes: tuple[Note, ...]) -> Log:
    steps = rows["step"].to_numpy()
    falls = int((np.diff(steps) < 0).sum())
    found = list(notes)
    if falls:
        ordered = rows.unique("step", keep="last", maintain_order=True).sort("step")
        again = rows.height - ordered.height
        rows = ordered
        if falls > UNSORTED:
            found.append(Note("unsorted", f"rows are not in the order of steps ({falls:,} falls)"))
        else:
            found.append(
                Note(
                    "resumed",
                    f"resumed {falls} time(s): {again:,} steps stand there twice, the later try "
                    "counts",
                )
            )
    interval = _interval(rows["step"].to_numpy())
    found.extend(_gaps(rows["step"].to_numpy(), interval))
    valued = rows.select(VALUED).to_series()
    rows = rows if valued.all() else rows.filter(valued)  # no copy where none is needed
    if rows.height < FEW:
        found.append(
            Note("few_rows", f"{rows.height} row(s): under {FEW} no trend is told, nor an event")
        )
    found.extend(_values(rows))
    resolution = {channel: resolution_of(rows[channel]) for channel in CHANNELS}
    empty = [one for one in SCHEMA if rows[one].null_count() == rows.height]
    bare = rows.with_columns(pl.lit(None, SCHEMA[one]).alias(one) for one in empty)  # no memory
    return Log(name, form, bare, resolution, interval, tuple(found))


def _interval(steps: npt.NDArray[np.int64]) -> int:
    return int(np.median(np.diff(steps))) if len(steps) > 1 else 1


def _gaps(steps: npt.NDArray[np.int64], interval: int) -> Iterator[Note]:
    apart = np.diff(steps)
    wide = np.flatnonzero(apart > interval)
    if len(wide):
        missing = int((apart[wide] // interval - 1).sum())
        largest = wide[np.argmax(apart[wide])]
        yield Note(
            "missing_steps",
            f"{missing:,} rows are missing in {len(wide):,} gaps; the largest is between steps "
            f"{steps[largest]:,} and {steps[largest + 1]:,}",
        )


def _values(rows: pl.DataFrame) -> Iterator[Note]:
    for channel in CHANNELS:
        known = rows[channel].drop_nulls()
        if known.is_empty():
            yield Note(f"no_{channel}", f"the log has no {channel.replace('_', ' ')}")
            continue
        odd = int((~known.is_finite()).sum())
        if odd:
            yield Note("not_finite", f"{channel}: {odd:,} values are NaN or infinite")
        elif len(known) > 1 and known.n_unique() == 1:
            yield Note("constant", f"{channel}: the same value in every row")


def resolution_of(values: pl.Series) -> float:
    """The smallest difference that printed numbers show, by the digits of some of them.

    >>> resolution_of(pl.Series([3.2755, 3.28, 3.2911]))
    0.0001
    """
    finite = values.drop_nulls().drop_nans()
    finite = finite.filter(finite.is_finite())
    if finite.is_empty():
        return 0.0
    every = max(1, len(finite) // ASKED)
    digits = sorted(_digits(value) for value in finite.gather_every(every))
    median = digits[len(digits) // 2]
    return 0.0 if median >= EXACT else float(f"1e{-median}")


def _digits(value: float) -> int:
    """How many stand after the point where a number is written as short as can be."""
    mantissa, _, exponent = repr(value).partition("e")
    after = len(mantissa.partition(".")[2].rstrip("0"))
    return after - int(exponent or 0)
