import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cleanpipe.balancing.balance import Balance
from cleanpipe.balancing.repetition import worth

FOUR = {"a": 900, "b": 90, "c": 9, "d": 1}
GROUPS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3), st.integers(1, 10**12), min_size=1, max_size=30
)


def shares(balance, totals):
    return [round(group.asked_share, 4) for group in balance.targets(totals).values()]


def target(balance, totals):
    return [group.target for group in balance.targets(totals).values()]


def documents(groups, sizes, seed=0):
    chances = np.random.RandomState(seed).randint(0, 2**63, len(sizes), dtype=np.uint64)
    return pl.DataFrame({"group": groups, "size": sizes, "chance": chances})


@pytest.mark.parametrize(
    ("alpha", "asked"),
    [
        (0.3, [0.5313, 0.2663, 0.1334, 0.0690]),
        (0.5, [0.6899, 0.2182, 0.0690, 0.0230]),
        (0.7, [0.8014, 0.1599, 0.0319, 0.0069]),
        (1.0, [0.9, 0.09, 0.009, 0.001]),
        (0.0, [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_temperature_golden(alpha, asked):
    """Shares are p^alpha over their sum: the worked example of four languages."""
    balance = Balance(by="lang", strategy="temperature", alpha=alpha)
    assert shares(balance, FOUR) == asked


@pytest.mark.parametrize(
    ("totals", "budget", "epochs", "expected"),
    [
        ([100, 200, 300, 400, 500], 1000, 1, [100, 200, 233, 233, 234]),
        ([100, 200, 300, 400, 500], 1000, 2, [200, 200, 200, 200, 200]),
        ([10, 100, 10000], 3000, 4, [40, 400, 2560]),
    ],
)
def test_unimax_golden(totals, budget, epochs, expected):
    """UniMax gives all the same, the capped their cap, and the others what the capped leave."""
    balance = Balance(by="lang", budget=budget, max_epochs=epochs)
    assert sorted(target(balance, dict(zip("abcde", totals, strict=False)))) == expected


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, 1.0), (2, 1.968), (4, 3.726), (8, 6.624), (16, 10.58), (40, 15.17), (100, 16.36)],
)
def test_worth_golden(epochs, expected):
    """Muennighoff's D'/U with R* = 15.39, at the epochs whose values were worked out by hand."""
    assert worth(epochs) == pytest.approx(expected, rel=5e-4)


PARTS = st.text(" /a", max_size=6)


@given(st.lists(st.tuples(PARTS, PARTS), min_size=2, max_size=2, unique=True))
def test_no_two_combinations_share_a_name(rows):
    """Groups by two columns have different names whatever spaces and slashes the values hold."""
    table = pl.DataFrame(rows, schema=["lang", "source"], orient="row")
    names = table.select(Balance(by=["lang", "source"]).group()).to_series()
    assert names.n_unique() == len(rows)


def test_proportional_keeps_every_total():
    """Proportional with no budget asks for exactly what is there, so nothing is copied."""
    balance = Balance(by="lang", strategy="proportional")
    assert target(balance, FOUR) == [900, 90, 9, 1]
    table = documents(["a", "b", None, "b"], [5, 7, 11, 13])
    assert balance.copies(table).tolist() == [1, 1, 1, 1]


def test_what_a_capped_group_cannot_take_goes_to_the_others_in_proportion():
    """The others share the rest by their own shares, and the capped one says so."""
    balance = Balance(
        by="lang",
        strategy="explicit",
        weights={"a": 0.5, "b": 0.3, "c": 0.2},
        max_epochs=2,
        budget=1000,
    )
    groups = balance.targets({"a": 100, "b": 1000, "c": 1000})
    assert [group.target for group in groups.values()] == [200, 480, 320]
    assert [group.capped for group in groups.values()] == [True, False, False]
    assert groups["a"].epochs == 2.0
    assert groups["a"].asked_share == pytest.approx(0.5)
    assert balance.shortfall(groups) == 0


def test_a_budget_nobody_can_meet_is_said():
    """With every group capped the budget is not met, and the shortfall is the exact rest."""
    balance = Balance(by="lang", max_epochs=1.5, budget=10_000)
    groups = balance.targets({"a": 100, "b": 201})
    assert [group.target for group in groups.values()] == [150, 301]
    assert all(group.capped for group in groups.values())
    assert balance.shortfall(groups) == 10_000 - 451


@given(
    totals=GROUPS,
    strategy=st.sampled_from(["proportional", "temperature", "unimax"]),
    epochs=st.floats(1, 10),
    budget=st.integers(1, 10**13),
)
def test_the_whole_budget_is_given_away(totals, strategy, epochs, budget):
    """Targets sum to the budget unless all are capped, and none is over its cap."""
    balance = Balance(by="lang", strategy=strategy, max_epochs=epochs, budget=budget)
    groups = balance.targets(totals)
    short = balance.shortfall(groups)
    assert short >= 0
    assert short == 0 or all(group.capped for group in groups.values())
    assert all(0 <= group.target <= epochs * group.size for group in groups.values())
    assert sum(group.asked_share for group in groups.values()) == pytest.approx(1)


@given(totals=GROUPS, epochs=st.integers(1, 8), budget=st.integers(1, 10**13))
def test_unimax_is_the_published_loop(totals, epochs, budget):
    """Ours equals Chung et al.'s Algorithm 1, run in exact fractions, to within one unit."""
    published = {}
    left = budget
    for place, (name, size) in enumerate(sorted(totals.items(), key=lambda item: item[1])):
        published[name] = min(left // (len(totals) - place), size * epochs)
        left -= published[name]
    groups = Balance(by="lang", max_epochs=epochs, budget=budget).targets(totals)
    assert all(abs(groups[name].target - published[name]) <= 1 for name in totals)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("strategy", ["temperature", "unimax"])
def test_achieved_within_one_document_of_the_target(strategy, seed):
    """Small groups of very unequal documents still end within one document of their target."""
    random = np.random.RandomState(seed)
    sizes = np.maximum(1, random.lognormal(6, 1.5, 400)).astype(np.int64)
    groups = np.repeat(["cy", "en", "fo", "ja"], [50, 250, 50, 50])
    table = documents(groups, sizes, seed)
    balance = Balance(by="lang", strategy=strategy, alpha=0.3)
    copies = balance.copies(table)
    report = balance.report(table, copies)
    for row in report.iter_rows(named=True):
        largest = table.filter(pl.col("group") == row["group"])["size"].max()
        assert abs(row["achieved"] - row["target"]) <= largest / 2
    assert copies.dtype == np.int32
    assert report["achieved"].sum() == (sizes * copies).sum()
    for name in "cy", "en", "fo", "ja":
        assert np.ptp(copies[groups == name]) <= 1


def test_the_nearer_side_is_chosen():
    """A target of 1.6 documents takes two of them, one of 1.4 takes one."""
    table = documents(["a"] * 3, [10, 10, 10])
    for budget, written in ((16, 2), (14, 1), (15, 1), (46, 5)):
        copies = Balance(by="lang", budget=budget, strategy="proportional").copies(table)
        assert copies.sum() == written


def test_chance_decides_not_the_row():
    """The same documents in another order get the same copies."""
    table = documents(["a", "b"] * 50, list(range(1, 101)))
    balance = Balance(by="lang", strategy="proportional", budget=7000)
    copies = pl.Series("copies", balance.copies(table))
    shuffled = table.with_columns(copies).sample(fraction=1, shuffle=True, seed=3)
    assert balance.copies(shuffled).tolist() == shuffled["copies"].to_list()


def test_no_documents_no_copies():
    """An empty corpus balances to nothing."""
    table = documents([], []).cast({"group": pl.String, "size": pl.Int64})
    balance = Balance(by="lang")
    assert balance.copies(table).tolist() == []
    assert balance.report(table, balance.copies(table)).height == 0


def test_weight_zero_drops_a_group():
    """A group weighed 0 gets 0 copies: those documents are dropped by balance."""
    table = documents(["a", "a", None], [10, 10, 10])
    balance = Balance(by="lang", strategy="explicit", weights={"a": 1.0, "null": 0.0}, budget=20)
    assert balance.copies(table).tolist() == [1, 1, 0]


def test_unit_documents_counts_documents():
    """With unit documents every document is of size 1, whatever its bytes."""
    measured = pl.DataFrame({"lang": ["en", None], "bytes": [100, 7], "chars": [90, 7]})
    for unit, sizes in (("documents", [1, 1]), ("bytes", [100, 7]), ("chars", [90, 7])):
        balance = Balance(by="lang", unit=unit)
        table = measured.select(balance.group(), balance.size())
        assert table["size"].to_list() == sizes
        assert table["group"].to_list() == ["en", "null"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"de": 0.5, "eng": 0.5}, "no clean document has lang 'eng'; did you mean 'en'"),
        ({"en": 1.0}, "leave out the group 'de' of lang .size 20.: give it a weight"),
    ],
)
def test_weights_and_groups_must_name_each_other(weights, message):
    """A misspelled group is an error that names the right one, never a weight without effect."""
    balance = Balance(by="lang", strategy="explicit", weights=weights)
    with pytest.raises(ValueError, match=message):
        balance.targets({"en": 10, "de": 20})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "explicit"}, "needs weights"),
        ({"strategy": "explicit", "weights": {"a": 0.5, "b": 0.4}}, r"sum to 0\.9, expected 1"),
        ({"strategy": "explicit", "weights": {"a": 1.5, "b": -0.5}}, "'b' is -0.5"),
        ({"weights": {"a": 1.0}}, "strategy is 'unimax', which takes none"),
        ({"alpha": 1.5}, "less than or equal to 1"),
        ({"max_epochs": 0.5}, "greater than or equal to 1"),
        ({"budget": 0}, "greater than or equal to 1"),
        ({"stategy": "unimax"}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    """A mistake in the recipe is found before a document is read."""
    with pytest.raises(ValidationError, match=message):
        Balance(by="lang", **options)


def test_a_resolved_balance_reads_back():
    """What a run writes into its recipe.yaml is accepted again."""
    for balance in (
        Balance(by="lang"),
        Balance(by="source", strategy="explicit", weights={"a": 1.0}),
    ):
        assert Balance(**balance.model_dump()) == balance
