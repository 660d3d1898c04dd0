"""Evaluation sets that the user gives, and what of them the documents hold.

A word of an example is seen by a document if both share a run of `ngram` words that holds it. So a
document is measured from two sides: how much of it is an evaluation's text, and how much of one
example stands in it, which is what harms an evaluation. The second is what Tulu 3 goes by: runs of
8 words, more than half of an example's words seen by one document (Lambert et al. 2024, arXiv
2411.15124, 3.2). GPT-3 went by runs of 8 to 13 words (Brown et al. 2020, arXiv 2005.14165,
appendix C).
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from cleanpipe import plain
from cleanpipe.errors import CleanpipeError, InputError
from cleanpipe.input import corpus, readers
from cleanpipe.kernels import overlap
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.jaccard import secret_key
from cleanpipe.rules.filter import OF_EVALUATIONS
from cleanpipe.store import Record, file_hash
from cleanpipe.text.line_rules import Lines
from cleanpipe.text.normalize import Normalize

MEASURES: Mapping[str, pl.DataType] = {
    name: pl.Int64() if name.endswith("_words") else pl.Float64() for name in OF_EVALUATIONS
}
"""The measures that evaluation sets give, and their types."""
FEWEST_WORDS = 8
"""An example of fewer words is not looked for: too many documents hold such words by chance. It is
the smallest run that GPT-3 looked for (appendix C)."""
TEMPLATE_EXAMPLES = 10
TEMPLATE_SHARE = 100
"""A run of words in more than 10 examples of a set, and in more than one in 100, is the set's
template ("Answer the following question ..."). It is not looked for, and its words do not count as
an example's own: what is seen of an example is seen of its other words."""

SHARED = "shared"
"""The column of the examples that a document shares words with, the most covered one first."""
_FIELDS = {
    "set": pl.String,
    "example": pl.UInt32,
    "id": pl.String,
    "seen": pl.Int32,
    "of": pl.Int32,
}
SHARED_TYPE = pl.List(pl.Struct(_FIELDS))

Ends = npt.NDArray[np.int64]


class EvaluationSet(BaseModel):
    """Where the examples of an evaluation are."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    path: Annotated[str, Field(min_length=1)]
    """A file, a folder or a pattern, from the recipe's folder, in any format that is read:
    Parquet, Arrow, JSON lines, CSV, TSV; of a .txt file each line is an example."""
    text: Annotated[str, Field(min_length=1)] = "text"
    """The column that holds what is looked for: the question, or the question with its answer."""
    id: str | None = None
    """The column that names an example in the books; left out, it is `id`, or else its place."""


def _with_path(given: object) -> object:
    return {"path": given} if isinstance(given, str) else given


Given = Annotated[
    EvaluationSet, BeforeValidator(_with_path, json_schema_input_type=str | EvaluationSet)
]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Examples(NamedTuple):
    """All examples of the sets, and the table that finds runs of their words."""

    table: overlap.Table
    known: pl.DataFrame
    """A row an example: set, example (its number in the set), id, words, and `of`, those that
    count: 0 where it is not looked for."""


class Runs(NamedTuple):
    """The runs of one set's examples that are looked for, and what of each example counts."""

    hashes: npt.NDArray[np.uint64]
    owner: Ends
    """The example of each run."""
    at: Ends
    """The first word of each run in its example."""
    words: npt.NDArray[np.int32]
    """Of each example."""
    of: npt.NDArray[np.int32]
    """The words of each example that count: in no template, and 0 of one that is too short."""
    counted: npt.NDArray[np.int32]
    """How many words of all examples before each one stand in no template."""


class Evaluations(BaseModel):
    """Evaluation sets, and how their examples are looked for in the documents."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sets: Annotated[Mapping[Name, Given], Field(min_length=1)]
    """The sets by name: each the path of a file, or a mapping of path, text and id."""
    ngram: Annotated[int, Field(ge=2, le=50)] = 8
    """The words of a run that must be equal, but for case and punctuation. Larger ones miss
    examples with a changed word every few words; smaller ones find phrases that are everyone's. An
    example with fewer words, but at least 8, is looked for in whole."""

    def shared(self, texts: pa.LargeStringArray, normalize: Normalize, seed: int) -> pl.DataFrame:
        """The measures of evaluations, and the column `shared`, a row a text."""
        examples = self._examples(normalize, seed)
        words, inside, ends, found, seen = overlap.shared(
            *text_buffers(texts), examples.table, *secret_key(seed)
        )
        rows = examples.known[found].select("set", "example", "id", "of")
        rows = rows.with_columns(seen=pl.Series(seen), document=_owners(ends))
        share = (pl.col("seen") / pl.col("of")).alias("share")
        ordered = rows.select("document", *_FIELDS, share).sort(
            "document", "share", descending=[False, True], maintain_order=True
        )
        best = np.zeros(len(texts))
        best[np.diff(ends) > 0] = ordered["share"].to_numpy()[ends[:-1][np.diff(ends) > 0]]
        structs = ordered.select(pl.struct(*_FIELDS)).to_series()
        lists = pa.LargeListArray.from_arrays(pa.array(ends), structs.to_arrow())
        return pl.DataFrame(
            {
                "contaminated_words": inside.astype(np.int64),
                "contaminated_frac": inside / np.maximum(words, 1),
                "seen_example_frac": best,
                SHARED: pl.Series(lists, dtype=SHARED_TYPE),
            }
        )

    def describe(self, normalize: Normalize, seed: int) -> tuple[Record, list[tuple[str, str]]]:
        """What is looked for, by set, or what keeps the sets from being read: (option, why).

        Runs where a crash is survived: the files may be hostile.
        """
        try:
            examples = self._examples(normalize, seed)
        except CleanpipeError:
            problems = [*self._unreadable(normalize)]
            if not problems:
                raise
            return {}, problems
        told, problems = {}, []
        for (name,), known in examples.known.group_by(["set"], maintain_order=True):
            short = int((known["words"] < self._least).sum())
            looked_for = int((known["of"] > 0).sum())
            if not looked_for:
                what = (
                    f"none of its {known.height:,} examples can be looked for: {short:,} have "
                    f"fewer than {self._least} words, the others only words that most of them "
                    "have; name a column with more text (text), or leave the set out"
                )
                problems.append((f"measure.evaluations.sets.{name}", what))
            told[name] = {
                "examples": known.height,
                "looked_for": looked_for,
                "too_short": short,
                "template_only": known.height - looked_for - short,
            }
        table_bytes = sum(array.nbytes for array in examples.table)
        return {"ngram": self.ngram, "table_bytes": table_bytes, "sets": told}, problems

    def _unreadable(self, normalize: Normalize) -> Iterator[tuple[str, str]]:
        for name, given in self.sets.items():
            try:
                _read(name, given, normalize)
            except CleanpipeError as error:
                yield f"measure.evaluations.sets.{name}", str(error).removeprefix("input.path ")

    def runs(self, texts: pa.LargeStringArray, seed: int) -> Runs:
        """The runs of a set's examples, and the words that are their own."""
        words, ends, hashes = overlap.example_runs(
            *text_buffers(texts), self.ngram, self._least, *secret_key(seed)
        )
        owner = _owners(ends)
        size = np.minimum(words, self.ngram)[owner]
        firsts = np.concatenate([[0], np.cumsum(words, dtype=np.int64)])
        first = firsts[owner] + np.arange(len(hashes)) - ends[owner]
        is_common = _is_template(hashes, owner, len(words))
        counted = _counted(first[is_common], size[is_common], int(firsts[-1]))
        of = np.where(words >= self._least, np.diff(counted[firsts]), 0)
        own = ~is_common & (counted[first + size] > counted[first])
        at = (first - firsts[owner])[own]
        return Runs(hashes[own], owner[own], at, words, of.astype(np.int32), counted)

    def identity(self) -> dict[str, dict[str, str]]:
        """The hash of each set's files, by name: another file makes another run.

        Errors: InputError for files that cannot be read.
        """
        return {
            name: {shard.name: _hash(shard.path) for shard in _shards(given)[1]}
            for name, given in self.sets.items()
        }

    @property
    def _least(self) -> int:
        """The words that an example needs to be looked for."""
        return min(self.ngram, FEWEST_WORDS)

    def _examples(self, normalize: Normalize, seed: int) -> Examples:
        shards = [shard for given in self.sets.values() for shard in _shards(given)[1]]
        stamps = tuple((shard.path, shard.size, shard.mtime_ns) for shard in shards)
        return _examples(self.model_dump_json(), normalize.model_dump_json(), seed, stamps)


@functools.lru_cache(maxsize=1)  # once a worker: the sets stay the same for a run
def _examples(chosen: str, fixes: str, seed: int, _stamps: tuple[Any, ...]) -> Examples:
    evaluations = Evaluations.model_validate_json(chosen)
    normalize = Normalize.model_validate_json(fixes)
    found, known = [], []
    for name, given in evaluations.sets.items():
        ids, texts = _read(name, given, normalize)
        runs = evaluations.runs(texts, seed)
        found.append(runs)
        own = pl.DataFrame({"set": name, "id": ids, "words": runs.words, "of": runs.of})
        known.append(own.with_row_index("example"))
    return Examples(table(found, evaluations.ngram), pl.concat(known))


def table(sets: Sequence[Runs], ngram: int) -> overlap.Table:
    """The table of all runs of some sets, whose examples are numbered on from set to set."""
    words = np.concatenate([runs.words for runs in sets])
    if words.sum(dtype=np.int64) >= 1 << 31:
        raise InputError(
            f"measure.evaluations: the sets have {words.sum(dtype=np.int64):,} words: expected "
            "fewer than 2,147,483,648; leave out what is no evaluation"
        )
    examples = np.cumsum([0, *(len(runs.words) for runs in sets)])
    before = np.cumsum([0, *(runs.counted[-1] for runs in sets)])
    places = [
        (runs.owner + first).astype(np.uint64) << np.uint64(32) | runs.at.astype(np.uint64)
        for runs, first in zip(sets, examples[:-1], strict=True)
    ]
    counted = [runs.counted[:-1] + more for runs, more in zip(sets, before[:-1], strict=True)]
    return overlap.table(
        np.concatenate([runs.hashes for runs in sets]),
        np.concatenate(places),
        np.minimum(words, ngram),
        np.concatenate([[0], np.cumsum(words, dtype=np.int64)]),
        np.concatenate([*counted, before[-1:]]).astype(np.int32),
    )


def _owners(ends: Ends) -> Ends:
    """The number of the text that each of the things between its ends belongs to."""
    return np.repeat(np.arange(len(ends) - 1), np.diff(ends))


def _is_template(hashes: npt.NDArray[np.uint64], owner: Ends, examples: int) -> Any:
    """Which runs stand in so many examples of a set that they are no example's own."""
    frame = pl.DataFrame({"hash": hashes, "owner": owner})
    held_by = pl.col("owner").n_unique().over("hash")
    most = max(TEMPLATE_EXAMPLES, examples // TEMPLATE_SHARE)
    return frame.select(held_by > most).to_series().to_numpy()


def _counted(firsts: Ends, sizes: Any, words: int) -> npt.NDArray[np.int32]:
    """How many of all words before each one stand in none of some runs."""
    depth = np.zeros(words + 1, np.int32)
    np.add.at(depth, firsts, 1)
    np.add.at(depth, firsts + sizes, -1)
    alone = np.cumsum(depth[:-1]) == 0
    return np.concatenate([[0], np.cumsum(alone)]).astype(np.int32)


def _read(name: str, given: EvaluationSet, normalize: Normalize) -> tuple[pl.Series, Any]:
    """The examples of a set: ids, and texts as documents are normalized, but for rules of lines.

    Rules that drop short lines, or lines without a full stop, would leave little of a question.
    Errors: InputError for a set that is empty, or of which anything cannot be read.
    """
    entry, shards = _shards(given)
    ids, texts = [], []
    for shard in shards:
        for span in corpus.index_shard(shard, entry).spans:
            for batch in readers.read(span, shard, entry):
                for bad in batch.quarantined:
                    detail = bad.detail.replace("set input.text", "name one of them (text)")
                    raise InputError(f"{shard.path}, row {bad.row}: {bad.reason}: {detail}")
                ids.append(_ids(batch, shard.name, given))
                texts.append(pc.fill_null(batch.texts, ""))
    array = pa.chunked_array(texts, pa.large_string()).combine_chunks()
    if not pc.any(pc.not_equal(array, "")).as_py():
        raise InputError(
            f"{given.path} holds no example: expected texts in the column {given.text!r}; "
            f"name the right one (text), or leave {name} out"
        )
    bare = normalize.model_copy(update={"lines": Lines()})
    return pl.concat(ids), bare.apply(array).texts


def _ids(batch: readers.Batch, shard: str, given: EvaluationSet) -> pl.Series:
    column = given.id or "id"
    places = pl.Series([f"{shard}:{row}" for row in batch.rows.tolist()], dtype=pl.String)
    if column in batch.table.column_names:
        found = pl.Series(plain.as_text(batch.table.column(column))).cast(pl.String)
        return pl.select(pl.coalesce(found, places)).to_series().alias("id")
    if given.id is not None and len(batch.texts):
        raise InputError(
            f"{given.path} has no column {column!r}: its columns are "
            f"{', '.join(batch.table.column_names) or 'none but the text'}; name one of them (id)"
        )
    return places.alias("id")


def _shards(given: EvaluationSet) -> tuple[corpus.Input, list[corpus.Shard]]:
    entry = corpus.Input(path=given.path, text=given.text, document="line")
    return entry, corpus.find_shards([entry])


def _hash(path: str) -> str:
    try:
        return file_hash(Path(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
