"""How often each group of documents is written: group totals to targets, targets to copies.

Peers round by ceiling, weigh by rows, or ignore weights without a word; here a group ends within
one document of what was asked for, and what could not be met is said.
"""

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cleanpipe.balancing import allocation, grouping
from cleanpipe.balancing.grouping import Group, Held, Published
from cleanpipe.nearest import did_you_mean, listed

CLUSTER_SIZE = "cluster_size"
"""How many documents dedup found alike: a number that only decide knows."""

# Shares are made integers here: everything after them is exact and equal on any processor, while
# the last bit of a power is not (libm differs).
SHARE_SCALE = 1 << 40

FINEWEB2 = {1: 1, 2: 2, 3: 3, 5: 5, 100: 8, 1000: 1}
"""Repeats by the size of the cluster, from that size on, as FineWeb2 was rehydrated (its README:
github.com/huggingface/fineweb-2): what the web repeats is better, up to what it repeats by rote."""

Name = Annotated[str, Field(min_length=1)]
Numbers = npt.NDArray[np.int64]


class Caps(BaseModel):
    """The most that one group, domain or cluster gives, whatever the strategy asks of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    group: int | None = Field(default=None, ge=1)
    """The most that is written of one group, copies included, in `unit`."""
    domain: int | None = Field(default=None, ge=1)
    """The most of one domain that takes part, before copies, in `unit`; the smallest hashes stay,
    to the nearest document and at least one. To keep the best instead: `filter.urls.per_domain`."""
    url: Name = "url"
    """The column of the input that the domains are read from: the host, without `www.`."""
    cluster: int | None = Field(default=None, ge=1)
    """The most documents of one cluster of near-duplicates that take part: the one that dedup would
    keep, then the smallest hashes. Needs `dedup.near.drop: false`, as there is one left else."""


class Balance(BaseModel):
    """The mixture of groups that is written.

    >>> balance = Balance(by="lang", max_epochs=4, budget=3000)
    >>> targets = balance.targets({"cy": 10, "de": 100, "en": 10_000})
    >>> {name: group.target for name, group in targets.items()}
    {'cy': 40, 'de': 400, 'en': 2560}
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    by: Name | Annotated[tuple[Name, ...], Field(min_length=1)]
    """The column whose values are the groups, such as `lang`; several make a group of each
    combination, named `en / news`. Null is the group `null`. `cluster_size`, how many documents
    dedup found alike, is a column here, too."""
    buckets: dict[str, Annotated[tuple[float, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """Edges that make groups of a column of numbers in `by`, such as lengths or a model's score:
    `{words: [100, 1000]}` has the groups `words <100`, `words 100-1000`, `words >=1000`."""
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
    """The size of the output in `unit`; left out: the clean total (after rehydration), so that what
    small groups gain large ones lose. One that `max_epochs` does not allow is refused."""
    minimum: int = Field(default=0, ge=0)
    """The least that a group gets, in `unit`, as far as `max_epochs` and `caps.group` allow; the
    others give it. A group of weight 0 gets nothing."""
    caps: Caps = Caps()
    """Bounds on what one group, domain or cluster gives."""
    rehydrate: bool | dict[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = False
    """Repeats by the number of documents that dedup found alike, from that number on: what stands
    in many places is better than what stands in one. `true` is FineWeb2's table, {1: 1, 2: 2, 3: 3,
    5: 5, 100: 8, 1000: 1}. A document of r repeats counts r times in all that follows; with
    `strategy: proportional` nothing else happens. Needs `order: [dedup, filter, balance]`."""

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
        if not total:
            raise ValueError("every weight is 0, and nothing would be written: expected 1 in all")
        if abs(total - 1) > 1e-6:
            raise ValueError(f"weights sum to {total:g}, expected 1: divide each by {total:g}")
        return self

    @model_validator(mode="after")
    def _buckets_make_sense(self) -> Self:
        if len(set(self.names())) < len(self.names()):
            raise ValueError(f"by names a column twice: {', '.join(self.names())}")
        for name, edges in self.buckets.items():
            if name not in self.names():
                near = did_you_mean(name, self.names())
                raise ValueError(f"buckets of '{name}', which by does not name{near}")
            if any(high <= low for low, high in pairwise(edges)):
                raise ValueError(f"buckets of '{name}': expected ascending edges, found {edges}")
        return self

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        most = self.caps.group
        if most is not None and self.minimum > most:
            raise ValueError(f"minimum is {self.minimum:,}, above caps.group, {most:,}: lower it")
        if isinstance(self.rehydrate, dict) and 1 not in self.rehydrate:
            raise ValueError("rehydrate says nothing of documents that stand alone: add 1: 1")
        return self

    def names(self) -> tuple[str, ...]:
        """The columns that make the groups."""
        return (self.by,) if isinstance(self.by, str) else self.by

    def label(self) -> str:
        """The columns that make the groups, for people and the ledger.

        >>> Balance(by=["lang", "source"]).label()
        'lang / source'
        """
        return grouping.JOINT.join(self.names())

    def asks(self) -> Iterator[tuple[str, str]]:
        """Each option that asks for a column, and that column."""
        yield from (("by", name) for name in self.names() if name != CLUSTER_SIZE)
        if self.caps.domain is not None:
            yield "caps.url", self.caps.url

    def columns(self) -> tuple[str, ...]:
        """What a table of documents must hold for groups, sizes and domains."""
        unit = () if self.unit == "documents" else (self.unit,)
        return tuple(dict.fromkeys((*(name for _, name in self.asks()), *unit)))

    def needs_clusters(self) -> bool:
        """Whether anything goes by what dedup found alike."""
        by_size = CLUSTER_SIZE in self.names()
        return bool(self.rehydrate) or by_size or self.caps.cluster is not None

    def size(self) -> pl.Expr:
        """A document's size in `unit`, from the measures of that name."""
        column = pl.lit(1) if self.unit == "documents" else pl.col(self.unit)
        return column.cast(pl.Int64).alias("size")

    def group(self) -> pl.Expr:
        """A document's group as text; null is the group 'null'.

        >>> table = pl.DataFrame({"lang": ["en", None], "words": [7, 10]})
        >>> groups = Balance(by=["lang", "words"], buckets={"words": [10]}).group()
        >>> table.select(groups).to_series().to_list()
        ['en / words <10', 'null / words >=10']
        """
        return grouping.named(self.names(), self.buckets)

    def repeats(self, cluster_sizes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """How often each document counts, by how many dedup found alike.

        >>> Balance(by="lang", rehydrate=True).repeats(np.array([1, 4, 99, 100, 1000])).tolist()
        [1, 3, 5, 8, 1]
        """
        if not self.rehydrate:
            return np.ones(len(cluster_sizes), np.int64)
        table = FINEWEB2 if self.rehydrate is True else self.rehydrate
        edges = sorted(table)
        place = np.searchsorted(edges, np.maximum(cluster_sizes, 1), side="right") - 1
        found: npt.NDArray[np.int64] = np.array([table[edge] for edge in edges], np.int64)[place]
        return found

    def targets(
        self, totals: Mapping[str, int], rehydrated: Mapping[str, int] | None = None
    ) -> dict[str, Group]:
        """From the clean total of each group to what each is to contribute, sorted by name.

        The budget is divided by the strategy's shares; what a capped group cannot take goes to the
        others in proportion, until nobody can take more (`shortfall` says what is left then), and
        what `minimum` adds to one the others give. `totals` are in `unit`; `rehydrated` are those
        with repeats, which shares go by where they are given: `max_epochs` goes by `totals`. Raises
        ValueError where explicit weights name a group that is not there, or leave one out, and
        where the minimum is more than the budget.

        >>> small = Balance(by="lang", strategy="temperature").targets({"en": 900, "cy": 100})["cy"]
        >>> round(small.asked_share, 3), small.target, small.capped
        (0.341, 341, False)
        """
        names = sorted(totals)
        counted = totals if rehydrated is None else rehydrated
        weights = self._shares(counted)
        total_weight = sum(weights.values()) or 1
        budget = self._budget(counted)
        most = {name: math.floor(Fraction(self.max_epochs) * totals[name]) for name in names}
        group_cap = self.caps.group
        high = most if group_cap is None else {n: min(m, group_cap) for n, m in most.items()}
        low = {name: min(self.minimum, high[name]) if weights[name] else 0 for name in names}
        if sum(low.values()) > budget:
            raise ValueError(
                f"minimum {self.minimum:,} takes {sum(low.values()):,} {self.unit} for "
                f"{len(names)} groups, and there are {budget:,} to give: lower minimum"
            )
        weighed = {name: weights[name] for name in names}
        target, full, raised = allocation.fill(budget, weighed, low, high)
        groups = {}
        for name in names:
            given, asked = target.get(name, 0), budget * weights[name] / total_weight
            held: Held | None = "minimum" if name in raised else None
            if name in full:
                held = "max_epochs" if high[name] == most[name] else "caps.group"
            groups[name] = Group(
                size=totals[name],
                asked_share=weights[name] / total_weight,
                target=given,
                epochs=given / totals[name] if totals[name] else 0.0,
                needed_epochs=asked / totals[name] if totals[name] else 0.0,
                held_by=held,
            )
        return groups

    def _budget(self, counted: Mapping[str, int]) -> int:
        return sum(counted.values()) if self.budget is None else self.budget

    def shortfall(self, groups: Mapping[str, Group]) -> int:
        """What of the budget nobody could take, because every group is capped; 0 is the rule.

        >>> balance = Balance(by="lang", max_epochs=2, budget=1000)
        >>> balance.shortfall(balance.targets({"en": 100, "cy": 200}))
        400
        """
        budget = self._budget({name: group.size for name, group in groups.items()})
        return budget - sum(group.target for group in groups.values())

    def refuse(self, groups: Mapping[str, Group]) -> None:
        """Raise ValueError where the budget that was asked for is more than the bounds allow."""
        if self.budget is None or self.shortfall(groups) <= 0:
            return
        most = self.budget - self.shortfall(groups)
        wanted = sum(group.size for group in groups.values() if group.asked_share)
        needed = math.ceil(100 * self.budget / (wanted or 1)) / 100
        moves = [f"set balance.budget to {most} or less", "add text"]
        if needed > self.max_epochs:
            moves.insert(1, f"set max_epochs to {needed:g} or more")
        if self.caps.group is not None:
            moves.insert(1, "raise caps.group")
        raise ValueError(
            f"the budget of {self.budget:,} {self.unit} is more than the groups may give, {most:,} "
            f"with max_epochs {self.max_epochs:g}: {', '.join(moves[:-1])} or {moves[-1]}"
        )

    def inside_caps(self, table: pl.DataFrame) -> pl.DataFrame:
        """Which documents `caps.domain` and `caps.cluster` let take part: a Boolean column each.

        `table` has size, chance and, where these are bounded, domain (null: none) and cluster (a
        number each) with is_best, of each cluster the one that dedup would keep. What is beyond
        the first cap does not count for the second.
        """
        chances = table["chance"].cast(pl.UInt64).to_numpy()
        inside = {}
        if self.caps.cluster is not None:
            ranks = np.where(table["is_best"].to_numpy(), np.uint64(0), chances)
            ones = np.ones(table.height, np.int64)
            keys = table["cluster"].to_numpy()
            inside["cluster_cap"] = allocation.within(keys, ones, ranks, self.caps.cluster)
        if self.caps.domain is not None:
            keys = np.where(table["domain"].is_null(), -1, grouping.codes(table["domain"])[1])
            left = inside.get("cluster_cap", np.ones(table.height, np.bool_))
            sizes = table["size"].to_numpy()[left]
            found = np.ones(table.height, np.bool_)
            found[left] = allocation.within(keys[left], sizes, chances[left], self.caps.domain)
            inside["domain_cap"] = found
        return pl.DataFrame(inside)

    def copies(
        self, table: pl.DataFrame, published: Mapping[str, Published] | None = None
    ) -> npt.NDArray[np.int32]:
        """How often each document is written: 0 drops it, 1 keeps it, more adds copies.

        With what is `published` of each group already, the whole comes nearest to its shares.

        `table` has the columns group (as of `group()`), size (as of `size()`), chance (u64) and,
        with rehydration, repeats (as of `repeats()`), one row a document. How: `allocation.copies`.
        Raises ValueError for what `targets` and `refuse` refuse.

        >>> table = pl.DataFrame(
        ...     {"group": ["en", "en", "cy"], "size": [60, 60, 40], "chance": [7, 3, 5]},
        ...     schema_overrides={"chance": pl.UInt64},
        ... )
        >>> Balance(by="lang").copies(table).tolist()
        [0, 1, 2]
        """
        groups, codes, sizes, repeats = self._grouped(table, published or {})
        targets = np.array([groups[name].target for name in sorted(groups)], dtype=np.int64)
        chances = table["chance"].cast(pl.UInt64).to_numpy()
        return allocation.copies(codes, sizes, chances, repeats, targets)

    def _grouped(
        self, table: pl.DataFrame, published: Mapping[str, Published]
    ) -> tuple[dict[str, Group], Numbers, Numbers, Numbers]:
        """The groups' targets, and of each document its group's place, its size and repeats."""
        keys, codes = grouping.codes(table["group"], published)
        sizes, repeats = _numbers(table)
        before = {name: known.size for name, known in published.items()}
        tonight, counted = (
            dict(zip(keys, allocation.group_totals(codes, s, len(keys)).tolist(), strict=True))
            for s in (sizes, sizes * repeats)
        )
        totals = {name: size + before.get(name, 0) for name, size in tonight.items()}
        repeated = {name: size + before.get(name, 0) for name, size in counted.items()}
        groups = self.targets(totals, repeated if self.rehydrate else None)
        self.refuse(groups)
        if published:
            groups = grouping.added(groups, tonight, published, self.max_epochs)
        return groups, codes, sizes, repeats

    def report(
        self,
        table: pl.DataFrame,
        copies: npt.NDArray[np.int32],
        published: Mapping[str, Published] | None = None,
    ) -> pl.DataFrame:
        """One row a group: what was asked for and what `copies` achieves.

        `table` and `published` are those that `copies` was made from. epochs is achieved over size;
        unique the size of what is written once or more, effective what all copies are worth,
        next_costs what one unit more of that takes (see `cleanpipe.balancing.repetition`).

        >>> table = pl.DataFrame({"group": ["en", None], "size": [60, 40], "chance": [7, 3]})
        >>> balance = Balance(by="lang", strategy="proportional")
        >>> report = balance.report(table, balance.copies(table))
        >>> report.select("group", "target", "achieved", "effective").rows()
        [('en', 60, 60, 60), ('null', 40, 40, 40)]
        """
        groups, codes, sizes, _ = self._grouped(table, published or {})
        return grouping.report(groups, codes, sizes, copies)

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
                f"weights name the group '{name}', but no clean document has {self.label()} "
                f"'{name}'{did_you_mean(name, totals)} (there are: {listed(totals)})"
            )
        for name in sorted(totals.keys() - self.weights.keys()):
            raise ValueError(
                f"weights leave out the group '{name}' of {self.label()} (size {totals[name]:,}): "
                f"give it a weight, 0 drops it{did_you_mean(name, self.weights)}"
            )


def _numbers(table: pl.DataFrame) -> tuple[Numbers, Numbers]:
    """Sizes and repeats of the documents."""
    sizes = table["size"].cast(pl.Int64).to_numpy()
    if "repeats" not in table.columns:
        return sizes, np.ones(len(sizes), np.int64)
    return sizes, table["repeats"].cast(pl.Int64).to_numpy()
