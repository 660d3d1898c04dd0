"""Rules over measures -> verdicts. All rules are evaluated for all documents; no text is read.

A rule is a measure with bounds, so filtering again with other bounds costs seconds. Every rule's
result is kept, not only the first failure: that is how the books can say which rule drops
documents that no other rule would drop.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from cleanpipe.kernels import scan
from cleanpipe.nearest import did_you_mean
from cleanpipe.rules import where
from cleanpipe.rules.urls import Urls

MEASURES: Mapping[str, pl.DataType] = {
    **dict.fromkeys(scan.INTEGERS, pl.Int64()),
    **dict.fromkeys((name for name, _, _ in scan.DERIVED), pl.Float64()),
    **dict.fromkeys(scan.SCALED, pl.Float64()),
    "removed_word_frac": pl.Float64(),
    "lang": pl.String(),
    "lang_score": pl.Float64(),
}
"""Every measure of a document, and its type in the table of measures."""

OF_LANGUAGE = ("lang", "lang_score")
"""The measures that only `measure.language: true`, or the input's own columns, give."""

OF_EVALUATIONS = ("contaminated_words", "contaminated_frac", "seen_example_frac")
"""The measures that only `measure.evaluations` gives."""

OF_CUTS = ("cut_bytes", "cut_chars", "cut_frac")
"""The measures that only `cuts` gives."""

REASON_SCHEMA = {"rule": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}

_NO_LANGUAGE = "no language is measured: set measure.language: true or give the input a lang column"

NO_TOKENS = "no tokens are counted: set measure.tokenizer to the path of a tokenizer.json"

NO_EVALUATIONS = "no evaluation sets are looked for: set measure.evaluations"

NO_CUTS = "no repeats are cut: set cuts"

_ABSENT = {
    **dict.fromkeys(OF_LANGUAGE, _NO_LANGUAGE),
    "tokens": NO_TOKENS,
    **dict.fromkeys(OF_EVALUATIONS, NO_EVALUATIONS),
    **dict.fromkeys(OF_CUTS, NO_CUTS),
}
"""Why a measure is not there that only some recipes give."""

Bound = Annotated[float, Field(allow_inf_nan=False)] | None


def possible_rule(name: str) -> str:
    """The name, if what it names can have bounds: a number, of a measure or of a column.

    Errors: ValueError.
    """
    if MEASURES.get(name) == pl.String:
        raise ValueError(f"is a word, not a number: write where: \"{name} IN ('en', 'de')\"")
    return name


def _in_order(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"low {low:g} is above high {high:g}: no document could pass")


def _without_those_off(by_lang: object) -> object:
    if by_lang is None or by_lang is False:
        return {}
    if not isinstance(by_lang, Mapping):
        return by_lang
    return {lang: bounds for lang, bounds in by_lang.items() if bounds not in (None, False)}


class Bounds(BaseModel):
    """The values that pass, both ends included; a bound left out or null does not limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    low: Bound = None
    """The smallest value that passes."""
    high: Bound = None
    """The largest value that passes."""


ByLang = dict[str, Bounds | Literal[False] | None]


class Rule(Bounds):
    """Bounds of one measure. A document without that measure (null) passes.

    >>> rule = Rule(low=50, high=1000, by_lang={"ja": {"low": 30}})
    >>> rule.by_lang["ja"]
    Bounds(low=30.0, high=1000.0)
    """

    by_lang: Annotated[
        dict[str, Bounds],
        BeforeValidator(_without_those_off, json_schema_input_type=ByLang | Literal[False] | None),
    ] = {}
    """Other bounds for some languages; the bound that is left out there is the rule's own, and
    `null` lifts it. For measures whose scale depends on the script, such as words. `false` in place
    of a language, or of all, takes back what a preset brings."""
    langs: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The only languages the rule applies to: all others, and documents whose language is not
    known, pass. For measures that mean nothing elsewhere, such as English stop words."""

    @field_validator("by_lang")
    @classmethod
    def _inherit(cls, by_lang: dict[str, Bounds], info: ValidationInfo) -> dict[str, Bounds]:
        own = {side: info.data.get(side) for side in ("low", "high")}
        filled = {}
        for lang, bounds in by_lang.items():
            if not bounds.model_fields_set:
                raise ValueError(f"{lang} has no bound: give low or high, or null to lift one")
            filled[lang] = Bounds(**{**own, **bounds.model_dump(exclude_unset=True)})
            try:
                _in_order(filled[lang].low, filled[lang].high)
            except ValueError as error:
                raise ValueError(f"{lang}: {error}") from None
        return filled

    @model_validator(mode="after")
    def _can_decide(self) -> Self:
        _in_order(self.low, self.high)
        everywhere: tuple[Bounds, ...] = (self, *self.by_lang.values())
        if all(bounds.low is None and bounds.high is None for bounds in everywhere):
            raise ValueError("has no bound: give low or high, or leave the rule out")
        unreached = [] if self.langs is None else [x for x in self.by_lang if x not in self.langs]
        if unreached:
            raise ValueError(f"by_lang has {unreached[0]!r}, which is not among langs")
        return self

    def needs_lang(self) -> bool:
        """Whether the rule asks for a document's language."""
        return bool(self.langs or self.by_lang)

    def bound(self, side: str) -> pl.Expr:
        """`low` or `high` as it applies to each document."""
        own: float | None = getattr(self, side)
        others = {lang: getattr(bounds, side) for lang, bounds in self.by_lang.items()}
        if all(other == own for other in others.values()):
            return pl.lit(own, dtype=pl.Float64)
        return _LANG.replace_strict(
            list(others), list(others.values()), default=own, return_dtype=pl.Float64
        )

    def applies(self) -> pl.Expr:
        """Whether the rule is about a document, by its language; never null."""
        return pl.lit(value=True) if self.langs is None else _is_one_of(self.langs)

    def fails(self, name: str) -> pl.Expr:
        """Whether the rule drops a document by its measure `name`; never null."""
        value = _value(name)
        outside = (value < self.bound("low")).fill_null(value=False) | (
            value > self.bound("high")
        ).fill_null(value=False)
        return outside & self.applies()


_LANG = pl.col("lang").cast(pl.String)


def _is_one_of(langs: tuple[str, ...]) -> pl.Expr:
    return _LANG.is_in(list(langs)).fill_null(value=False)


def _passed(predicate: str, table: pl.DataFrame) -> pl.Series:
    """Which rows the predicate keeps; of none, where no column may have its type, none."""
    if not table.height:
        return pl.Series("where", [], dtype=pl.Boolean)
    return table.with_columns(where.expression(predicate))["where"]


def _value(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64).fill_nan(None)


class Filter(BaseModel):
    """Rules by measure, in the order in which they are named to be the reason of a drop.

    In a recipe the measures stand directly under `filter`, beside `where`; `false` or `null` in
    place of bounds switches off a rule that a preset brings.

    >>> chosen = Filter(words={"low": 3}, where="lang = 'en'")
    >>> table = pl.DataFrame({"words": [2, 9, 9], "lang": ["en", "en", None]})
    >>> chosen.failures(table).rows()
    [(True, False), (False, False), (False, True)]
    >>> chosen.verdicts(table, chosen.failures(table))["rule"].to_list()
    ['words', None, 'where']
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rules: dict[Annotated[str, AfterValidator(possible_rule)], Rule] = {}
    """The bounds of each measure, or of a column of the input that holds numbers."""
    where: str | None = None
    """A SQL predicate over measures and the input's columns, true for documents to keep; null
    counts as false. It is evaluated by Polars, and can read nothing but the document's row."""
    urls: Urls | None = None
    """Rules over the URLs of documents. Those over lists are the first reason of a drop, the cap on
    each domain the last: it counts what no other rule drops."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        named = {name: rule for name, rule in given.items() if name not in {"where", "urls"}}
        rules = {n: rule for n, rule in named.items() if rule is not None and rule is not False}
        others = {name: given.get(name) for name in ("where", "urls")}
        return {"rules": rules} | {n: None if v is False else v for n, v in others.items()}

    @field_validator("where")
    @classmethod
    def _is_pure(cls, predicate: str | None) -> str | None:
        if predicate is not None:
            where.expression(predicate)
        return predicate

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {
            **{name: rule.model_dump() for name, rule in self.rules.items()},
            "where": self.where,
            "urls": None if self.urls is None else self.urls.model_dump(),
        }

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The form that recipes have: measures directly under `filter`."""
        schema = handler.resolve_ref_schema(handler(core))
        properties = schema["properties"]
        rule = properties.pop("rules")["additionalProperties"]
        off = [{"const": False}, {"type": "null"}]
        for name, kind in MEASURES.items():
            if kind != pl.String:
                properties[name] = {"anyOf": [rule, *off]}
        properties["urls"]["anyOf"].append({"const": False})
        schema["additionalProperties"] = {"anyOf": [rule, *off]}
        return schema

    def columns(self) -> tuple[str, ...]:
        """What a table must hold for the rules: measures, `lang` where asked for, and columns."""
        return tuple(dict.fromkeys(name for _, name in self.asks()))

    def asks(self) -> Iterator[tuple[str, str]]:
        """Each option, and a measure or column that it goes by."""
        yield from ((name, name) for name in self.rules)
        yield from ((name, "lang") for name, rule in self.rules.items() if rule.needs_lang())
        if self.urls is not None:
            yield from ((f"urls.{option}", name) for option, name in self.urls.asks())
        yield from (("where", name) for name in self._predicate_names())

    def _predicate_names(self) -> tuple[str, ...]:
        return () if self.where is None else where.names(self.where)

    def problems(self, columns: Mapping[str, pl.DataType]) -> Iterator[tuple[str, str]]:
        """What keeps the rules from being evaluated on a table of these columns: (rule, why).

        >>> list(Filter(where="url LIKE '%.org'").problems({"words": pl.Int64()}))
        [('where', "'url' is neither a measure nor a column")]
        """
        yield from self._problems_of_rules(columns)
        if self.where is not None:
            try:
                where.check(self.where, columns)
            except ValueError as error:
                yield "where", str(error)
        if self.urls is not None:
            yield from self.urls.problems(columns)

    def _problems_of_rules(self, columns: Mapping[str, pl.DataType]) -> Iterator[tuple[str, str]]:
        by_lang = []
        for name, rule in self.rules.items():
            if rule.langs is not None and "lang" not in columns:
                yield name, f"applies to langs [{', '.join(rule.langs)}], but {_NO_LANGUAGE}"
            elif rule.by_lang and "lang" not in columns:
                by_lang.append(name)
            elif name not in columns and name in _ABSENT:
                yield name, f"has bounds, but {_ABSENT[name]}"
            elif name not in columns:
                yield name, f"is no measure and no column{did_you_mean(name, columns)}"
            elif not (columns[name].is_numeric() or columns[name] == pl.Boolean):
                yield name, f"is a column of {columns[name]}, not of numbers: use where"
        if by_lang:
            names = ", ".join(f"filter.{name}" for name in by_lang)
            yield by_lang[0], f"bounds by language in {names}, but {_NO_LANGUAGE}"

    def failures(self, table: pl.DataFrame) -> pl.DataFrame:
        """One Boolean column for each rule, true where it fails; every rule for every document.

        `table` holds `columns()`, a row for each document. The predicate's column is `where`. The
        cap on each domain is not among them: it is decided with what else drops documents.

        Errors: InputError for a list of `urls` that cannot be read.
        """
        failed = table.select(rule.fails(name).alias(name) for name, rule in self.rules.items())
        if self.urls is not None:
            failed = pl.DataFrame([*self.urls.failures(table), *failed])
        if self.where is None:
            return failed
        read = {name: table.schema[name] for name in self._predicate_names()}
        known = table.with_columns(*where.typed(self.where, read))
        return pl.DataFrame([*failed.get_columns(), ~_passed(self.where, known)])

    def verdicts(self, table: pl.DataFrame, failures: pl.DataFrame) -> pl.DataFrame:
        """The first rule that each document fails, its value, and the bounds for its language.

        Columns rule, value, low, high; all null for a document that passes, and the last three
        for `where`, which has no bounds.
        """
        flags = {name: f"fails {name}" for name in failures.columns}
        frame = table.select(name for name in self.columns() if name in table.columns)
        frame = frame.with_columns(failures[name].alias(flag) for name, flag in flags.items())
        chains = dict.fromkeys(REASON_SCHEMA, pl.lit(None))
        for name, flag in reversed(flags.items()):
            rule = self.rules.get(name)
            found = {"rule": pl.lit(name)}
            if rule is not None:
                found |= {side: rule.bound(side) for side in ("low", "high")}
                found["value"] = _value(name)
            for column, later in chains.items():
                reason = found.get(column, pl.lit(None))
                chains[column] = pl.when(flag).then(reason).otherwise(later)
        if not flags:
            return pl.DataFrame(schema=REASON_SCHEMA).clear(table.height)
        reasons = frame.select(
            chain.cast(REASON_SCHEMA[column]).alias(column) for column, chain in chains.items()
        )
        return reasons if self.urls is None else self.urls.completed(reasons, table)

    def counts(self, failures: pl.DataFrame) -> list[dict[str, Any]]:
        """How many documents each rule fails, fails first, and fails as the only one.

        >>> Filter().counts(pl.DataFrame({"words": [True, True], "lines": [False, True]}))[1]
        {'rule': 'lines', 'failed': 1, 'first': 0, 'alone': 0}
        """
        rows = []
        before, times = (pl.repeat(0, failures.height, dtype=pl.Int32, eager=True) for _ in "..")
        for failed in failures:
            times += failed.cast(pl.Int32)
        for failed in failures:
            rows.append(
                {
                    "rule": failed.name,
                    "failed": int(failed.sum()),
                    "first": int((failed & (before == 0)).sum()),
                    "alone": int((failed & (times == 1)).sum()),
                }
            )
            before += failed.cast(pl.Int32)
        return rows

    def bounds(self) -> dict[str, dict[str, Any]]:
        """Each rule's bounds as plain values; `where` has its predicate instead."""
        known: dict[str, dict[str, Any]] = {n: r.model_dump() for n, r in self.rules.items()}
        known |= {} if self.urls is None else self.urls.rules()
        return known | ({} if self.where is None else {"where": {"where": self.where}})

    def explain(self, table: pl.DataFrame) -> list[dict[str, Any]]:
        """Every rule for one document (a table of one row): its value, bounds, and if it fails."""
        failed = self.model_copy(update={"urls": None}).failures(table)
        lines = [] if self.urls is None else self.urls.explain(table)
        for name in failed.columns:
            rule = self.rules.get(name)
            line: dict[str, Any] = {"rule": name, "value": None, "low": None, "high": None}
            line["applies"] = True
            if rule is not None:
                if rule.langs is not None:
                    line["applies"] = table["lang"][0] in rule.langs
                bounds = (rule.bound(side).alias(side) for side in ("low", "high"))
                line |= table.select(_value(name).alias("value"), *bounds).row(0, named=True)
            lines.append({**line, "fails": bool(failed[name][0])})
        return lines
