"""Whether augmented repeats of a small language teach a small model more than plain repeats.

`python benchmarks/does_augmentation_help.py CORPUS.jsonl.zst --lang cs --results FILE.jsonl` adds a
line an arm and seed to FILE, and trains nothing again that stands there. At its end, or at once
with `--seeds 0`, it prints the table of docs/augmentation-helps.md.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import zstandard

from cleanpipe.augmenting.augment import Augment
from cleanpipe.stability.probe.exact import sign_flip
from cleanpipe.stability.probe.model import Shape
from cleanpipe.stability.probe.packing import Packed, packed, trained_tokenizer
from cleanpipe.stability.probe.training import Optimizer, Trainer

ARMS: dict[str, tuple[str, ...]] = {
    "repeats": (),
    "order": ("sentence_shuffle", "paragraph_shuffle"),
    "drop": ("sentence_drop", "crop"),
    "words": ("word_swap", "word_delete"),
}
"""`fresh` is one more: other documents of the language in place of repeats, as far as they go."""
EPOCHS = (1, 2, 4, 8, 16)
SHAPE = Shape()
OPTIONS = Optimizer(lr=2e-3, warmup=30)
BATCH = 16


def read(path: Path, lang: str) -> list[str]:
    """The texts of a language, each once."""
    with path.open("rb") as raw:
        lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw))  # type: ignore[arg-type]
        found = [one["text"] for one in map(orjson.loads, lines) if one["lang"] == lang]
    return list(dict.fromkeys(found))


def copies(texts: Sequence[str], operations: tuple[str, ...], epoch: int) -> list[str]:
    """The texts as an arm sees them in an epoch: those that no operation can change as they are."""
    if not operations or epoch == 0:
        return list(texts)
    augment = Augment(operations=operations, similarity={})  # type: ignore[arg-type]
    made = augment.augment(
        pa.array(texts, pa.large_string()),
        [str(number) for number in range(len(texts))],
        np.full(len(texts), 1, np.int32),
        np.arange(len(texts), dtype=np.uint64) + np.uint64(epoch << 32),
    )
    new = iter(made.texts.to_pylist())
    return [next(new) if is_made else old for old, is_made in zip(texts, made.written, strict=True)]


def train(
    epochs: Callable[[int], list[str]], tokenizer: object, held_out: Packed, seed: int
) -> dict[int, float]:
    """The loss on the held out after each of EPOCHS: every epoch as many steps as the first."""
    trainer = Trainer.begin(SHAPE, OPTIONS, seed)
    wanted = held_out.sequences()
    steps, found = 0, {}
    for epoch in range(max(EPOCHS)):
        texts = epochs(epoch)
        if not texts:
            break
        order = np.random.default_rng([seed, epoch]).permutation(len(texts))
        stream = packed(tokenizer, [texts[place] for place in order], SHAPE.length)
        steps = steps or len(stream) // BATCH
        numbers = np.arange(steps * BATCH) % len(stream)
        for step in range(steps):
            trainer.take(stream.sequences(numbers[step * BATCH : (step + 1) * BATCH]))
        if epoch + 1 in EPOCHS:
            found[epoch + 1] = trainer.loss(wanted)
    return found


def run(texts: list[str], arm: str, seed: int, size: int) -> dict[int, float]:
    """One arm with one seed, which decides what is trained on, what is held out, and the model."""
    order = np.random.default_rng(seed).permutation(len(texts)).tolist()
    held, mine, others = order[:size], order[size : 2 * size], order[2 * size :]
    own = [texts[place] for place in mine]
    tokenizer = trained_tokenizer(own, SHAPE.vocabulary)
    held_out = packed(tokenizer, [texts[place] for place in held], SHAPE.length)

    def fresh(epoch: int) -> list[str]:
        chosen = [*mine, *others][epoch * size : (epoch + 1) * size]
        return [texts[place] for place in chosen] if len(chosen) == size else []

    def again(epoch: int) -> list[str]:
        return copies(own, ARMS[arm], epoch)

    return train(fresh if arm == "fresh" else again, tokenizer, held_out, seed)


def table(lines: list[dict[str, object]]) -> str:
    """Means over seeds by arm and epochs, and the paired difference from plain repeats."""
    told = ["| arm | seeds | " + " | ".join(f"{n} epochs" for n in EPOCHS) + " |"]
    told.append("|---|---|" + "---|" * len(EPOCHS))
    by_arm: dict[str, dict[int, dict[str, float]]] = {}
    for line in lines:
        by_arm.setdefault(str(line["arm"]), {})[int(str(line["seed"]))] = line["loss"]  # type: ignore[assignment]
    base = by_arm["repeats"]
    for arm in (*ARMS, "fresh"):
        seeds = sorted(by_arm.get(arm, {}).keys() & base.keys())
        cells = []
        for epochs in map(str, EPOCHS):
            pairs = [(by_arm[arm][s].get(epochs), base[s][epochs]) for s in seeds]
            losses = [one for one, _ in pairs if one is not None]
            if not losses:
                cells.append("-")
                continue
            cell = f"{np.mean(losses):.3f}"
            gaps = np.array([one - other for one, other in pairs if one is not None])
            if arm != "repeats" and epochs != "1":
                cell += f" ({np.mean(gaps):+.3f}, p = {sign_flip(gaps):.3f})"
            cells.append(cell)
        told.append(f"| {arm} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--lang", default="cs")
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--results", type=Path, required=True)
    given = parser.parse_args()
    known = given.results.read_bytes().splitlines() if given.results.exists() else []
    lines = [orjson.loads(line) for line in known]
    texts = read(given.corpus, given.lang)
    print(f"{len(texts)} texts of {given.lang}, {given.documents} of them trained on", flush=True)
    for seed in range(given.seeds):
        for arm in (*ARMS, "fresh"):
            if any((line["arm"], line["seed"]) == (arm, seed) for line in lines):
                continue
            loss = run(texts, arm, seed, given.documents)
            lines.append({"arm": arm, "seed": seed, "loss": {str(n): v for n, v in loss.items()}})
            with given.results.open("ab") as file:
                file.write(orjson.dumps(lines[-1]) + b"\n")
            print(arm, seed, loss, flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
