"""The documents of a run, as pass 1 left them: columns of tables, read a block at a time.

A document's number is its place among all of them, in (shard, row) order. Nothing here holds more
than what is asked for, so that deciding takes a few bytes a document, however much was measured.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs
import pyarrow as pa

from cleanpipe import store
from cleanpipe.duplicates.dedup import Rows
from cleanpipe.kernels import hashing
from cleanpipe.measures.evaluations import SHARED
from cleanpipe.measures.measure import OWN, band_name, block_name
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.write import cast_column

STAGES = {
    "read": 1,
    "normalize": 2,
    "filter": 3,
    "dedup": 4,
    "balance": 5,
    "augment": 6,
    "cuts": 7,
    "examples": 8,
}
"""The number that keeps one stage's chance apart from another's."""
MOST = 2**31 - 1
"""Documents of one run: their numbers are 32 bits wide."""


@dataclass(frozen=True)
class Documents:
    """The tables of pass 1, block after block."""

    folder: Path
    """The folder of the run."""
    seed: int
    blocks: tuple[int, ...]
    """The numbers of the blocks that were measured."""
    starts: Rows
    """(blocks + 1,): the number of each block's first document, and how many there are in all."""
    kinds: Mapping[str, pl.DataType]
    """The type of every column that can be asked for."""
    carried: Mapping[str, pa.DataType]
    """The input's columns among them, which have the type that they have in the output."""

    @classmethod
    def of(
        cls,
        folder: Path,
        recipe: Recipe,
        seed: int,
        receipts: Sequence[store.Record],
        carried: pa.Schema,
        kept: Collection[str],
    ) -> "Documents":
        """The documents of these receipts of pass 1, which kept these columns of the input."""
        measured = recipe.measured()
        given = {
            field.name: field.type
            for field in carried
            if field.name in kept and field.name not in measured and field.name not in OWN
        }
        columns = pl.DataFrame(pa.schema(list(given.items())).empty_table()).schema
        # of a corpus without a readable document nothing says what columns it has
        unseen = dict.fromkeys(recipe.decision_columns(), pl.Null())
        own = {name: kind for name, kind in OWN.items() if name != SHARED}  # lists: large
        starts = np.cumsum([0, *(receipt["rows"] for receipt in receipts)])
        return cls(
            folder=folder,
            seed=seed,
            blocks=tuple(receipt["block"] for receipt in receipts),
            starts=starts,
            kinds={**unseen, **columns, **measured, **own},
            carried=given,
        )

    @property
    def count(self) -> int:
        """How many documents there are, unreadable ones among them."""
        return int(self.starts[-1])

    def slices(self) -> Iterator[tuple[int, slice]]:
        """Each block's place among the blocks, and the numbers of its documents."""
        for place in range(len(self.blocks)):
            yield place, slice(int(self.starts[place]), int(self.starts[place + 1]))

    def path(self, place: int) -> Path:
        """The table of a block."""
        return self.folder / "measures" / f"{block_name(self.blocks[place])}.parquet"

    def block(self, place: int, names: Sequence[str]) -> pl.DataFrame:
        """Some columns of one block; null throughout where the block has none of that name."""
        wanted = list(dict.fromkeys(names))
        chosen = cs.by_name(*wanted, require_all=False)
        found = pl.scan_parquet(self.path(place)).select(chosen).collect()
        rows = int(self.starts[place + 1] - self.starts[place])
        columns = []
        for name in wanted:
            kind = self.kinds[name]
            if name not in found.columns:
                columns.append(pl.repeat(None, rows, dtype=kind, eager=True).alias(name))
            elif name in self.carried and found[name].dtype != kind:
                column = cast_column(found[name].to_arrow(), self.carried[name])
                columns.append(pl.Series(name, column))
            else:
                columns.append(found[name].cast(kind))
        return pl.DataFrame(columns)

    def columns(self, names: Sequence[str], rows: Rows | None = None) -> pl.DataFrame:
        """Some columns of all documents, or of those of these numbers, which ascend."""
        frames = []
        for place, numbers in self.slices():
            if rows is None:
                frames.append(self.block(place, names))
                continue
            first, last = np.searchsorted(rows, [numbers.start, numbers.stop])
            if first < last:
                own = rows[first:last] - numbers.start
                frames.append(self.block(place, names)[own])
        if frames:
            return pl.concat(frames)
        return pl.DataFrame(schema={name: self.kinds[name] for name in dict.fromkeys(names)})

    def keyed(self, rows: Rows, names: Sequence[str], stage: str = "dedup") -> pl.DataFrame:
        """Documents as a stage ranks them: an id that is only a place decides nothing.

        Columns id (null where none was given), key, shard, row, text_lo, text_hi and `names`.
        """
        known = [name for name in names if name != "id" and name in self.kinds]
        own = ("id", "has_id", "given", "shard", "row", "text_lo", "text_hi")
        table = self.columns((*own, *known), rows)
        key = pl.Series("key", chance(table, self.seed, stage))
        given = pl.when("has_id").then("id").alias("id")
        kept = dict.fromkeys(("shard", "row", "text_lo", "text_hi", *known))
        return table.select(given, *kept, key)

    def hashes(
        self, column: str, takes_part: npt.NDArray[np.bool_], part: int, parts: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
        """The documents that take part and whose hash is of one of `parts`; and these hashes.

        Equal hashes are of the same part, so that one part after another finds all that are equal.
        """
        numbers, found = [np.zeros(0, np.int32)], [np.zeros(0, np.uint64)]
        for place, own in self.slices():
            values = self.block(place, (column,)).to_series().fill_null(0).to_numpy()
            wanted = takes_part[own]
            if parts > 1:
                wanted = wanted & ((values >> np.uint64(32)) % np.uint64(parts) == part)
            inside = np.flatnonzero(wanted)
            numbers.append((inside + own.start).astype(np.int32))
            found.append(values[inside])
        return np.concatenate(numbers), np.concatenate(found)

    def with_bands(self, bands: int) -> "Documents":
        """The same documents, of which the hashes of so many bands can be asked for."""
        kinds = {**self.kinds, **{band_name(i): pl.UInt64() for i in range(bands)}}
        return Documents(self.folder, self.seed, self.blocks, self.starts, kinds, self.carried)


def chance(table: pl.DataFrame, seed: int, stage: str) -> npt.NDArray[np.uint64]:
    """A number a document that this stage draws by: the document's own, not its place's.

    `table` has the columns given and text_lo.
    """
    start = hashing.mix(np.uint64(seed), np.uint64(STAGES[stage]))
    given, text = (table[name].fill_null(0).to_numpy() for name in ("given", "text_lo"))
    own = hashing.mix_arrays(given, text)
    return hashing.mix_arrays(np.full(len(own), start, dtype=np.uint64), own)
