"""A measured sample -> what the stages will drop of the whole corpus, in intervals."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.balancing.balance import Balance
from cleanpipe.planning.intervals import Sample
from cleanpipe.planning.notices import Drawn, notices
from cleanpipe.recipes.recipe import Recipe

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MOST_GROUPS = 50
"""Values of a column that get a line; all others are one line, null named `null`."""
REPLICATES = 200
"""Samples made of the sample, to see how much a mixture varies."""
SIMILARITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def predictions(recipe: Recipe, drawn: Drawn, sample: Sample, *, capped: bool) -> dict[str, Any]:
    """Everything that is foretold about documents and text.

    `capped` says that the run will keep fewer than the rules here, whatever else it does.
    """
    sample = sample.judged_by(_kinds(drawn))
    whole = sample.share >= 1
    table = drawn.table
    sizes = _numbers(table, "bytes")
    alive = drawn.decisions.alive
    units = {"bytes": sizes, "chars": _numbers(table, "chars")}
    if "tokens" in table.columns:
        units["tokens"] = _numbers(table, "tokens")
    passed = {
        "documents": sample.count(alive).to_json(),
        **{name: sample.sum(values * alive).to_json() for name, values in units.items()},
    }
    duplicates = _duplicates(recipe, drawn, sample, whole=whole)
    groups = _groups(recipe, drawn, sample) if recipe.balance else None
    known = whole or not (capped or recipe.dedup or recipe.balance)
    kept = {name: passed[name] for name in ("documents", "bytes")}
    return {
        "documents": {
            "read": sample.documents.to_json(),
            "quarantined": sample.count(drawn.decisions.quarantined).to_json(),
        },
        "text": sample.ratio(sizes).to_json(),
        "attrition": _attrition(drawn, sample, sizes, recipe),
        "passed": passed,
        "duplicates": duplicates,
        "kept": kept if known else _at_most(passed, duplicates),
        "rules": _rules(drawn, sample),
        "languages": _values(drawn, sample, "lang"),
        "sources": _values(drawn, sample, "source"),
        "balance": groups,
        "extra_bytes": _extra(groups),
        "bands": _bands(recipe),
        "notices": notices(recipe, drawn, sample),
    }


def _kinds(drawn: Drawn) -> Iterator[Flags]:
    """What documents that stand together may have in common: size, language, source, faults."""
    table = drawn.table
    sizes = _numbers(table, "bytes")
    yield from (sizes > np.quantile(sizes, quarter) for quarter in (0.25, 0.5, 0.75))
    for name in ("lang", "source"):
        if name in table.columns:
            column = table[name].cast(pl.String).fill_null("null")
            frequent = column.value_counts(sort=True).head(MOST_GROUPS)[name]
            yield from ((column == value).to_numpy() for value in frequent)
    judged = table["early"].is_null().to_numpy()
    for failed in drawn.failures:
        flags = np.zeros(len(judged), dtype=np.bool_)
        flags[judged] = failed.to_numpy()
        yield flags


def _numbers(table: pl.DataFrame, name: str) -> Floats:
    numbers: Floats = table[name].fill_null(0).cast(pl.Float64).to_numpy()
    return numbers


def _attrition(drawn: Drawn, sample: Sample, sizes: Floats, recipe: Recipe) -> list[dict[str, Any]]:
    """Each stage and rule by which documents go, also rules that no drawn document fails."""
    reasons = drawn.decisions.reasons.select("stage", "rule").with_columns(
        verdict=pl.Series(np.where(drawn.decisions.quarantined, "quarantined", "dropped"))
    )
    seen = reasons.filter(pl.col("rule").is_not_null()).unique().rows()
    rules = [("filter", rule, "dropped") for rule in recipe.filter.bounds()]
    lines = []
    for stage, rule, verdict in dict.fromkeys([*sorted(seen), *rules]):
        meant = (reasons["stage"] == stage) & (reasons["rule"] == rule)
        flags = (meant & (reasons["verdict"] == verdict)).fill_null(value=False).to_numpy()
        lines.append(
            {
                "stage": stage,
                "rule": rule,
                "verdict": verdict,
                "drawn": int(flags.sum()),
                "documents": sample.count(flags).to_json(),
                "bytes": sample.sum(sizes * flags).to_json(),
            }
        )
    return lines


def _rules(drawn: Drawn, sample: Sample) -> list[dict[str, Any]]:
    """How many documents fail each rule in all, and no other rule."""
    judged = drawn.decisions.readable
    failures = drawn.failures
    times = np.zeros(failures.height, dtype=np.int64)
    for failed in failures:
        times += failed.to_numpy()
    lines = []
    for failed in failures:
        fails = np.zeros(len(judged), dtype=np.bool_)
        alone = fails.copy()
        fails[judged] = failed.to_numpy()
        alone[judged] = failed.to_numpy() & (times == 1)
        counts = {"failed": sample.count(fails), "alone": sample.count(alone)}
        lines.append({"rule": failed.name, **{n: c.to_json() for n, c in counts.items()}})
    return lines


def _duplicates(recipe: Recipe, drawn: Drawn, sample: Sample, *, whole: bool) -> dict[str, Any]:
    """At least so many: of two copies a sample of one in a hundred sees both once in 10,000.

    Of a text that was drawn k times, k - 1 documents go; on average the share (k - 1) / k is not
    above the one in the corpus, so that the sample's total is a bound from below.
    """
    if recipe.dedup is None:
        return {"exact": None, "near": None}
    if whole:
        rules = drawn.decisions.reasons.filter(pl.col("stage") == "dedup")["rule"]
        wanted = ("column", "exact", "near") if recipe.dedup.column else ("exact", "near")
        found = {name: int((rules == name).sum()) for name in wanted}
        return {name: {"estimate": n, "at_least": n} for name, n in found.items()}
    if not recipe.dedup.exact:
        return {"exact": None, "near": {"estimate": None, "at_least": 0}}
    eligible = drawn.decisions.alive if recipe.order[0] == "filter" else drawn.decisions.readable
    copies = drawn.table.select(
        pl.when(pl.Series(eligible)).then(
            pl.len().over("text_lo", "text_hi", pl.Series("eligible", eligible))
        )
    ).to_series()
    share = ((copies - 1) / copies).fill_null(0.0).to_numpy()
    near = {"estimate": None, "at_least": 0} if recipe.dedup.near else None
    return {"exact": {"estimate": None, "at_least": sample.at_least(share)}, "near": near}


def _at_most(passed: Mapping[str, Any], duplicates: Mapping[str, Any]) -> dict[str, Any]:
    """What is written as an original, where only an end is known: what passes, less duplicates."""
    least = min(1, passed["documents"]["low"])
    known = sum(line["at_least"] for line in duplicates.values() if line is not None)
    high = max(passed["documents"]["high"] - known, least)
    return {
        "documents": {"estimate": None, "low": least, "high": high},
        "bytes": {"estimate": None, "low": 0, "high": passed["bytes"]["high"]},
    }


def _values(drawn: Drawn, sample: Sample, name: str) -> list[dict[str, Any]]:
    """Documents read and passed by each of the most frequent values of a column."""
    if name not in drawn.table.columns:
        return []
    column = drawn.table[name].cast(pl.String).fill_null("null")
    known = drawn.decisions.quarantined
    frequent = column.filter(pl.Series(~known)).value_counts(sort=True).head(MOST_GROUPS)
    lines = []
    for value in sorted(frequent[name].to_list()):
        flags = (column == value).to_numpy() & ~known
        counts = {
            "read": sample.count(flags),
            "passed": sample.count(flags & drawn.decisions.alive),
        }
        lines.append({"value": value, **{kind: c.to_json() for kind, c in counts.items()}})
    return sorted(lines, key=lambda line: -line["read"]["estimate"])


def _groups(recipe: Recipe, drawn: Drawn, sample: Sample) -> dict[str, Any] | None:
    """Each group's clean total and its epochs, before dedup, with what other samples would say.

    Groups of which nothing was drawn are missing here, and the run will have them.
    """
    balance = recipe.balance
    alive = drawn.decisions.alive
    if balance is None or not alive.any():
        return None
    if balance.needs_clusters():
        told = "it goes by what dedup finds alike in the whole corpus"
        return {"by": balance.label(), "groups": [], "left_out": told}
    table = drawn.table.select(balance.group(), balance.size()).filter(pl.Series(alive))
    names, codes = np.unique(table["group"].to_numpy().astype(str), return_inverse=True)
    weights = (1 / (sample.chance * sample.held))[alive] * table["size"].to_numpy()
    estimate = _epochs(balance, names, _by_code(codes, weights, len(names)))
    if isinstance(estimate, str):
        return {"by": balance.label(), "groups": [], "left_out": estimate}
    chance = np.random.default_rng(0)
    others = []
    for _ in range(REPLICATES if sample.share < 1 else 0):
        again = weights * chance.poisson(1, len(weights))
        found = _epochs(balance, names, _by_code(codes, again, len(names)))
        if not isinstance(found, str):
            others.append(found)
    spread = np.quantile(np.array(others), [0.025, 0.975], axis=0) if others else [estimate] * 2
    lines = []
    for number, name in enumerate(names.tolist()):
        flags = alive.copy()
        flags[alive] = codes == number
        sizes = drawn.table.select(balance.size()).to_series().fill_null(0).to_numpy()
        whole = sample.count(flags) if balance.unit == "documents" else sample.sum(sizes * flags)
        ends = {"low": float(spread[0][number]), "high": float(spread[1][number])}
        lines.append(
            {
                "group": name,
                "documents": sample.count(flags).to_json(),
                "size": whole.to_json(),
                "epochs": {"estimate": float(estimate[number]), **ends},
            }
        )
    return {"by": balance.label(), "unit": balance.unit, "groups": lines, "left_out": None}


def _by_code(codes: npt.NDArray[np.int64], weights: Floats, count: int) -> Floats:
    return np.bincount(codes, weights=weights, minlength=count).astype(np.float64)


def _epochs(balance: Balance, names: npt.NDArray[Any], totals: Floats) -> Floats | str:
    """How often each group is seen, for these totals; or why that cannot be said."""
    whole = {str(name): int(total) for name, total in zip(names, totals, strict=True)}
    try:
        groups = balance.targets(whole)
    except ValueError as error:
        return str(error)
    return np.array([groups[str(name)].epochs for name in names])


def _extra(groups: Mapping[str, Any] | None) -> float:
    """Bytes of extra copies, if a group's documents are as long as its total says."""
    if groups is None or groups.get("unit") != "bytes":
        return 0.0
    return float(
        sum(
            max(line["epochs"]["estimate"] - 1, 0) * line["size"]["estimate"]
            for line in groups["groups"]
        )
    )


def _bands(recipe: Recipe) -> dict[str, Any] | None:
    """How likely near-duplicates of each similarity share a band, and so are compared."""
    near = recipe.dedup.near if recipe.dedup else None
    if near is None:
        return None
    bands, rows = near.bands_and_rows()
    found = [[similarity, round(near.found(similarity), 4)] for similarity in SIMILARITIES]
    chosen = {"bands": bands, "rows": rows, "threshold": near.threshold}
    return {**chosen, "recall": None if near.bands else near.recall, "found": found}
