"""Cells of a table as numbers, and an account of those that are none."""

import polars as pl

from cleanpipe.stability.logs.log import CHANNELS, SCHEMA, Note

CHECKED = ("step", *CHANNELS)
"""Columns without which a row tells nothing."""
NOTHING = ("", "null", "none", "na", "n/a", "-")
"""What stands in cells in which nothing was logged, in lower case."""
THOUSANDS = r"^[-+]?\d{1,3}(?:,\d{3})+(?:\.\d*)?$"
WHOLE = 2.0**53
"""Up to here a step that is written as a decimal number (12.0, 1e4) has all its digits."""
SHOWN = 40
"""Characters of a cell that are shown."""


class Numbers:
    """Reads cells as numbers and counts what is lost: rows left out, and values in other rows.

    >>> account = Numbers()
    >>> text = pl.DataFrame({"step": ["1", "2.0", "x"], "loss": ["3.5", "-", "3"]})
    >>> account.of(text, 2).rows()
    [(1, 3.5, False), (2, None, False)]
    >>> print(*(note.text for note in account.notes()))
    1 row has no step or no number and is left out, at line 4: step 'x' is no number
    """

    def __init__(self, place: str = "line") -> None:
        self._place = place
        self._rows, self._row = 0, ""
        self._values, self._value = 0, ""

    def of(self, text: pl.DataFrame, first: int) -> pl.DataFrame:
        """The rows that have a step, typed; `odd` where a value that should stand there is lost.

        `text` has columns of SCHEMA as strings; its rows are the file's lines from `first` on.
        """
        typed = text.with_columns(
            _number(text[name], name).alias(name) for name in SCHEMA if name in text.columns
        )
        wrong = {name: _wrong(typed[name], text[name]) for name in CHECKED if name in text.columns}
        channels = [typed[name].is_not_null() for name in CHANNELS if name in text.columns]
        valued = _any(channels, typed.height)
        stepped = typed["step"].is_not_null()
        lost = _any([*wrong.values(), valued & ~stepped], typed.height)
        odd = lost & ~(stepped & valued)
        if odd.any():
            self._row = self._row or self._said(text, wrong, int(odd.arg_true()[0]), first)
            self._rows += int(odd.sum())
        partly = lost & ~odd
        if partly.any():
            self._value = self._value or self._said(text, wrong, int(partly.arg_true()[0]), first)
            self._values += int(partly.sum())
        return typed.with_columns(odd.alias("odd")).filter(stepped)

    def lines(self, count: int, first: int, text: str) -> None:
        """Lines that name a step and of which nothing is read; the first, and what it says."""
        self._row = self._row or f"{self._place} {first:,}: {text.strip()[:SHOWN]!r}"
        self._rows += count

    def notes(self) -> list[Note]:
        """What was lost, by kind."""
        found = []
        if self._rows:
            one = self._rows == 1
            rows = "1 row has" if one else f"{self._rows:,} rows have"
            left = "is left out, at" if one else "are left out, the first at"
            found.append(Note("left_out", f"{rows} no step or no number and {left} {self._row}"))
        if self._values:
            one = self._values == 1
            rows = "1 row has" if one else f"{self._values:,} rows have"
            told = "at" if one else "the first at"
            text = f"{rows} a value that is no number and counts as not logged, {told} "
            found.append(Note("no_number", text + self._value))
        return found

    def _said(self, text: pl.DataFrame, wrong: dict[str, pl.Series], row: int, first: int) -> str:
        """What is wrong with a row, and where it stands."""
        where = f"{self._place} {first + row:,}: "
        for name, cells in wrong.items():
            if cells[row]:
                cell = str(text[name][row])
                return f"{where}{name} {cell[:SHOWN]!r} {_reason(name, cell)}"
        return f"{where}no step"


def _any(parts: list[pl.Series], height: int) -> pl.Series:
    found = pl.repeat(value=False, n=height, eager=True)
    for part in parts:
        found |= part
    return found


def _wrong(typed: pl.Series, text: pl.Series) -> pl.Series:
    """Whether something stands in a cell that is no number."""
    wrong = typed.is_null() & text.is_not_null()
    if wrong.any():
        wrong &= ~text.str.strip_chars().str.to_lowercase().is_in(NOTHING).fill_null(value=True)
    return wrong


def _number(text: pl.Series, name: str) -> pl.Series:
    """Numbers; what is written otherwise than usual is looked at where there is such a cell."""
    kind = SCHEMA[name]
    plain = text.cast(kind, strict=False)
    lost = plain.is_null() & text.is_not_null()
    if not lost.any():
        return plain
    cells = text.filter(lost).str.strip_chars()
    grouped = cells.str.contains(THOUSANDS)
    if grouped.any():
        cells = cells.zip_with(~grouped, cells.str.replace_all(",", "", literal=True))
    found = cells.cast(kind, strict=False)
    if name == "step":
        decimal = cells.cast(pl.Float64, strict=False)
        whole = (decimal == decimal.floor()) & (decimal.abs() <= WHOLE)
        found = found.zip_with(~whole.fill_null(value=False), decimal.cast(kind, strict=False))
    return plain.scatter(lost.arg_true(), found)


def _reason(name: str, cell: str) -> str:
    if name == "step":
        try:
            value = float(cell)
        except ValueError:
            return "is no number"
        if value == value and abs(value) > WHOLE:  # noqa: PLR0124 - NaN
            return "is too large"
        return "is no whole number"
    return "is no number"
