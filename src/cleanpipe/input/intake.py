"""The input's shards and columns, before anything is measured: what cannot be, fails at once."""

import base64
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from cleanpipe.errors import InputError
from cleanpipe.input import corpus, readers
from cleanpipe.input.corpus import Shard, Span
from cleanpipe.input.places import canonical
from cleanpipe.measures.measure import OWN
from cleanpipe.nearest import did_you_mean
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.store import Record

LOOK_INTO = 20  # shards without a document are skipped, but not a million of them
SUSPICIOUS = 20  # documents without a text, and none with one: the column has another name
OURS = ("copy", "augmented_by", "text")


def find_shards(recipe: Recipe) -> tuple[Shard, ...]:
    """The shards that are not the output's own files: an output may lie below its input.

    Errors: InputError where nothing is left.
    """
    inside = Path(recipe.output.path).resolve()
    shards = corpus.find_shards(recipe.input)
    found = [s for s in shards if not Path(canonical(s.path)).is_relative_to(inside)]
    if not found:
        raise InputError(
            f"all files of the input, {shards[0].path} among them, lie in the output folder "
            f"{recipe.output.path}, whose files are no input: choose another --output"
        )
    return tuple(dataclasses.replace(shard, number=n) for n, shard in enumerate(found))


def first_schema(
    recipe: Recipe, number: int, spans: Sequence[Span], shards: Sequence[Shard]
) -> tuple[Shard, pa.Schema] | None:
    """The carried columns of an input's first documents; None where the first shards hold none.

    Errors: RecipeError where none of many documents has a text in the column that is named.
    """
    given = recipe.input[number]
    for span in spans[:LOOK_INTO]:
        shard = shards[span.shard]
        batch = next(readers.read(span, shard, given))
        if len(batch.texts):
            if batch.texts.null_count == len(batch.texts) >= SUSPICIOUS:
                columns = batch.table.column_names
                what = (
                    f"none of the first {len(batch.texts):,} documents of {shard.name} has a text "
                    f"in {given.text!r}{did_you_mean(given.text, columns)}; "
                    f"their columns are {', '.join(columns)}: name the right one"
                )
                recipe.refuse([(_option(recipe, number, "text"), what)])
            return shard, batch.table.schema
    return None


def _option(recipe: Recipe, number: int, option: str) -> str:
    """An option of an input; an only one needs no number."""
    return f"input.{option}" if len(recipe.input) == 1 else f"input.{number}.{option}"


def check_names(recipe: Recipe, number: int, shard: Shard, schema: pa.Schema) -> None:
    """Refuse columns whose names the output needs; RecipeError says which option renames them."""
    given = recipe.input[number].id
    for name in schema.names:
        if name in OURS or (name == "id" and given not in {None, "id"}):
            what = f"{shard.name} has a column {name!r}, a name that the output needs"
            what += f"; rename it ({_renamed(name)})"
            recipe.refuse([(_option(recipe, number, "rename"), what)])


def check_id(recipe: Recipe, number: int, shard: Shard, schema: pa.Schema) -> None:
    """Refuse an id column that the first documents do not have."""
    given = recipe.input[number].id
    if given is not None and given not in schema.names:
        what = (
            f"{shard.name} has no column {given!r}{did_you_mean(given, schema.names)}; its columns "
            f"are {', '.join(schema.names) or 'none but the text'}"
        )
        recipe.refuse([(_option(recipe, number, "id"), what)])


def check_all(
    recipe: Recipe, shards: Sequence[Shard], receipts: Sequence[Record], carried: pa.Schema
) -> None:
    """What the first documents did not show: columns that only later shards or rows bring."""
    by_name = {shard.name: shard for shard in shards}
    for receipt in receipts:
        for name, texts in receipt["schemas"].items():
            for text in texts:
                schema = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text)))
                check_names(recipe, by_name[name].input, by_name[name], schema)
    if len(carried):
        check_columns(recipe, [carried])


def check_columns(recipe: Recipe, schemas: Iterable[pa.Schema]) -> None:
    """Refuse options that ask for a column which neither the input nor a measure can give them.

    Errors: RecipeError, with all that is wrong, each with its place.
    """
    known: dict[str, pl.DataType] = {}
    for schema in schemas:
        empty = pl.DataFrame(schema.empty_table()) if len(schema) else pl.DataFrame()
        known |= dict(empty.schema)
    recipe.check_columns(known)
    recipe.refuse(_unusable(recipe, known))


def _unusable(recipe: Recipe, columns: Mapping[str, pl.DataType]) -> Iterator[tuple[str, str]]:
    """(option, why) of columns that are there, and that the option cannot have."""
    for option, name in recipe.asks():
        if name in OWN or name.startswith("band_"):
            what = f"{name!r} is a name of our own tables and cannot decide anything"
            yield option, f"{what}; rename the input's column ({_renamed(name)})"
        elif name in columns and columns[name].is_nested():
            yield option, f"column {name!r} holds {columns[name]}: no rule can go by it"
    for name in recipe.output.columns:
        if name in columns:
            what = f"{name!r} is a column of the input, too"
            yield "output.columns", f"{what}; rename that one ({_renamed(name)})"


def _renamed(name: str) -> str:
    return f"input.rename: {{{name}: input_{name}}}"
