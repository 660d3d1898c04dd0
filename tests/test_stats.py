"""Statistics of blocks, merged: the same as those of all documents, however they are cut."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanpipe import stats

VERDICTS = [
    ("kept", None, None),
    ("dropped", "filter", "words"),
    ("dropped", "dedup", "near"),
    ("quarantined", "read", "bad_json"),
]


@st.composite
def documents(draw):
    """A run's measures and verdicts, some values missing, a few groups."""
    count = draw(st.integers(1, 30))

    def some(values):
        return draw(st.lists(values, min_size=count, max_size=count))

    fates = some(st.sampled_from(VERDICTS))
    sizes = some(st.integers(1, 10**6))
    table = pl.DataFrame(
        {
            "bytes": sizes,
            "chars": sizes,
            "words": some(st.none() | st.integers(0, 500)),
            "digit_char_frac": some(st.none() | st.floats(0, 1)),
            "lang": some(st.sampled_from(["en", "cy", None])),
            "compression_ratio": some(st.none() | st.floats(0.5, 99)),
            "ngrams": some(st.lists(st.integers(0, 2**56), max_size=2)),
        },
        schema_overrides={
            "words": pl.Int64,
            "digit_char_frac": pl.Float64,
            "lang": pl.String,
            "compression_ratio": pl.Float64,
            "ngrams": pl.List(pl.UInt64),
        },
    )
    verdicts = pl.DataFrame(
        fates, schema={"verdict": pl.String, "stage": pl.String, "rule": pl.String}, orient="row"
    ).with_columns(
        duplicate_of=pl.lit(None, pl.String),
        cluster_size=pl.Series(some(st.integers(1, 3))),
        similarity=pl.Series(some(st.none() | st.floats(0.5, 1)), dtype=pl.Float64),
    )
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=4)))
    return table, verdicts, cuts


@given(documents(), st.randoms())
@settings(deadline=None, max_examples=60)
def test_statistics_merge_exactly_in_any_order(given_documents, chance):
    """Blocks of any sizes, in any order, give the statistics of all documents, empty ones too."""
    table, verdicts, cuts = given_documents
    whole = stats.describe(table, verdicts)
    edges = list(zip([0, *cuts], [*cuts, table.height], strict=True))
    parts = [stats.describe(table[a:b], verdicts[a:b]) for a, b in edges]
    chance.shuffle(parts)
    assert stats.merged(parts) == whole
