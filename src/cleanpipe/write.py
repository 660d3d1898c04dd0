"""Pass 2: read the kept documents again, augment the extra copies, write the parts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from cleanpipe import plain, scratch, store
from cleanpipe.corpus import Block, Shard
from cleanpipe.errors import InputError
from cleanpipe.recipe import Recipe
from cleanpipe.reread import Again, cuts_of, reread

ENDINGS = {"parquet": "parquet", "arrow": "arrow", "jsonl": "jsonl.zst"}
COPIES_SCHEMA = {
    "id": pl.String,
    "copy": pl.Int32,
    "operations": pl.String,
    "seed": pl.UInt64,
    "changed_share": pl.Float64,
    "similarity": pl.Float64,
    "outcome": pl.String,
    "bytes": pl.Int64,
}


def part_name(number: int) -> str:
    """The name of a part's files."""
    return f"part-{number:05d}"


def plan_path(folder: Path, number: int) -> Path:
    """What is to be written into a part; `folder` is the run's."""
    return folder / "scratch" / f"{part_name(number)}.arrow"


def output_schema(recipe: Recipe, carried: pa.Schema) -> pa.Schema:
    """The columns of every part: id, clean text, what the input carried, where a copy is from."""
    fields = [pa.field("id", pa.string()), pa.field("text", pa.large_string())]
    fields += [field for field in carried if field.name != "id"]
    fields += [pa.field("copy", pa.int32()), pa.field("augmented_by", pa.string())]
    known = recipe.measured()
    measures = pl.DataFrame(schema={name: known[name] for name in recipe.output.columns})
    fields += [pa.field(f.name, f.type) for f in measures.to_arrow().schema]
    return pa.schema(fields)


def write_part(
    folder: Path,
    recipe: Recipe,
    seed: int,
    number: int,
    blocks: list[Block],
    shards: tuple[Shard, ...],
    schema: pa.Schema,
) -> store.Record:
    """Write one part, its rows of `copies`, and its receipt."""
    name = part_name(number)
    plan = pl.DataFrame(scratch.load_table(plan_path(folder, number)))
    copies: list[pl.DataFrame] = []
    cut_of = cuts_of(folder)

    def tables() -> Iterator[pa.Table]:
        for _, wanted in plan.group_by("copy", maintain_order=True):
            for again in reread(wanted, recipe, seed, blocks, shards, cut_of):
                written, rows = with_copies(again, recipe)
                copies.append(rows)
                if written.wanted.height:
                    yield part_table(written, schema, recipe.output.columns, shards)

    data = folder.parents[2] / "data" / folder.name
    part = store.write_table(data / f"{name}.{ENDINGS[recipe.output.format]}", tables(), schema)
    asked = pl.concat(copies) if copies else pl.DataFrame(schema=COPIES_SCHEMA)
    files = {"data": part}
    if asked.height:
        table = asked.drop("bytes").to_arrow()
        path = folder / "copies" / f"{name}.parquet"
        files["copies"] = store.write_table(path, [table], table.schema)
    extra = asked.filter(pl.col("outcome") == "written")
    receipt = {
        "part": number,
        "files": files,
        "added": extra.height,
        "added_bytes": int(extra["bytes"].sum()),
        "asked": asked.height,
    }
    store.write_json(folder / "receipts" / f"write-{name}.json", receipt)
    return receipt


def with_copies(again: Again, recipe: Recipe) -> tuple[Again, pl.DataFrame]:
    """What is written of these documents, and their rows of `copies` (none for originals)."""
    wanted = again.wanted
    unnamed = wanted.with_columns(augmented_by=pl.lit(None, dtype=pl.String))
    plain = Again(unnamed, again.carried, again.original, again.texts)
    if wanted["copy"][0] == 0:
        return plain, pl.DataFrame(schema=COPIES_SCHEMA)
    if recipe.augment is None:
        rows = wanted.select("id", "copy", "bytes").with_columns(
            operations=pl.lit("repeat"),
            seed=wanted["key"],
            changed_share=0.0,
            similarity=1.0,
            outcome=pl.lit("written"),
        )
        return plain, rows.select(COPIES_SCHEMA.keys()).cast(COPIES_SCHEMA)  # type: ignore[arg-type]
    made = recipe.augment.augment(
        again.texts, wanted["id"].to_list(), wanted["copy"].to_numpy(), wanted["key"].to_numpy()
    )
    sizes = np.zeros(len(made.written), dtype=np.int64)
    sizes[made.written] = pc.binary_length(made.texts).to_numpy()
    rows = made.rows.with_columns(bytes=pl.Series(sizes))
    named = wanted.with_columns(augmented_by=rows["operations"]).filter(pl.Series(made.written))
    mask = pa.array(made.written)
    left = Again(named, again.carried.filter(mask), again.original.filter(mask), made.texts)
    return left, rows.select(COPIES_SCHEMA.keys()).cast(COPIES_SCHEMA)  # type: ignore[arg-type]


def part_table(
    again: Again, schema: pa.Schema, measures: tuple[str, ...], shards: Sequence[Shard] = ()
) -> pa.Table:
    """The rows of a part, in its schema; columns that a shard lacks are null."""
    own = again.wanted.select("id", "copy", "augmented_by", *measures).to_arrow()
    columns = []
    for field in schema:
        if field.name == "text":
            columns.append(again.texts)
        elif field.name in own.column_names:
            columns.append(pc.cast(own.column(field.name), field.type))
        elif field.name in again.carried.column_names:
            number = again.wanted["shard"][0]
            place = f"column {field.name!r} of {shards[number].name if shards else number}"
            columns.append(cast_column(again.carried.column(field.name), field.type, place))
        else:
            columns.append(pa.nulls(len(again.texts), field.type))
    return pa.table(columns, schema=schema)


def cast_column(
    column: pa.ChunkedArray | pa.Array, wanted: pa.DataType, place: str = "a column"
) -> pa.ChunkedArray | pa.Array:
    """The column in the type that all shards' have in common, or as text if they have none.

    Raises InputError where a value would not be the same: 9007199254740993 in a column of floats.
    """
    if _is_string(wanted) and not _is_string(column.type):
        return pc.cast(plain.as_text(column), wanted)
    exact = pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)
    try:
        if not (exact and pa.types.is_floating(wanted)):
            return pc.cast(column, wanted)
        floats = pc.cast(column, wanted, safe=False)
        if pc.all(pc.equal(pc.cast(floats, column.type), column)).as_py() is not False:
            return floats
        reason = "there is one that no float equals"
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error)
    raise InputError(
        f"{place} holds values of type {column.type} that {wanted}, the type which all shards "
        f"have in common, cannot hold: {reason}; make them one type, rename one (input.rename), "
        "or set output.on_conflict: string"
    )


def _is_string(kind: pa.DataType) -> bool:
    return kind in {pa.string(), pa.large_string(), pa.string_view()}
