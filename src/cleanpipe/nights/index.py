"""What earlier nights kept: where each document stands in the parts, and its hashes, sorted.

A *segment* holds the documents of one night, or of several nights that were put together. Its
tables (one of texts, one a MinHash band) are sorted by hash, so that a night's hashes are found by
walking along them; a segment is never changed once a manifest names it. Small segments are put
together as they come, so that there are few of them, and a document is copied a few times in all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe import scratch, store
from cleanpipe.duplicates.dedup import COMPARED, Rows
from cleanpipe.measures.measure import band_name
from cleanpipe.write import part_name

Numbers = npt.NDArray[np.int64]
PLACES = {"run": np.uint16, "shard": np.uint32, "row": np.uint64, "part": np.uint32}
PLACE = np.int32
"""A document's row in its part; GONE for one that was forgotten."""
GONE = -1
TEXT = "text_lo"
LARGER = 3
"""A segment takes in the next one as soon as it is not this many times as large."""


def tables(bands: int) -> tuple[str, ...]:
    """The names of a segment's tables: columns of the tables of pass 1."""
    return (TEXT, *(band_name(band) for band in range(bands)))


def build(
    folder: Path, run: Path, parts: Sequence[store.Record], bands: int, forgotten: Sequence[str]
) -> store.Record:
    """The segment of what one run published, from its books; what the manifest says of it.

    `parts` are those of the run, in their order, as they are now: without the documents of the
    ids `forgotten`.
    """
    blocks = sorted((run / "verdicts").glob("*.parquet"))
    kept = [pl.read_parquet(path, columns=["verdict"])["verdict"] == "kept" for path in blocks]

    def column(names: Sequence[str]) -> pl.DataFrame:
        frames = [
            pl.read_parquet(run / "measures" / path.name, columns=[*names]).filter(mask)
            for path, mask in zip(blocks, kept, strict=True)
        ]
        return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(names, pl.UInt64))

    places = column(("shard", "row"))
    originals = _originals(run, len(parts))
    if places.height != originals.sum():
        raise ValueError(f"{run}: {places.height} kept, {originals.sum()} written")
    arrays: dict[str, npt.NDArray[Any]] = {
        "run": np.zeros(places.height, np.uint16),
        "shard": places["shard"].to_numpy().astype(np.uint32),
        "row": places["row"].to_numpy().astype(np.uint64),
        "part": np.repeat(np.arange(len(parts)), originals).astype(np.uint32),
        "place": _places(originals, column(("id",))["id"].is_in(forgotten).to_numpy()),
    }
    inputs = store.read_json(run / "inputs.json")
    files = {name: _save(folder / f"{name}.npy", array) for name, array in arrays.items()}
    for table in tables(bands):
        hashes = column((table,)).to_series().fill_null(0).to_numpy()
        order = np.argsort(hashes, kind="stable")
        files |= _save_table(folder, table, hashes[order], order.astype(np.uint32))
    return {
        "folder": folder.name,
        "documents": places.height,
        "runs": [{"run": run.name, "shards": [one["shard"]["name"] for one in inputs]}],
        "parts": [part["path"] for part in parts],
        "files": files,
    }


def _originals(run: Path, parts: int) -> Numbers:
    """How many originals each part of a run was written with."""
    receipts = (
        store.read_json(run / "receipts" / f"write-{part_name(number)}.json")
        for number in range(parts)
    )
    rows = (receipt["files"]["data"]["rows"] - receipt["added"] for receipt in receipts)
    return np.fromiter(rows, np.int64)


def _places(originals: Numbers, gone: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """The row of each document in its part, from which those that are gone were taken out."""
    before = np.cumsum([0, *(~gone)])
    firsts = np.repeat(np.cumsum(originals) - originals, originals)
    own = np.arange(len(gone))
    return np.where(gone, GONE, before[own] - before[firsts]).astype(PLACE)


def _save_table(
    folder: Path, name: str, hashes: npt.NDArray[np.uint64], numbers: npt.NDArray[np.uint32]
) -> dict[str, store.Record]:
    both: dict[str, npt.NDArray[Any]] = {f"{name}.hashes": hashes, f"{name}.numbers": numbers}
    return {stem: _save(folder / f"{stem}.npy", array) for stem, array in both.items()}


def _save(path: Path, array: npt.NDArray[Any]) -> store.Record:
    plain = np.ascontiguousarray(array)

    def fill(file: IO[bytes]) -> None:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(plain))
        file.write(plain.data)

    return store.write_file(path, fill)


@dataclass(frozen=True)
class Index:
    """The segments that a manifest names, oldest first; documents are numbered through them."""

    folder: Path
    segments: tuple[store.Record, ...]

    @property
    def starts(self) -> Numbers:
        """The number of each segment's first document, and how many there are in all."""
        return np.cumsum([0, *(one["documents"] for one in self.segments)], dtype=np.int64)

    def array(self, segment: store.Record, name: str) -> npt.NDArray[Any]:
        """A segment's array, read where it is touched."""
        return scratch.load(self.folder / segment["folder"] / segment["files"][name]["name"])

    def find(self, table: str, hashes: npt.NDArray[np.uint64]) -> tuple[Rows, Rows]:
        """Who has these hashes: (places in `hashes`, numbers of documents), by place and number.

        At most COMPARED documents of one segment for one hash, the earliest; none that is gone.
        """
        order = np.argsort(hashes, kind="stable")
        wanted = hashes[order]
        queries, found = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for first, segment in zip(self.starts, self.segments, strict=False):
            known = self.array(segment, f"{table}.hashes")
            left = np.searchsorted(known, wanted, "left")
            counts = np.minimum(np.searchsorted(known, wanted, "right") - left, COMPARED)
            ends = np.cumsum(counts)
            inside = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
            rows = self.array(segment, f"{table}.numbers")[np.repeat(left, counts) + inside]
            stays = self.array(segment, "place")[rows] != GONE
            queries.append(np.repeat(order, counts)[stays])
            found.append(rows[stays].astype(np.int64) + first)
        pairs = np.concatenate(queries), np.concatenate(found)
        by_place = np.lexsort(pairs[::-1])
        return pairs[0][by_place], pairs[1][by_place]

    def places(self, numbers: Rows) -> pl.DataFrame:
        """Where documents stand: run, shard (its name), row, part (its path), place."""
        frames = []
        ends = self.starts[1:]
        of = np.searchsorted(ends, numbers, "right")
        for which, segment in enumerate(self.segments):
            own = np.flatnonzero(of == which)
            rows = numbers[own] - self.starts[which]
            known = {name: self.array(segment, name)[rows] for name in (*PLACES, "place")}
            runs = segment["runs"]
            stands = zip(known["run"], known["shard"], strict=True)
            shards = [runs[run]["shards"][shard] for run, shard in stands]
            frames.append(
                pl.DataFrame(
                    {
                        "order": own,
                        "run": [runs[number]["run"] for number in known["run"]],
                        "shard": shards,
                        "row": known["row"],
                        "part": [segment["parts"][number] for number in known["part"]],
                        "place": known["place"],
                    },
                    schema_overrides={"run": pl.String, "shard": pl.String, "part": pl.String},
                )
            )
        return pl.concat(frames).sort("order").drop("order")

    def with_segment(self, new: store.Record, name: str) -> "Index":
        """The index with one more segment; those that are not much larger are put together."""
        segments = [*self.segments, new]
        first = len(segments) - 1
        total = new["documents"]
        while first and segments[first - 1]["documents"] < LARGER * total:
            first -= 1
            total += segments[first]["documents"]
        if first == len(segments) - 1:
            return Index(self.folder, tuple(segments))
        merged = self._merged(segments[first:], self.folder / name)
        return Index(self.folder, (*segments[:first], merged))

    def _merged(self, segments: list[store.Record], folder: Path) -> store.Record:
        """Several segments as one: their sorted tables are merged."""
        runs = [run for one in segments for run in one["runs"]]
        parts = [part for one in segments for part in one["parts"]]
        files = {}
        for name in (*PLACES, "place"):
            pieces, before = [], 0
            for one in segments:
                shift = before if name in {"run", "part"} else 0
                array = self.array(one, name)
                pieces.append(array + array.dtype.type(shift))
                before += len(one["runs"] if name == "run" else one["parts"])
            files[name] = _save(folder / f"{name}.npy", np.concatenate(pieces))
        starts = np.cumsum([0, *(one["documents"] for one in segments)])
        for name in [key.removesuffix(".hashes") for key in segments[0]["files"] if ".h" in key]:
            hashes = np.concatenate([self.array(one, f"{name}.hashes") for one in segments])
            numbers = np.concatenate(
                [
                    self.array(one, f"{name}.numbers") + np.uint32(start)
                    for one, start in zip(segments, starts, strict=False)
                ]
            )
            order = np.argsort(hashes, kind="stable")  # sorted stretches: merged, not sorted
            files |= _save_table(folder, name, hashes[order], numbers[order])
        return {
            "folder": folder.name,
            "documents": int(starts[-1]),
            "runs": runs,
            "parts": parts,
            "files": files,
        }

    def without(self, gone: dict[str, Rows], renamed: dict[str, str], name: str) -> "Index":
        """The index after parts were written again without the rows `gone` of each.

        `renamed` are the parts' new paths; `name` tells the new files apart from the old ones.
        """
        segments = []
        for segment in self.segments:
            parts = segment["parts"]
            touched = [number for number, part in enumerate(parts) if part in gone]
            if not touched:
                segments.append(segment)
                continue
            place, part = np.array(self.array(segment, "place")), self.array(segment, "part")
            for number in touched:
                own = np.flatnonzero((part == number) & (place != GONE))
                rows = gone[parts[number]]
                before = np.searchsorted(rows, place[own])
                left = np.where(np.isin(place[own], rows), GONE, place[own] - before)
                place[own] = left.astype(PLACE)
            path = self.folder / segment["folder"] / f"place-{name}.npy"
            files = {**segment["files"], "place": _save(path, place)}
            parts = [renamed.get(one, one) for one in parts]
            segments.append({**segment, "parts": parts, "files": files})
        return Index(self.folder, tuple(segments))

    def records(self) -> list[store.Record]:
        """All files, with their names below the index's folder."""
        return [
            {**record, "name": f"{segment['folder']}/{record['name']}"}
            for segment in self.segments
            for record in segment["files"].values()
        ]
