"""Statistics of blocks, merged: the same as those of all documents, however they are cut."""

import math

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanpipe.stats import histograms, stats

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
            "tokens": sizes,
            "words": some(st.none() | st.integers(0, 500)),
            "digit_char_frac": some(st.none() | st.floats(0, 1)),
            "lang": some(st.sampled_from(["en", "cy", None])),
            "own": some(st.none() | st.floats(-1e30, 1e30)),
            "compression_ratio": some(st.none() | st.floats(0.5, 99)),
            "ngrams": some(st.lists(st.integers(0, 2**56), max_size=2)),
        },
        schema_overrides={
            "words": pl.Int64,
            "digit_char_frac": pl.Float64,
            "lang": pl.String,
            "own": pl.Float64,
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


GROUPS = st.none() | st.lists(st.sampled_from(["cy", "en", "null", "zu"]), unique=True)
OWN = ("tokens", "own")


@given(documents(), st.randoms(), GROUPS)
@settings(max_examples=60)
def test_statistics_merge_exactly_in_any_order(given_documents, chance, chosen):
    """Blocks of any sizes, in any order, give the statistics of all documents, empty ones too."""
    table, verdicts, cuts = given_documents
    groups = {"lang": None if chosen is None else sorted(chosen)}
    whole = stats.describe(table, verdicts, OWN, groups)
    edges = list(zip([0, *cuts], [*cuts, table.height], strict=True))
    parts = [stats.describe(table[a:b], verdicts[a:b], OWN, groups) for a, b in edges]
    chance.shuffle(parts)
    assert stats.merged(parts) == whole


@given(documents(), st.lists(GROUPS, min_size=5, max_size=5), st.randoms())
@settings(max_examples=60)
def test_parts_that_tell_other_groups_apart_merge_in_any_order(given_documents, chosen, chance):
    """Runs name different groups: what all tell apart stays, all else is the rest, any way."""
    table, verdicts, cuts = given_documents
    edges = zip([0, *cuts], [*cuts, table.height], strict=True)
    parts = [
        stats.describe(table[a:b], verdicts[a:b], OWN, {"lang": names})["by_group"]["lang"]
        for (a, b), names in zip(edges, chosen, strict=False)
    ]
    whole = stats.groups_added(parts)
    chance.shuffle(parts)
    half = chance.randint(1, len(parts))
    sides = [stats.groups_added(part) for part in (parts[:half], parts[half:]) if part]
    assert stats.groups_added(sides) == whole
    everyone = [*whole["groups"].values(), *([whole["rest"]] if whole["rest"] else [])]
    for side in ("raw", "clean"):
        all_words = histograms.added([one["words"][side] for one in everyone])
        assert all_words == stats.describe(table, verdicts, OWN)["histograms"]["words"][side]


@given(
    st.lists(st.integers(0, 10**9), min_size=1),
    st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1),
    st.lists(st.floats(-1e6, 1e6), min_size=1),
)
@settings(max_examples=100)
def test_a_quantile_is_no_farther_away_than_its_error_says(words, shares, own):
    """By nearest rank, of counts, of shares, and of columns with negative values."""
    for name, values in (("words", words), ("digit_char_frac", shares), ("own", own)):
        known = histograms.histogram(name, pl.Series(values))
        ordered = sorted(values)
        for share, told in histograms.quantiles(name, known).items():
            exact = ordered[max(math.ceil(float(share) * len(ordered) - 1e-9), 1) - 1]
            assert abs(told["value"] - exact) <= told["error"] + 1e-9


def test_sums_are_exact():
    """Of counts as they are, of fractions in 2^-20, and of a column that no 64 bits can hold."""
    words = histograms.histogram("words", pl.Series([2**40, 1, None]))
    assert (words["sum"], words["count"], words["null"]) == (2**40 + 1, 2, 1)
    assert histograms.histogram("digit_char_frac", pl.Series([0.5, 0.25]))["sum"] == 3 << 18
    most = histograms.histogram("own", pl.Series([math.inf, -1e300, 1e300, math.nan]))
    assert (most["sum"], most["null"]) == (1 << 80, 1)


def test_the_largest_groups_have_histograms_of_their_own_and_the_others_one():
    """Ten of a column by their text; the rest is counted together, and nobody twice."""
    langs = [f"l{n:02}" for n in range(stats.MOST_GROUPS + 3) for _ in range(n + 1)]
    table = pl.DataFrame({"lang": langs, "bytes": 10, "chars": 10})
    chosen = stats.largest([stats.by_value(table[:50], "lang"), stats.by_value(table[50:], "lang")])
    assert chosen == [f"l{n:02}" for n in range(3, 13)]
    assert stats.largest([stats.by_value(table.filter(pl.col("lang") < "l10"), "lang")]) is None
