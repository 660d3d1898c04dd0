"""The input's columns, looked at before anything is measured: what cannot be, fails at once."""

from collections.abc import Iterable, Sequence

import polars as pl
import pyarrow as pa

from cleanpipe import readers
from cleanpipe.corpus import Input, Shard, Span
from cleanpipe.errors import RecipeError
from cleanpipe.recipe import Recipe

LOOK_INTO = 20  # shards without a document are skipped, but not a million of them
OURS = ("copy", "augmented_by", "text")


def first_schema(
    spans: Sequence[Span], shards: Sequence[Shard], given: Input
) -> tuple[Shard, pa.Schema] | None:
    """The carried columns of an input's first documents; None where the first shards hold none."""
    for span in spans[:LOOK_INTO]:
        batch = next(readers.read(span, shards[span.shard], given))
        if len(batch.texts):
            return shards[span.shard], batch.table.schema
    return None


def check_names(given: Input, shard: Shard, schema: pa.Schema) -> None:
    """Refuse columns whose names the output needs; RecipeError says which option renames them."""
    for name in schema.names:
        if name in OURS or (name == "id" and given.id not in {None, "id"}):
            raise RecipeError(
                f"{shard.name} has a column {name!r}, a name that the output needs; rename it "
                f"(input.rename: {{{name}: input_{name}}})"
            )
    if given.id is not None and given.id not in schema.names:
        raise RecipeError(
            f"input.id is {given.id!r}, but {shard.name} has no such column; its columns are "
            f"{', '.join(schema.names) or 'none but the text'}"
        )


def check_columns(recipe: Recipe, schemas: Iterable[pa.Schema]) -> None:
    """Refuse decisions that ask for a column which neither the input nor a measure gives."""
    known: dict[str, pl.DataType] = {}
    for schema in schemas:
        empty = pl.DataFrame(schema.empty_table()) if len(schema) else pl.DataFrame()
        known |= dict(empty.schema)
    recipe.check_columns(known)
    taken = [name for name in recipe.output.columns if name in known]
    if taken:
        raise RecipeError(
            f"output.columns: {taken[0]!r} is a column of the input, too; rename that one "
            f"(input.rename: {{{taken[0]}: input_{taken[0]}}})"
        )
