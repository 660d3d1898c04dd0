"""Tables -> quality statistics: counts, sums and histograms that merge exactly, in any order.

Everything is a count or a sum of integers; shares are left to whoever prints them. The form of all
of it, in stats.json, is described by stats_schema.py.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from cleanpipe.stats import diversity, histograms
from cleanpipe.stats.histograms import NUMBERS, SIDES, Cut

VERSION = 2
"""Of the form of stats.json: within a version keys may come; none goes, none changes meaning."""
UNITS = ("documents", "bytes", "chars")
NAMED = ("stage", "rule", "verdict")
BINNED = ("clusters", "filtered_clusters", "similarities")
GROUPED = ("lang", "source")
"""The columns whose groups are counted apart."""
MOST_GROUPS = 10
"""Groups of a column that have histograms of their own; the others have theirs together."""
STABILITY = (
    "repeat_run",
    "repeat_tokens",
    "same_token_run",
    "window_entropy_min",
    "window_period_max",
    "unbroken_run",
    "base64_frac",
    "hex_frac",
)


def _units(own: Collection[str]) -> tuple[str, ...]:
    """What sizes are counted in: in tokens, too, where the recipe has a tokenizer."""
    return (*UNITS, "tokens") if "tokens" in own else UNITS


def sizes(table: pl.DataFrame, own: Collection[str] = ()) -> dict[str, int]:
    """Documents, bytes and characters of some rows of the measures; tokens if they are counted."""
    return {
        "documents": table.height,
        **{unit: int(table[unit].sum() or 0) for unit in _units(own)[1:]},
    }


def by_value(
    table: pl.DataFrame, name: str, own: Collection[str] = ()
) -> dict[str, dict[str, int]]:
    """Sizes of each value of a column, most bytes first; a null is named `null`."""
    units = _units(own)
    groups = (
        table.group_by(pl.col(name).cast(pl.String).fill_null("null"))
        .agg(pl.len().alias("documents"), *(pl.col(unit).sum() for unit in units[1:]))
        .sort(["bytes", name], descending=[True, False])
    )
    return {row[0]: dict(zip(units, row[1:], strict=True)) for row in groups.iter_rows()}


def stages(
    verdicts: pl.DataFrame, table: pl.DataFrame, own: Collection[str] = ()
) -> list[dict[str, Any]]:
    """What each rule of each stage dropped or quarantined, in documents, bytes and characters."""
    units = _units(own)[1:]
    lost = verdicts.select("verdict", "stage", "rule").hstack(table.select(units))
    groups = (
        lost.filter(pl.col("verdict") != "kept")
        .group_by("stage", "rule", "verdict")
        .agg(pl.len().alias("documents"), *(pl.col(unit).sum() for unit in units))
        .sort("stage", "rule", "verdict")
    )
    return groups.to_dicts()


def cluster_histogram(verdicts: pl.DataFrame) -> list[list[int]]:
    """[size, clusters of that size] for documents that stand for more than themselves."""
    best = verdicts.filter((pl.col("duplicate_of").is_null()) & (pl.col("cluster_size") > 1))
    counts = best.group_by("cluster_size").len().sort("cluster_size")
    return [[int(size), int(count)] for size, count in counts.iter_rows()]


def filtered_clusters(verdicts: pl.DataFrame) -> list[list[int]]:
    """[size, documents that the filter dropped, of those that stand for so many].

    With dedup before the filter: whether what is repeated more often is better or worse.
    """
    stands = pl.col("duplicate_of").is_null() & (pl.col("stage") == "filter")
    counts = verdicts.filter(stands).group_by("cluster_size").len().sort("cluster_size")
    return [[int(size), int(count)] for size, count in counts.iter_rows()]


def similarities(verdicts: pl.DataFrame) -> list[list[float]]:
    """[similarity, documents] of near-duplicates, dropped or marked, by hundredths, rounded down.

    >>> similarities(pl.DataFrame({"similarity": [0.812, 0.819, 1.0], "rule": ["near"] * 3}))
    [[0.81, 2], [1.0, 1]]
    """
    is_near = (pl.col("rule") == "near") | pl.col("rule").is_null()
    hundredths = (pl.col("similarity") * 100 + 1e-9).floor().alias("hundredths")
    found = verdicts.filter(is_near & pl.col("similarity").is_not_null()).select(hundredths)
    counts = found.group_by("hundredths").len().sort("hundredths")
    return [[edge / 100, count] for edge, count in counts.iter_rows()]


def largest(by: Sequence[Mapping[str, Mapping[str, int]]]) -> list[str] | None:
    """The groups of a column that get histograms of their own, from what `by_value` says of parts.

    None: all of them, since they are few enough.
    """
    known = list(_values(by))
    return None if len(known) <= MOST_GROUPS else sorted(known[:MOST_GROUPS])


def describe(
    table: pl.DataFrame,
    verdicts: pl.DataFrame,
    own: Collection[str] = (),
    groups: Mapping[str, Sequence[str] | None] | None = None,
) -> dict[str, Any]:
    """The statistics of a run's documents: what was read, what of it was kept.

    `own` names the recipe's own measures and the columns that it bounds, besides everyone's;
    `groups` the groups of a column that have their own histograms (`largest`; left out: all).
    """
    is_read = verdicts["verdict"] != "quarantined"
    read, fates = table.filter(is_read), verdicts.filter(is_read)["verdict"]
    is_kept = (fates == "kept").to_numpy()
    kept = read.filter(pl.Series(is_kept))
    known = NUMBERS.union(own)
    names = [name for name, kind in table.schema.items() if name in known and kind.is_numeric()]
    columns = [name for name in GROUPED if name in table.columns]
    chosen = {name: (groups or {}).get(name) for name in columns}
    cuts = [Cut.whole(read.height), *(_cut(read[name], chosen[name]) for name in columns)]
    whole, *by_group = histograms.described(read, is_kept, names, cuts)
    return {
        "raw": sizes(read, own),
        "clean": sizes(kept, own),
        "by": {
            name: {"raw": by_value(read, name, own), "clean": by_value(kept, name, own)}
            for name in columns
        },
        "histograms": whole[0],
        "by_group": {
            name: _grouped(chosen[name], cut.names, told)
            for name, cut, told in zip(columns, cuts[1:], by_group, strict=True)
        },
        "stages": stages(verdicts, table, own),
        "clusters": cluster_histogram(verdicts),
        "filtered_clusters": filtered_clusters(verdicts),
        "similarities": similarities(verdicts),
        "sketches": {
            "raw": diversity.describe(read),
            "clean": diversity.describe(kept),
        },
    }


def _cut(values: pl.Series, chosen: Sequence[str] | None) -> Cut:
    """A column's documents by group, of all groups or of those chosen; the last is the rest."""
    group = values.cast(pl.String).fill_null("null")
    found = group.unique().sort().to_list()
    own = [name for name in found if chosen is None or name in chosen]
    numbers = group.replace_strict(own, range(len(own)), default=len(own), return_dtype=pl.Int64)
    return Cut((*own, ""), numbers.to_numpy())


def _grouped(
    chosen: Sequence[str] | None, names: Sequence[str], told: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Each group's histograms by its name, and those of the rest together, if there is one."""
    rest = told[-1]
    has_rest = any(sides["raw"]["count"] + sides["raw"]["null"] for sides in rest.values())
    return {
        "named": None if chosen is None else list(chosen),
        "groups": dict(zip(names[:-1], told, strict=False)),
        "rest": rest if has_rest else None,
    }


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `describe` says of all documents, from what it says of some after others.

    Everything is added, so that neither their order nor how they are cut matters.
    """
    first = parts[0]
    return {
        **{side: _added([part[side] for part in parts]) for side in SIDES},
        "by": {
            name: {side: _values([part["by"][name][side] for part in parts]) for side in SIDES}
            for name in first["by"]
        },
        "histograms": histograms.measures_added([part["histograms"] for part in parts]),
        "by_group": {
            name: groups_added([part["by_group"][name] for part in parts])
            for name in first["by_group"]
        },
        "stages": _stages([row for part in parts for row in part["stages"]]),
        **{name: histograms.bins([part[name] for part in parts]) for name in BINNED},
        "sketches": {
            side: diversity.merged([part["sketches"][side] for part in parts]) for side in SIDES
        },
    }


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(one[name] for one in counts) for name in counts[0]}


def _values(parts: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """`by_value` of all, most bytes first."""
    known: dict[str, list[Mapping[str, int]]] = {}
    for part in parts:
        for value, counts in part.items():
            known.setdefault(value, []).append(counts)
    added = {value: _added(counts) for value, counts in known.items()}
    return dict(sorted(added.items(), key=lambda item: (-item[1]["bytes"], item[0])))


def groups_added(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The histograms of groups of all documents, from those of some after others.

    Where parts name other groups, only those that every part tells apart stay apart: what one of
    them has only among its rest cannot be taken out of it. So neither order nor cut matters.
    """
    named = [set(part["named"]) for part in parts if part["named"] is not None]
    every = dict.fromkeys(name for part in parts for name in sorted(part["groups"]))
    apart = sorted(name for name in every if all(name in known for known in named))
    rest = [part["rest"] for part in parts if part["rest"] is not None]
    rest += [known for part in parts for name, known in part["groups"].items() if name not in apart]
    return {
        "named": sorted(set.intersection(*named)) if named else None,
        "groups": {
            name: histograms.measures_added(
                [part["groups"][name] for part in parts if name in part["groups"]]
            )
            for name in apart
        },
        "rest": histograms.measures_added(rest) if rest else None,
    }


def finished(known: Mapping[str, Any]) -> dict[str, Any]:
    """The histograms of `merged` as stats.json has them: quantiles, sums that 64 bits hold."""

    def fitting(one: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if one is None:
            return None
        return {name: histograms.fitting(sides) for name, sides in one.items()}

    measures = known["histograms"].items()
    return {
        "histograms": {name: histograms.finished(name, sides) for name, sides in measures},
        "by_group": {
            column: {
                **found,
                "groups": {name: fitting(one) for name, one in found["groups"].items()},
                "rest": fitting(found["rest"]),
            }
            for column, found in known["by_group"].items()
        },
    }


def _stages(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`stages` of all, in the order of stages' and rules' names."""
    known: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        known.setdefault((row["stage"], row["rule"], row["verdict"]), []).append(row)
    units = [unit for unit in rows[0] if unit not in NAMED] if rows else []
    return [
        {"stage": stage, "rule": rule, "verdict": verdict}
        | {unit: sum(row[unit] for row in known[stage, rule, verdict]) for unit in units}
        for stage, rule, verdict in sorted(known)
    ]
