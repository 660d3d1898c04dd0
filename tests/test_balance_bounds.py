"""Bounds, buckets, rehydration and caps of balance: laws of the allocation, and whole runs."""

import re
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from conftest import InProcess
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cleanpipe.balancing import allocation
from cleanpipe.balancing.balance import FINEWEB2, Balance
from cleanpipe.balancing.repetition import cost_of_more, worth
from cleanpipe.errors import RecipeError
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps

ORDER = ["dedup", "filter", "balance"]
PROSE = "It was a quiet morning, and the people who lived by the river had begun to open doors"
BOUNDED = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2),
    st.tuples(st.integers(0, 1000), st.integers(0, 500), st.integers(0, 10**6)),
    min_size=1,
    max_size=12,
)


@given(groups=BOUNDED, more=st.integers(0, 10**7))
def test_filling_is_the_one_level_that_meets_the_budget(groups, more):
    """At one level for all, each gets its weight's part within its bounds, to one unit a group."""
    weights = {name: weight for name, (weight, _, _) in groups.items()}
    low = {name: low if weights[name] else 0 for name, (_, low, _) in groups.items()}
    high = {name: low[name] + room for name, (_, _, room) in groups.items()}
    budget = sum(low.values()) + more
    given, full, raised = allocation.fill(budget, weights, low, high)
    most = sum(high[name] for name in given)
    assert sum(given.values()) == min(budget, most)
    assert all(low[name] <= given[name] <= high[name] for name in given)
    # a level by bisection, the slow and obvious way
    bottom, top = 0.0, float(budget + 1)
    for _ in range(200):
        level = (bottom + top) / 2
        total = sum(min(max(weights[n] * level, low[n]), high[n]) for n in given)
        bottom, top = (level, top) if total < budget else (bottom, level)
    for name, amount in given.items():
        expected = min(max(weights[name] * top, low[name]), high[name])
        assert abs(amount - expected) <= 1 + 1e-6 * expected
    assert all(given[name] == high[name] for name in full)
    assert all(given[name] == low[name] for name in raised)


@given(
    seed=st.integers(0, 2**32 - 1),
    strategy=st.sampled_from(["proportional", "temperature", "unimax", "explicit"]),
    unit=st.sampled_from(["documents", "bytes"]),
    budget=st.sampled_from([None, 0.3, 1.7]),
    rehydrate=st.booleans(),
)
def test_every_group_ends_within_one_document_of_its_target(
    seed, strategy, unit, budget, rehydrate
):
    """Groups of 50, lengths lognormal with sigma 1.5: no group misses by more than a document."""
    random = np.random.RandomState(seed)
    lengths = np.maximum(1, random.lognormal(6, 1.5, 200)).astype(np.int64)
    sizes = np.ones(200, np.int64) if unit == "documents" else lengths
    table = pl.DataFrame(
        {
            "group": np.repeat(["a", "b", "c", "d"], 50),
            "size": sizes,
            "chance": random.randint(0, 2**63, 200, dtype=np.uint64),
            "repeats": random.randint(1, 9, 200) if rehydrate else np.ones(200, np.int64),
        }
    )
    weights = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1} if strategy == "explicit" else {}
    whole = int(sizes.sum())
    balance = Balance(
        by="lang",
        strategy=strategy,
        weights=weights,
        unit=unit,
        rehydrate=rehydrate,
        max_epochs=9,
        budget=None if budget is None else int(whole * budget),
    )
    report = balance.report(table, balance.copies(table))
    longest = table.group_by("group").agg(pl.max("size").alias("longest"))
    for row in report.join(longest, on="group").iter_rows(named=True):
        assert abs(row["achieved"] - row["target"]) <= row["longest"] / 2
    assert report["target"].sum() == (balance.budget or (table["size"] * table["repeats"]).sum())


def test_independent_chance_would_miss_by_far():
    """What the rule above is for: to draw each document by itself misses a group's target."""
    random = np.random.RandomState(0)
    misses = []
    for _ in range(200):
        sizes = np.maximum(1, random.lognormal(6, 1.5, 50)).astype(np.int64)
        drawn = sizes[random.random_sample(50) < 0.5].sum()
        misses.append(abs(drawn - sizes.sum() / 2) / sizes.sum())
    assert np.quantile(misses, 0.5) > 0.05


def test_rehydration_repeats_by_the_size_of_the_cluster():
    """FineWeb2's table: size 4 counts three times; of 1,000 and more only one stays."""
    sizes = np.array([0, 1, 2, 3, 4, 5, 99, 100, 999, 1000])
    found = Balance(by="lang", rehydrate=True).repeats(sizes).tolist()
    assert found == [1, 1, 2, 3, 3, 5, 5, 8, 8, 1]
    assert Balance(by="lang", rehydrate=FINEWEB2).repeats(sizes).tolist() == found
    table = pl.DataFrame(
        {"group": ["a"] * 10, "size": [7] * 10, "chance": range(10), "repeats": found}
    )
    balance = Balance(by="lang", strategy="proportional", rehydrate=True, max_epochs=8)
    assert balance.copies(table).tolist() == found


def test_a_minimum_is_given_by_the_others_and_ends_at_max_epochs():
    """Small groups get the least that was asked for, as far as their text goes."""
    balance = Balance(by="lang", strategy="proportional", minimum=100, max_epochs=4)
    groups = balance.targets({"a": 10_000, "b": 50, "c": 5})
    assert {name: group.target for name, group in groups.items()} == {"a": 9935, "b": 100, "c": 20}
    assert [groups[name].held_by for name in "abc"] == [None, "minimum", "minimum"]
    with pytest.raises(ValueError, match="minimum 100 takes 220 bytes for 3 groups"):
        Balance(by="lang", minimum=100, budget=150).targets({"a": 10_000, "b": 500, "c": 5})


def test_a_cap_on_groups_holds_copies_included():
    """What the cap takes from one group the others get, and the group says what held it."""
    balance = Balance(by="lang", strategy="proportional", caps={"group": 500}, budget=900)
    groups = balance.targets({"a": 1000, "b": 200})
    assert {name: group.target for name, group in groups.items()} == {"a": 500, "b": 400}
    assert (groups["a"].held_by, groups["b"].held_by) == ("caps.group", None)
    assert groups["a"].capped
    assert groups["a"].needed_epochs == pytest.approx(0.75)


def test_a_budget_beyond_max_epochs_is_refused_with_what_is_possible():
    """The message has what may be had at most, and the epochs that the budget would need."""
    table = pl.DataFrame({"group": ["a", "b"], "size": [100, 200], "chance": [1, 2]})
    with pytest.raises(ValueError, match=r"10,000 bytes is more .* 1,200 with max_epochs 4: set"):
        Balance(by="lang", budget=10_000).copies(table)
    with pytest.raises(ValueError, match=r"to 1200 or less, set max_epochs to 33\.34 or more or"):
        Balance(by="lang", budget=10_000).copies(table)
    assert Balance(by="lang", budget=10_000, max_epochs=33.34).copies(table).sum() == 66
    assert Balance(by="lang", budget=1200).copies(table).tolist() == [4, 4]


def test_a_domain_gives_no_more_than_its_cap():
    """Each domain stays within half a document of the cap, the smallest hashes first."""
    random = np.random.RandomState(1)
    table = pl.DataFrame(
        {
            "size": random.randint(1, 100, 300),
            "chance": random.randint(0, 2**63, 300, dtype=np.uint64),
            "domain": ["a.org", "b.org", None, "big.net", "big.net"] * 60,
        }
    )
    inside = Balance(by="lang", caps={"domain": 1000}).inside_caps(table)
    taken = table.with_columns(inside).filter("domain_cap")
    assert taken.filter(pl.col("domain").is_null()).height == table["domain"].null_count()
    for _, rows in table.with_columns(inside).drop_nulls().group_by("domain"):
        kept = rows.filter("domain_cap")
        assert abs(kept["size"].sum() - 1000) <= rows["size"].max() / 2
        assert kept["chance"].max() < rows.filter(~pl.col("domain_cap"))["chance"].min()
    one = Balance(by="lang", caps={"domain": 1}).inside_caps(table)
    assert table.with_columns(one).filter("domain_cap").drop_nulls()["domain"].n_unique() == 3


def test_groups_of_several_columns_and_of_lengths():
    """Each combination is a group; edges make groups of numbers; null and NaN are `null`."""
    table = pl.DataFrame(
        {"lang": ["en", "de", None, "en"], "score": [0.1, 0.5, None, float("nan")]}
    )
    balance = Balance(by=["lang", "score"], buckets={"score": [0.25, 0.5]})
    expected = ["en / score <0.25", "de / score >=0.5", "null / null", "en / null"]
    assert table.select(balance.group()).to_series().to_list() == expected
    three = Balance(by="score", buckets={"score": [0.1, 0.3, 0.5]}).group()
    found = table.select(three).to_series().to_list()
    assert found == ["score 0.1-0.3", "score >=0.5", "null", "null"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": []}, "at least 1 item"),
        ({"by": ["lang", "lang"]}, "names a column twice"),
        ({"buckets": {"wrods": [1]}, "by": "words"}, "'wrods', which by does not name; did you"),
        ({"by": "words", "buckets": {"words": [5, 5]}}, "expected ascending edges"),
        ({"minimum": 10, "caps": {"group": 5}}, "minimum is 10, above caps.group, 5"),
        ({"rehydrate": {2: 2}}, "documents that stand alone: add 1: 1"),
        ({"caps": {"domian": 5}}, "Extra inputs are not permitted"),
        ({"strategy": "explicit", "weights": {"a": 0.0}}, "every weight is 0"),
    ],
)
def test_bounds_that_cannot_be_are_refused(options, message):
    """A mistake in the recipe is found before a document is read."""
    with pytest.raises(ValidationError, match=message):
        Balance(**{"by": "lang", **options})


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ("balance: {by: lang, rehydrate: true}\ndedup: {}", "set order: [dedup, filter, balance]"),
        (
            "balance: {by: lang, rehydrate: true}\norder: [dedup, filter, balance]",
            "nothing says what is alike without dedup: set dedup: {}",
        ),
        (
            "balance: {by: lang, rehydrate: true}\ndedup: {near: {drop: false}}",
            "set dedup.near.drop: true",
        ),
        ("balance: {by: lang, caps: {cluster: 2}}\ndedup: {}", "set dedup.near.drop: false"),
        ("balance: {by: cluster_size}", "balance.by: nothing says what is alike"),
    ],
)
def test_what_goes_by_clusters_is_refused_where_there_are_none(write, sections, message):
    """Rehydration and caps on clusters name the option that they need, at their place."""
    with pytest.raises(RecipeError) as refused:
        load(write(f"input: {{path: in}}\noutput: {{path: out}}\n{sections}"))
    assert message in str(refused.value)
    assert str(refused.value).startswith("recipe.yaml:3:")


@pytest.fixture
def clean(tmp_path, write_recipe):
    """A function that cleans these documents, and gives how often each id was written."""

    def run(documents, **sections):
        folder = tmp_path / "in"
        folder.mkdir()
        lines = (orjson.dumps({"id": f"d{i}", **one}) for i, one in enumerate(documents))
        (folder / "a.jsonl").write_bytes(b"\n".join(lines))
        known = {"input": {"path": "in/*.jsonl"}, "measure": {"language": False}, **sections}
        return all_steps(Work(load(write_recipe(**known)), InProcess(), lambda *_: None))

    return run


def test_a_run_rehydrates_what_stood_often(clean):
    """Of five equal texts one is written five times, of one text one, as FineWeb2's table says."""
    texts = [f"{PROSE} {name}" for name in ["lone"] + ["two"] * 2 + ["five"] * 5]
    balance = {"by": "lang", "strategy": "proportional", "rehydrate": True, "unit": "documents"}
    documents = [{"text": text, "lang": "en"} for text in texts]
    run = clean(documents, order=ORDER, dedup={"near": None}, balance={**balance, "max_epochs": 5})
    copies = run.verdicts.filter(pl.col("verdict") == "kept").collect()
    assert sorted(copies["copies"].to_list()) == [1, 2, 5]
    assert run.stats["groups"][0]["size"] == 3
    assert run.stats["groups"][0]["achieved"] == 8


def test_a_run_caps_clusters_and_domains(clean):
    """Of a cluster of near-duplicates that stay, two stay; of a domain one document's bytes."""
    long = [f"{PROSE} at number {n} of the street" for n in range(40)]
    alike = " ".join(long)
    documents = [{"text": f"{alike} {n}", "lang": "en", "url": f"{n}.org"} for n in range(6)]
    documents += [
        {"text": f"{n} {n * 7} {n * 11} and {n * 13}", "lang": "en", "url": "https://www.one.net/"}
        for n in range(9)
    ]
    run = clean(
        documents,
        dedup={"exact": True, "near": {"drop": False}},
        balance={
            "by": "lang",
            "unit": "documents",
            "caps": {"cluster": 2, "domain": 4},
            "strategy": "proportional",
        },
    )
    lost = {(row["stage"], row["rule"]): row["documents"] for row in run.stats["stages"]}
    assert lost == {("balance", "cluster_cap"): 4, ("balance", "domain_cap"): 5}
    assert run.stats["documents"]["written"] == 6


def test_groups_by_how_often_a_text_stood(clean):
    """`cluster_size` is a column of balance, with edges as any number."""
    texts = [f"{PROSE} {name}" for name in ["lone", "twin", "twin", "more", "more", "more"]]
    balance = {"by": "cluster_size", "buckets": {"cluster_size": [2]}, "unit": "documents"}
    run = clean([{"text": text} for text in texts], dedup={"near": None}, balance=balance)
    groups = {row["group"]: row["documents"] for row in run.stats["groups"]}
    assert groups == {"cluster_size <2": 1, "cluster_size >=2": 2}


def test_a_column_that_is_null_everywhere_is_an_alert(clean):
    """There are no groups then; all is kept, and the alert names a column that is near."""
    documents = [{"text": f"{PROSE} {n}", "topic": None, "topics": "x"} for n in range(3)]
    run = clean(documents, filter={"where": "topics = 'x'"}, balance={"by": "topic"})
    assert run.stats["documents"]["kept"] == 3
    (alert,) = run.stats["alerts"]
    assert "'topic' is null in every document that was left" in alert
    assert "did you mean 'topics'" in alert


def test_the_page_about_the_mixture_holds(tmp_path, monkeypatch):
    """In docs/balance.md the program runs, recipes load, the table is what repetition.py says."""
    page = (Path(__file__).parents[1] / "docs" / "balance.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(program, {})  # noqa: S102 - our own page
    monkeypatch.chdir(tmp_path)
    for recipe in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        Path("recipe.yaml").write_text(f"input: a\noutput: b\n{recipe}", encoding="utf-8")
        assert load(Path("recipe.yaml"), {}).balance is not None
    rows = re.findall(r"^\| (\d+) \| ([0-9.]+) \| ([0-9.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 6
    for epochs, value, cost in rows:
        assert (value, cost) == (f"{worth(int(epochs)):.2f}", f"{cost_of_more(int(epochs)):.2f}")


def test_what_rules_drop_of_each_cluster_size_is_counted(clean):
    """With dedup first: two clusters of three of too few words, one of two and a lone one stay."""
    short = ["one two", "three four"]
    texts = [*(text for text in short for _ in range(3)), f"{PROSE} a", f"{PROSE} a", PROSE + " b"]
    run = clean(
        [{"text": text} for text in texts],
        dedup={"near": None},
        filter={"words": {"low": 5}},
        order=ORDER,
    )
    assert run.stats["clusters"] == [[2, 1], [3, 2]]
    assert run.stats["filtered_clusters"] == [[3, 2]]
    assert "of these dropped by a rule" in run.report.read_text(encoding="utf-8")
