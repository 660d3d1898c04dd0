"""Rules against a slow reference, and predicates that must not reach a file."""

import re
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from cleanpipe.rules import where
from cleanpipe.rules.filter import MEASURES, REASON_SCHEMA, Filter, Rule

LANGS = ("en", "de", "ja")
VALUES = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([0.5, float("nan")]))
BOUND = st.one_of(st.none(), st.integers(-3, 3))


@st.composite
def bounds(draw):
    low, high = draw(BOUND), draw(BOUND)
    if low is not None and high is not None and low > high:
        low, high = high, low
    return {"low": low, "high": high}


@st.composite
def rules(draw):
    by_lang = draw(st.dictionaries(st.sampled_from(LANGS), bounds(), max_size=2))
    langs = draw(
        st.one_of(st.none(), st.just([*LANGS]), st.just(["en"]) if not by_lang else st.none())
    )
    rule = {**draw(bounds()), "by_lang": by_lang, "langs": langs}
    every = [rule, *by_lang.values()]
    return rule if any(b[s] is not None for b in every for s in ("low", "high")) else {"low": 0}


@st.composite
def tables(draw):
    size = draw(st.integers(0, 6))
    column = st.lists(VALUES, min_size=size, max_size=size)
    langs = st.lists(st.sampled_from([*LANGS, "fr", None]), min_size=size, max_size=size)
    schema = {"words": pl.Float64, "chars": pl.Float64, "lang": pl.String}
    values = {"words": draw(column), "chars": draw(column), "lang": draw(langs)}
    return pl.DataFrame(values, schema=schema, strict=False)


def slow_failure(rule, value, lang):
    """What the docstrings say of one rule and one document: the bounds if it fails, else None."""
    applied = rule.get("by_lang", {}).get(lang) or rule
    low, high = applied.get("low"), applied.get("high")
    if value is None or value != value or (rule.get("langs") and lang not in rule["langs"]):  # noqa: PLR0124 - NaN
        return None
    fails = (low is not None and value < low) or (high is not None and value > high)
    return (low, high) if fails else None


@given(tables(), rules(), rules())
def test_rules_equal_a_slow_reference(table, words, chars):
    """Bounds, languages, nulls and NaN decide as documented, and the first failure is named."""
    chosen = Filter(words=words, chars=chars)
    failures = chosen.failures(table)
    expected = []
    for row in table.to_dicts():
        found = {
            name: slow_failure(rule, row[name], row["lang"])
            for name, rule in (("words", words), ("chars", chars))
        }
        expected.append(found)
        first = next((name for name, bound in found.items() if bound), None)
        reason = (first, row[first], *found[first]) if first else (None,) * 4
        found["reason"] = reason
    for name in ("words", "chars"):
        assert failures[name].to_list() == [found[name] is not None for found in expected]
    reasons = pl.DataFrame(
        [f["reason"] for f in expected], schema=REASON_SCHEMA, orient="row", strict=False
    )
    assert_frame_equal(chosen.verdicts(table, failures), reasons)
    again = Filter.model_validate(chosen.model_dump())
    assert again == chosen
    counts = {row["rule"]: row for row in chosen.counts(failures)}
    for name, other in (("words", "chars"), ("chars", "words")):
        failed = [found for found in expected if found[name]]
        assert counts[name] == {
            "rule": name,
            "failed": len(failed),
            "first": sum(found["reason"][0] == name for found in failed),
            "alone": sum(not found[other] for found in failed),
        }


def test_no_rules_drop_nothing():
    """Without rules every document passes, and each has its line."""
    table = pl.DataFrame({"words": [1, 2]})
    failures = Filter().failures(table)
    assert failures.columns == []
    assert Filter().verdicts(table, failures)["rule"].to_list() == [None, None]
    assert Filter().counts(failures) == []


def test_rules_are_named_in_the_recipe_s_order():
    """A document that fails several rules is dropped by the first one written; where is last."""
    table = pl.DataFrame({"words": [0], "chars": [0]})
    for names in (("words", "chars"), ("chars", "words")):
        chosen = Filter(where="words > 5", **{name: {"low": 1} for name in names})
        reasons = chosen.verdicts(table, chosen.failures(table))
        assert reasons.row(0) == (names[0], 0.0, 1.0, None)
        assert [line["rule"] for line in chosen.explain(table)] == [*names, "where"]


def test_a_predicate_has_no_value_and_hides_no_later_reason():
    """A drop by `where` has null value and bounds."""
    chosen = Filter(where="words > 5")
    table = pl.DataFrame({"words": [None, 3, 9]})
    reasons = chosen.verdicts(table, chosen.failures(table))
    assert reasons.rows() == [("where", None, None, None)] * 2 + [(None,) * 4]


def test_bounds_left_out_for_a_language_are_inherited_and_null_lifts_them():
    """by_lang changes what it names."""
    rule = Rule(low=3, high=10, by_lang={"ja": {"low": 1}, "th": {"low": None}})
    assert (rule.by_lang["ja"].low, rule.by_lang["ja"].high) == (1, 10)
    assert (rule.by_lang["th"].low, rule.by_lang["th"].high) == (None, 10)


WRONG_RULES = [
    ({"low": 3, "high": 2}, "low 3 is above high 2"),
    ({}, "has no bound"),
    ({"low": float("nan")}, "finite"),
    ({"high": float("inf")}, "finite"),
    ({"low": 3, "high": 9, "by_lang": {"ja": {"low": 10}}}, "ja: low 10 is above high 9"),
    ({"low": 3, "by_lang": {"ja": {}}}, "ja has no bound"),
    ({"low": 3, "by_lang": {"ja": {"low": 1}}, "langs": ["en"]}, "'ja', which is not among langs"),
    ({"low": 3, "langs": []}, "at least 1"),
]


@pytest.mark.parametrize(("rule", "message"), WRONG_RULES)
def test_a_rule_that_cannot_decide_is_refused(rule, message):
    """Bounds in the wrong order, none, not finite, or for languages never reached."""
    with pytest.raises(ValidationError, match=message):
        Rule.model_validate(rule)


def test_a_rule_needs_a_number():
    """A language is a word; what is no measure is a column, or told with the nearest name."""
    with pytest.raises(ValidationError, match="where: "):
        Filter(lang={"low": 1})
    chosen = Filter(wrods={"low": 1}, title={"low": 1}, draft={"high": 0})
    columns = {**MEASURES, "title": pl.String(), "draft": pl.Boolean()}
    assert list(chosen.problems(columns)) == [
        ("wrods", "is no measure and no column; did you mean 'words'?"),
        ("title", "is a column of String, not of numbers: use where"),
    ]


def test_a_rule_for_languages_needs_languages():
    """The message says what to switch on."""
    columns = {name: kind for name, kind in MEASURES.items() if not name.startswith("lang")}
    chosen = Filter(
        stop_words={"low": 2, "langs": ["en"]},
        words={"low": 5, "by_lang": {"ja": {"low": 9}}},
        chars={"low": 5, "by_lang": {"ja": {"low": 9}}},
        lang_score={"low": 0.5},
    )
    why = "but no language is measured: set measure.language: true or give the input a lang column"
    assert list(chosen.problems(columns)) == [
        ("stop_words", f"applies to langs [en], {why}"),
        ("lang_score", f"has bounds, {why}"),
        ("words", f"bounds by language in filter.words, filter.chars, {why}"),
    ]
    assert list(chosen.problems(MEASURES)) == []


HOSTILE = [
    "words IN (SELECT words FROM read_csv('{file}'))",
    "EXISTS (SELECT 1 FROM read_parquet('{file}'))",
    "words IN (select a from READ_CSV('{file}'))",
    "words IN (SELECT/**/a FROM read_ndjson('{file}'))",
    "read_csv('{file}') = 1",
    "\"read_csv\"('{file}') = 1",
    "words > 1; SELECT * FROM read_csv('{file}')",
    "words > 1 UNION SELECT * FROM read_csv('{file}')",
    "words = ANY(SELECT 1)",
    "words IN (TABLE x)",
    "words IN (VALUES (1))",
    "lang = 'a\\' OR words IN (SELECT a FROM read_csv('{file}')) --'",
    "lang = E'\\' OR 1 IN (SELECT a FROM read_csv('{file}')) --'",
    "lang = $$'$$ OR 1 IN (SELECT a FROM read_csv('{file}')) --'",
    "words > 1 -- comment",
    "words /* comment */ > 1",
    "EXTRACT(YEAR FROM day) > 2000",
    "COUNT(*) > 1",
    "MAX(words) > 1",
    "words > (SELECT 1)",
    "FROM read_csv('{file}')",
    "words\u00a0> 1",
    "lang.words = 1",
    "words::int > 1",
    "lang ~ '(a+)+$'",
    "COLUMNS('.*') > 1",
    "",
    "  ",
]


@pytest.mark.parametrize("predicate", HOSTILE)
def test_a_predicate_is_refused_before_polars_sees_it(predicate, tmp_path, monkeypatch):
    """Polars' SQL reads files while it parses: nothing of this kind may reach it."""
    file = tmp_path / "secret.csv"
    file.write_text("words\n1\n", encoding="utf-8")
    monkeypatch.setattr(pl, "sql_expr", lambda _: pytest.fail("reached Polars"))
    # `TABLE` is no keyword to us but a name: it is refused as no column, without Polars
    columns = {"words": pl.Int64(), "lang": pl.String()}
    with pytest.raises(ValueError, match=r"\w"):
        where.check(predicate.replace("{file}", str(file)), columns)


def test_polars_alone_would_open_the_file(tmp_path):
    """Why predicates are checked first: parsing this one fails on the file, not on the SQL."""
    predicate = HOSTILE[0].replace("{file}", str(tmp_path / "missing.csv"))
    with pytest.raises(FileNotFoundError, match=r"missing\.csv"):
        pl.sql_expr(predicate)
    with pytest.raises(ValidationError, match="'SELECT' is not allowed"):
        Filter(where=predicate)


GOOD = [
    ("words > 5 AND lang IN ('en', 'de')", [True, False, False]),
    ("lang = 'it''s' OR words <= 3", [False, True, False]),
    ("NOT words BETWEEN 1 AND 5", [True, False, False]),
    ("words - 5 < 0", [False, True, False]),
    ("LENGTH(lang) = 2 AND UPPER(lang) LIKE 'E%'", [True, False, False]),
    ("CASE WHEN words > 5 THEN TRUE ELSE lang = 'xx' END", [True, True, False]),
    ("COALESCE(lang, 'none') = 'none'", [False, False, True]),
    ("TRY_CAST(lang AS BIGINT) IS NULL", [True, True, True]),
    ('"a column" IS NOT NULL', [True, True, True]),
    ("day >= DATE '2024-01-01'", [True, True, True]),
    ("'SELECT x FROM y; --' <> lang", [True, True, False]),
    ("words % 2 = 1", [True, True, False]),
    ("TRUE", [True, True, True]),
    ("lang IN (" + "'no', " * 1000 + "'xx')", [False, True, False]),
]


@pytest.mark.parametrize(("predicate", "kept"), GOOD)
def test_a_predicate_keeps_what_it_says(predicate, kept):
    """Null is false; unsigned columns do not wrap around zero; quotes hide keywords."""
    table = pl.DataFrame({"words": [9, 3, None], "lang": ["en", "xx", None], "a column": [1, 2, 3]})
    table = table.with_columns(
        pl.col("words").cast(pl.UInt32), day=pl.lit("2024-05-05").str.to_date()
    )
    chosen = Filter(where=predicate)
    assert list(chosen.problems(table.schema)) == []
    assert chosen.failures(table)["where"].to_list() == [not keep for keep in kept]


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ("wrods > 5", "did you mean 'words'"),
        ("words + 1", "gives Int64"),
        ("lang", "gives String"),
        ("NULL", "gives Null"),
        ("lang > 5", "cannot compare"),
        ("LENGTH(words) = 3", "String"),
        ("lang LIKE lang", "LIKE"),
        ('"^.*$" > 1', "neither a measure nor a column"),
        ("CURRENT_DATE > DATE '2020-01-01'", "CURRENT_DATE"),
    ],
)
def test_a_predicate_that_cannot_decide_is_a_problem(predicate, message):
    """Unknown names, other types than Boolean, and what cannot be computed, are told."""
    columns = {"words": pl.Int64(), "lang": pl.String()}
    with pytest.raises(ValueError, match=re.escape(message)):
        where.check(predicate, columns)


def test_a_name_of_the_clock_is_no_column():
    """CURRENT_DATE stays refused where a column has that name: tomorrow would decide otherwise."""
    with pytest.raises(ValidationError, match="CURRENT_DATE"):
        Filter(where="CURRENT_DATE > DATE '2020-01-01'")


@pytest.mark.parametrize(
    "predicate",
    [
        "a || " * 1000 + "a = 'x'",
        "NOT " * 1000 + "a",
        "a AND " * 1000 + "a",
        "-" * 5000 + "1 > a",
        "(" * 1000 + "a" + ")" * 1000,
        "a = '" + "x" * 30000 + "'",
    ],
    ids=["concatenation", "not", "and", "minus", "parentheses", "long"],
)
def test_a_deep_predicate_is_refused_and_kills_nothing(predicate):
    """Polars overflows its stack on some of these, which would end the process."""
    code = "import sys; from cleanpipe.rules import where; where.expression(sys.stdin.read())"
    done = subprocess.run(
        [sys.executable, "-c", code], input=predicate, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr[-300:]
    assert "ValueError" in done.stderr


def test_the_longest_predicate_that_is_read_works_in_a_thread():
    """As many operators as are allowed do not overflow the smaller stack of a thread."""
    code = (
        "import polars as pl, threading; from cleanpipe.rules import where\n"
        f"e = 'a || ' * {where.MAX_OPERATORS - 1} + \"a = 'x'\"\n"
        "run = lambda: pl.DataFrame({'a': ['x']}).select(where.expression(e))\n"
        "t = threading.Thread(target=run); t.start(); t.join(); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"


@pytest.mark.parametrize(
    "predicate", ["url LIKE 'https%'", "url = 'a'", "url > 3", "LOWER(url) = 'a'"]
)
def test_a_column_of_nulls_alone_decides_as_nulls_do(predicate):
    """It has no type, so it takes the one that is needed; a table of no rows needs none."""
    chosen = Filter(where=predicate)
    nulls = pl.DataFrame({"url": [None, None], "words": [1, 2]})
    assert list(chosen.problems(nulls.schema)) == []
    assert chosen.failures(nulls)["where"].to_list() == [True, True]
    both = Filter(where=f"{predicate} OR year > 3 OR year LIKE 'x'")
    empty = pl.DataFrame(schema={"url": pl.Null, "year": pl.Null})
    assert both.failures(empty).schema == {"where": pl.Boolean}
