"""An order in which no batch holds too much of one thing, and which is a shuffle otherwise.

Documents come in the shuffle's order. One that would bring the batch at hand over a bound waits for
the next batch that has room; what still waits when all have come is drawn anew and tried again. So
almost all documents stand in the order of the shuffle, and the others a batch or two later.

It holds for trainers that read the stream from its beginning, `batch_tokens` a step.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cleanpipe.errors import RecipeError
from cleanpipe.export import order
from cleanpipe.kernels import hashing
from cleanpipe.kernels.spread import most_in_a_batch, spread

ATTEMPTS = 8
ROOM = 1.25
"""Coherent tokens are not bounded below this many times their share of the corpus: the last batches
would hold what no other could."""
KINDS = ("coherent", "source", "cluster", "text")
Kinds = npt.NDArray[np.int32]
Lengths = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bounds:
    """The most that a batch may hold, as shares of its tokens."""

    batch_tokens: int
    """Tokens of a step: sequences times length times micro steps times ranks."""
    coherent: float = 0.01
    """In repeats: 32 tokens or more in which a span of 1 to 13 stands three times or more."""
    cluster: float = 0.02
    """Of one document and its copies, and of one text."""
    source: float = 0.1
    """Of one source, beyond its share of the corpus."""

    def check(self) -> None:
        """Errors: RecipeError for a batch without a token, or a share that is none."""
        if self.batch_tokens < 1:
            raise RecipeError(f"--batch-tokens {self.batch_tokens}: expected the tokens of a step")
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if not 0 < value <= 1:
                raise RecipeError(f"--{field.name} {value}: expected a share, above 0 and up to 1")


@dataclass(frozen=True)
class Limits:
    """What documents use of what, and how much of it a batch may hold; see the kernel `spread`."""

    kinds: Kinds
    weights: Kinds
    bounds: Lengths


def limits(documents: pl.DataFrame, lengths: Lengths, coherent: Lengths, asked: Bounds) -> Limits:
    """The limits of documents (text_lo, text_hi, id, source) with so many (coherent) tokens."""
    total, batch = int(lengths.sum()), asked.batch_tokens
    least = ROOM * int(coherent.sum()) / total
    bounds = [np.array([max(asked.coherent, least) * batch])]
    columns = [np.zeros(len(lengths), np.int64)]
    weights = [np.minimum(coherent, lengths)]
    sources = _groups(documents, ["source"])
    shares = np.bincount(sources, lengths) / total
    columns.append(sources + 1)
    weights.append(lengths if len(shares) > 1 else np.zeros_like(lengths))
    bounds.append((shares + asked.source) * batch)
    for names in (["id"], ["text_lo", "text_hi"]):
        groups = _groups(documents, names)
        sizes = np.bincount(groups)
        shared = np.flatnonzero(sizes > 1)  # who is alone cannot meet another of its kind
        number = np.full(len(sizes), 0)
        number[shared] = np.arange(len(shared)) + sum(map(len, bounds))
        columns.append(number[groups])
        weights.append(np.where(sizes[groups] > 1, lengths, 0))
        bounds.append(np.full(len(shared), asked.cluster * batch))
    return Limits(
        np.stack(columns, 1).astype(np.int32),
        np.stack(weights, 1).astype(np.int32),
        np.concatenate(bounds).astype(np.int64),
    )


def _groups(documents: pl.DataFrame, names: list[str]) -> Lengths:
    """A number for each document, equal where these columns are equal."""
    ranks = documents.select(pl.struct(names).rank("dense").cast(pl.Int64) - 1)
    return ranks.to_series().to_numpy()


def arranged(
    documents: pl.DataFrame, lengths: Lengths, coherent: Lengths, asked: Bounds, seed: int
) -> tuple[order.Rows, dict[str, Any]]:
    """The numbers of the documents in spread order; and what was kept, for export.json."""
    known = limits(documents, lengths, coherent, asked)
    keys = order.keys(documents, seed)
    given = (lengths, known.kinds, known.weights, known.bounds, asked.batch_tokens)
    shuffle = np.argsort(keys, kind="stable").astype(np.int64)
    drawn = shuffle
    rows, waiting = spread(drawn, *given)
    attempt = 1
    while waiting and attempt < ATTEMPTS:
        late = rows[len(rows) - waiting :]
        keys[late] = hashing.mix_arrays(keys[late], np.full(waiting, attempt, np.uint64))
        drawn = np.argsort(keys, kind="stable").astype(np.int64)
        rows, waiting = spread(drawn, *given)
        attempt += 1
    placed, plain = most_in_a_batch(rows, *given), most_in_a_batch(shuffle, *given)
    alone = ((known.weights > known.bounds[known.kinds]) & (known.weights > 0)).sum(axis=0)
    told = {
        "batch_tokens": asked.batch_tokens,
        "bounds": {field.name: getattr(asked, field.name) for field in fields(asked)[1:]},
        "coherent_bound": int(known.bounds[0]) / asked.batch_tokens,
        "waiting": int(waiting),
        "late": _late(rows, drawn),
        "attempts": attempt,
        "kinds": {
            name: {
                "over_by_several": int(placed[1][k]),
                "over_by_several_in_a_shuffle": int(plain[1][k]),
                "documents_over_alone": int(alone[k]),
            }
            for k, name in enumerate(KINDS)
        },
    }
    return rows, told


def _late(rows: order.Rows, shuffle: order.Rows) -> int:
    """How many documents come after one that they come before in the shuffle."""
    places = np.empty_like(shuffle)
    places[shuffle] = np.arange(len(shuffle))
    own = places[rows]
    return int((own < np.maximum.accumulate(own)).sum())


def sentence(told: dict[str, Any]) -> str:
    """What was kept and what was not, for people."""
    over = {name: kind["over_by_several"] for name, kind in told["kinds"].items()}
    before = sum(kind["over_by_several_in_a_shuffle"] for kind in told["kinds"].values())
    said = f"spread over batches of {told['batch_tokens']:,} tokens: "
    broken = [f"{count:,} for {name}" for name, count in over.items() if count]
    if broken:
        said += f"bounds could not be kept {' and '.join(broken)} times (a shuffle: {before:,})"
    else:
        said += f"all bounds kept, which a shuffle breaks {before:,} times"
    alone = sum(kind["documents_over_alone"] for kind in told["kinds"].values())
    if alone:
        said += f"; {alone:,} documents are over one by themselves, and stand without their like"
    if told["coherent_bound"] > told["bounds"]["coherent"]:
        said += f"; repeats are so many that their bound was raised to {told['coherent_bound']:.1%}"
    return said
