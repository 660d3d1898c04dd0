"""Groups of documents: their names by columns, and what was asked of each and achieved."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.balancing import allocation
from cleanpipe.balancing.repetition import cost_of_more, effective

NULL_GROUP = "null"
JOINT = " / "
"""What stands between the values of several columns in the name of their group; a space and a slash
inside a value get a second slash, so that no two combinations share a name."""
Held = Literal["max_epochs", "caps.group", "minimum"]
REPORT_SCHEMA = {
    "group": pl.String,
    "documents": pl.Int64,
    "size": pl.Int64,
    "asked_share": pl.Float64,
    "target": pl.Int64,
    "achieved": pl.Int64,
    "published": pl.Int64,
    "achieved_share": pl.Float64,
    "epochs": pl.Float64,
    "needed_epochs": pl.Float64,
    "capped": pl.Boolean,
    "held_by": pl.String,
    "unique": pl.Int64,
    "effective": pl.Int64,
    "next_costs": pl.Float64,
}

_MADE = ("achieved", "achieved_share", "epochs", "unique", "effective", "next_costs")
_KINDS = {name: kind for name, kind in REPORT_SCHEMA.items() if name not in _MADE}


@dataclass(frozen=True)
class Published:
    """What is published of a group, in the unit of `Balance`."""

    size: int
    """The clean total of its documents, dropped ones among them: what shares went by."""
    written: int
    """What of it was written, copies included."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """What one group is asked to contribute, in the unit of `Balance`."""

    size: int
    """The group's clean total."""
    asked_share: float
    """Its share of the output by the strategy alone, before any bound."""
    target: int
    """Its share of the budget, after all bounds and what bounded groups left over."""
    epochs: float
    """How often its documents are seen on average: target over size."""
    needed_epochs: float
    """How often they would have to be seen for the asked share."""
    held_by: Held | None
    """The option that kept it from its share, if any did."""
    published: int = 0
    """What earlier nights have written of it, copies included; it stays, and counts."""

    @property
    def capped(self) -> bool:
        """Whether it is kept below what it would have taken."""
        return self.held_by in {"max_epochs", "caps.group"}


def added(
    whole: Mapping[str, Group],
    totals: Mapping[str, int],
    published: Mapping[str, Published],
    max_epochs: float,
) -> dict[str, Group]:
    """What a night adds to each group: what the whole is short of, as far as tonight's text goes.

    `whole` has the targets of all that was ever read; `totals` is what tonight has of each group.
    """
    found = {}
    for name, group in whole.items():
        size, written = totals.get(name, 0), published[name].written if name in published else 0
        most = math.floor(Fraction(max_epochs) * size)
        target = min(max(group.target - written, 0), most)
        epochs = target / size if size else 0.0
        found[name] = replace(group, size=size, target=target, epochs=epochs, published=written)
    return found


def named(names: Sequence[str], buckets: Mapping[str, Sequence[float]]) -> pl.Expr:
    """A document's group as text, from these columns, of which some have edges."""
    parts = [
        _bucket(name, buckets[name]) if name in buckets else pl.col(name).cast(pl.String)
        for name in names
    ]
    filled = [part.fill_null(NULL_GROUP) for part in parts]
    if len(names) > 1:
        filled = [part.str.replace_all(" /", " //", literal=True) for part in filled]
    return pl.concat_str(filled, separator=JOINT).alias("group")


def bucket_names(name: str, edges: Sequence[float]) -> list[str]:
    """The groups that a column's edges make, in their order.

    >>> bucket_names("words", [100, 1000])
    ['words <100', 'words 100-1000', 'words >=1000']
    """
    shown = [f"{edge:g}" for edge in edges]
    between = [f"{low}-{high}" for low, high in pairwise(shown)]
    return [f"{name} {part}" for part in (f"<{shown[0]}", *between, f">={shown[-1]}")]


def values_of(group: str) -> list[str]:
    """The values of several columns in the name of their group.

    >>> values_of("en / a // b")
    ['en', 'a / b']
    """
    return [part.replace(" //", " /") for part in group.split(JOINT)]


def _bucket(name: str, edges: Sequence[float]) -> pl.Expr:
    """Between which of the edges a number is; null where it is none."""
    labels = bucket_names(name, edges)
    number = pl.col(name).cast(pl.Float64)
    chosen: pl.Expr = pl.when(number.is_not_nan()).then(pl.lit(labels[-1]))
    for edge, label in zip(reversed(edges), reversed(labels[:-1]), strict=True):
        chosen = pl.when(number < edge).then(pl.lit(label)).otherwise(chosen)
    return chosen


def codes(groups: pl.Series, also: Iterable[str] = ()) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The groups' names, sorted, and the place of each document's group among them.

    `also` are groups that are named, whether a document is of them or not.
    """
    column = groups.cast(pl.String).fill_null(NULL_GROUP)
    names = sorted({*column.unique().to_list(), *also})
    places = pl.DataFrame(
        {"group": names, "code": range(len(names))},
        schema={"group": pl.String, "code": pl.Int64},
    )
    known = column.alias("group").to_frame()
    joined = known.join(places, on="group", how="left", maintain_order="left")
    return names, joined["code"].to_numpy()


def report(
    groups: Mapping[str, Group],
    codes: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    copies: npt.NDArray[np.int32],
) -> pl.DataFrame:
    """One row a group: what was asked for and what these copies achieve.

    `codes` are the documents' places among the sorted groups. What unique, effective and
    next_costs are: `Balance.report`.
    """
    documents = np.bincount(codes, minlength=len(groups))
    rows = [
        {
            "group": name,
            "documents": int(documents[code]),
            "size": groups[name].size,
            "asked_share": groups[name].asked_share,
            "target": groups[name].target,
            "published": groups[name].published,
            "needed_epochs": groups[name].needed_epochs,
            "capped": groups[name].capped,
            "held_by": groups[name].held_by,
        }
        for code, name in enumerate(sorted(groups))
    ]
    return achieved(pl.DataFrame(rows, schema=_KINDS), codes, sizes, copies)


def achieved(
    groups: pl.DataFrame,
    codes: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    copies: npt.NDArray[np.int32],
) -> pl.DataFrame:
    """The groups' report with what these copies achieve; those without a copy may be missing."""
    by_times: dict[int, list[tuple[int, int]]] = {code: [] for code in range(groups.height)}
    seen = pl.DataFrame({"code": codes, "times": copies, "size": sizes})
    for code, times, size in seen.group_by("code", "times").agg(pl.sum("size")).iter_rows():
        by_times[code].append((size, times))
    got = allocation.group_totals(codes, sizes * copies, groups.height).tolist()
    whole = [one + before for one, before in zip(got, groups["published"], strict=True)]
    written = sum(whole) or 1
    unique = [sum(size for size, times in found if times) for found in by_times.values()]
    return groups.with_columns(
        achieved=pl.Series(got, dtype=pl.Int64),
        achieved_share=pl.Series([one / written for one in whole], dtype=pl.Float64),
        epochs=pl.Series(
            [one / size if size else 0.0 for one, size in zip(got, groups["size"], strict=True)],
            dtype=pl.Float64,
        ),
        unique=pl.Series(unique, dtype=pl.Int64),
        effective=pl.Series([effective(found) for found in by_times.values()], dtype=pl.Int64),
        next_costs=pl.Series(
            [
                round(cost_of_more(one / once if once else 0), 3)
                for one, once in zip(got, unique, strict=True)
            ],
            dtype=pl.Float64,
        ),
    ).select(list(REPORT_SCHEMA))
