"""Is this the order that was trained on? The digests say so, or else the losses do, or nobody does.

A batch of hard text has a high loss. So an order foretells, from the tokens alone, which steps have
a loss above that of their neighbours; if the order is right, and begins at the right step, what was
foretold and what the log says go together at lag 0 and nowhere else. Where they do not, no document
may be named.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import ndimage

from cleanpipe.errors import InputError
from cleanpipe.export.exposure import Export

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
WINDOW = 101
"""Steps of the centred median that is taken off losses, and off what was foretold of them."""
SHIFTS = 999
"""Circular shifts of the null: none may reach the correlation at lag 0, so p is 0.001 at most."""
FITTED = 20_000_000
"""Tokens that the model of bigrams is fitted to, at most."""
BUCKETS = 1 << 22
WEIGHT = 8.0
"""How many times a pair is thought to have been seen before any was: as often as its second token
alone would have it."""
CHUNK = 1 << 20


@dataclass(frozen=True)
class Proof:
    """Whether an order is the one that was trained on."""

    verified: bool
    how: str
    """digest, alignment, or none."""
    said: str
    """A sentence for people."""
    steps: int
    """How many steps were compared."""
    correlation: float | None = None
    """At lag 0."""
    null: float | None = None
    """The largest of all circular shifts."""
    lag: int | None = None
    """The lag of the largest correlation: the log says at step t + lag what was foretold for t."""


def by_digest(recorded: pl.DataFrame, foretold: pl.DataFrame) -> Proof:
    """Compare the digests of a step log with those of an order, for the steps that both know.

    Both have step and digest.
    """
    if recorded["step"].equals(foretold["step"]):
        shared = recorded.with_columns(digest_foretold=foretold["digest"])
    else:
        shared = recorded.join(foretold, on="step", suffix="_foretold").sort("step")
    wrong = shared.filter(pl.col("digest") != pl.col("digest_foretold"))["step"]
    count = shared.height
    if not count:
        return Proof(False, "none", "order not verified: log and order share no step", 0)
    if len(wrong):
        said = (
            f"order not verified: the digests of {len(wrong):,} of {count:,} steps differ, "
            f"the first at step {wrong[0]}"
        )
        return Proof(False, "digest", said, count)
    said = f"order verified: the digests of all {count:,} steps are those of the batches"
    return Proof(True, "digest", said, count)


def difficulty(export: Export, spans: pl.DataFrame, *, seed: int = 0) -> tuple[Steps, Floats]:
    """(steps, bits): the mean surprisal of each step's tokens under bigrams of the same export.

    Counts of pairs, backed by those of single tokens, of at most FITTED tokens in stretches drawn
    from all files; pairs share buckets. Crude, and enough: it need only rank batches.
    """
    singles, pairs = _counts(export, seed)
    total = singles.sum()
    known = len(singles)
    step, inverse = np.unique(spans["step"].to_numpy(), return_inverse=True)
    bits, counts = np.zeros(len(step)), np.zeros(len(step))
    for file, start, length, place in _gathered(spans, inverse):
        ids = np.asarray(export.tokens(file))
        ends = np.cumsum(length)
        ramp = np.arange(ends[-1]) - np.repeat(ends - length, length)
        at = np.repeat(start, length) + ramp
        inside = ramp > 0
        second = ids[at[inside]].astype(np.int64)
        first = ids[at[inside] - 1].astype(np.int64)
        alone = (singles[second] + 1) / (total + known)
        both = pairs[_bucket(first, second)] + WEIGHT * alone
        surprisal = -np.log2(both / (singles[first] + WEIGHT))
        owner = np.repeat(place, length)[inside]
        bits += np.bincount(owner, surprisal, len(step))
        counts += np.bincount(owner, minlength=len(step))
    return step, bits / np.maximum(counts, 1)


def _counts(export: Export, seed: int) -> tuple[Floats, Floats]:
    chance = np.random.default_rng(seed)
    files = len(export.first) - 1
    largest = max(int(np.asarray(export.tokens(file)).max(initial=0)) for file in range(files))
    singles, pairs = np.zeros(largest + 1), np.zeros(BUCKETS)
    pieces = [
        (file, start)
        for file in range(files)
        for start in range(0, int(export.first[file + 1] - export.first[file]), CHUNK)
    ]
    for number in chance.permutation(len(pieces))[: FITTED // CHUNK + 1]:
        file, start = pieces[number]
        ids = np.asarray(export.tokens(file)[start : start + CHUNK]).astype(np.int64)
        singles += np.bincount(ids, minlength=len(singles))
        pairs += np.bincount(_bucket(ids[:-1], ids[1:]), minlength=BUCKETS)
    return singles, pairs


def _bucket(first: Steps, second: Steps) -> Steps:
    mixed = (first * 0x9E3779B1 + second) * 0x85EBCA77
    return (mixed ^ (mixed >> 29)) % BUCKETS


def _gathered(spans: pl.DataFrame, places: Steps) -> list[tuple[int, Steps, Steps, Steps]]:
    """(file, starts, lengths, steps) of spans of one file, of about CHUNK tokens together."""
    found = []
    own = spans.with_columns(place=pl.Series(places)).filter(pl.col("length") > 0)
    for (file,), some in own.partition_by("file", as_dict=True, maintain_order=True).items():
        start, length, place = (some[name].to_numpy() for name in ("start", "length", "place"))
        groups = np.cumsum(length) // CHUNK
        cuts = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(start)]
        for low, high in pairwise(cuts):
            found.append((int(file), start[low:high], length[low:high], place[low:high]))
    return found


def detrended(values: Floats) -> Floats:
    """Values without their centred median over WINDOW steps; logarithms, if all are above 0."""
    known = np.log(values) if (values > 0).all() else values
    residual: Floats = known - ndimage.median_filter(known, WINDOW, mode="nearest")
    return residual


def by_losses(
    steps: Steps, foretold: Floats, logged_steps: Steps, losses: Floats, *, seed: int = 0
) -> Proof:
    """The alignment test: does what was foretold go with the losses at lag 0, and nowhere else?

    `foretold` is of `steps`, `losses` of `logged_steps`; a loss that is not finite is left out.
    Verified only if no lag, and none of SHIFTS circular shifts, correlates as much: p <= 0.001.

    Errors: InputError for a step that stands twice.
    """
    for name, own in (("order", steps), ("log", logged_steps)):
        if len(np.unique(own)) < len(own):
            raise InputError(f"the {name} has a step twice: choose one of its runs")
    finite = np.isfinite(losses)
    shared, at, logged = np.intersect1d(steps, logged_steps[finite], return_indices=True)
    count = len(shared)
    if count <= SHIFTS:
        said = (
            f"order not verified: {count:,} steps stand in both, and the alignment test needs "
            f"{SHIFTS + 1:,}; log the digests of batches (cleanpipe.training.callback)"
        )
        return Proof(False, "none", said, count)
    ours, theirs = detrended(foretold[at]), detrended(losses[finite][logged])
    every = _circular(ours, theirs)
    lag = int(np.argmax(every))
    lag -= count * (lag > count // 2)
    chance = np.random.default_rng(seed)
    null = float(every[1 + chance.permutation(count - 1)[:SHIFTS]].max())
    here = float(every[0])
    numbers = f"correlation {here:.3f} at lag 0, {null:.3f} at the best of {SHIFTS} shifts"
    if lag == 0 and here > null:
        said = f"order verified by the losses of {count:,} steps: {numbers}"
        return Proof(True, "alignment", said, count, here, null, lag)
    best = float(every[lag])
    hint = ""
    if best > 2 * max(float(np.delete(every, lag % count).max()), 1e-12):
        move = f"{lag} taken off" if lag > 0 else f"{-lag} added to"
        hint = f"; it would fit ({best:.3f}) with {move} the log's step numbers"
    said = f"order not verified: {numbers}{hint}"
    return Proof(False, "alignment", said, count, here, null, lag)


def _circular(ours: Floats, theirs: Floats) -> Floats:
    """The correlation of ours(t) and theirs(t + lag) for every lag, around the end."""
    a, b = (values - values.mean() for values in (ours, theirs))
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    products = np.fft.irfft(np.conj(np.fft.rfft(a)) * np.fft.rfft(b), len(a))
    return products / scale if scale > 0 else np.zeros(len(a))
