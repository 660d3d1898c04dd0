"""Pass 1: read a block, normalize it, measure it. Leaves tables about documents, and no text."""

import base64
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from cleanpipe import plain, store
from cleanpipe.duplicates import cuts
from cleanpipe.duplicates.dedup import COLUMN_HASHES, Near
from cleanpipe.errors import InputError
from cleanpipe.input import jsonl, readers
from cleanpipe.input.corpus import Block, Shard, Span
from cleanpipe.input.draw import Wanted
from cleanpipe.kernels import hashing, minhash, scan
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.measures.evaluations import SHARED, SHARED_TYPE
from cleanpipe.measures.measuring import Measure
from cleanpipe.measures.poison import Poison, without
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.stats.diversity import SAMPLED

ROWS_IN_GROUP = 65_536  # measures are read by column and in whole, never a document at a time
NO_WINDOW = -1  # the kernel's word for a document shorter than one window
OWN: Mapping[str, pl.DataType] = {
    "shard": pl.UInt32(),
    "row": pl.UInt64(),
    "id": pl.String(),
    "has_id": pl.Boolean(),
    "early": pl.String(),
    "given": pl.UInt64(),
    "text_lo": pl.UInt64(),
    "text_hi": pl.UInt64(),
    "fixes": pl.UInt32(),
    **dict.fromkeys(COLUMN_HASHES, pl.UInt64()),
    SHARED: SHARED_TYPE,
    SAMPLED: pl.List(pl.UInt64),
}
"""The columns of the tables of pass 1 that are no measures."""
CHANCE_OF_COLUMNS = 0x636F6C756D6E73  # separates the hash of a column's name from that of a text


def block_name(number: int) -> str:
    """The name of a block's files."""
    return f"block-{number:06d}"


def measure_block(
    folder: Path,
    recipe: Recipe,
    seed: int,
    block: Block,
    shards: tuple[Shard, ...],
    poison: Sequence[Poison] = (),
    rows: Callable[[Span], Wanted] = lambda _: None,
) -> store.Record:
    """Measure one block and leave its measures, its quarantine and its receipt in `folder`.

    Documents named as `poison` go to quarantine unmeasured. `rows` says of a span which of its
    documents are meant; all of them, if nothing else is said.
    """
    name = block_name(block.number)
    frames: list[pl.DataFrame] = []
    quarantined: list[dict[str, Any]] = []
    schemas: dict[str, set[str]] = {shards[span.shard].name: set() for span in block.spans}
    cut = cuts.load(folder, name) if recipe.cuts else None
    for span in block.spans:
        shard = shards[span.shard]
        own = cut.filter(pl.col("shard") == shard.number) if cut is not None else None
        for read in readers.read(span, shard, recipe.input[shard.input], rows(span)):
            batch = without(read, poison, shard.name)
            frames.append(documents(batch, shard, recipe, seed, own))
            quarantined.extend(entry.to_json() for entry in batch.quarantined)
            schemas[shard.name].add(_schema_text(batch.table.schema))
    table = pl.concat(one_type(frames, recipe.measured()), how="diagonal_relaxed").to_arrow()
    files = {
        "measures": store.write_table(
            folder / "measures" / f"{name}.parquet", [table], table.schema, group=ROWS_IN_GROUP
        )
    }
    if quarantined:
        path = folder / "quarantine" / f"{name}.jsonl.zst"
        files["quarantine"] = store.write_lines(path, quarantined)
    receipt = {
        "block": block.number,
        "files": files,
        "rows": table.num_rows,
        "quarantined": len(quarantined),
        "schemas": {shard: sorted(seen) for shard, seen in schemas.items()},
    }
    store.write_json(folder / "receipts" / f"measure-{name}.json", receipt)
    return receipt


def one_type(frames: list[pl.DataFrame], measured: Collection[str]) -> list[pl.DataFrame]:
    """The frames, with columns of the input that have several types in them as text."""
    kinds: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, kind in frame.schema.items():
            if kind != pl.Null and name not in measured and name not in OWN:
                kinds.setdefault(name, set()).add(kind)
    mixed = [name for name, found in kinds.items() if len(found) > 1]
    return [
        frame.with_columns(
            pl.Series(name, plain.as_text(frame[name].to_arrow()))
            for name in mixed
            if name in frame.columns
        )
        for frame in frames
    ]


def kept_columns(recipe: Recipe) -> tuple[str, ...]:
    """The columns of the input that the tables of pass 1 have, where a shard has them."""
    return tuple(dict.fromkeys((*recipe.decision_columns(), "source")))


def documents(
    batch: readers.Batch,
    shard: Shard,
    recipe: Recipe,
    seed: int,
    cut: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One row a document of the batch, in the order of rows, quarantined ones among them.

    `cut` says what is cut from the shard's documents, where the recipe has cuts.
    """
    missing = pc.is_null(batch.texts)
    normalized = recipe.normalize.apply(pc.fill_null(batch.texts, ""))
    texts = normalized.texts if cut is None else cuts.remove(normalized.texts, batch.rows, cut)
    near = recipe.dedup.near if recipe.dedup else None
    measured = measures(texts, near, seed, recipe.measure)
    if recipe.cuts is not None:
        measured = measured.hstack(cuts.measures(normalized.texts, texts))
    low, high = hashing.hash_texts(*text_buffers(texts), np.uint64(seed))
    ids, has_id = _ids(batch, shard, recipe.input[shard.input].id)
    if recipe.measure.evaluations is not None:
        found = recipe.measure.evaluations.shared(texts, recipe.normalize, seed)
        measured = measured.hstack(found)
    frame = pl.DataFrame(
        {
            "shard": np.full(len(missing), shard.number, dtype=np.uint32),
            "row": batch.rows,
            "id": ids,
            "has_id": has_id,
            "early": pl.Series(missing).replace_strict({True: "null_text", False: None}),
            "given": given_hash(batch.table, seed),
            "text_lo": low,
            "text_hi": high,
            "fixes": normalized.fixes,
            "removed_word_frac": normalized.removed_word_frac,
        },
        schema_overrides={"early": pl.String},
    )
    if (by := recipe.dedup and recipe.dedup.column) and by.name in batch.table.column_names:
        values = pl.Series(plain.as_text(batch.table.column(by.name)))
        frame = frame.hstack(by.hashes(values, seed))
    blank = (pl.col("bytes") == 0) | (pl.col("space_char_frac") == 1.0)
    early = (
        pl.when(pl.col("early").is_not_null())
        .then(pl.col("early"))
        .when(pl.Series(normalized.unsettled))
        .then(pl.lit("unsettled"))
        .when(blank & (pl.col("cut_bytes") > 0 if recipe.cuts else pl.lit(value=False)))
        .then(pl.lit("nothing_left"))
        .when(blank)
        .then(pl.lit("empty"))
        .alias("early")
    )
    kept = [name for name in kept_columns(recipe) if name in batch.table.column_names]
    columns = pl.DataFrame(batch.table.select(kept)) if kept else pl.DataFrame()
    frame = pl.concat([frame, measured, columns], how="horizontal").with_columns(early)
    if batch.quarantined:
        rows = [entry.row for entry in batch.quarantined]
        lost = pl.DataFrame(
            {
                "shard": pl.Series([shard.number] * len(rows), dtype=pl.UInt32),
                "row": pl.Series(rows, dtype=pl.UInt64),
                "id": [f"{shard.name}:{row}" for row in rows],
                "early": [f"quarantined:{entry.reason}" for entry in batch.quarantined],
            }
        )
        frame = pl.concat([frame, lost], how="diagonal").sort("row", maintain_order=True)
    return frame


def measures(
    texts: pa.LargeStringArray, near: Near | None, seed: int, wanted: Measure
) -> pl.DataFrame:
    """The measures of each text, and its MinHash bands as columns band_00, band_01, ..."""
    offsets, data = text_buffers(texts)
    permutations = minhash.permutations(near.num_perm if near else 0, seed)
    if near and near.shingle == "chars":
        signatures = minhash.text_signatures(offsets, data, near.ngram, True, *permutations)
        counts, _, ngrams = scan.scan(offsets, data, 1, *minhash.permutations(0, seed))
    else:
        length = near.ngram if near else 1
        counts, signatures, ngrams = scan.scan(offsets, data, length, *permutations)
    tokens = wanted.tokens(texts, counts)
    raw = pl.DataFrame(counts, schema=list(scan.COUNTS), orient="row")
    fractions = [
        pl.when(pl.col(below) > 0).then(pl.col(above) / pl.col(below)).otherwise(0.0).alias(name)
        for name, above, below in scan.DERIVED
    ]
    scaled = [
        pl.when(pl.col(name) != NO_WINDOW).then(pl.col(name) / unit).alias(name)
        for name, unit in scan.SCALED.items()
    ]
    frame = raw.select(*scan.INTEGERS, *fractions, *scaled)
    frame = frame.hstack([*tokens, *wanted.columns(texts), _sampled(*ngrams)])
    if near:
        bands, rows = near.bands_and_rows()
        hashes = minhash.band_hashes(signatures, bands, rows, np.uint64(seed))
        frame = frame.hstack([pl.Series(band_name(i), hashes[:, i]) for i in range(bands)])
    return frame


def _sampled(places: npt.NDArray[np.int64], hashes: npt.NDArray[np.uint64]) -> pl.Series:
    lists = pa.LargeListArray.from_arrays(pa.array(places), pa.array(hashes))
    return pl.Series(SAMPLED, lists)


def band_name(number: int) -> str:
    """The column of a band's hashes."""
    return f"band_{number:02d}"


def measure(texts: Iterable[str], *, tokenizer: str | None = None) -> pl.DataFrame:
    """Every measure of each text as it is, language too, one row a text: docs/measures.md.

    `tokenizer` is the path of a tokenizer.json; then `tokens` is among them.

    >>> measure(["To be, or not to be, that is the question."])["words", "stop_words"].row(0)
    (10, 4)
    """
    array = _large(texts)
    return measures(array, None, 0, Measure(tokenizer=tokenizer)).drop(SAMPLED)


def given_hash(table: pa.Table, seed: int) -> npt.NDArray[np.uint64]:
    """A hash of all that came with a document beside its text: its id and its other columns.

    Ties between equal texts and every draw by chance go by it, so that they depend on the
    document and not on the file or the row in which it stands. A null adds nothing: a column
    that one file lacks and another leaves empty is the same.
    """
    total = np.zeros(table.num_rows, dtype=np.uint64)
    for name in sorted(table.column_names):
        texts = plain.as_text(table.column(name))
        values = pc.fill_null(texts, "")
        low, _ = hashing.hash_texts(*text_buffers(values), np.uint64(seed))
        label = hashing.hash_texts(
            *text_buffers(pa.array([name], type=pa.large_string())), np.uint64(CHANCE_OF_COLUMNS)
        )[0]
        present = texts.is_valid().to_numpy(zero_copy_only=False)
        # addition commutes: the order of columns does not matter
        total += np.where(present, hashing.mix_arrays(low, np.broadcast_to(label, low.shape)), 0)
    return total


def _as_text(column: pa.ChunkedArray) -> pa.LargeStringArray:
    return pc.fill_null(plain.as_text(column), "")


def _large(texts: Iterable[str]) -> pa.LargeStringArray:
    """Texts as the kernels take them; a Polars column without an object a text."""
    if isinstance(texts, pl.Series):
        column = texts.cast(pl.String).to_arrow(compat_level=pl.CompatLevel.oldest())
        return column.cast(pa.large_string())
    given = list(texts)
    try:
        return pa.array(given, type=pa.large_string())
    except UnicodeEncodeError:
        plain.refuse_lone_surrogates(given)
        raise


def signatures(
    texts: Iterable[str],
    *,
    num_perm: int = 128,
    ngram: int = 5,
    shingle: Literal["words", "chars"] = "words",
    seed: int = 1,
) -> npt.NDArray[np.uint32]:
    """MinHash signatures of texts, (n, num_perm), over shingles of folded words or characters.

    They equal datasketch's (`scheme="affine32"`) over `cleanpipe.shingle_hash` of each shingle.

    >>> signatures(["To be, or not to be", "to be or NOT to be!"]).shape
    (2, 128)
    >>> one, two = signatures(["To be, or not to be", "to be or NOT to be!"])
    >>> bool((one == two).all())
    True
    """
    array = _large(texts)
    permutations = minhash.permutations(num_perm, seed)
    characters = shingle == "chars"
    found: npt.NDArray[np.uint32] = minhash.text_signatures(
        *text_buffers(array), ngram, characters, *permutations
    )
    return found


def _ids(batch: readers.Batch, shard: Shard, column: str | None) -> tuple[pl.Series, pl.Series]:
    """The documents' ids, and whether they were given or are places."""
    places = pl.Series(batch.rows).cast(pl.String)
    default = pl.select(pl.lit(f"{shard.name}:") + places).to_series()
    column = column or "id"
    if column not in batch.table.column_names:
        return default, pl.repeat(value=False, n=len(default), eager=True)
    given = pl.Series(_as_text(batch.table.column(column)))
    has_id = given != ""
    return pl.select(pl.when(has_id).then(given).otherwise(default)).to_series(), has_id


def _schema_text(schema: pa.Schema) -> str:
    plain = pa.schema([pa.field(field.name, field.type) for field in schema])
    return base64.b64encode(plain.serialize().to_pybytes()).decode()


def carried_schema(
    receipts: Iterable[store.Record], on_conflict: str, json_shards: Collection[str] = ()
) -> pa.Schema:
    """One schema for all columns that documents carry: numbers widen, null gives way.

    Where only shards of JSON lines (`json_shards`, their names) have a column, types without a
    common one make it text: JSON declares none. Where a declared type takes part, they are an
    InputError, or text where the recipe says `on_conflict: string`; then two types are also in
    conflict if the common one cannot hold every value of both: no value is looked at again.
    """
    guessed: dict[str, dict[pa.DataType, str]] = {}
    declared: dict[str, dict[pa.DataType, str]] = {}
    for receipt in receipts:
        for shard, seen in receipt["schemas"].items():
            kinds = guessed if shard in json_shards else declared
            for text in seen:
                for field in pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text))):
                    kinds.setdefault(field.name, {}).setdefault(field.type, shard)
    fields = []
    for name in sorted(guessed.keys() | declared.keys()):
        known = declared.get(name, {})
        if name in guessed:
            kind = jsonl.settled(guessed[name])
            known.setdefault(kind, guessed[name].get(kind, next(iter(guessed[name].values()))))
        fields.append(pa.field(name, _common(name, known, on_conflict)))
    return pa.schema(fields)


def _common(name: str, kinds: dict[pa.DataType, str], on_conflict: str) -> pa.DataType:
    """The type of a column of these types, each with a shard that has it.

    They are widened in an order of their own: the shards' must not matter.
    """
    ordered = sorted(kinds, key=str)
    common = plain.common_type(ordered)
    if on_conflict == "string":
        fits = common is not None and all(plain.always_fits(kind, common) for kind in ordered)
        return common if fits else pa.large_string()
    if common is not None:
        return common
    pairs = [(a, b) for a, b in combinations(ordered, 2) if plain.common_type([a, b]) is None]
    one, other = pairs[0] if pairs else (ordered[0], ordered[-1])
    raise InputError(
        f"column {name!r} is {one} in {kinds[one]} and {other} in {kinds[other]}; "
        "make them one type, rename one (input.rename), or set output.on_conflict: string"
    )
