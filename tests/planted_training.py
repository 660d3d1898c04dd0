"""A corpus with planted faults, cleaned by a run, exported, and trained on by a small GPT.

Everything a person would do, in minutes less: `made` gives the run, the export, a step log and
what was planted where.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import polars as pl
from conftest import InProcess

from cleanpipe.export import mappers
from cleanpipe.export.export import export
from cleanpipe.export.exposure import Export, exposure
from cleanpipe.outcome import Run
from cleanpipe.recipe_file import load
from cleanpipe.run import Work, all_steps

LENGTH = 48
BATCH = 12
BATCH_TOKENS = LENGTH * BATCH
VOCABULARY = 1024
END = "<end>"
WARMUP = 60
"""Steps before which nothing counts: the loss falls too fast there."""
PLACEBO = "placebo"


def clean_texts(path, seed, count):
    """Paragraphs of novels, 150 to 900 characters each."""
    import zstandard

    chance = np.random.default_rng(seed)
    found = []
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            lines = json.loads(line)["text"].split("\n")
            good = [one for one in lines if 150 < len(one) < 900]
            if good:
                own = chance.choice(len(good), min(len(good), count // 60 + 1), replace=False)
                found += [good[place] for place in own]
    return [found[place] for place in chance.permutation(len(found))[:count]]


def generated_texts(seed, count):
    """Sentences of made-up words, of which few are frequent and each likes some followers."""
    chance = np.random.default_rng(seed)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(chance.choice(syllables, chance.integers(1, 4))) for _ in range(2000)]
    weights = 1 / np.arange(1, 2001)
    weights /= weights.sum()
    likes = chance.choice(2000, (2000, 6), p=weights)
    found = []
    for _ in range(count):
        word, text = int(chance.choice(2000, p=weights)), []
        for _ in range(chance.integers(30, 130)):
            text.append(words[word])
            again = chance.random() < 0.6
            word = int(likes[word, chance.integers(6)] if again else chance.choice(2000, p=weights))
            if chance.random() < 0.1:
                text[-1] += "."
        found.append(" ".join(text))
    return found


def spoilt(text):
    """Its bytes read as Latin-1, twice, with vowels that are not ASCII."""
    text = text.translate(dict(zip(map(ord, "aeiou"), "äéîöü", strict=True)))
    return text.encode().decode("latin-1").encode().decode("latin-1")


def faults(texts, chance):
    """The kinds: a function of a number of characters each. At least so long, and then cut."""
    words = np.array(sorted({word for text in texts[:300] for word in text.split()}))

    def joined(count):
        return " ".join(texts[place] for place in chance.integers(0, len(texts), count // 150 + 1))

    return {
        "single_token": lambda n: "\\" * n,
        "period_4": lambda n: "g4OD" * n,
        "period_13": lambda n: (" ".join(chance.choice(words, 9)) + " ") * n,
        "noise_5": lambda n: " ".join(chance.choice(chance.choice(words, 5), n)),
        "base64": lambda n: base64.b64encode(chance.bytes(n)).decode("ascii"),
        "digits": lambda n: " ".join(map(str, chance.integers(0, 1000, n))),
        "mojibake": lambda n: spoilt(joined(n)),
        "random_words": lambda n: " ".join(chance.choice(words, n)),
        PLACEBO: joined,
    }


@dataclass(frozen=True)
class Trained:
    """What is known of one training."""

    run: Run
    export: Path
    log: pl.DataFrame
    exposure: pl.DataFrame
    planted: pl.DataFrame
    """id, kind, step: of each planted document, the step that had most of its tokens."""
    log_path: Path


def made(folder, texts, seed, *, steps, dose, kinds, lr=3e-3, width=32):
    """Plant `kinds` (a number of documents each) of `dose` of a batch's tokens, and train."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_of(texts[:2000], folder / "tokenizer.json")
    chance = np.random.default_rng([seed, 5])
    wanted = max(2, round(dose * BATCH_TOKENS) - 1)
    make = faults(texts, chance)
    rows = [
        {"id": f"{kind}-{number}", "text": grown(tokenizer, make[kind], wanted)}
        for kind, count in kinds.items()
        for number in range(count)
    ]
    room = steps * BATCH_TOKENS - len(rows) * (wanted + 1)
    encoded = tokenizer.encode_batch_fast(texts)
    clean = int(np.searchsorted(np.cumsum([len(one.ids) + 1 for one in encoded]), room)) + 1
    assert clean <= len(texts), "too few texts for so many steps"
    rows += [{"id": f"clean-{n}", "text": text} for n, text in enumerate(texts[:clean])]
    pl.DataFrame(rows).write_parquet(folder / "in.parquet")
    known = {"version": 1, "seed": seed, "input": {"path": "in.parquet"}, "dedup": None}
    known |= {"output": {"path": "out"}, "normalize": {"fixes": []}}
    recipe = folder / "recipe.yaml"
    recipe.write_bytes(orjson.dumps(known))
    all_steps(Work(load(recipe), InProcess(), lambda *_: None))
    to = folder / "tokens"
    export(folder / "out", to, tokens=str(folder / "tokenizer.json"), end=END, seed=seed)
    return trained(folder, to, seed, steps, lr=lr, width=width)


def tokenizer_of(texts, path):
    from cleanpipe.stability.packing import trained_tokenizer

    tokenizer = trained_tokenizer(texts, VOCABULARY)
    tokenizer.save(str(path))
    return tokenizer


def grown(tokenizer, make, wanted):
    """A text of about so many tokens."""
    text = make(12 * wanted)
    offsets = tokenizer.encode(text).offsets[:wanted]
    return text[: offsets[-1][1]]


def trained(folder, to, seed, steps, *, lr, width):
    """Batches in the order of the export, and a line a step."""
    from cleanpipe.stability.model import Shape
    from cleanpipe.stability.training import Optimizer, Trainer

    opened = Export.open(to)
    ids = np.asarray(opened.tokens(0)).astype(np.int64)
    rows = min(steps * BATCH, (len(ids) - 1) // LENGTH) // BATCH * BATCH
    path = folder / "log.jsonl"
    path.unlink(missing_ok=True)
    shape = Shape(vocabulary=VOCABULARY, width=width, layers=2, length=LENGTH)
    trainer = Trainer.begin(shape, Optimizer(lr=lr), seed, log=path)
    for first in range(0, rows, BATCH):
        starts = np.arange(first, first + BATCH) * LENGTH
        trainer.take(ids[starts[:, None] + np.arange(LENGTH + 1)])
    spans = mappers.instances(opened, np.arange(rows), length=LENGTH, per_step=BATCH, first_step=1)
    spans.write_parquet(folder / "order.parquet")
    who = exposure(opened, spans)
    most = who.sort("tokens", descending=True).unique("id", keep="first")
    planted = most.filter(~pl.col("id").str.starts_with("clean-")).with_columns(
        kind=pl.col("id").str.replace(r"-\d+$", "")
    )
    log = pl.read_ndjson(path)
    run = Run.load(folder / "out")
    return Trained(run, to, log, who, planted.select("id", "kind", "step").sort("step"), path)
