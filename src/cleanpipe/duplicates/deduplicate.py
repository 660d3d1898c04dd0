"""The passes of dedup, each a `map` over tasks: equal texts, bands, candidates, clusters.

Every task reads tables and leaves arrays in scratch; between the passes stands only what takes a
few bytes a document. How many parts and portions there are follows from the recipe's `memory`, and
changes nothing of the result.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cleanpipe import scratch, store
from cleanpipe.decide import Decisions
from cleanpipe.duplicates import bands, clusters, compare, equal
from cleanpipe.duplicates.dedup import Near, Rows
from cleanpipe.input.corpus import Block, Shard
from cleanpipe.recipes.recipe import Recipe

Map = Callable[[str, Callable[[int], store.Record], Sequence[int]], list[store.Record]]
"""map(name of the step, what to do with a number, numbers of tasks) -> results."""

SHARE = 8
"""A task takes at most this part of `memory`: two or more run at once, beside the interpreters."""
BYTES_A_SHINGLE = 8
BYTES_A_CANDIDATE = 600
"""What clustering takes for a candidate beside its shingles: buckets, columns, its pairs."""


@dataclass
class Deduplication:
    """Dedup under way: what it decides goes to `decisions`."""

    decisions: Decisions
    blocks: list[Block]
    shards: tuple[Shard, ...]
    call: Callable[..., Any]
    """call(function, *arguments) runs it in a worker and waits for it."""
    map: Map
    counts: dict[str, Any] = field(default_factory=dict)
    """Numbers for the statistics: compared pairs, comparisons left out, crowded buckets."""

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return self.decisions.recipe

    @property
    def scratch(self) -> Path:
        """The folder of what stands between the passes."""
        return self.decisions.documents.folder / "scratch"

    @property
    def memory(self) -> int:
        """Bytes that one task may take."""
        return max(int(self.recipe.memory) // SHARE, 1)

    def run(self) -> store.Record:
        """Let documents of an equal value give way, then equal texts, then similar ones."""
        dedup, documents = self.recipe.dedup, self.decisions.documents
        dropped = 0
        hidden: Rows = np.zeros(0, np.int64)
        if dedup is not None and dedup.column is not None and documents.count:
            dropped += self._of_equal_value()
        if dedup is not None and dedup.exact and documents.count:
            equal_texts, hidden = self._equal()
            dropped += equal_texts
        if dedup is not None and dedup.near is not None and documents.count:
            dropped += self._similar(dedup.near, hidden)
        return {"dropped": dropped, "left": int(self.decisions.alive.sum())}

    def _of_equal_value(self) -> int:
        """Drop all but the best of documents with an equal value in the recipe's column."""
        documents, keep = self.decisions.documents, self.recipe.ranking_columns("dedup")
        scratch.save(self.scratch / "alive.npy", self.decisions.alive)
        parts = bands.parts_of(documents.count, equal.BYTES_A_DOCUMENT, self.memory)

        def find(part: int) -> store.Record:
            arguments = (documents, self.recipe.dedup, keep, self.scratch, part, parts)
            self.call(equal.find_by_column, *arguments)
            return {"part": part}

        self.map("find equal values", find, range(parts))
        gone, best = (equal.found(self.scratch, parts, name, "column") for name in ("gone", "best"))
        order = np.argsort(gone)
        unknown = np.full(len(gone), np.nan)
        self.decisions.give_way(gone[order], best[order], unknown, "column")
        return len(gone)

    def _equal(self) -> tuple[int, Rows]:
        """Drop all but the best of equal texts; the documents that need not be compared."""
        documents, keep = self.decisions.documents, self.recipe.ranking_columns("dedup")
        scratch.save(self.scratch / "alive.npy", self.decisions.alive)
        scratch.save(self.scratch / "readable.npy", self.decisions.readable)
        parts = bands.parts_of(documents.count, equal.BYTES_A_DOCUMENT, self.memory)

        def find(part: int) -> store.Record:
            arguments = (documents, self.recipe.dedup, keep, self.scratch, part, parts)
            self.call(equal.find, *arguments)
            return {"part": part}

        self.map("find equal texts", find, range(parts))
        gone, best, hidden = (
            equal.found(self.scratch, parts, name) for name in ("gone", "best", "hidden")
        )
        order = np.argsort(gone)
        ones = np.ones(len(gone))
        self.decisions.give_way(gone[order], best[order], ones, "exact")
        return len(gone), hidden

    def _similar(self, near: Near, hidden: Rows) -> int:
        """Drop near-duplicates, each verified against the representative that it gives way to."""
        eligible = self.decisions.readable.copy()
        eligible[hidden] = False
        files = self._pair(near, eligible)
        rows, numbers = self._portions([file for band in files for file in band])
        blocks = self._compare(rows)
        documents = self.decisions.documents.with_bands(near.bands_and_rows()[0])

        # of an earlier attempt, which may have cut other portions
        shutil.rmtree(documents.folder / "pairs", ignore_errors=True)

        def cluster(number: int) -> store.Record:
            arguments = (documents, self.recipe, files, blocks, number, self.memory)
            found: store.Record = self.call(clusters.cluster_portion, *arguments)
            return found

        results = self.map("cluster candidates", cluster, numbers)
        for name in ("compared", "uncompared"):
            self.counts[name] = sum(result[name] for result in results)
        if not numbers:
            return 0
        gone, best, similarity = (
            clusters.found(self.scratch, len(numbers), name)
            for name in ("gone", "best", "similarity")
        )
        order = np.argsort(gone)
        result = self.decisions.give_way(gone[order], best[order], similarity[order], "near")
        return result["dropped"]

    def _pair(self, near: Near, eligible: Any) -> list[list[Path]]:
        """Find the buckets of every band; the files that hold them, band by band."""
        scratch.save(self.scratch / "eligible.npy", eligible)
        count = near.bands_and_rows()[0]
        documents = self.decisions.documents.with_bands(count)
        parts = bands.parts_of(documents.count, bands.BYTES_A_DOCUMENT, self.memory)

        def pair(number: int) -> store.Record:
            band, part = divmod(number, parts)
            self.call(bands.pair, documents, band, self.scratch, part, parts)
            return {"band": band, "part": part}

        self.map("find candidates", pair, range(count * parts))
        files = [
            [bands.buckets_path(self.scratch, band, part) for part in range(parts)]
            for band in range(count)
        ]
        crowded = bands.crowded([file for band in files for file in band])
        if crowded is not None:
            rows = np.array([crowded.pop("document")])
            name = documents.columns(("id",), rows).item()
            self.counts["crowded"] = {**crowded, "example": name}
        return files

    def _portions(self, files: list[Path]) -> tuple[Rows, range]:
        """Cut the candidates into portions; all of them, ascending, and the portions' numbers."""
        documents = self.decisions.documents
        rows = bands.candidates(files, documents.count)
        first = bands.components(files, documents.count)
        scratch.save(self.scratch / "first.npy", first)
        scratch.save(self.scratch / "alive.npy", self.decisions.alive)
        near = self.recipe.dedup.near if self.recipe.dedup else None
        shingles = near.shingle if near else "words"  # at most as many as words or characters
        sizes = documents.columns((shingles,), rows).to_series().to_numpy()
        weights = sizes * BYTES_A_SHINGLE + BYTES_A_CANDIDATE
        portions = bands.portions(rows, first, weights, self.memory)
        scratch.save(self.scratch / "portions.npy", portions)
        return rows, range(int(portions.max(initial=-1)) + 1)

    def _compare(self, rows: Rows) -> list[int]:
        """Read the candidates' texts again; the numbers of the blocks that hold some."""
        documents = self.decisions.documents
        places = np.searchsorted(documents.starts, rows, side="right") - 1
        touched = np.unique(places).tolist()

        def compare_one(place: int) -> store.Record:
            own = rows[places == place]
            block = self.blocks[place]
            arguments = (documents, self.recipe, block, self.shards, own)
            self.call(compare.compare_block, *arguments)
            return {"block": block.number, "candidates": len(own)}

        self.map("compare candidates", compare_one, touched)
        return [self.blocks[place].number for place in touched]
