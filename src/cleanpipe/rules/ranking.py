"""Which documents are better: an order of rows by columns, and in the end by chance."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.errors import RecipeError

Rows = npt.NDArray[np.int64]

PLACE = ("key", "shard", "row")
"""What decides between documents that are alike in every measure of `keep`."""

Preference = str | dict[str, tuple[str, ...]]
"""What is better: a column's smaller value, of '-name' its larger one, or the first of its values
as a list has them, such as {"source": ["books", "web"]}."""


def column_of(preference: Preference) -> str:
    """The column that a preference goes by.

    >>> column_of("-chars"), column_of({"source": ("books",)})
    ('chars', 'source')
    """
    if isinstance(preference, str):
        return preference.removeprefix("-")
    return next(iter(preference))


def rank(table: pl.DataFrame, keep: Sequence[Preference]) -> Rows:
    """The rows of a table from the one to keep first to the last.

    By each preference in turn; null comes last, and so do values that a list does not name. Then
    the document's chance (`key`) decides, then its place (`shard`, `row`).

    >>> table = pl.DataFrame({"chars": [3, 9, 9], "id": ["a", "c", "b"], "key": [1, 2, 3]})
    >>> rank(table.with_columns(shard=0, row=0), ("-chars", "id")).tolist()
    [2, 1, 0]
    >>> rank(table.with_columns(shard=0, row=0), ({"id": ("c", "a")},)).tolist()
    [1, 0, 2]
    """
    for name in map(column_of, keep):
        if name not in table.columns:
            raise RecipeError(
                f"keep: {name!r} is no measure of these documents; choose of {table.columns}"
            )
    known = {column_of(preference) for preference in keep}
    wanted = [*keep, *(name for name in PLACE if name not in known)]
    order = table.select(
        pl.arg_sort_by(
            [_order(preference, table).alias(str(i)) for i, preference in enumerate(wanted)],
            descending=[isinstance(one, str) and one.startswith("-") for one in wanted],
            nulls_last=True,
        )
    )
    return order.to_series().to_numpy().astype(np.int64)


def _order(preference: Preference, table: pl.DataFrame) -> pl.Expr:
    name = column_of(preference)
    if isinstance(preference, str):
        return pl.col(name).fill_nan(None) if table[name].dtype.is_float() else pl.col(name)
    places = {value: place for place, value in enumerate(preference[name])}
    column = pl.col(name).cast(pl.String)
    return column.replace_strict(places, default=None, return_dtype=pl.UInt32)
