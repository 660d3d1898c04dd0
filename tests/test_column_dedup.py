"""Duplicates by a column: which values are one, who stays, against a slow reference."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cleanpipe.dedup import COLUMN_HASHES, Column, Dedup, Near

VALUE = st.sampled_from(
    [None, "", " ", "a", "A", "http://a.org", "https://www.a.org/", "http://a.org/?utm_id=1", "7"]
)
ROW = st.tuples(VALUE, st.integers(1, 3), st.integers(0, 5))


def table_of(rows, column, seed=3):
    values = pl.Series([row[0] for row in rows], dtype=pl.String)
    frame = pl.DataFrame(
        {
            "chars": [row[1] for row in rows],
            "replacement_chars": [0] * len(rows),
            "id": [None] * len(rows),
            "key": pl.Series([row[2] for row in rows], dtype=pl.UInt64),
            "shard": [0] * len(rows),
            "row": list(range(len(rows))),
        },
        schema_overrides={"id": pl.String},
    )
    return frame.hstack(column.hashes(values, seed))


@settings(deadline=None)
@given(st.lists(ROW), st.sampled_from(["none", "url"]), st.sampled_from([None, Near()]))
def test_the_best_of_equal_values_stands_for_them(rows, normalize, near):
    """As a loop over all says: the longest, then by chance; no value stands for itself alone."""
    column = Column(name="url", normalize=normalize)
    forms = column.forms(pl.Series([row[0] for row in rows], dtype=pl.String)).to_list()
    wanted = []
    for number, form in enumerate(forms):
        alike = [i for i, other in enumerate(forms) if other == form] if form else [number]
        wanted.append(min(alike, key=lambda i: (-rows[i][1], rows[i][2], i)))
    dedup = Dedup(near=near)
    assert dedup.column_duplicates(table_of(rows, column)).tolist() == wanted


def test_what_is_no_value_duplicates_nothing():
    """Null, the empty text and blanks, as they are or as URLs."""
    for normalize in ("none", "url"):
        values = pl.Series([None, None, "", "", " ", "\n ", "x", "x"], dtype=pl.String)
        hashes = Column(name="c", normalize=normalize).hashes(values, 1)
        assert hashes.columns == list(COLUMN_HASHES)
        assert hashes["column_lo"].is_null().to_list() == [True] * 6 + [False] * 2
        assert hashes.rows()[6] == hashes.rows()[7]


def test_values_are_compared_as_they_are_or_in_their_form():
    """`none` tells apart what `url` takes for one page."""
    values = pl.Series(["http://a.org/x", "https://www.a.org/x/", "http://a.org/X"])
    assert Column(name="u").forms(values).n_unique() == 3
    assert Column(name="u", normalize="url").forms(values).to_list() == [
        "a.org/x", "a.org/x", "a.org/X"
    ]  # fmt: skip
    for options in ({}, {"name": ""}, {"name": "u", "normalize": "urls"}):
        with pytest.raises(ValidationError):
            Column.model_validate(options)
