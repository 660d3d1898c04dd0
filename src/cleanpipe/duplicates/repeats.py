"""The pass of cuts, before all measures: spans -> repeats and their owners -> what is cut of whom.

Three maps over tasks. Each block is read and normalized, and leaves its spans, sorted by their
hashes; each part of the hashes is looked through for those that repeat; each block gathers what is
cut from its documents. How many parts there are follows from the recipe's `memory`, and changes
nothing of the result. The spans (28 bytes each) are deleted when all blocks have their cuts.
"""

import shutil
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.compute as pc

from cleanpipe import store
from cleanpipe.documents import chance
from cleanpipe.duplicates import cuts
from cleanpipe.duplicates.bands import parts_of
from cleanpipe.duplicates.cuts import SPAN, Cuts
from cleanpipe.duplicates.deduplicate import SHARE, Map
from cleanpipe.input import readers
from cleanpipe.input.corpus import Block, Shard
from cleanpipe.kernels import hashing
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.components import repeated
from cleanpipe.measures.measure import block_name, given_hash
from cleanpipe.recipes.recipe import Recipe

BYTES_A_SPAN = 120
"""What a part takes for each of its spans where all of them repeat: itself, the key and the block
of its document, and the order of all of these."""
ROWS_IN_GROUP = 65_536
PLACE = np.dtype([("key", "u8"), ("row", "u8"), ("shard", "u4")])
"""A document of a block: its chance, and where it stands."""
CUT = np.dtype(
    [
        *((name, "u4") for name in ("block", "document", "start", "size")),
        *((name, "u4") for name in ("owner_block", "owner_document")),
        *(("lo", "u8"), ("hi", "u8"), ("first", "?")),
    ]
)
"""A span that is cut, and its owner; `first` of one of those with the same hash."""
TABLE = {
    "shard": pl.UInt32,
    "row": pl.UInt64,
    "start": pl.Int64,
    "end": pl.Int64,
    "hash_lo": pl.UInt64,
    "hash_hi": pl.UInt64,
    "owner_shard": pl.UInt32,
    "owner_row": pl.UInt64,
}
Cut = npt.NDArray[Any]


def look(
    folder: Path, recipe: Recipe, seed: int, block: Block, shards: tuple[Shard, ...]
) -> store.Record:
    """Leave the spans of a block's documents, by hash, and the documents' chances and places."""
    if recipe.cuts is None:
        return {"block": block.number}
    found, places = [np.zeros(0, SPAN)], [np.zeros(0, PLACE)]
    count = 0
    for span in block.spans:
        shard = shards[span.shard]
        for batch in readers.read(span, shard, recipe.input[shard.input]):
            normalized = recipe.normalize.apply(pc.fill_null(batch.texts, ""))
            spans = recipe.cuts.spans(normalized.texts, seed)
            spans = spans[~normalized.unsettled[spans["document"]]]  # these are dropped
            spans["document"] += count
            found.append(spans)
            low, _ = hashing.hash_texts(*text_buffers(normalized.texts), np.uint64(seed))
            own = pl.DataFrame({"given": given_hash(batch.table, seed), "text_lo": low})
            place = np.empty(len(low), PLACE)
            place["key"] = chance(own, seed, "cuts")
            place["row"], place["shard"] = batch.rows, shard.number
            places.append(place)
            count += len(low)
    spans = np.concatenate(found)
    _save(_places(folder, block.number), np.concatenate(places))
    _save(spans_path(folder, block.number), spans[np.argsort(spans["lo"], kind="stable")])
    return {"block": block.number, "spans": len(spans)}


def spans_path(folder: Path, block: int) -> Path:
    """The spans of a block; they are whole or not there, so that the file is its own receipt."""
    return folder / "spans" / f"{block_name(block)}.npy"


def find(folder: Path, chosen: Cuts, blocks: Sequence[int], part: int, parts: int) -> store.Record:
    """Find the repeats among the spans of one part of all hashes, and leave what is to be cut."""
    pieces = [_part(_load(spans_path(folder, block)), part, parts) for block in blocks]
    again = repeated(np.concatenate([np.zeros(0, np.uint64), *(piece["lo"] for piece in pieces)]))
    ends = np.cumsum([0, *map(len, pieces)])
    spans, keys, owners = [np.zeros(0, SPAN)], [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)]
    for block, piece, end in zip(blocks, pieces, ends, strict=False):
        own = piece[again[end : end + len(piece)]]
        if len(own):
            spans.append(own)
            keys.append(_load(_places(folder, block))["key"][own["document"]])
            owners.append(np.full(len(own), block, np.uint32))
    cut = repeats(np.concatenate(spans), np.concatenate(keys), np.concatenate(owners), chosen)
    _save(_cut_path(folder, part), cut[np.argsort(cut["block"], kind="stable")])
    return {"part": part, "cut": len(cut)}


def repeats(
    spans: npt.NDArray[Any],
    keys: npt.NDArray[np.uint64],
    blocks: npt.NDArray[np.uint32],
    chosen: Cuts,
) -> Cut:
    """What is cut of some spans, among which are all with the same hash, if they repeat.

    The owner is the document with the smallest key. It keeps the first of its own.
    """
    place = blocks.astype(np.uint64) << np.uint64(32) | spans["document"]
    order = np.lexsort((spans["start"], place, keys, spans["hi"], spans["lo"]))
    spans, blocks, place = spans[order], blocks[order], place[order]
    is_first = np.ones(len(spans), np.bool_)
    is_first[1:] = (spans["lo"][1:] != spans["lo"][:-1]) | (spans["hi"][1:] != spans["hi"][:-1])
    is_another = is_first.copy()
    is_another[1:] |= place[1:] != place[:-1]
    group = np.cumsum(is_first) - 1
    documents = np.bincount(group[is_another])
    goes = ~is_first & (documents >= chosen.min_documents)[group]
    owner = np.flatnonzero(is_first)[group][goes]
    cut = np.empty(len(owner), CUT)
    cut["block"], cut["owner_block"] = blocks[goes], blocks[owner]
    for name in ("document", "start", "size", "lo", "hi"):
        cut[name] = spans[name][goes]
    cut["owner_document"] = spans["document"][owner]
    cut["first"] = is_first[np.flatnonzero(goes) - 1]
    return cut


def mark(folder: Path, block: int, parts: int) -> store.Record:
    """Write the table of what is cut from a block's documents, and its receipt."""
    pieces = [np.zeros(0, CUT)]
    for part in range(parts):
        cut = _load(_cut_path(folder, part))
        pieces.append(cut[bisect_left(cut["block"], block) : bisect_left(cut["block"], block + 1)])
    cut = np.concatenate(pieces)
    cut = cut[np.lexsort((cut["hi"], cut["lo"], cut["size"], cut["start"], cut["document"]))]
    place = _load(_places(folder, block))[cut["document"]]
    owner = np.empty(len(cut), PLACE)
    for other in np.unique(cut["owner_block"]).tolist():
        mine = cut["owner_block"] == other
        owner[mine] = _load(_places(folder, other))[cut["owner_document"][mine]]
    start = cut["start"].astype(np.int64)
    columns = (place["shard"], place["row"], start, start + cut["size"], cut["lo"], cut["hi"])
    named = dict(zip(TABLE, (*columns, owner["shard"], owner["row"]), strict=True))
    table = pl.DataFrame(named, schema=TABLE).to_arrow()
    path = cuts.path_of(folder, block_name(block))
    receipt = {
        "block": block,
        "files": {"cuts": store.write_table(path, [table], table.schema, group=ROWS_IN_GROUP)},
        "spans": len(_load(spans_path(folder, block))),
        "repeated": int(cut["first"].sum()),
        "cut": len(cut),
    }
    store.write_json(receipt_path(folder, block), receipt)
    return {"block": block, "cut": len(cut)}


def cut_nothing(folder: Path, blocks: Sequence[Block]) -> None:
    """Write tables that cut nothing, for documents of which nobody looked at all."""
    empty = pl.DataFrame(schema=TABLE).to_arrow()
    for block in blocks:
        path = cuts.path_of(folder, block_name(block.number))
        store.write_table(path, [empty], empty.schema)


def receipt_path(folder: Path, block: int) -> Path:
    """What says that a block has its table of cuts."""
    return folder / "receipts" / f"cut-{block_name(block)}.json"


@dataclass
class Cutting:
    """The pass of cuts of one run."""

    folder: Path
    recipe: Recipe
    seed: int
    blocks: list[Block]
    shards: tuple[Shard, ...]
    call: Callable[..., Any]
    """call(function, *arguments) runs it in a worker and waits for it."""
    map: Map

    def run(self) -> store.Record:
        """Leave for each block what is cut from its documents; what has a receipt is not done."""
        numbers = [block.number for block in self.blocks]
        left = [n for n in numbers if not receipt_path(self.folder, n).exists()]
        if self.recipe.cuts is not None and left:
            self._look([n for n in numbers if not spans_path(self.folder, n).exists()])
            self._cut(self.recipe.cuts, numbers, left)
        shutil.rmtree(self.folder / "spans", ignore_errors=True)
        return count(self.folder)

    def _look(self, numbers: list[int]) -> None:
        known = {block.number: block for block in self.blocks}

        def one(number: int) -> store.Record:
            arguments = (self.folder, self.recipe, self.seed, known[number], self.shards)
            self.call(look, *arguments)
            return {"block": number}

        self.map("read for repeats", one, numbers)

    def _cut(self, chosen: Cuts, numbers: list[int], left: list[int]) -> None:
        spans = sum(len(_load(spans_path(self.folder, number))) for number in numbers)
        parts = parts_of(spans, BYTES_A_SPAN, max(int(self.recipe.memory) // SHARE, 1))

        def find_part(part: int) -> store.Record:
            self.call(find, self.folder, chosen, numbers, part, parts)
            return {"part": part}

        def mark_block(number: int) -> store.Record:
            self.call(mark, self.folder, number, parts)
            return {"block": number}

        self.map("find repeats", find_part, range(parts))
        self.map("mark cuts", mark_block, left)


def count(folder: Path) -> dict[str, int]:
    """Spans that were compared, different ones that repeat, and how many are cut."""
    receipts = [store.read_json(path) for path in sorted((folder / "receipts").glob("cut-*.json"))]
    return {name: sum(one[name] for one in receipts) for name in ("spans", "repeated", "cut")}


def _part(spans: npt.NDArray[Any], part: int, parts: int) -> npt.NDArray[Any]:
    """The spans of one part of all hashes; they are sorted by them."""
    bounds = [(number << 64) // parts for number in (part, part + 1)]
    # not np.searchsorted, which would read and copy the hashes of all parts
    last = bisect_left(spans["lo"], bounds[1]) if part + 1 < parts else len(spans)
    return spans[bisect_left(spans["lo"], bounds[0]) : last]


def _places(folder: Path, block: int) -> Path:
    return folder / "spans" / f"{block_name(block)}.places.npy"


def _cut_path(folder: Path, part: int) -> Path:
    return folder / "spans" / f"part-{part:05d}.npy"


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array whole or not at all."""

    def fill(file: IO[bytes]) -> None:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)

    store.write_file(path, fill)


def _load(path: Path) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
