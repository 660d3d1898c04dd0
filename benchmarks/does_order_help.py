"""What to do about bad documents that stand in the text: nothing, spread, mask, drop, clip or skip.

`python benchmarks/does_order_help.py NOVELS.jsonl.zst --results FILE.jsonl` trains a small model in
every arm with every seed at equal tokens, adds a line each to FILE, and trains nothing again that
stands there. At its end, or at once with `--seeds 0`, it prints the tables of docs/order-helps.md.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import xxhash
import zstandard

from cleanpipe.export import masks, order, spreading
from cleanpipe.kernels.spread import repeat_spans
from cleanpipe.stability.attribution.answer import events_of, one_log
from cleanpipe.stability.probe.endpoints import tokens_to
from cleanpipe.stability.probe.exact import effect, together
from cleanpipe.stability.probe.faults import FAULTS, Ground
from cleanpipe.stability.probe.model import Shape
from cleanpipe.stability.probe.packing import END, packed, trained_tokenizer
from cleanpipe.stability.probe.training import Optimizer, Trainer, copy_ratio
from cleanpipe.stability.spikes.events import Bounds

SHAPE = Shape(512, width=32, layers=2, heads=2, length=64)
STEPS, BATCH, WARMUP = 300, 16, 30
TOKENS = BATCH * SHAPE.length
OPTIONS = Optimizer(lr=1e-2, warmup=WARMUP)
KINDS = ("single_token", "period_4", "period_13", "noise_5", "base64_blob", "digits")
SIZE, SHARE, TOGETHER = 128, 0.1, 8
"""Tokens of a bad document, their share of all tokens, and how many stand together if gathered."""
EVERY, FIXED = 10, 32
"""Steps between two looks at a fixed clean batch, and its sequences."""
ARMS: dict[str, dict[str, float | None]] = {
    "random": {},
    "gathered": {},
    "spread": {},
    "mask": {},
    "drop": {},
    "ZClip": {"clip": None, "zclip": 2.5},
    "skip-step": {"skip": 6.0},
    "without": {},
}
"""`random` is a shuffle; `gathered` and `spread` are other orders of the same documents; `mask`,
`drop`, `ZClip` and `skip-step` have the shuffle's. `without` has other clean text in place of all
that was planted: no tool can do more."""
Ids = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Corpus:
    """The documents of a seed as tokens, each ended by END, and what nobody trains on."""

    documents: list[Ids]
    bad: np.ndarray[Any, np.dtype[np.bool_]]
    repeats: Ids
    """(document, start, end, period) of the stretches that an export's mask covers."""
    coherent: Ids
    """Tokens of each document in repeats, as the export's spread order counts them."""
    spare: list[Ids]
    """Clean documents to fill up with."""
    held: Ids
    fixed: Ids


def paragraphs(path: Path, seed: int, count: int) -> list[str]:
    """Of 200 to 1,500 characters, as many of each novel."""
    chance = np.random.default_rng(seed)
    found = []
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            good = [one for one in json.loads(line)["text"].split("\n") if 200 < len(one) < 1500]
            places = chance.choice(len(good), min(len(good), count // 60), replace=False)
            found += [good[place] for place in places]
    return [found[place] for place in chance.permutation(len(found))[:count]]


def corpus(novels: Path, seed: int) -> Corpus:
    """Paragraphs, of which the seed decides, and bad documents among them."""
    texts = paragraphs(novels, seed, 7200)
    tokenizer = trained_tokenizer(texts[:1500], SHAPE.vocabulary)
    encoded = tokenizer.encode_batch_fast(texts)
    whole = [np.array([*one.ids, END], np.int64) for one in encoded]
    rows = packed(tokenizer, texts[:400], SHAPE.length).sequences()
    long = packed(tokenizer, texts[400:800], SIZE - 2).sequences()
    chance = np.random.default_rng([seed, 1])
    ground = Ground.of(tokenizer, long, np.concatenate(whole[800:2000]))
    each = round(STEPS * TOKENS * SHARE / SIZE / len(KINDS))
    made = [FAULTS[kind](ground, each, chance) for kind in KINDS]
    planted = [np.append(row, END).astype(np.int64) for rows_ in made for row in rows_]
    clean = whole[800:]
    sums = np.cumsum([len(one) for one in clean])
    room = STEPS * TOKENS + TOKENS - sum(map(len, planted))
    last = int(np.searchsorted(sums, room)) + 1
    if last >= len(clean):
        raise SystemExit(f"{sums[-1]:,} tokens of clean text, expected more than {room:,}")
    documents = clean[:last] + planted
    places = np.concatenate([[0], np.cumsum([len(one) for one in documents])]).astype(np.int64)
    ids = np.concatenate(documents).astype(np.uint32)
    seen = repeat_spans(ids, places, masks.TIMES, masks.LEAST)
    coherent = np.bincount(seen[:, 0], seen[:, 2] - seen[:, 1], len(documents)).astype(np.int64)
    bad = np.arange(len(documents)) >= last
    return Corpus(documents, bad, seen, coherent, clean[last:], rows[:256], rows[-FIXED:])


def arranged(text: Corpus, arm: str, seed: int) -> tuple[list[Ids], list[Ids]]:
    """The documents of an arm in order; and of each the tokens that are masked, as 0 and 1."""
    hashes = [xxhash.xxh3_128_intdigest(one.tobytes()) for one in text.documents]
    table = pl.DataFrame(
        {
            "text_lo": np.array([one % 2**64 for one in hashes], np.uint64),
            "text_hi": np.array([one >> 64 for one in hashes], np.uint64),
            "id": [f"{number}" for number in range(len(hashes))],
            "copy": np.zeros(len(hashes), np.int32),
            "source": ["all"] * len(hashes),
        }
    )
    rows = order.shuffled(table, seed)
    lengths = np.array([len(one) for one in text.documents])
    chance = np.random.default_rng([seed, 2])
    if arm == "spread":
        asked = spreading.Bounds(batch_tokens=TOKENS)
        rows, told = spreading.arranged(table, lengths, text.coherent, asked, seed)
        print(spreading.sentence(told))
    if arm == "gathered":
        bad, good = rows[text.bad[rows]], rows[~text.bad[rows]]
        groups = np.array_split(np.sort(bad), max(1, len(bad) // TOGETHER))  # neighbours are alike
        at = np.sort(chance.choice(len(good), len(groups), replace=False))
        turn = chance.permutation(len(groups))
        rows = np.insert(good, np.repeat(at, [len(groups[n]) for n in turn]),
                         np.concatenate([groups[n] for n in turn]))  # fmt: skip
    marks = [np.zeros(len(one), np.int64) for one in text.documents]
    if arm == "mask":
        for number, start, end, period in text.repeats.tolist():
            marks[number][start + period : end] = 1
    gone = set(text.repeats[:, 0].tolist()) if arm == "drop" else set()
    gone = set(np.flatnonzero(text.bad).tolist()) if arm == "without" else gone
    fill = iter(text.spare)
    documents, masked = [], []
    for row in rows.tolist():
        own, lost = [text.documents[row]], 0
        if row in gone:  # other clean text in its place: later text is the same in all arms
            own, lost = [], len(text.documents[row])
            while lost > 0:
                own.append(next(fill))
                lost -= len(own[-1])
        documents += own
        masked += [marks[row]] if row not in gone else [np.zeros(len(one), np.int64) for one in own]
    return documents, masked


def cut(documents: list[Ids]) -> Ids:
    """(steps * batch, length + 1): one stream, cut into sequences."""
    stream = np.concatenate([np.array([END], np.int64), *documents])
    starts = np.arange(STEPS * BATCH)[:, None] * SHAPE.length
    found: Ids = stream[starts + np.arange(SHAPE.length + 1)]
    return found


def train(text: Corpus, arm: str, seed: int) -> dict[str, Any]:
    """One run, and what it is compared by."""
    documents, marks = arranged(text, arm, seed)
    given, counted = cut(documents), cut(marks)[:, 1:] == 0
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        trainer = Trainer.begin(SHAPE, replace(OPTIONS, **dict[str, Any](ARMS[arm])), seed, log)
        looks = [{"tokens": 0, "clean": trainer.loss(text.fixed)}]
        lines = []
        for step in range(STEPS):
            rows = slice(step * BATCH, (step + 1) * BATCH)
            lines.append(trainer.take(given[rows], counted[rows] if arm == "mask" else None))
            if (step + 1) % EVERY == 0:
                looks.append({"tokens": trainer.tokens, "clean": trainer.loss(text.fixed)})
        events = events_of(one_log(log), Bounds(since=2 * WARMUP)).height
    norms = np.array([line["grad_norm"] for line in lines])
    return {
        "arm": arm,
        "seed": seed,
        "looks": looks,
        "held": trainer.loss(text.held),
        "max_norm": float(norms[2 * WARMUP :].max()),
        "events": events,
        "left_out": sum(line["update_norm"] == 0 for line in lines),
        "masked": int((~counted).sum()),
        "copy_ratio": copy_ratio(trainer, text.held[:64]),
        "parameters": SHAPE.parameters,
    }


def numbers(run: dict[str, Any], runs: dict[tuple[str, int], dict[str, Any]]) -> dict[str, float]:
    """The end points of one run; some are told against other arms of the seed."""
    best, base = runs["without", run["seed"]], runs["random", run["seed"]]
    late = len(run["looks"]) // 3  # before, all is descent
    losses, least = (np.array([look["clean"] for look in one["looks"]]) for one in (run, best))
    target = max(one["looks"][-1]["clean"] for one in (run, base))
    return {
        "held": run["held"],
        "excess": float((losses - least)[late:].mean()),
        "worst_excess": float((losses - least)[late:].max()),
        "log_norm": float(np.log(run["max_norm"])),
        "events": 1000 * run["events"] / (STEPS - 2 * WARMUP),
        "log_tokens": float(np.log(tokens_to(run, target) / tokens_to(base, target))),
    }


NAMES = {
    "held": "loss of held-out clean text at the end",
    "excess": "excess loss on a fixed clean batch, mean over the last two thirds",
    "worst_excess": "the same, at its worst",
    "log_norm": "largest gradient norm, its logarithm",
    "events": "events in 1,000 steps",
    "log_tokens": "tokens to the loss that both reach, logarithm of the ratio",
}


def table(lines: list[dict[str, Any]]) -> str:
    """For every end point a level an arm, and the paired difference to the shuffle."""
    runs = {(line["arm"], line["seed"]): line for line in lines}
    seeds = [s for s in sorted({s for _, s in runs}) if all((arm, s) in runs for arm in ARMS)]
    if not seeds:
        return "no seed has all arms yet"
    found = {(arm, s): numbers(runs[arm, s], runs) for arm in ARMS for s in seeds}
    others = [arm for arm in ARMS if arm != "random"]
    told = []
    for name, title in NAMES.items():
        gaps = {
            arm: np.array([found[arm, s][name] - found["random", s][name] for s in seeds])
            for arm in others
        }
        of_all = dict(zip(others, together(np.array(list(gaps.values()))), strict=True))
        told += [f"{title}; {len(seeds)} seeds", "", "| arm | mean | from random | p | p of all |"]
        told += ["|---|---|---|---|---|"]
        for arm in ARMS:
            level = np.mean([found[arm, s][name] for s in seeds])
            if arm == "random":
                told.append(f"| random | {level:.3f} | | | |")
                continue
            one = effect(gaps[arm])
            told.append(
                f"| {arm} | {level:.3f} | {one['mean']:+.3f} ({one['low']:+.3f} to "
                f"{one['high']:+.3f}) | {one['p']:.3f} | {of_all[arm]:.3f} |"
            )
        told.append("")
    skipped = [runs["skip-step", s]["left_out"] for s in seeds]
    copies = np.mean([runs["without", s]["copy_ratio"] for s in seeds])
    told += [f"steps left out by skip-step: {skipped}; copy ratio {copies:.2f}"]
    return "\n".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("novels", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--results", type=Path, required=True)
    given = parser.parse_args()
    known = given.results.read_bytes().splitlines() if given.results.exists() else []
    lines = [orjson.loads(line) for line in known]
    done = {(line["arm"], line["seed"]) for line in lines}
    wanted = [(a, s) for s in range(given.seeds) for a in ARMS if (a, s) not in done]
    begun, text, of = time.monotonic(), None, -1
    for count, (arm, seed) in enumerate(wanted, 1):
        if text is None or of != seed:
            text, of = corpus(given.novels, seed), seed
        lines.append(train(text, arm, seed))
        with given.results.open("ab") as file:
            file.write(orjson.dumps(lines[-1]) + b"\n")
        left = (time.monotonic() - begun) / count * (len(wanted) - count) / 60
        print(f"{arm}, seed {seed}: {lines[-1]['held']:.4f}; {left:.0f} min left", flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
