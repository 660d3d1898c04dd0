"""The input's columns, looked at before anything is measured: what cannot be, fails at once."""

import base64
from collections.abc import Iterable, Sequence

import polars as pl
import pyarrow as pa

from cleanpipe import readers
from cleanpipe.corpus import Input, Shard, Span
from cleanpipe.errors import RecipeError
from cleanpipe.measure import OWN
from cleanpipe.recipe import Recipe
from cleanpipe.store import Record

LOOK_INTO = 20  # shards without a document are skipped, but not a million of them
SUSPICIOUS = 20  # documents without a text, and none with one: the column has another name
OURS = ("copy", "augmented_by", "text")


def first_schema(
    spans: Sequence[Span], shards: Sequence[Shard], given: Input
) -> tuple[Shard, pa.Schema] | None:
    """The carried columns of an input's first documents; None where the first shards hold none."""
    for span in spans[:LOOK_INTO]:
        shard = shards[span.shard]
        batch = next(readers.read(span, shard, given))
        if len(batch.texts):
            if batch.texts.null_count == len(batch.texts) >= SUSPICIOUS:
                raise RecipeError(
                    f"none of the first {len(batch.texts):,} documents of {shard.name} has a text "
                    f"in {given.text!r}; their columns are {', '.join(batch.table.column_names)}: "
                    "name the right one (input.text)"
                )
            return shard, batch.table.schema
    return None


def check_names(given: Input, shard: Shard, schema: pa.Schema) -> None:
    """Refuse columns whose names the output needs; RecipeError says which option renames them."""
    for name in schema.names:
        if name in OURS or (name == "id" and given.id not in {None, "id"}):
            raise RecipeError(
                f"{shard.name} has a column {name!r}, a name that the output needs; rename it "
                f"(input.rename: {{{name}: input_{name}}})"
            )


def check_id(given: Input, shard: Shard, schema: pa.Schema) -> None:
    """Refuse an id column that the first documents do not have."""
    if given.id is not None and given.id not in schema.names:
        raise RecipeError(
            f"input.id is {given.id!r}, but {shard.name} has no such column; its columns are "
            f"{', '.join(schema.names) or 'none but the text'}"
        )


def check_all(
    recipe: Recipe, shards: Sequence[Shard], receipts: Sequence[Record], carried: pa.Schema
) -> None:
    """What the first documents did not show: columns that only later shards or rows bring."""
    by_name = {shard.name: shard for shard in shards}
    for receipt in receipts:
        for name, texts in receipt["schemas"].items():
            for text in texts:
                schema = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text)))
                check_names(recipe.input[by_name[name].input], by_name[name], schema)
    if len(carried):
        check_columns(recipe, [carried])


def check_columns(recipe: Recipe, schemas: Iterable[pa.Schema]) -> None:
    """Refuse decisions that ask for a column which neither the input nor a measure gives."""
    known: dict[str, pl.DataType] = {}
    for schema in schemas:
        empty = pl.DataFrame(schema.empty_table()) if len(schema) else pl.DataFrame()
        known |= dict(empty.schema)
    recipe.check_columns(known)
    internal = [n for n in recipe.decision_columns() if n in OWN or n.startswith("band_")]
    nested = [n for n in recipe.decision_columns() if n in known and known[n].is_nested()]
    if internal:
        raise RecipeError(
            f"{internal[0]!r} is a name of our own tables and cannot decide anything; rename the "
            f"input's column (input.rename: {{{internal[0]}: input_{internal[0]}}})"
        )
    if nested:
        raise RecipeError(f"column {nested[0]!r} holds {known[nested[0]]}: no rule can go by it")
    taken = [name for name in recipe.output.columns if name in known]
    if taken:
        raise RecipeError(
            f"output.columns: {taken[0]!r} is a column of the input, too; rename that one "
            f"(input.rename: {{{taken[0]}: input_{taken[0]}}})"
        )
