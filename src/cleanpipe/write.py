"""Pass 2: read the kept documents again, augment the extra copies, write the parts."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from cleanpipe import plain, scratch, store
from cleanpipe.errors import InputError
from cleanpipe.input.corpus import Block, Shard
from cleanpipe.input.reread import Again, cuts_of, reread
from cleanpipe.measures.measure import measures
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.rules.filter import OF_CUTS, OF_EVALUATIONS

ENDINGS = {"parquet": "parquet", "arrow": "arrow", "jsonl": "jsonl.zst"}
COPIES_SCHEMA = {
    "id": pl.String,
    "shard": pl.UInt32,
    "row": pl.UInt64,
    "copy": pl.Int32,
    "operations": pl.String,
    "seed": pl.UInt64,
    "changed_share": pl.Float64,
    "similarity": pl.Float64,
    "outcome": pl.String,
    "reason": pl.String,
    "bytes": pl.Int64,
}
INHERITED = {"removed_word_frac", *OF_EVALUATIONS, *OF_CUTS}
"""Measures that no text has by itself: a copy has its parent's."""


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
                written, rows = with_copies(again, recipe, seed, schema)
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
    extra = asked.filter(pl.col("copy") > 0)
    written = extra.filter(pl.col("outcome") == "written")
    receipt = {
        "part": number,
        "files": files,
        "added": written.height,
        "added_bytes": int(written["bytes"].sum()),
        "asked": extra.height,
        "operations": _operations(asked),
    }
    store.write_json(folder / "receipts" / f"write-{name}.json", receipt)
    return receipt


def _operations(asked: pl.DataFrame) -> list[store.Record]:
    """How many copies each operation made, of originals too, and why the others were left out."""
    changed = (pl.col("changed_share") * 1_000_000).round().cast(pl.Int64).sum()
    keys = ("operations", "outcome", "reason")
    sums = (pl.len().alias("copies"), pl.col("bytes").sum(), changed.alias("changed_millionths"))
    return asked.group_by(keys).agg(*sums).sort(keys, nulls_last=True).to_dicts()


def with_copies(
    again: Again, recipe: Recipe, seed: int, schema: pa.Schema
) -> tuple[Again, pl.DataFrame]:
    """What is written of these documents, and their rows of `copies` (none for plain originals)."""
    wanted = again.wanted
    unnamed = wanted.with_columns(augmented_by=pl.lit(None, dtype=pl.String))
    plain = Again(unnamed, again.carried, again.original, again.texts)
    nothing = pl.DataFrame(schema=COPIES_SCHEMA)
    is_original = wanted["copy"][0] == 0
    if recipe.augment is None:
        return plain, nothing if is_original else _repeats(wanted)
    if not is_original:
        chosen = np.arange(wanted.height)
    else:
        chosen = np.flatnonzero(recipe.augment.takes_original(wanted["key"].to_numpy()))
        if recipe.augment.held_out is not None and len(chosen):
            (held_out,) = _carried(again, (recipe.augment.held_out,), schema)
            chosen = chosen[~held_out[chosen].fill_null(value=False).to_numpy()]
        if not len(chosen):
            return plain, nothing
    asked = wanted[chosen]
    made = recipe.augment.augment(
        again.texts.take(pa.array(chosen)),
        asked["id"].to_list(),
        asked["copy"].to_numpy(),
        asked["key"].to_numpy(),
        lambda texts, rows: _rules_failed(texts, again, chosen[rows], recipe, seed, schema),
    )
    sizes = np.zeros(len(made.written), dtype=np.int64)
    sizes[made.written] = pc.binary_length(made.texts).to_numpy()
    rows = made.rows.with_columns(asked["shard", "row"], bytes=pl.Series(sizes))
    rows = rows.select(COPIES_SCHEMA.keys()).cast(COPIES_SCHEMA)  # type: ignore[arg-type]
    names = np.full(wanted.height, None, dtype=object)
    names[chosen] = rows["operations"].to_numpy()
    named = wanted.with_columns(augmented_by=pl.Series(names.tolist(), dtype=pl.String))
    is_made = np.zeros(wanted.height, dtype=np.bool_)
    is_made[chosen[made.written]] = True
    texts = pc.replace_with_mask(again.texts, pa.array(is_made), made.texts)
    if is_original:
        return Again(named, again.carried, again.original, texts), rows
    mask = pa.array(is_made)
    left = named.filter(pl.Series(is_made)), again.carried.filter(mask), again.original.filter(mask)
    return Again(*left, texts.filter(mask)), rows


def _repeats(wanted: pl.DataFrame) -> pl.DataFrame:
    """The rows of copies that equal their originals, where nothing augments them."""
    rows = wanted.select("id", "shard", "row", "copy", "bytes").with_columns(
        operations=pl.lit("repeat"),
        seed=wanted["key"],
        changed_share=0.0,
        similarity=1.0,
        outcome=pl.lit("written"),
        reason=None,
    )
    return rows.select(COPIES_SCHEMA.keys()).cast(COPIES_SCHEMA)  # type: ignore[arg-type]


def inherited(recipe: Recipe) -> tuple[str, ...]:
    """What the filter asks of a copy and only its parent can answer."""
    if recipe.augment is None:
        return ()
    return tuple(name for name in recipe.filter.columns() if name in INHERITED)


def _carried(again: Again, names: Iterable[str], schema: pa.Schema) -> list[pl.Series]:
    """Columns of the input in the output's type; null throughout where the shard lacks one."""
    columns: list[pl.Series] = []
    for name in names:
        kind = schema.field(name).type if name in schema.names else pa.null()
        if name in again.carried.column_names:
            column = cast_column(again.carried.column(name), kind, f"column {name!r}")
        else:
            column = pa.nulls(len(again.texts), kind)
        columns.append(pl.Series(name, column))
    return columns


def _rules_failed(
    texts: pa.LargeStringArray,
    again: Again,
    rows: npt.NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    schema: pa.Schema,
) -> list[str | None]:
    """The first rule of the filter that each copy fails; `rows` are its parents' places."""
    names = recipe.filter.columns()
    if not names:
        return [None] * len(texts)
    measured = measures(texts, None, seed, recipe.measure)
    own = [name for name in names if name in measured.columns]
    parents = [name for name in inherited(recipe) if name in again.wanted.columns]
    others = [name for name in names if name not in {*own, *parents, "id"}]
    inputs = again.wanted.select("id", *parents).with_columns(_carried(again, others, schema))
    table = inputs[rows].hstack(measured.select(own))
    failed = recipe.filter.failures(table)
    first = pl.coalesce(
        pl.when(pl.col(name)).then(pl.lit(name)).otherwise(None) for name in failed.columns
    )
    return failed.select(first).to_series().to_list()


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
