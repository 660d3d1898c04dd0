"""A night's documents against those that earlier nights kept: who gives way to whom, verified.

The index says which earlier documents share a hash with a new one; their texts are read back from
the published parts, a row group at a time, and compared exactly. An earlier document never gives
way to a new one: what is published stays.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cleanpipe import ledger, scratch, store
from cleanpipe.decide import Decisions
from cleanpipe.duplicates import compare
from cleanpipe.duplicates.dedup import COMPARED, Near, Rows
from cleanpipe.duplicates.deduplicate import Map
from cleanpipe.errors import OutputError
from cleanpipe.input.corpus import Block, Shard
from cleanpipe.kernels import hashing, jaccard
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.stars import least_shared
from cleanpipe.measures.measure import band_name
from cleanpipe.nights.index import TEXT, Index
from cleanpipe.store import ROWS_IN_GROUP

GROUPS_IN_TASK = 500
"""Row groups of parts that one task reads: about half a second's work."""
FOUND = {"number": pl.Int64, "earlier": pl.Int64, "similarity": pl.Float64, "id": pl.String}


@dataclass
class Earlier:
    """The comparison with earlier nights: what it decides goes to `decisions`."""

    decisions: Decisions
    index: Index
    blocks: list[Block]
    shards: tuple[Shard, ...]
    call: Callable[..., Any]
    map: Map
    counts: dict[str, int] = field(default_factory=dict)

    def run(self) -> dict[str, int]:
        """Let equal texts give way, then similar ones; how many, and how many were compared."""
        dedup = self.decisions.recipe.dedup
        found = [pl.DataFrame(schema=FOUND)]
        self.counts = {"exact": 0, "near": 0, "compared": 0, "uncompared": 0}
        if dedup is not None and dedup.exact:
            found.append(self._give_way(self._equal(), "exact", drop=True))
        if dedup is not None and dedup.near is not None:
            found.append(self._give_way(self._similar(dedup.near), "near", drop=dedup.near.drop))
        self._save(pl.concat(found).sort("number"))
        return self.counts

    def _give_way(self, found: pl.DataFrame, rule: str, *, drop: bool) -> pl.DataFrame:
        """Each document gives way to the most similar earlier one, of several the earliest."""
        best = found.sort(["number", "similarity", "earlier"], descending=[False, True, False])
        best = best.unique("number", keep="first", maintain_order=True)
        rows, similarity = best["number"].to_numpy(), best["similarity"].to_numpy()
        self.decisions.similarity = self.decisions.similarity.with_(rows, similarity)
        if drop:
            self.decisions.drop(rows, "dedup", rule)
        self.counts[rule] = len(rows)
        return best

    def _equal(self) -> pl.DataFrame:
        """Documents whose text an earlier one has: both 64-bit halves of its hash are compared."""
        rows = np.flatnonzero(self.decisions.alive)
        names = ("text_lo", "text_hi")
        table = self.decisions.documents.columns(names, rows)
        places, earlier = self.index.find(TEXT, table["text_lo"].to_numpy())
        first = np.ones(len(places), np.bool_)
        first[1:] = places[1:] != places[:-1]  # equal hashes: the earliest says it all
        places, earlier = places[first], earlier[first]
        asked = pl.DataFrame({"number": rows[places], "earlier": earlier}).hstack(table[places])
        return self._read(asked, verify_equal, self.decisions.documents.seed)

    def _similar(self, near: Near) -> pl.DataFrame:
        """Documents that are as similar to an earlier one as the threshold asks."""
        rows = np.flatnonzero(self.decisions.alive)
        bands = near.bands_and_rows()[0]
        documents = self.decisions.documents.with_bands(bands)
        pairs = []
        for band in range(bands):
            name = band_name(band)
            hashes = documents.columns((name,), rows).to_series().fill_null(0).to_numpy()
            places, earlier = self.index.find(name, hashes)
            pairs.append(pl.DataFrame({"number": rows[places], "earlier": earlier}))
        shared = pl.concat(pairs).group_by("number", "earlier").len("shared")
        # those first that share most bands, then the earlier ones
        ordered = shared.sort(["number", "shared", "earlier"], descending=[False, True, False])
        asked = ordered.group_by("number", maintain_order=True).head(COMPARED)
        self.counts["compared"] = asked.height
        self.counts["uncompared"] = ordered.height - asked.height
        if not asked.height:
            return pl.DataFrame(schema=FOUND)
        candidates = asked["number"].unique().sort().to_numpy()
        self._sets(candidates)
        known = np.searchsorted(candidates, asked["number"].to_numpy())
        asked = asked.select("number", "earlier", own=pl.Series(known))
        folder = documents.folder / "scratch"
        found = self._read(asked, verify_similar, (documents.seed, near, folder))
        return found.filter(pl.col("similarity") >= near.threshold)

    def _sets(self, rows: Rows) -> None:
        """Read the candidates' texts again, and leave their shingle sets in scratch."""
        documents, recipe = self.decisions.documents, self.decisions.recipe
        places = np.searchsorted(documents.starts, rows, side="right") - 1
        touched = np.unique(places).tolist()

        def shingles(place: int) -> store.Record:
            own = rows[places == place]
            given = (documents, recipe, self.blocks[place], self.shards, own)
            self.call(compare.compare_block, *given)
            return {"block": place}

        self.map("read candidates", shingles, touched)
        everyone = np.full(documents.count, -1, np.int32)
        everyone[rows] = 0
        numbers = [self.blocks[place].number for place in touched]
        memory = int(recipe.memory) // 8
        _, _, sets = compare.load(documents.folder, numbers, everyone, 0, memory)
        for name, array in zip(("offsets", "hashes"), sets, strict=True):
            scratch.save(documents.folder / "scratch" / f"new.{name}.npy", array)

    def _read(
        self, asked: pl.DataFrame, verify: Callable[..., pl.DataFrame], given: Any
    ) -> pl.DataFrame:
        """Compare pairs with the earlier documents' texts, tasks of some row groups each."""
        if not asked.height:
            return pl.DataFrame(schema=FOUND)
        stands = self.index.places(asked["earlier"].to_numpy()).select("part", "place")
        asked = asked.hstack(stands).sort("part", "place", "number")
        group = pl.struct("part", pl.col("place") // ROWS_IN_GROUP).rle_id() // GROUPS_IN_TASK
        tasks = asked.with_columns(task=group).partition_by("task", maintain_order=True)
        output = self.decisions.documents.folder.parents[2]
        found: dict[int, pl.DataFrame] = {}

        def read(number: int) -> store.Record:
            found[number] = self.call(verify, output, tasks[number].drop("task"), given)
            return {"pairs": tasks[number].height}

        self.map("compare with earlier nights", read, range(len(tasks)))
        return pl.concat([found[number] for number in range(len(tasks))])

    def _save(self, found: pl.DataFrame) -> None:
        """Leave who gave way to whom for the ledger."""
        stands = self.index.places(found["earlier"].to_numpy())
        table = found.select("number", duplicate_of="id").hstack(
            stands.select(
                duplicate_shard="shard",
                duplicate_row=pl.col("row").cast(pl.UInt64),
                duplicate_run="run",
            )
        )
        path = ledger.earlier_path(self.decisions.documents.folder)
        plain = table.to_arrow()
        scratch.save_table(path, [plain], plain.schema)


def verify_equal(output: Path, asked: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The pairs whose texts are equal by their 128-bit hashes."""
    found = []
    for pairs, table in documents_of(output, asked):
        lo, hi = hashing.hash_texts(*_texts(table), np.uint64(seed))
        equal = (pairs["text_lo"].to_numpy() == lo) & (pairs["text_hi"].to_numpy() == hi)
        ids = pl.Series("id", table["id"].to_pylist(), dtype=pl.String)
        both = pairs.select("number", "earlier", similarity=1.0).with_columns(ids)
        found.append(both.filter(pl.Series(equal)))
    return pl.concat(found)


def verify_similar(
    output: Path, asked: pl.DataFrame, given: tuple[int, Near, Path]
) -> pl.DataFrame:
    """The exact Jaccard similarity of every pair; 0 for those far from the threshold."""
    seed, near, folder = given
    offsets, hashes = (scratch.load(folder / f"new.{name}.npy") for name in ("offsets", "hashes"))
    key = jaccard.secret_key(seed)
    found = []
    for pairs, table in documents_of(output, asked):
        characters = near.shingle == "chars"
        starts, others = jaccard.shingle_sets(*_texts(table), near.ngram, *key, characters)
        values = np.zeros(pairs.height)
        for place, own in enumerate(pairs["own"]):
            mine = np.array(hashes[offsets[own] : offsets[own + 1]])
            other = others[starts[place] : starts[place + 1]]
            needed = least_shared(near.threshold, len(mine), len(other))
            both = jaccard.intersection(mine, other, needed)
            values[place] = max(both, 0) / (len(mine) + len(other) - max(both, 0))
        ids = pl.Series("id", table["id"].to_pylist(), dtype=pl.String)
        found.append(
            pairs.select("number", "earlier").with_columns(pl.Series("similarity", values), ids)
        )
    return pl.concat(found)


def _texts(table: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    texts = table["text"].combine_chunks()
    return text_buffers(pc.cast(texts, pa.large_string()))


def documents_of(output: Path, asked: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pa.Table]]:
    """The earlier documents of pairs (part, place; sorted), read a row group at a time: id, text.

    A document that several pairs name is there as often.
    """
    for (name,), pairs in asked.group_by("part", maintain_order=True):
        path = output / str(name)
        try:
            with Part(path) as part:
                groups = (pl.col("place") // ROWS_IN_GROUP).alias("group")
                for (number,), own in pairs.group_by(groups, maintain_order=True):
                    table = part.group(int(str(number)))
                    places = own["place"].to_numpy() - int(str(number)) * ROWS_IN_GROUP
                    yield own, table.take(pa.array(places))
        except (OSError, pa.ArrowInvalid, IndexError) as error:
            raise OutputError(
                f"{path} cannot be read back ({error}): tonight's documents cannot be compared "
                "with it. `cleanpipe verify` says what else is not as it was published"
            ) from error


class Part:
    """A published part, read back a row group at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self._open = contextlib.ExitStack()
        self._read: Callable[[int], pa.Table]
        if self.path.suffix == ".parquet":
            parquet = self._open.enter_context(pq.ParquetFile(self.path))
            self._read = lambda number: parquet.read_row_group(number, columns=["id", "text"])
        else:
            file = self._open.enter_context(pa.OSFile(str(self.path)))
            arrow = self._open.enter_context(pa.ipc.open_file(file))
            self._read = lambda number: pa.Table.from_batches([arrow.get_batch(number)])
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def group(self, number: int) -> pa.Table:
        """The rows of one group: id, text."""
        return self._read(number).select(["id", "text"])
