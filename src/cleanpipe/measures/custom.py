"""Measures by a user's own function: clean texts in, named columns out, by installed package only.

A function is named `package:function`. It gets a `pyarrow.LargeStringArray` of clean texts and
gives a pyarrow Table or RecordBatch, or a Polars frame, with a row for each text and columns of
numbers, Booleans or strings. It must give the same columns for no texts at all: that is how they
are known before a run. It may see the texts in batches of any size and order, so a row may depend
on its own text only.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl
import pyarrow as pa

from cleanpipe.errors import RecipeError

Function = Callable[[pa.LargeStringArray], Any]


@functools.cache
def function(name: str) -> Function:
    """The function of a `package:function`.

    Errors: RecipeError if there is none, or if its module is no part of an installed package: a
    file that happens to lie in the current folder must not run.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise RecipeError(f"measure.custom: {name!r}: expected package:function")
    _distribution(name)
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"measure.custom: {name!r} cannot be imported: {error}") from None
    if not callable(found):
        raise RecipeError(f"measure.custom: {name!r} is no function")
    return found  # type: ignore[no-any-return]


def _distribution(name: str) -> str:
    """The installed package that the module would be imported from; nothing is imported yet."""
    package = name.partition(":")[0].partition(".")[0]
    installed = importlib.metadata.packages_distributions().get(package, [])
    if not installed:
        raise RecipeError(
            f"measure.custom: {name!r}: no installed package has a module {package!r}; install it "
            "into the environment of cleanpipe (pip install)"
        )
    spec = importlib.util.find_spec(package)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    origin = Path(next(place for place in places if place)).resolve() if places else Path()
    for known in installed:
        if any(origin.is_relative_to(root) for root in _roots(known)):
            return known
    raise RecipeError(
        f"measure.custom: {name!r}: {package!r} would be imported from {origin}, which is not "
        f"where {installed[0]} is installed; rename or remove that file"
    )


def _roots(distribution: str) -> list[Path]:
    """The folders that hold an installed package's modules; of an editable one its project's."""
    known = importlib.metadata.distribution(distribution)
    roots = [Path(str(known.locate_file(""))).resolve()]
    origin = known.read_text("direct_url.json")
    about = json.loads(origin) if origin else {}
    if about.get("dir_info", {}).get("editable"):
        roots.append(Path(unquote(urlsplit(about["url"]).path)).resolve())
    return roots


@functools.cache
def identity(name: str) -> dict[str, str]:
    """What decides whether the function is the same: package, version, and its module's source."""
    package = _distribution(name)
    module = importlib.import_module(name.partition(":")[0])
    content = Path(module.__file__).read_bytes() if module.__file__ else b""
    return {
        "package": package,
        "version": importlib.metadata.version(package),
        "source": hashlib.sha256(content).hexdigest(),
    }


@functools.cache
def schema(name: str) -> dict[str, pl.DataType]:
    """The columns that a function gives, by calling it with no texts."""
    return dict(_called(name, pa.array([], pa.large_string())).schema)


def columns(name: str, texts: pa.LargeStringArray) -> pl.DataFrame:
    """The function's columns for some texts; numbers as 64 bits, null where they are not finite.

    Errors: RecipeError if it raises, or gives anything but a row a text of its plain columns.
    """
    found, wanted = _called(name, texts), schema(name)
    if dict(found.schema) != wanted:
        raise RecipeError(
            f"measure.custom: {name} gave {_shown(found.schema)} for {len(texts)} texts and "
            f"{_shown(wanted)} for none: expected the same columns for any texts; name their types"
        )
    return found


def _called(name: str, texts: pa.LargeStringArray) -> pl.DataFrame:
    try:
        given = function(name)(texts)
        if isinstance(given, pa.Table | pa.RecordBatch):
            given = pl.DataFrame(given)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise RecipeError(f"measure.custom: {name} failed on {len(texts)} texts: {what}") from error
    if not isinstance(given, pl.DataFrame):
        raise RecipeError(
            f"measure.custom: {name} gave {type(given).__name__}: expected a pyarrow Table or a "
            "Polars DataFrame"
        )
    if not given.width:
        raise RecipeError(f"measure.custom: {name} gave no columns for {len(texts)} texts")
    if given.height != len(texts):
        raise RecipeError(
            f"measure.custom: {name} gave {given.height} rows for {len(texts)} texts: expected one "
            "a text"
        )
    return given.select(_plain(name, given[column]) for column in given.columns)


def _shown(columns: Mapping[str, pl.DataType]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in columns.items())


def _plain(name: str, column: pl.Series) -> pl.Series:
    if column.dtype.is_integer() and column.dtype not in {pl.UInt64, pl.UInt128, pl.Int128}:
        return column.cast(pl.Int64)
    if column.dtype.is_float():
        number = column.cast(pl.Float64)
        return number.set(~number.is_finite(), None)
    if column.dtype in (pl.Boolean, pl.String):
        return column
    raise RecipeError(
        f"measure.custom: {name} gave {column.name!r} as {column.dtype}: expected numbers of up to "
        "64 bits, Booleans or strings, of the same type for no texts"
    )
