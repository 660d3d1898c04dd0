"""A night: only what is new is cleaned, compared with all that was kept, and added to it.

What is published stays: the night's manifest names the parts of earlier nights and its own. The
night is a run like any other, with its own books; `duplicate_run` in its ledger names the night
whose document stayed in place of one of its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cleanpipe import identity, outcome, store
from cleanpipe.balancing.grouping import Published
from cleanpipe.duplicates.deduplicate import Map
from cleanpipe.errors import InputError, RecipeError
from cleanpipe.input import places
from cleanpipe.input.bytestream import content_hash
from cleanpipe.input.corpus import Shard
from cleanpipe.input.intake import find_shards
from cleanpipe.machines.machines import Calls
from cleanpipe.nights.earlier import Earlier
from cleanpipe.nights.index import Index, build
from cleanpipe.nights.nightly import OTHER, confirm
from cleanpipe.outcome import Run
from cleanpipe.pace import Tell, silent
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.run import Work, all_steps, open_pool

FORGOTTEN = ("read", "forgotten")


def run_new(
    recipe: Recipe, *, rehash: bool = False, workers: int | None = None, tell: Tell | None = None
) -> Run:
    """Clean what is new since the published run, and add it; gives the published run.

    A file of unchanged path, size, time and inode is taken as unchanged, unless `rehash` has all
    of them read. Errors: RecipeError where the recipe is not the one that the published documents
    were cleaned with.
    """
    if nothing_new(recipe, rehash=rehash):
        return Run(confirm(recipe))
    with open_pool(recipe, workers, tell or silent) as pool:
        return all_steps(Night(recipe, pool, tell or silent, rehash=rehash))


def nothing_new(recipe: Recipe, *, rehash: bool = False) -> bool:
    """Whether a night would end where it begins; refuses what a night cannot do."""
    refuse(recipe)
    output = Path(recipe.output.path)
    manifest = store.current_manifest(output)
    return manifest is not None and not new_shards(recipe, manifest, rehash=rehash)


def refuse(recipe: Recipe) -> None:
    """Raise RecipeError for what needs a look at all documents, or does not fit what is published.

    A first night has nothing to fit.
    """
    dedup, augment = recipe.dedup, recipe.augment
    cannot = {
        "dedup is left out: a changed file's documents would be published again": dedup is None
        or not dedup.exact,
        "dedup.column compares a column of all documents": dedup is not None
        and dedup.column is not None,
        "cuts compare the texts of all documents": recipe.cuts is not None,
        "output.format jsonl cannot be read back a document at a time; take parquet or arrow": (
            recipe.output.format == "jsonl"
        ),
        "augment.originals changes published texts, which later ones are compared with": (
            augment is not None and augment.originals > 0
        ),
    }
    for reason in (reason for reason, holds in cannot.items() if holds):
        raise RecipeError(f"--incremental: {reason}. Run without --incremental")
    output = Path(recipe.output.path)
    manifest = store.current_manifest(output)
    if manifest is not None:
        differs = differences(recipe, output / "_cleanpipe", manifest["run"])
        if differs:
            raise RecipeError(
                f"--incremental: not what run {manifest['run']} was cleaned with: "
                f"{'; '.join(differs)}. Undo that, or run without --incremental, which cleans "
                "everything anew"
            )


def differences(recipe: Recipe, control: Path, run: str) -> list[str]:
    """What of a recipe and of the versions is not what a run was made with.

    Lists of addresses change every day, and decide about new documents only: they may differ.
    """
    begun = store.read_json(control / "runs" / run / "identity.json")
    seed = identity.known_seed(control, recipe.seed)
    now = {
        "recipe": recipe.model_copy(update={"seed": seed}).identity(),
        "measure": recipe.measure.identity(),
        "versions": identity.versions(recipe.measure.packages()),
    }
    found = []
    for name, known in now.items():
        for path, was, is_ in _differing(store.canonical, begun[name], known):
            found.append(f"{OTHER[name]} {'.'.join(path)}: {was} then, {is_} now".strip())
    return found


def _differing(text: Any, was: Any, is_: Any, path: tuple[str, ...] = ()) -> list[Any]:
    """The leaves of two trees that differ: path, value then, value now."""
    if isinstance(was, dict) and isinstance(is_, dict):
        names = sorted({*was, *is_})
        return [
            leaf
            for name in names
            for leaf in _differing(text, was.get(name), is_.get(name), (*path, str(name)))
        ]
    return [] if text(was) == text(is_) else [(path, text(was), text(is_))]


def published(control: Path, runs: Sequence[str]) -> dict[str, Published]:
    """What these runs read and wrote of each group, by their statistics."""
    found: dict[str, Published] = {}
    for run in runs:
        for row in store.read_json(control / "runs" / run / "stats.json")["groups"]:
            before = found.get(row["group"], Published(0, 0))
            sums = before.size + row["size"], before.written + row["achieved"]
            found[row["group"]] = Published(*sums)
    return found


def new_shards(
    recipe: Recipe, manifest: store.Record, *, rehash: bool = False
) -> tuple[Shard, ...]:
    """The files that are not known by path, size, time and inode, and whose content is new."""
    control = Path(recipe.output.path) / "_cleanpipe"
    again = set(manifest.get("again", ()))
    lines = [
        line
        for run in outcome.runs_of(manifest)
        for line in store.read_json(control / "runs" / run / "inputs.json")
        if line["shard"]["path"] not in again
    ]
    known = {_place(line["shard"]): _stamp(line["shard"], line.get("inode")) for line in lines}
    contents = {line["xxh3_128"] for line in lines}
    sizes = {line["shard"]["size"] for line in lines}
    found = []
    for shard in find_shards(recipe):
        line, inode = shard.to_json(), places.status(shard.path).inode
        before = known.get(_place(line))
        same = before is not None and before in {_stamp(line, inode), _stamp(line, None)}
        if same and not rehash:
            continue
        if line["size"] in sizes and content_hash(shard.path) in contents:
            continue  # moved, copied or touched: its documents are known
        found.append(shard)
    return tuple(found)


def _place(shard: dict[str, Any]) -> tuple[str, int]:
    return places.canonical(shard["path"]), shard["input"]


def _stamp(shard: dict[str, Any], inode: int | None) -> tuple[int, int, int | None]:
    return shard["size"], shard["mtime_ns"], inode


class Night(Work):
    """A run under way that adds to what is published."""

    def __init__(self, recipe: Recipe, pool: Calls, tell: Tell, *, rehash: bool = False) -> None:
        self.rehash = rehash
        refuse(recipe)
        self.base = store.current_manifest(Path(recipe.output.path))
        self.after = self.base["number"] if self.base else None
        super().__init__(recipe, pool, tell)
        self.index = self._index()

    def find(self) -> tuple[Shard, ...]:
        """The files that are new or changed."""
        if self.base is None:
            return super().find()
        shards = new_shards(self.recipe, self.base, rehash=self.rehash)
        if not shards:
            raise InputError(f"{self.output}: nothing is new any more; another run added it")
        return tuple(
            Shard.from_json({**shard.to_json(), "number": number})
            for number, shard in enumerate(shards)
        )

    @property
    def bands(self) -> int:
        """The MinHash bands of a document."""
        near = self.recipe.dedup.near if self.recipe.dedup else None
        return near.bands_and_rows()[0] if near else 0

    @property
    def forgotten(self) -> list[str]:
        """The ids of documents that were taken out for good."""
        known: list[str] = (self.base or {}).get("forgotten", {}).get("ids", [])
        return known

    def _index(self) -> Index:
        """The index of what is published; a run over everything leaves it to its first night."""
        folder = self.control / "index"
        if self.base is None:
            return Index(folder, ())
        if "index" in self.base:
            return Index(folder, tuple(self.base["index"]))
        self.tell("index what is published", 0, 1)
        run = self.control / "runs" / self.base["run"]
        here = folder / str(self.base["number"])
        first = build(here, run, self.base["parts"], self.bands, self.forgotten)
        self.tell("index what is published", 1, 1)
        return Index(folder, (first,))

    def measured(self) -> store.Record:
        """End pass 1; documents that were taken out for good do not come in again."""
        result = super().measured()
        if self.base is not None:
            self.decisions.published = published(self.control, outcome.runs_of(self.base))
        self.schema = self._fitting(self.schema)
        if self.forgotten:
            ids = self.decisions.documents.columns(("id",)).to_series()
            rows = np.flatnonzero(ids.is_in(self.forgotten).to_numpy() & self.decisions.alive)
            self.decisions.drop(rows, *FORGOTTEN)
        return result

    def _fitting(self, schema: pa.Schema) -> pa.Schema:
        """The columns of earlier parts, in their types; a column they have not is refused."""
        if self.base is None or not self.base["parts"]:
            return schema
        path = self.output / self.base["parts"][0]["path"]
        if path.suffix == ".parquet":
            had = pq.read_schema(path)
        else:
            with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as opened:
                had = opened.schema
        more = [field.name for field in schema if field.name not in had.names]
        if more:
            raise InputError(
                f"column {more[0]!r} of tonight's files is not in the published parts, which have "
                f"{', '.join(had.names)}: readers would find parts of two kinds. Take it out of "
                "the files, rename it (input.rename), or run without --incremental"
            )
        return had.remove_metadata()

    def _deduplicate(self, map_: Map) -> store.Record:
        """Give way to what earlier nights kept, then to one another."""
        given = (self.blocks, self.shards, self.pool.call, map_)
        if not self.index.segments:
            return super()._deduplicate(map_)
        earlier = Earlier(self.decisions, self.index, *given).run()
        result = super()._deduplicate(map_)
        self.duplicates["earlier"] = earlier
        return {**result, "dropped": result["dropped"] + earlier["exact"] + earlier["near"]}

    def _point_at(self, receipts: Sequence[store.Record]) -> None:
        """Publish the parts of earlier nights and of this one, and the index of both."""
        number = outcome.next_number(self.control)["number"]
        parts = outcome.parts_of(self.folder, receipts)
        folder = self.control / "index" / str(number)
        segment = build(folder, self.folder, parts, self.bands, ())
        index = self.index.with_segment(segment, f"{number}-merged")
        also: dict[str, Any] = {"index": list(index.segments), "nights": []}
        if self.base is not None:
            also["nights"] = [*self.base.get("nights", ()), self._night(self.base)]
            if "forgotten" in self.base:
                also["forgotten"] = self.base["forgotten"]
        earlier = self.base["parts"] if self.base else []
        outcome.publish(self.control, self.folder, receipts, earlier, also)

    def _night(self, base: store.Record) -> store.Record:
        """What later manifests say of the night before: its run, and the hash of its books."""
        run = self.control / "runs" / base["run"]
        record = store.write_json(run / "books.json", base["books"])
        path = (run / "books.json").relative_to(self.output).as_posix()
        return {"run": base["run"], "books": {**record, "path": path}}
