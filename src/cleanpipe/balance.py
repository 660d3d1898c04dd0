"""How often each group of documents is written: group totals to targets, targets to copies.

Peers round by ceiling, weigh by rows, or ignore weights without a word; here a group ends within
one document of what was asked for, and what could not be met is said.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cleanpipe.nearest import did_you_mean

NULL_GROUP = "null"

# Shares are made integers here: everything after them is exact and equal on any processor, while
# the last bit of a power is not (libm differs).
SHARE_SCALE = 1 << 40

REPORT_SCHEMA = {
    "group": pl.String,
    "documents": pl.Int64,
    "size": pl.Int64,
    "asked_share": pl.Float64,
    "target": pl.Int64,
    "achieved": pl.Int64,
    "achieved_share": pl.Float64,
    "epochs": pl.Float64,
    "capped": pl.Boolean,
}


@dataclass(frozen=True, kw_only=True)
class Group:
    """What one group is asked to contribute, in the unit of `Balance`."""

    size: int
    """The group's clean total."""
    asked_share: float
    """Its share of the output by the strategy alone, before `max_epochs`."""
    target: int
    """Its share of the budget, after `max_epochs` and what capped groups left over."""
    epochs: float
    """How often its documents are seen on average: target over size."""
    capped: bool
    """Whether `max_epochs` kept it below what it would have taken."""


class Balance(BaseModel):
    """The mixture of groups that is written.

    >>> balance = Balance(by="lang", max_epochs=4, budget=3000)
    >>> targets = balance.targets({"cy": 10, "de": 100, "en": 10_000})
    >>> {name: group.target for name, group in targets.items()}
    {'cy': 40, 'de': 400, 'en': 2560}
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    by: str = Field(min_length=1)
    """The column whose values are the groups, such as `lang`; null is the group 'null'."""
    strategy: Literal["proportional", "temperature", "unimax", "explicit"] = "unimax"
    """`proportional` keeps the shares; `temperature` raises them to `alpha`: small groups gain
    most; `unimax` gives all groups the same until `max_epochs` binds (Chung et al. 2023);
    `explicit` takes `weights`."""
    alpha: float = Field(default=0.3, ge=0, le=1)
    """Exponent of `temperature`: 1 keeps the shares, 0 makes all equal, 0.3 is XLM-R's, mT5's."""
    weights: dict[str, float] = Field(default_factory=dict)
    """The shares of `explicit`: one for each group, none negative, 1 in all."""
    max_epochs: float = Field(default=4, ge=1, allow_inf_nan=False)
    """Most copies of a document on average in a group: up to about 4 repeats are nearly worth fresh
    text, 16 two thirds of it, 40 little more (Muennighoff et al. 2023)."""
    unit: Literal["documents", "bytes", "chars", "tokens"] = "bytes"
    """What shares are shares of. Training sees text, not documents: documents are right only where
    they are about equally long, and tokens need `measure.tokenizer`."""
    budget: int | None = Field(default=None, ge=1)
    """The size of the output in `unit`; left out: the clean total, so that what small groups gain
    large ones lose."""

    @model_validator(mode="after")
    def _weights_make_sense(self) -> Self:
        if self.strategy != "explicit":
            if self.weights:
                raise ValueError(
                    f"weights are given, but strategy is '{self.strategy}', which takes none: "
                    "set strategy: explicit, or take weights out"
                )
            return self
        if not self.weights:
            raise ValueError("strategy 'explicit' needs weights: a share for each group, 1 in all")
        for name, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"the weight of '{name}' is {weight}: expected 0 or more")
        total = math.fsum(self.weights.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"weights sum to {total:g}, expected 1: divide each by {total:g}")
        return self

    def size(self) -> pl.Expr:
        """A document's size in `unit`, from the measures of that name."""
        column = pl.lit(1) if self.unit == "documents" else pl.col(self.unit)
        return column.cast(pl.Int64).alias("size")

    def group(self) -> pl.Expr:
        """A document's group as text; null is the group 'null'."""
        return pl.col(self.by).cast(pl.String).fill_null(NULL_GROUP).alias("group")

    def targets(self, totals: Mapping[str, int]) -> dict[str, Group]:
        """From the clean total of each group to what each is to contribute, sorted by name.

        The budget is divided by the strategy's shares; what a capped group cannot take goes to the
        others in proportion, until nobody can take more (`shortfall` says what is left then).
        `totals` are in `unit`. Raises ValueError where explicit weights name a group that is not
        there, or leave one out.

        >>> small = Balance(by="lang", strategy="temperature").targets({"en": 900, "cy": 100})["cy"]
        >>> round(small.asked_share, 3), small.target, small.capped
        (0.341, 341, False)
        """
        names = sorted(totals)
        weights = self._shares(totals)
        total_weight = sum(weights.values()) or 1
        budget = sum(totals.values()) if self.budget is None else self.budget
        caps = {name: math.floor(Fraction(self.max_epochs) * totals[name]) for name in names}

        target: dict[str, int] = {}
        capped: set[str] = set()
        left = budget
        active = [name for name in names if weights[name]]
        while active:
            level = sum(weights[name] for name in active)
            full = [name for name in active if left * weights[name] > caps[name] * level]
            if not full:
                target |= _divide(left, {name: weights[name] for name in active})
                break
            target |= {name: caps[name] for name in full}
            capped |= set(full)
            left -= sum(caps[name] for name in full)
            active = [name for name in active if name not in capped]

        return {
            name: Group(
                size=totals[name],
                asked_share=weights[name] / total_weight,
                target=target.get(name, 0),
                epochs=target.get(name, 0) / totals[name] if totals[name] else 0.0,
                capped=name in capped,
            )
            for name in names
        }

    def shortfall(self, groups: Mapping[str, Group]) -> int:
        """What of the budget nobody could take, because every group is capped; 0 is the rule.

        >>> balance = Balance(by="lang", max_epochs=2, budget=1000)
        >>> balance.shortfall(balance.targets({"en": 100, "cy": 200}))
        400
        """
        total = sum(group.size for group in groups.values())
        budget = total if self.budget is None else self.budget
        return budget - sum(group.target for group in groups.values())

    def copies(self, table: pl.DataFrame) -> npt.NDArray[np.int32]:
        """How often each document is written: 0 drops it, 1 keeps it, more adds copies.

        `table` has the columns group (as of `group()`), size (as of `size()`) and chance (u64), one
        row a document. Everyone gets the whole part of target over total; the rest goes to the
        smallest chances, until the nearer side of the target is reached: the document whose middle
        stands before the target is in. A group of size 0 has nothing to balance and is kept.

        >>> table = pl.DataFrame(
        ...     {"group": ["en", "en", "cy"], "size": [60, 60, 40], "chance": [7, 3, 5]},
        ...     schema_overrides={"chance": pl.UInt64},
        ... )
        >>> Balance(by="lang").copies(table).tolist()
        [0, 1, 2]
        """
        keys, codes = _group_codes(table)
        sizes = table["size"].cast(pl.Int64).to_numpy()
        totals = _totals(keys, codes, sizes)
        groups = self.targets(totals)
        divided = [
            divmod(groups[name].target, totals[name]) if totals[name] else (1, 0) for name in keys
        ]
        whole = np.array([part for part, _ in divided], dtype=np.int64)
        rest = np.array([part for _, part in divided], dtype=np.int64)

        chances = table["chance"].cast(pl.UInt64).to_numpy()
        order = np.lexsort((chances, codes))
        ordered_codes, ordered_sizes = codes[order], sizes[order]
        end = np.cumsum(ordered_sizes)
        before_group = np.concatenate(([0], np.cumsum([totals[name] for name in keys])))[:-1]
        end -= before_group.astype(np.int64)[ordered_codes]
        twice_the_middle = 2 * end - ordered_sizes
        extra = np.empty(len(order), dtype=np.int64)
        extra[order] = twice_the_middle < 2 * rest[ordered_codes]
        return (whole[codes] + extra).astype(np.int32)

    def report(self, table: pl.DataFrame, copies: npt.NDArray[np.int32]) -> pl.DataFrame:
        """One row a group: what was asked for and what `copies` achieves.

        `table` is the one that `copies` was made from. epochs is achieved over size.

        >>> table = pl.DataFrame({"group": ["en", None], "size": [60, 40], "chance": [7, 3]})
        >>> balance = Balance(by="lang", strategy="proportional")
        >>> report = balance.report(table, balance.copies(table))
        >>> report.select("group", "target", "achieved").rows()
        [('en', 60, 60), ('null', 40, 40)]
        """
        keys, codes = _group_codes(table)
        sizes = table["size"].cast(pl.Int64).to_numpy()
        groups = self.targets(_totals(keys, codes, sizes))
        documents = np.bincount(codes, minlength=len(keys))
        achieved = np.zeros(len(keys), dtype=np.int64)
        np.add.at(achieved, codes, sizes * copies)
        written = int(achieved.sum()) or 1
        rows = [
            {
                "group": name,
                "documents": int(documents[code]),
                "size": groups[name].size,
                "asked_share": groups[name].asked_share,
                "target": groups[name].target,
                "achieved": int(achieved[code]),
                "achieved_share": int(achieved[code]) / written,
                "epochs": int(achieved[code]) / groups[name].size if groups[name].size else 0.0,
                "capped": groups[name].capped,
            }
            for code, name in enumerate(keys)
        ]
        return pl.DataFrame(rows, schema=REPORT_SCHEMA)

    def _shares(self, totals: Mapping[str, int]) -> dict[str, int]:
        """The strategy's shares as integers that only their ratios give a meaning."""
        if self.strategy == "explicit":
            self._names_match(totals)
            return {name: round(self.weights[name] * SHARE_SCALE) for name in totals}
        if self.strategy == "proportional":
            return dict(totals)
        if self.strategy == "unimax":
            return {name: int(size > 0) for name, size in totals.items()}
        total = sum(totals.values())
        powers = {
            name: (size / total) ** self.alpha if size else 0.0 for name, size in totals.items()
        }
        scale = SHARE_SCALE / (math.fsum(powers.values()) or 1)
        return {name: round(power * scale) for name, power in powers.items()}

    def _names_match(self, totals: Mapping[str, int]) -> None:
        for name in sorted(self.weights.keys() - totals.keys()):
            raise ValueError(
                f"weights name the group '{name}', but no clean document has {self.by} '{name}'"
                f"{did_you_mean(name, totals)} (there are: {_listed(totals)})"
            )
        for name in sorted(totals.keys() - self.weights.keys()):
            raise ValueError(
                f"weights leave out the group '{name}' of {self.by} (size {totals[name]:,}): "
                f"give it a weight, 0 drops it{did_you_mean(name, self.weights)}"
            )


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - 10} more" if len(ordered) > 10 else ""
    return ", ".join(ordered[:10]) + more


def _divide(amount: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers in proportion to weights that sum to the amount: largest remainders first."""
    level = sum(weights.values())
    parts = {name: divmod(amount * weight, level) for name, weight in weights.items()}
    left = amount - sum(whole for whole, _ in parts.values())
    by_remainder = sorted(parts, key=lambda name: (-parts[name][1], name))
    return {name: parts[name][0] + (place < left) for place, name in enumerate(by_remainder)}


def _group_codes(table: pl.DataFrame) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The groups' names, sorted, and the place of each document's group among them."""
    column = table["group"].cast(pl.String).fill_null(NULL_GROUP)
    names = sorted(column.unique().to_list())
    places = pl.DataFrame(
        {"group": names, "code": range(len(names))},
        schema={"group": pl.String, "code": pl.Int64},
    )
    joined = column.to_frame().join(places, on="group", how="left", maintain_order="left")
    return names, joined["code"].to_numpy()


def _totals(
    names: list[str], codes: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> dict[str, int]:
    totals = np.zeros(len(names), dtype=np.int64)
    np.add.at(totals, codes, sizes)
    return {name: int(total) for name, total in zip(names, totals, strict=True)}
