"""Rephrasing by a model that is not here: requests out as JSON lines, answers back through guards.

cleanpipe calls no model. `requests` writes a prompt for every extra copy that balance asked for and
no operation made; whatever answers them leaves a line for each. `accept` takes the answers that are
good enough and writes them as documents with their parent and generator, for the next run to read
beside the corpus: so they are filtered and deduplicated with everything else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa

from cleanpipe import store
from cleanpipe.augmenting.external import PLACE, External
from cleanpipe.augmenting.likeness import similarity
from cleanpipe.errors import InputError, RecipeError
from cleanpipe.export.published import tables
from cleanpipe.kernels.buffers import text_buffers
from cleanpipe.kernels.hashing import hash_texts
from cleanpipe.measures.measure import measures
from cleanpipe.outcome import Run
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_file import load

OURS = {"copy", "augmented_by", "text", "id"}
LONGEST_LINE = 64_000_000


@dataclass(frozen=True)
class Answers:
    """What came back: texts by request, and lines that are none, as (line number, reason)."""

    texts: dict[str, str] = field(default_factory=dict)
    broken: list[tuple[int, str]] = field(default_factory=list)


def settings(recipe: Recipe) -> External:
    """The recipe's `augment.external`.

    Errors: RecipeError where there is none.
    """
    if recipe.augment is None or recipe.augment.external is None:
        raise RecipeError(
            "the run's recipe has no augment.external: add {generator: NAME, prompts: {NAME: "
            "'... {text}'}} and run again"
        )
    return recipe.augment.external


def requests(run: Run, seed: int = 0) -> Iterator[store.Record]:
    """A request for each extra copy that was asked for and not made: id, parent, copy, prompt.

    Prompts are chosen by the seed and the request alone. Where several documents share an id, each
    gets the requests of all.
    """
    chosen = settings(load(run.folder / "recipe.yaml"))
    names = sorted(chosen.prompts)
    for parents, keys in _parents(run):
        for row in parents.iter_rows(named=True):
            for copy in row["asked"]:
                name = names[_draw(keys[row["place"]], copy, seed) % len(names)]
                yield {
                    "id": f"{keys[row['place']]}-{copy}",
                    "parent": row["id"],
                    "copy": copy,
                    "prompt_name": name,
                    "prompt": chosen.prompts[name].replace(PLACE, row["text"]),
                    "generator": chosen.generator,
                }


def _parents(run: Run) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    """Originals that lack copies, table by table, with `place` and `asked`; and all rows' keys."""
    missing = _missing(run)
    for path in run.parts:
        for table in tables(path):
            frame = pl.DataFrame(table).with_row_index("place")
            wanted = frame.filter(pl.col("copy") == 0).join(missing, on="id")
            if wanted.height:
                yield wanted.sort("place"), _keys(table)


def _missing(run: Run) -> pl.DataFrame:
    """The ids whose copies were left out, and the numbers of these copies."""
    if not any((run.folder / "copies").glob("*.parquet")):
        return pl.DataFrame(schema={"id": pl.String, "asked": pl.List(pl.Int32)})
    known = pl.scan_parquet(run.folder / "copies" / "*.parquet")
    left = known.filter((pl.col("outcome") == "left_out") & (pl.col("copy") > 0))
    return left.group_by("id").agg(pl.col("copy").unique().sort().alias("asked")).collect()


def _keys(table: pa.Table) -> list[str]:
    """A key of each row's id and text, in hexadecimal: 128 bits."""
    hashes = []
    for name in ("id", "text"):
        column = table[name].cast(pa.large_string()).combine_chunks()
        hashes.append(hash_texts(*text_buffers(column), np.uint64(0))[0])
    return [f"{one:016x}{other:016x}" for one, other in zip(*hashes, strict=True)]


def _draw(key: str, copy: int, seed: int) -> int:
    text = np.frombuffer(f"{seed} {key} {copy}".encode(), np.uint8)
    return int(hash_texts(np.array([0, len(text)]), text, np.uint64(0))[0][0])


def read_answers(path: Path) -> Answers:
    """The answers in a file of JSON lines, each with `id` and `text`.

    Errors: InputError where the file cannot be read. A line that is no answer is told, not raised;
    of several answers to one request the first is taken.
    """
    found = Answers()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
                reason = _taken(line, found.texts)
                if reason:
                    found.broken.append((number, reason))
    except OSError as error:
        raise InputError(f"{path}: the answers cannot be read: {error.strerror}") from error
    return found


def _taken(line: bytes, texts: dict[str, str]) -> str:
    if not line.strip():
        return ""
    try:
        answer = orjson.loads(line)
        key, text = answer["id"], answer["text"]
    except (ValueError, TypeError, KeyError):
        return "no_answer"
    if not isinstance(key, str) or not isinstance(text, str):
        return "no_answer"
    if key in texts:
        return "answered_before"
    texts[key] = text
    return ""


def accept(run: Run, answers: Answers, output: Path) -> store.Record:
    """Write the answers that pass the guards as Parquet; gives counts and what was refused.

    The guards, in their order: an answer to a request of this run; a text that is no blank after
    normalizing; the length; the parent's language, where the recipe measures languages; not the
    parent's or a sibling's text, nor an earlier answer's; max_similarity; the recipe's filter;
    augment.max_share of all text. Every answer is written or refused by name.
    """
    recipe = load(run.folder / "recipe.yaml")
    guard = _Guard(recipe, settings(recipe))
    left = dict(answers.texts)
    accepted: list[pl.DataFrame] = []
    refused: list[store.Record] = []
    for parents, keys in _parents(run):
        asked = _asked(parents, keys, left)
        if asked.height:
            good, bad = guard.judge(asked)
            accepted.append(good)
            refused += bad
    refused += [{"id": key, "reason": "no_request"} for key in left]
    refused += [{"line": number, "reason": reason} for number, reason in answers.broken]
    table = pl.concat(accepted, how="diagonal_relaxed") if accepted else pl.DataFrame()
    if table.height:
        table, over = _within(table, run, recipe)
        refused += over
        arrow = table.to_arrow()
        store.write_table(output, [arrow], arrow.schema)
    return {
        "answers": len(answers.texts) + len(answers.broken),
        "accepted": table.height,
        "bytes": int(table["text"].str.len_bytes().sum()) if table.height else 0,
        "refused": refused,
    }


def _asked(parents: pl.DataFrame, keys: list[str], left: dict[str, str]) -> pl.DataFrame:
    """A row an answer to these parents: the parent's columns, `request`, `copy`, `answer`."""
    rows, requests_, answers = [], [], []
    for row, (place, asked) in enumerate(parents.select("place", "asked").iter_rows()):
        for copy in asked:
            name = f"{keys[place]}-{copy}"
            if name in left:
                rows.append(row)
                requests_.append(name)
                answers.append(left.pop(name))
    columns = pl.Series("request", requests_, pl.String), pl.Series("answer", answers, pl.String)
    return parents.drop("asked", "place")[rows].with_columns(*columns)


class _Guard:
    """What an answer must be, one after the other; each text is taken once."""

    def __init__(self, recipe: Recipe, chosen: External) -> None:
        self.recipe, self.chosen = recipe, chosen
        self.taken: set[str] = set()

    def judge(self, asked: pl.DataFrame) -> tuple[pl.DataFrame, list[store.Record]]:
        """The answers that pass, as documents; and the others, each with its reason."""
        answers = self.recipe.normalize.apply(asked["answer"].to_arrow().cast(pa.large_string()))
        texts = answers.texts.to_pylist()
        parents = asked["text"].to_list()
        reasons: list[str | None] = [
            self._reason(parent, text) for parent, text in zip(parents, texts, strict=True)
        ]
        measured = measures(answers.texts, None, 0, self.recipe.measure)
        if "lang" in measured.columns:
            given = pa.array(parents, pa.large_string())
            known = measures(given, None, 0, self.recipe.measure)["lang"]
            for row in (measured["lang"] != known).arg_true():
                reasons[row] = reasons[row] or "language"
        for row, rule in enumerate(self._rules(asked, measured)):
            reasons[row] = reasons[row] or rule
        for row, text in enumerate(texts):
            if reasons[row] is None and text in self.taken:
                reasons[row] = "repeated"
            elif reasons[row] is None:
                self.taken.add(text)
        passes = np.array([reason is None for reason in reasons], np.bool_)
        refused = [
            {"id": name, "reason": reason}
            for name, reason in zip(asked["request"], reasons, strict=True)
            if reason is not None
        ]
        return self._documents(asked, texts, passes), refused

    def _reason(self, parent: str, text: str) -> str | None:
        if not text.strip():
            return "empty"
        if not self.chosen.length.low <= len(text) / max(len(parent), 1) <= self.chosen.length.high:
            return "length"
        if text == parent:
            return "repeated"
        return "similarity" if similarity(parent, text) > self.chosen.max_similarity else None

    def _rules(self, asked: pl.DataFrame, measured: pl.DataFrame) -> list[str | None]:
        """The first rule of the filter that each answer fails; what is its parent's passed."""
        names = self.recipe.filter.columns()
        kinds = self.recipe.measured()
        own = measured.select(name for name in names if name in measured.columns)
        others = [
            asked[name] if name in asked.columns else pl.lit(None, kinds.get(name)).alias(name)
            for name in names
            if name not in own.columns
        ]
        if not names:
            return [None] * asked.height
        failed = self.recipe.filter.failures(own.with_columns(others))
        first = pl.coalesce(
            pl.when(pl.col(name)).then(pl.lit(f"filter.{name}")) for name in failed.columns
        )
        found: list[str | None] = failed.select(first).to_series().to_list()
        return found

    def _documents(
        self, asked: pl.DataFrame, texts: list[str], passes: npt.NDArray[np.bool_]
    ) -> pl.DataFrame:
        measured = set(self.recipe.output.columns)
        carried = [n for n in asked.columns if n not in {*OURS, *measured, "request", "answer"}]
        return asked.select(
            pl.col("request").alias("id"),
            pl.Series("text", texts, pl.String),
            pl.col("id").alias("parent"),
            pl.lit(self.chosen.generator).alias("generator"),
            *carried,
        ).filter(pl.Series(passes))


def _within(
    table: pl.DataFrame, run: Run, recipe: Recipe
) -> tuple[pl.DataFrame, list[store.Record]]:
    """The documents, smallest ids first, as far as augment.max_share of all text goes."""
    share = recipe.augment.max_share if recipe.augment else 1
    ordered = table.sort("id")
    sizes = ordered["text"].str.len_bytes().cum_sum()
    once = run.stats["clean"]["bytes"]
    inside = sizes <= once * share / (1 - share) if share < 1 else sizes >= 0
    over = ordered.filter(~inside)["id"]
    return ordered.filter(inside), [{"id": one, "reason": "max_share"} for one in over]


def summed(refused: list[store.Record]) -> Mapping[str, int]:
    """How many answers were refused for each reason, most first."""
    counts: dict[str, Any] = {}
    for one in refused:
        counts[one["reason"]] = counts.get(one["reason"], 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
