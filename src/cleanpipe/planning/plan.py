"""A run foretold from a sample: what each stage will drop, how long it takes, what it needs.

The same code measures the documents that are drawn and decides on them, in a folder that is thrown
away; nothing is written into the output. What a sample cannot see, a plan does not guess: of
duplicates it says how many there are at least. A small corpus is measured in whole, and then all
counts are those of the run.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cleanpipe import store
from cleanpipe.duplicates import repeats
from cleanpipe.errors import RecipeError
from cleanpipe.identity import known_seed
from cleanpipe.input import corpus
from cleanpipe.input.intake import find_shards
from cleanpipe.machines.machines import Calls
from cleanpipe.pace import Tell, silent
from cleanpipe.planning import predict, probe, sampling
from cleanpipe.planning.intervals import Floats, Interval, Sample, exactly, total
from cleanpipe.planning.notices import Drawn
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.rules.urls import CAP
from cleanpipe.run import Work, open_pool

VERSION = 1
SHARE = 0.01
PROBES = 8


def plan(
    recipe: Recipe,
    *,
    share: float = SHARE,
    workers: int | None = None,
    tell: Tell | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Foretell what `cleanpipe run` would do with a recipe; see docs/plan.md for what comes back.

    `share` is the least chance of a document to be measured; about 500 are in any case. The same
    `seed` draws the same documents. Raises what the run would raise: columns that are not there,
    inputs that cannot be read.
    """
    if not 0 < share <= 1:
        raise RecipeError(f"sample is {share}: expected a share, more than 0 and at most 1")
    started = time.monotonic()
    shards = find_shards(recipe)
    with tempfile.TemporaryDirectory(prefix="cleanpipe-plan-") as folder:
        output = recipe.output.model_copy(update={"path": folder})
        # what is in quarantine is foretold, not a reason to stop
        known = known_seed(Path(recipe.output.path) / "_cleanpipe", recipe.seed)
        changes = {"output": output, "max_quarantined": 1.0, "seed": known or 0, "machines": ""}
        inside = recipe.model_copy(update=changes)
        with open_pool(inside, workers, tell or silent) as pool:
            work = Sampled(inside, pool, tell or silent, shards, share, seed)
            told = work.foretold(recipe)
    told["sample"]["seed"] = known is not None
    told["sample"]["seconds"] = round(time.monotonic() - started, 1)
    return told


class Sampled(Work):
    """A run of some documents of a corpus, in a folder that is thrown away."""

    def __init__(
        self,
        recipe: Recipe,
        pool: Calls,
        tell: Tell,
        shards: tuple[corpus.Shard, ...],
        share: float,
        seed: int,
        **limits: int,
    ) -> None:
        self.given = shards
        self.record_sizes = np.zeros(len(shards))
        super().__init__(recipe, pool, tell)
        sizes = np.array([sum(s.text_bytes for s in i.spans) for i in self.indexes], dtype=float)
        counts = sizes / np.maximum(self.record_sizes, 1.0)
        record_size = max(float(sizes.sum()) / max(float(counts.sum()), 1.0), 1.0)
        self.all_blocks = self.blocks
        self.scheme = sampling.scheme(self.blocks, record_size, share, seed, **limits)
        self.blocks = list(self.scheme.blocks)
        self.met: dict[int, store.Record] = {}
        if not self.is_whole:
            self.recipe = without_cap(self.recipe)

    @property
    def is_whole(self) -> bool:
        """Whether every document is measured."""
        return self.scheme.chance is None

    def foretold(self, recipe: Recipe) -> dict[str, Any]:
        """Measure, decide and count: the plan of a run with this recipe."""
        if self.is_whole:
            self.cut(self.over)
        elif self.recipe.cuts is not None:
            repeats.cut_nothing(self.folder, self.blocks)
        self.over("measure a sample", self.measure, [block.number for block in self.blocks])
        self.measured()
        self.decide_sample()
        known = recipe if self.is_whole else without_cap(recipe)
        capped = known != recipe
        drawn = Drawn.of(self.decisions)
        told = predict.predictions(known, drawn, self.sample(), capped=capped)
        told["left_out"] = [["filter", CAP]] if capped else []
        if capped:
            told["notices"].insert(
                len(recipe.notices),
                "filter.urls.per_domain is left out: a sample cannot see how many documents a host "
                "has; fewer will be kept",
            )
        if self.recipe.cuts is not None and not self.is_whole:
            told["notices"].append(
                "cuts are left out: a sample cannot see what repeats across the corpus; documents "
                "will be shorter, and rules will judge what is left of them"
            )
        costs = _costs(recipe, told, self.rates(), self.pool.workers, self.shards)
        return {"version": VERSION, "sample": self.described(), **told, "costs": costs}

    def find(self) -> tuple[corpus.Shard, ...]:
        """The shards outside the output that the recipe names, not outside this folder."""
        return self.given

    def look(self, number: int) -> store.Record:
        """Cut a shard where that needs no reading, in a worker."""
        shard = self.shards[number]
        given = self.recipe.input[shard.input]
        index = self.pool.call(corpus.glance, shard, given)
        self.record_sizes[number] = self.pool.call(sampling.record_size, shard, given, index)
        return {"index": index}

    def measure(self, number: int) -> store.Record:
        """Measure what is drawn of a block, or all of it."""
        if self.scheme.chance is None:
            return super().measure(number)
        block, held = self.blocks[number], self.scheme.held[number]
        arguments = (self.folder, self.recipe, self.seed, block, self.shards)
        self.met[number] = self.pool.call(
            sampling.measure_sample, *arguments, self.scheme.chance, held
        )
        return self.met[number]

    def decide_sample(self) -> None:
        """Decide as the run would; of a sample the filter alone, since duplicates hide from it."""
        if not self.is_whole:
            self.decisions.filter()
            return
        for stage in self.recipe.order:
            self.decide(stage, self.over)

    def rates(self) -> probe.Rates | None:
        """Time a few hundred documents here and there, in the workers."""
        spans = [span for block in self.blocks for span in block.spans]
        step = max(len(spans) // PROBES, 1)
        found: list[store.Record] = []

        def one(number: int) -> store.Record:
            arguments = (self.folder, self.recipe, self.seed, spans[number], self.shards)
            record = self.pool.call(probe.probe, *arguments)
            found.extend([record] if record else [])
            return {}

        self.over("time what a run does", one, range(0, len(spans), step)[:PROBES])
        return probe.rates(found)

    def sample(self) -> Sample:
        """The drawn documents with their chances, in the order of the table of measures."""
        table = self.decisions.documents.columns(("shard", "row", "bytes"))
        if self.scheme.chance is None:
            sizes = table["bytes"].fill_null(0).to_numpy().astype(np.float64)
            return _whole(sizes)
        met = [self.met[number] for number in range(len(self.blocks))]
        blocks = np.repeat(np.arange(len(met)), [record["rows"] for record in met])
        each = np.array(self.scheme.held)
        paths = [sampling.draws_path(self.folder, block.number) for block in self.blocks]
        draws = pl.concat([pl.read_parquet(path) for path in paths])
        joined = table.join(draws, on=["shard", "row"], how="left", maintain_order="left")
        unsized = joined["chance"].is_null().to_numpy()  # found unreadable before it was drawn
        more = np.bincount(blocks[unsized], minlength=len(met))

        def all_of(name: str, more: Floats) -> Interval:
            found = np.array([record[name] for record in met], dtype=np.float64) + more
            sizes = np.array(self.scheme.sizes, dtype=np.float64)
            return total(found, each, sizes, self.scheme.behind)

        return Sample(
            chance=joined["chance"].fill_null(1.0).to_numpy(),
            held=each[blocks],
            stretch=np.where(each[blocks] < 1, blocks, -1),
            size=joined["size"].fill_null(0).to_numpy().astype(np.float64),
            documents=self._rows() or all_of("documents", more.astype(np.float64)),
            bytes=all_of("bytes", np.zeros(len(met))),
            share=self.scheme.chance.share,
            certain=self.scheme.chance.certain,
        )

    def _rows(self) -> Interval | None:
        """All documents, where tables say how many rows they have: every one is a document."""
        spans = [span for block in self.all_blocks for span in block.spans]
        if any(self.shards[span.shard].format not in {"parquet", "arrow"} for span in spans):
            return None
        rows = [span.rows for span in spans if span.rows is not None]
        return exactly(sum(rows)) if len(rows) == len(spans) else None

    def described(self) -> store.Record:
        """What was looked at."""
        met = {span.shard for block in self.blocks for span in block.spans}
        return {
            "whole": self.is_whole,
            "documents": self.decisions.documents.count,
            "share": 1.0 if self.scheme.chance is None else self.scheme.chance.share,
            "stretches": len(self.blocks),
            "of_stretches": len(self.all_blocks),
            "shards": len(met),
            "of_shards": len(self.shards),
        }


def without_cap(recipe: Recipe) -> Recipe:
    """The recipe without the most documents of a host: of a sample's documents each has few."""
    urls = recipe.filter.urls
    if urls is None or urls.per_domain is None:
        return recipe
    changes = {"per_domain": None, "by": None, "keep": ()}
    others = urls.model_copy(update=changes) if len(urls.rules()) > 1 else None
    filter_ = recipe.filter.model_copy(update={"urls": others})
    return recipe.model_copy(update={"filter": filter_})


def _whole(sizes: Floats) -> Sample:
    """All documents, as a sample that is certain of each."""
    ones = np.ones(len(sizes))
    return Sample(
        chance=ones,
        held=ones,
        stretch=np.full(len(sizes), -1),
        size=sizes,
        documents=exactly(len(sizes)),
        bytes=exactly(float(sizes.sum())),
        share=1.0,
        certain=1.0,
    )


def _costs(
    recipe: Recipe,
    told: dict[str, Any],
    known: probe.Rates | None,
    workers: int,
    shards: tuple[corpus.Shard, ...],
) -> dict[str, Any] | None:
    """Seconds, disk and memory of the run, from measured rates and what is foretold."""
    if known is None:
        return None
    read, kept = told["documents"]["read"], told["kept"]
    text, copies = told["text"]["estimate"], told["extra_bytes"]
    files = sum(shard.size for shard in shards)
    steps = probe.seconds(
        known, workers, files, read["estimate"], text, kept["bytes"]["high"], copies
    )
    out = {side: round((kept["bytes"][side] + copies) * known.disk) for side in ("low", "high")}
    return {
        "workers": workers,
        "seconds": round(sum(steps.values()), 1),
        "steps": {name: round(value, 1) for name, value in steps.items()},
        "parts_bytes": out,
        "books_bytes": round(read["estimate"] * known.books),
        "memory_bytes": round(probe.memory(workers, read["estimate"])),
        "augmented": recipe.augment is not None and bool(copies),
    }
