"""What rules do together, and with bounds a tenth away, against a document-by-document count."""

import math
from fractions import Fraction

import numpy as np
import orjson
import polars as pl
import pytest
from conftest import InProcess
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanpipe.recipes.recipe_file import load
from cleanpipe.rules import effects
from cleanpipe.rules.filter import Filter
from cleanpipe.run import Work, all_steps

LANGS = ("en", "de", "ja", None)
BOUNDS = st.sampled_from([0, 1, 3, 5, 10, 11, 50])
SHARES = st.sampled_from([0.0, 0.05, 0.3, 0.8, 1.0])
COUNTS = st.one_of(st.none(), st.integers(0, 60))
FRACTIONS = st.one_of(st.none(), st.sampled_from([0.0, 0.045, 0.05, 0.27, 0.3, 0.5, 0.75, 1.0]))


@st.composite
def bounds(draw, values):
    low, high = draw(st.one_of(st.none(), values)), draw(st.one_of(st.none(), values))
    if low is None and high is None:
        return {"low": draw(values)}
    if low is not None and high is not None:
        low, high = sorted((low, high))
    return {side: value for side, value in (("low", low), ("high", high)) if value is not None}


@st.composite
def filters(draw):
    by_lang = {"ja": {"low": None, "high": None, **draw(bounds(BOUNDS))}}
    chosen = {
        "words": {**draw(bounds(BOUNDS)), "by_lang": draw(st.sampled_from([{}, by_lang]))},
        "stop_words": {**draw(bounds(BOUNDS)), "langs": ["en", "ja"]},
        "digit_char_frac": draw(bounds(SHARES)),
    }
    return chosen | draw(st.sampled_from([{}, {"where": "lang = 'en'"}]))


@st.composite
def tables(draw):
    size = draw(st.integers(0, 12))
    columns = {"words": COUNTS, "stop_words": COUNTS, "digit_char_frac": FRACTIONS}
    rows = {n: draw(st.lists(v, min_size=size, max_size=size)) for n, v in columns.items()}
    rows["lang"] = draw(st.lists(st.sampled_from(LANGS), min_size=size, max_size=size))
    kinds = {"words": pl.Int64, "stop_words": pl.Int64, "digit_char_frac": pl.Float64}
    return pl.DataFrame(rows, schema={**kinds, "lang": pl.String})


def slow_fails(chosen, name, row):
    """What the docstrings say of one rule and one document."""
    if name == "where":
        return row["lang"] != "en"
    rule = chosen[name]
    value, held = row[name], rule.get("by_lang", {}).get(row["lang"], rule)
    if value is None or ("langs" in rule and row["lang"] not in rule["langs"]):
        return False
    low, high = held.get("low"), held.get("high")
    return (low is not None and value < low) or (high is not None and value > high)


def slow_bound(bound, sign, *, whole):
    if bound is None:
        return None
    moved = Fraction(str(bound)) * (10 + sign) / 10
    return (math.ceil(moved) if sign > 0 else math.floor(moved)) if whole else float(moved)


def slow_moved(chosen, name, side, sign):
    """The rules with one bound of one rule a tenth away, or None where that changes nothing."""

    def moved(held):
        return {**held, side: slow_bound(held.get(side), sign, whole=name != "digit_char_frac")}

    rule = chosen[name]
    other = moved(rule)
    other["by_lang"] = {lang: moved(held) for lang, held in rule.get("by_lang", {}).items()}
    same = {lang: {**held, side: held.get(side)} for lang, held in rule.get("by_lang", {}).items()}
    if other.get(side) == rule.get(side) and other["by_lang"] == same:
        return None
    return {**chosen, name: other}


@settings(max_examples=200)
@given(filters(), tables())
def test_moved_bounds_equal_a_document_by_document_count(given_rules, table):
    """Every bound a tenth lower and higher: who fails the rule, and who passes all of them."""
    chosen = Filter(**given_rules)
    found = effects.moves(chosen, table, chosen.failures(table))
    expected = {name: [] for name in given_rules}
    for name in chosen.rules:
        for side in ("low", "high"):
            for sign in (-1, 1):
                moved = slow_moved(given_rules, name, side, sign)
                if moved is None:
                    continue
                rows = table.to_dicts()
                failed = [slow_fails(moved, name, row) for row in rows]
                others = [n for n in given_rules if n != name]
                passed = [
                    not fails and not any(slow_fails(given_rules, n, row) for n in others)
                    for fails, row in zip(failed, rows, strict=True)
                ]
                counted = {"failed": sum(failed), "passed": sum(passed)}
                bound = moved[name].get(side)
                line = {"side": side, "change": 10 * sign, "bound": bound, **counted}
                expected[name].append(line)
    assert found == expected


@given(filters(), tables())
def test_pairs_and_what_applies_equal_a_document_by_document_count(given_rules, table):
    """Documents that fail two rules, and documents that a rule can judge."""
    chosen, rows = Filter(**given_rules), table.to_dicts()
    names = list(given_rules)
    both = {
        (one, other): sum(
            slow_fails(given_rules, one, row) and slow_fails(given_rules, other, row)
            for row in rows
        )
        for i, one in enumerate(names)
        for other in names[i + 1 :]
    }
    failures = chosen.failures(table)
    found = effects.pairs(failures.columns, effects.together(failures))
    assert {(p["rule"], p["other"]): p["documents"] for p in found} == {
        pair: count for pair, count in both.items() if count
    }
    applies = {name: table[name].len() - table[name].null_count() for name in chosen.rules}
    known = table.filter(pl.col("lang").is_in(["en", "ja"]))["stop_words"]
    applies |= {"stop_words": known.len() - known.null_count()}
    where = {"where": table.height} if "where" in given_rules else {}
    assert effects.applies(chosen, table) == applies | where


def test_more_rules_than_bits_in_a_word():
    """A hundred rules are counted like two."""
    chance = np.random.default_rng(0)
    flags = chance.random((300, 100)) < 0.2
    failures = pl.DataFrame({f"rule {i}": flags[:, i] for i in range(100)})
    expected = flags.astype(int).T @ flags.astype(int)
    assert np.array_equal(effects.together(failures), expected)


@pytest.mark.parametrize(
    ("bound", "whole", "lower", "higher"),
    [
        (50, True, 45, 55),
        (3, True, 2, 4),
        (1, True, 0, 2),
        (0.3, False, 0.27, 0.33),
        (0, True, 0, 0),
    ],
)
def test_a_tenth_of_a_count_is_rounded_away_from_the_bound(bound, whole, lower, higher):
    """A bound of 3 moves to 2 and to 4; shares move by exactly a tenth; 0 has no tenth."""
    assert effects.away(bound, -1, whole=whole) == lower
    assert effects.away(bound, 1, whole=whole) == higher


def test_a_runs_statistics_say_what_each_rule_does(tmp_path, write_recipe):
    """stats.json adds up: the first failures are what the filter drops, pairs go both ways."""
    texts = ["one two", "one two three", "1 2 3", "a b c d", "1 2 3 4 5", " "]
    (tmp_path / "a.jsonl").write_bytes(b"".join(orjson.dumps({"text": t}) + b"\n" for t in texts))
    rules = {"words": {"low": 3, "high": 4}, "digit_char_frac": {"high": 0.3}}
    recipe = write_recipe(input={"path": "a.jsonl"}, measure={"language": False}, filter=rules)
    stats = all_steps(Work(load(recipe), InProcess(), lambda *_: None)).stats
    assert stats["filter"] == {"judged": 5, "passed": 2}
    words, digits = stats["rules"]
    assert (words["failed"], words["first"], words["alone"], words["applies"]) == (2, 2, 1, 5)
    assert (digits["failed"], digits["first"], digits["alone"]) == (2, 1, 1)
    assert [(m["side"], m["bound"], m["passed"]) for m in words["moves"]] == [
        ("low", 2.0, 3),
        ("low", 4.0, 1),
        ("high", 3.0, 1),
        ("high", 5.0, 2),
    ]
    pair = {"rule": "words", "other": "digit_char_frac", "documents": 1}
    assert stats["rule_pairs"] == [pair]
    assert stats["histograms"]["digit_char_frac"]["raw"]["count"] == 6
