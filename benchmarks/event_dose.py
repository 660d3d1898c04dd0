"""How large a share of a batch a bad document must be for its step to stand out at all.

`python benchmarks/event_dose.py NOVELS.jsonl.zst --results FILE.jsonl` trains a small model on
clean text, and then adds up gradients of pieces of batches to those of batches with one bad
document, of any dose and size of batch. A seed is a line in FILE, which is not done again. Then it
prints the tables of docs/attribution.md. No attribution names what raises no event, and a model
that goes on learning varies more than this one, which stands still: so this is the best case.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from attribution_dose import limit
from does_order_help import paragraphs

from cleanpipe.stability.probe.faults import FAULTS, Ground
from cleanpipe.stability.probe.model import Model, Shape
from cleanpipe.stability.probe.packing import packed, trained_tokenizer
from cleanpipe.stability.probe.training import Optimizer, Trainer

SHAPE = Shape(1024, width=32, layers=2, heads=2, length=64)
STEPS, BATCH = 300, 16
DOSES = (0.001, 0.003, 0.01, 0.03, 0.1)
SIZES = (48, 256)
"""Sequences of the batches that are put together: 3,072 and 16,384 tokens."""
KINDS = ("single_token", "period_4", "period_13", "noise_5", "base64_blob", "digits", "mojibake")
KINDS = (*KINDS, "random_tokens", "placebo")
DOCUMENTS, PIECE, PIECES, CLEAN = 5, 4, 400, 400
"""Bad documents of a kind, dose and seed; sequences of a piece of clean text; pieces; batches."""
BOUNDS = (8.0, 5.0)
"""Robust deviations above the median of clean batches; 8 is what the commands have."""
Floats = np.ndarray[Any, np.dtype[np.float64]]


def gradient(model: Model, rows: np.ndarray[Any, Any], last: int = 0) -> Floats:
    """Of the sum of the losses of all tokens, or of the last so many."""
    model.zero_grad(set_to_none=True)
    losses = model.losses(torch.from_numpy(rows))
    (losses.flatten()[-last:] if last else losses).sum().backward()
    found = [one.grad.flatten() for one in model.parameters() if one.grad is not None]
    return torch.cat(found).numpy().astype(np.float64)


def outliers(novels: Path, seed: int) -> dict[str, Any]:
    """z-scores of the batches with a bad document, by size of batch, kind and dose."""
    texts = paragraphs(novels, seed, 7200)
    tokenizer = trained_tokenizer(texts[:1500], SHAPE.vocabulary)
    rows = packed(tokenizer, texts, SHAPE.length).sequences()
    chance = np.random.default_rng([seed, 1])
    rows = rows[chance.permutation(len(rows))]
    trainer = Trainer.begin(SHAPE, Optimizer(lr=3e-3), seed)
    for step in range(STEPS):
        trainer.take(rows[step * BATCH : (step + 1) * BATCH])
    rest = rows[STEPS * BATCH :]
    pieces = rest[: PIECES * PIECE].reshape(PIECES, PIECE, -1)
    clean = np.stack([gradient(trainer.model, piece) for piece in pieces])
    products = clean @ clean.T
    ground = Ground.of(tokenizer, rest[PIECES * PIECE :], rows[: STEPS * BATCH].ravel())
    length, found = SHAPE.length, {}
    for size in SIZES:
        count = size // PIECE

        def norm(tokens: int, own: Floats | None = None, count: int = count) -> float:
            """The logarithm of a gradient norm: clean pieces, and what takes their place."""
            left = count - round(tokens / (PIECE * length))
            drawn = chance.choice(PIECES, left, replace=False)
            square = products[np.ix_(drawn, drawn)].sum()
            if own is not None:
                square += 2 * (clean[drawn] @ own).sum() + own @ own
            return float(np.log(square) / 2 - np.log(left * PIECE * length + tokens))

        usual = np.array([norm(0) for _ in range(CLEAN)])
        middle = np.median(usual)
        spread = 1.4826 * np.median(np.abs(usual - middle))
        for kind in KINDS:
            for dose in DOSES:
                tokens = round(dose * size * length)
                z = []
                for _ in range(DOCUMENTS):
                    bad = FAULTS[kind](ground, -(-tokens // length), chance)
                    own = gradient(trainer.model, bad, tokens)
                    z.append(float((norm(tokens, own) - middle) / spread))
                found[f"{size} {kind} {dose}"] = z
    return {"seed": seed, "z": found}


def table(lines: list[dict[str, Any]]) -> str:
    """The share of documents whose batch stands out, and the dose from which four in five do."""
    told = []
    for size in SIZES:
        for bound in BOUNDS:
            told += [f"batches of {size * SHAPE.length:,} tokens, above {bound:g} spreads", ""]
            told.append("| | " + " | ".join(f"{dose:.1%}" for dose in DOSES) + " | four in five |")
            told.append("|" + "---|" * (len(DOSES) + 2))
            for kind in KINDS:
                z = [[v for one in lines for v in one["z"][f"{size} {kind} {d}"]] for d in DOSES]
                out = [int((np.array(values) > bound).sum()) for values in z]
                of = [len(values) for values in z]
                cells = [f"{a} of {b}" for a, b in zip(out, of, strict=True)]
                told.append(f"| {kind} | {' | '.join(cells)} | {limit(list(DOSES), out, of)} |")
            told.append("")
    return "\n".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("novels", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--results", type=Path, required=True)
    given = parser.parse_args()
    known = given.results.read_bytes().splitlines() if given.results.exists() else []
    lines = [orjson.loads(line) for line in known]
    wanted = [seed for seed in range(given.seeds) if seed not in {one["seed"] for one in lines}]
    begun = time.monotonic()
    for count, seed in enumerate(wanted, 1):
        lines.append(outliers(given.novels, seed))
        with given.results.open("ab") as file:
            file.write(orjson.dumps(lines[-1]) + b"\n")
        left = (time.monotonic() - begun) / count * (len(wanted) - count) / 60
        print(f"seed {seed}; {left:.0f} min left", flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
