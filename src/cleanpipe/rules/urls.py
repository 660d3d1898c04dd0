"""Rules over a document's URL: lists of domains, URLs and words, and a cap on each domain.

The lists are the user's own text files (url_lists.py); none is shipped, and nothing is fetched. A
listed domain means itself and all that is below it. No list of public suffixes is at hand, so a
cap counts by host (without a leading `www.`), or by a column that the user gives.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cleanpipe.errors import InputError
from cleanpipe.nearest import did_you_mean
from cleanpipe.rules import url_lists, url_parts

CAP = "domain_cap"
"""The rule that per_domain makes; it is decided after all others, over whole tables."""
KINDS: Mapping[str, str] = {
    "url_blocked": "page",
    "domain_blocked": "domain",
    "url_words": "word",
    "url_soft_words": "word",
    "url_parts": "part",
}
"""The rules over lists in the order in which they are the reason of a drop, and what they list."""

LIST_OPTIONS = ("blocked_urls", "blocked_domains", "words", "soft_words.lists", "parts")
"""Where the paths of lists stand among the options, in the order of KINDS."""
COUNTED = ("url_words", "url_soft_words", "url_parts")
"""The rules whose value is how many different entries a URL holds."""

Lists = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class SoftWords(BaseModel):
    """Words of which one alone says nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    lists: Lists
    """Paths of the lists, one word a line."""
    high: Annotated[int, Field(ge=0)] = 1
    """How many different ones may stand in a URL. RefinedWeb drops at 2 (arXiv 2306.01116, G.1)."""


def _absent(value: object) -> object:
    return None if value is False else value


OffLists = Annotated[
    Lists | None,
    BeforeValidator(_absent, json_schema_input_type=Lists | Literal[False] | None),
]
OffCount = Annotated[
    Annotated[int, Field(ge=1)] | None,
    BeforeValidator(_absent, json_schema_input_type=int | Literal[False] | None),
]
OffName = Annotated[
    Annotated[str, Field(min_length=1)] | None,
    BeforeValidator(_absent, json_schema_input_type=str | Literal[False] | None),
]
OffSoftWords = Annotated[
    SoftWords | None,
    BeforeValidator(_absent, json_schema_input_type=SoftWords | Literal[False] | None),
]


class Urls(BaseModel):
    """Rules over URLs. A document without a URL, or whose URL has no host, passes what needs one.

    >>> Urls(per_domain=2).columns()
    ('url',)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    column: Annotated[str, Field(min_length=1)] = "url"
    """The input's column that holds the URLs."""
    blocked_domains: OffLists = None
    """Paths of lists of domains: each entry drops the host itself and all hosts below it, so that
    `example.org` drops `www.example.org` and not `anexample.org`. An IP address drops itself."""
    blocked_urls: OffLists = None
    """Paths of lists of URLs. A page is the same with and without scheme, fragment, usual port,
    user and capitals in its host; path and query must be equal."""
    words: OffLists = None
    """Paths of lists of words: one of them as a run of letters and digits in the URL drops it."""
    soft_words: OffSoftWords = None
    """Words of which several drop it."""
    parts: OffLists = None
    """Paths of lists of strings that drop a URL wherever they stand in its letters and digits, even
    across dots and hyphens. `sex` drops `essex.ac.uk`, too: choose long ones."""
    per_domain: OffCount = None
    """The most documents that may stay of a host, of those that no other rule drops. Duplicates
    count unless `order` puts dedup first."""
    by: OffName = None
    """A column to count by in place of the host; a null is not counted."""
    keep: tuple[str, ...] = ()
    """Measures or columns that choose which of them stay, as in `dedup.near.keep`: smaller is
    better, larger for '-name'. What they leave open, chance decides, by the seed."""

    @model_validator(mode="after")
    def _decides(self) -> "Urls":
        if not self.rules():
            raise ValueError("has no rule: give blocked_domains, blocked_urls, words or per_domain")
        if self.per_domain is None and (self.by is not None or self.keep):
            raise ValueError("by and keep need per_domain: the most documents of one value")
        names = [name.removeprefix("-") for name in self.keep]
        if "" in names or len(set(names)) < len(names):
            raise ValueError(f"keep: {list(self.keep)} names a column twice or none")
        return self

    def _lists(self) -> dict[str, tuple[str, ...]]:
        """The paths of each rule over lists."""
        soft = self.soft_words.lists if self.soft_words else None
        known = (self.blocked_urls, self.blocked_domains, self.words, soft, self.parts)
        return {rule: paths for rule, paths in zip(KINDS, known, strict=True) if paths is not None}

    def rules(self) -> dict[str, dict[str, Any]]:
        """The rules that are on, in order, and their bounds."""
        highs: dict[str, float | None] = {"url_words": 0, "url_parts": 0}
        if self.soft_words is not None:
            highs["url_soft_words"] = self.soft_words.high
        found = {rule: {"low": None, "high": highs.get(rule)} for rule in self._lists()}
        if self.per_domain is not None:
            found[CAP] = {"low": None, "high": self.per_domain}
        return found

    def columns(self) -> tuple[str, ...]:
        """What a table must hold for the rules."""
        return tuple(dict.fromkeys(name for _, name in self.asks()))

    def asks(self) -> Iterator[tuple[str, str]]:
        """Each option that names a column, and that column."""
        if self._lists() or self.by is None:
            yield "column", self.column
        if self.by is not None:
            yield "by", self.by
        yield from (("keep", name.removeprefix("-")) for name in self.keep)

    def problems(self, columns: Mapping[str, pl.DataType]) -> Iterator[tuple[str, str]]:
        """What keeps the rules from being evaluated on a table of these columns: (option, why)."""
        for option, name in self.asks():
            if name not in columns:
                yield f"urls.{option}", f"{name!r} is no column{did_you_mean(name, columns)}"
        kind = columns.get(self.column, pl.String())
        if self.column in self.columns() and kind not in {pl.String(), pl.Null()}:
            yield "urls.column", f"{self.column!r} holds {kind}, not text"

    def list_hashes(self) -> dict[str, str]:
        """The hash of each list's bytes by its path; InputError for one that cannot be read."""
        paths = sorted({path for paths in self._lists().values() for path in paths})
        return {path: url_lists.content_hash(path) for path in paths}

    def changed_lists(self, known: Mapping[str, str]) -> list[str]:
        """The lists whose bytes have not the known hashes, those that cannot be read among them."""
        changed = []
        for path, expected in known.items():
            try:
                same = url_lists.content_hash(path) == expected
            except InputError:
                same = False
            if not same:
                changed.append(path)
        return changed

    def failures(self, table: pl.DataFrame) -> pl.DataFrame:
        """A Boolean column for each rule over lists, true where it fails."""
        bounds = self.rules()
        return pl.DataFrame(
            (self._hits(rule, self._urls(table)).list.len() > (bounds[rule]["high"] or 0))
            .fill_null(value=False)
            .alias(rule)
            for rule in self._lists()
        )

    def _urls(self, table: pl.DataFrame) -> pl.Series:
        return table[self.column].cast(pl.String)

    def completed(self, reasons: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
        """Reasons of drops with the value and the bounds of these rules, the cap's value aside."""
        for rule, bounds in self.rules().items():
            rows = (reasons["rule"] == rule).fill_null(value=False).arg_true()
            if not len(rows):
                continue
            found = {side: pl.lit(bounds[side], dtype=pl.Float64) for side in ("low", "high")}
            values = pl.repeat(None, len(rows), dtype=pl.Float64, eager=True)
            if rule in COUNTED:
                values = self._hits(rule, self._urls(table)[rows]).list.len().cast(pl.Float64)
            put = pl.DataFrame({"value": values}).with_columns(**found)
            reasons = reasons.with_columns(
                reasons[name].scatter(rows, put[name]) for name in put.columns
            )
        return reasons

    def judged(self, table: pl.DataFrame) -> dict[str, int]:
        """How many documents each rule can judge: those with a URL, or with what the cap counts."""
        counts = {}
        for rule in self.rules():
            value = self.domains(table) if rule == CAP else table[self.column]
            counts[rule] = len(value) - value.null_count()
        return counts

    def explain(self, table: pl.DataFrame) -> list[dict[str, Any]]:
        """Each rule over lists for one document: what it found, and in which list that stands."""
        lines = []
        for rule, paths in self._lists().items():
            bounds = self.rules()[rule]
            hits = self._hits(rule, self._urls(table)).to_list()[0] or []
            known = url_lists.read(paths, KINDS[rule]).filter(pl.col("key").is_in(hits))
            line = {
                "rule": rule,
                "value": float(len(hits)) if rule in COUNTED else None,
                **bounds,
                "applies": table[self.column][0] is not None,
                "fails": len(hits) > (bounds["high"] or 0),
                "found": known.select("entry", "list").to_dicts(),
            }
            lines.append(line)
        return lines

    def domains(self, table: pl.DataFrame) -> pl.Series:
        """What the cap counts by."""
        if self.by is not None:
            return table[self.by].cast(pl.String).alias("domain")
        return url_parts.domains(self._urls(table))

    def ranks(self, table: pl.DataFrame, order: Any) -> pl.Series:
        """The place of each document among those of its domain, the best first, from 1 on.

        `order` is the rows of the table from the first to keep to the last. Null without a domain.
        """
        ordered = self.domains(table)[order].to_frame().with_columns(row=pl.Series(order))
        place = pl.col("domain").cum_count().over("domain")
        ranked = ordered.with_columns(
            rank=pl.when(pl.col("domain").is_not_null()).then(place).cast(pl.Int64)
        )
        ranks: pl.Series = ranked.sort("row")["rank"]
        return ranks

    def _hits(self, rule: str, urls: pl.Series) -> pl.Series:
        """The different keys of a rule's lists that each URL holds."""
        known = url_lists.read(self._lists()[rule], KINDS[rule])
        kind = KINDS[rule]
        if kind == "word":
            return _found(url_parts.words(urls), known["key"])
        if kind == "part":
            return _found(url_parts.run_together(urls), known["key"])
        if kind == "page":
            pages = url_parts.pages(urls)
            return _alone(pages, pages.is_in(known["key"].implode()))
        hosts = url_parts.hosts(urls)
        above = _above(hosts.drop_nulls().unique(), known["key"])
        mapped = hosts.to_frame().join(above, on="host", how="left", maintain_order="left")
        return _alone(mapped["key"], mapped["key"].is_not_null())


def _found(texts: pl.Series, keys: pl.Series) -> pl.Series:
    """The different keys that occur in each text. Aho-Corasick: linear in the text."""
    return texts.str.extract_many(keys.implode(), overlapping=True).list.unique(maintain_order=True)


def _alone(keys: pl.Series, known: pl.Series) -> pl.Series:
    """Lists of one key, empty where it is not known."""
    one = pl.concat_list(keys)
    none = pl.lit([], dtype=pl.List(pl.String))
    return pl.select(pl.when(known.fill_null(value=False)).then(one).otherwise(none)).to_series()


def _above(hosts: pl.Series, domains: pl.Series) -> pl.DataFrame:
    """Hosts at or below a listed domain, and the domain: columns host, key.

    One label is taken off at a time, of all hosts at once: a host has at most 127 of them.
    """
    listed = domains.alias("key").to_frame()
    left = hosts.alias("host").to_frame().with_columns(key=hosts)
    found = []
    while left.height:
        marked = left.join(listed.with_columns(hit=True), on="key", how="left")
        found.append(marked.filter(pl.col("hit")).select("host", "key"))
        left = marked.filter(pl.col("hit").is_null()).select("host", "key")
        left = left.filter(~url_parts.are_addresses(left["host"]))
        left = left.with_columns(pl.col("key").str.extract(r"^[^.]*\.(.+)$", 1)).drop_nulls("key")
        left = left.filter(~url_parts.are_addresses(left["key"]))
    return pl.concat(found) if found else left
