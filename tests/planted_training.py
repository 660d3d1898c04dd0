"""A corpus with planted faults, cleaned by a run, exported, and trained on by a small GPT.

Everything a person would do, in minutes less: `made` gives the run, the export, a step log and
what was planted where.
"""

import base64
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import polars as pl
from conftest import InProcess

from cleanpipe.export import step_log
from cleanpipe.export.export import export
from cleanpipe.export.exposure import Export, exposure
from cleanpipe.outcome import Run
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps
from cleanpipe.training.callback import StepLog

END = "<end>"
PLACEBO = "placebo"
KINDS = ("single_token", "period_4", "noise_5", "base64", "digits", "mojibake")
TRUE = {
    "single_token": {"repeat_run", "repeat_tokens", "same_token_run", "punct_char_frac"},
    "period_4": {"repeat_run", "repeat_tokens", "unbroken_run", "char_dup_frac"},
    "noise_5": {"unique_word_frac", "top_2gram_char_frac", "top_3gram_char_frac"},
    "base64": {"base64_frac", "unbroken_run", "max_word_length"},
    "digits": {"digit_char_frac", "alpha_word_frac", "alpha_token_frac"},
    "mojibake": {"mojibake", "non_ascii_frac"},
}
"""The measures that were made for a kind. All but base64, digits and mojibake lower these, too:"""
OF_REPEATS = {
    *("unigram_entropy", "window_entropy_min", "window_period_max", "compression_ratio"),
    "unique_word_frac",
}


def clean_texts(path, seed, count):
    """Paragraphs of novels, 40 to 900 characters each."""
    import zstandard

    chance = np.random.default_rng(seed)
    found = []
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            lines = json.loads(line)["text"].split("\n")
            good = [one for one in lines if 40 < len(one) < 900]
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
    likes = chance.choice(2000, (2000, 6), p=weights).tolist()
    lengths = chance.integers(8, 130, count)
    total = int(lengths.sum())
    anyone = chance.choice(2000, total, p=weights).tolist()
    follows, which = (chance.random(total) < 0.6).tolist(), chance.integers(6, size=total).tolist()
    ends = (chance.random(total) < 0.1).tolist()
    word, text = 0, []
    for any_, again, liked, end in zip(anyone, follows, which, ends, strict=True):
        word = likes[word][liked] if again else any_
        text.append(words[word] + "." * end)
    places = np.concatenate([[0], np.cumsum(lengths)])
    return [" ".join(text[low:high]) for low, high in pairwise(places)]


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
class Plan:
    """A training; the default takes some ten seconds on one core that is free."""

    steps: int = 1000
    batch: int = 12
    length: int = 48
    dose: float = 0.15
    """The share of a batch's tokens that a planted document has."""
    kinds: tuple[str, ...] = KINDS
    each: int = 7
    """Documents of a kind, and placebos."""
    lr: float = 3e-3
    width: int = 32
    layers: int = 2
    vocabulary: int = 1024

    @property
    def tokens(self) -> int:
        """Of a batch."""
        return self.batch * self.length


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
    order: Path
    """The step log, with a digest of each batch."""


def made(folder, texts, seed, plan):
    """Plant documents in clean texts, run, export, train."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_of(texts[:2000], folder / "tokenizer.json", plan.vocabulary)
    make = faults(texts, np.random.default_rng([seed, 5]))
    wanted = max(2, round(plan.dose * plan.tokens) - 1)
    rows = [
        {"id": f"{kind}-{number}", "text": grown(tokenizer, make[kind], wanted)}
        for kind in (*plan.kinds, PLACEBO)
        for number in range(plan.each)
    ]
    room = plan.steps * plan.tokens - len(rows) * (wanted + 1)
    encoded = tokenizer.encode_batch_fast(texts)
    clean = int(np.searchsorted(np.cumsum([len(one.ids) + 1 for one in encoded]), room)) + 1
    assert clean <= len(texts), "too few texts for so many steps"
    rows += [{"id": f"clean-{n}", "text": text} for n, text in enumerate(texts[:clean])]
    pl.DataFrame(rows).write_parquet(folder / "in.parquet")
    known = {"version": 1, "seed": seed, "input": {"path": str(folder / "in.parquet")}}
    known |= {"output": {"path": str(folder / "out")}, "normalize": {"fixes": []}, "dedup": None}
    recipe = folder / "recipe.yaml"
    recipe.write_bytes(orjson.dumps(known))
    all_steps(Work(load(recipe), InProcess(), lambda *_: None))
    to = folder / "tokens"
    export(folder / "out", to, tokens=str(folder / "tokenizer.json"), end=END, seed=seed)
    return trained(folder, to, seed, plan)


def tokenizer_of(texts, path, vocabulary):
    from cleanpipe.stability.probe.packing import trained_tokenizer

    tokenizer = trained_tokenizer(texts, vocabulary)
    tokenizer.save(str(path))
    return tokenizer


def grown(tokenizer, make, wanted):
    """A text of about so many tokens."""
    text = make(12 * wanted)
    offsets = tokenizer.encode(text).offsets[:wanted]
    return text[: offsets[-1][1]]


def trained(folder, to, seed, plan):
    """Batches in the order of the export, and a line a step."""
    from cleanpipe.stability.probe.model import Shape
    from cleanpipe.stability.probe.training import Optimizer, Trainer

    opened = Export.open(to)
    ids = np.asarray(opened.tokens(0)).astype(np.int64)
    rows = min(plan.steps * plan.batch, (len(ids) - 1) // plan.length) // plan.batch * plan.batch
    path = folder / "log.jsonl"
    path.unlink(missing_ok=True)
    shape = Shape(plan.vocabulary, plan.width, plan.layers, length=plan.length)
    trainer = Trainer.begin(shape, Optimizer(lr=plan.lr), seed, log=path)
    with StepLog(to / "steps.jsonl") as log:
        for first in range(0, rows, plan.batch):
            starts = np.arange(first, first + plan.batch) * plan.length
            batch = ids[starts[:, None] + np.arange(plan.length + 1)]
            line = trainer.take(batch)
            log.batch(batch[:, :-1], starts=starts)
            log.step(line["step"])
    who = exposure(opened, step_log.read(opened, [to / "steps.jsonl"]).spans)
    most = who.sort("tokens", descending=True).unique("id", keep="first")
    planted = most.filter(~pl.col("id").str.starts_with("clean-")).with_columns(
        kind=pl.col("id").str.replace(r"-\d+$", "")
    )
    return Trained(
        run=Run.load(folder / "out"),
        export=to,
        log=pl.read_ndjson(path),
        exposure=who,
        planted=planted.select("id", "kind", "step").sort("step", "id"),
        log_path=path,
        order=to / "steps.jsonl",
    )


@dataclass(frozen=True)
class Score:
    """How an attribution did, by what was planted; counts, so that seeds add up."""

    events: int
    true_events: int
    """At a planted document's step, or one beside it."""
    planted: dict[str, int]
    raised: dict[str, int]
    """By kind: documents late enough to be seen, and those at an event."""
    rank: int | None
    """Of the first measure that was made for any planted kind."""
    first: int
    five: int
    """True events whose first candidate, or one of five, is a planted document."""
    placebo: int
    """Events of which a placebo is named."""
    asked: int
    """True events that were asked about."""
    controls: dict[str, tuple[int, int]]
    """Negative controls: significant, of."""


def score(known, events, answer):
    """Compare an answer of `answer.answered` with what was planted."""
    steps = events["step"].to_numpy()
    late = known.log.height // 10  # as Bounds.first has it
    planted = known.planted.filter(pl.col("step") > late)
    bad = planted.filter(pl.col("kind") != PLACEBO)["step"].to_numpy()

    def beside(one, others):
        return bool((np.abs(np.asarray(others) - one) <= 1).any())

    kinds = planted["kind"].unique().sort().to_list()
    at = {kind: planted.filter(pl.col("kind") == kind)["step"].to_list() for kind in kinds}
    measures = list(dict.fromkeys(one["measure"] for one in answer["findings"]))
    good = set().union(OF_REPEATS, *TRUE.values())
    true = [event for event in answer["candidates"] if beside(event["step"], bad)]

    def is_planted(one):
        return not one["id"].startswith(("clean-", PLACEBO))

    return Score(
        events=len(steps),
        true_events=sum(beside(step, bad) for step in steps),
        planted={kind: len(own) for kind, own in at.items()},
        raised={kind: sum(beside(step, steps) for step in own) for kind, own in at.items()},
        rank=next((place for place, name in enumerate(measures, 1) if name in good), None),
        first=sum(is_planted(one) for event in true for one in event["candidates"][:1]),
        five=sum(any(map(is_planted, event["candidates"])) for event in true),
        placebo=sum(
            any(one["id"].startswith(PLACEBO) for one in event["candidates"])
            for event in answer["candidates"]
        ),
        asked=len(true),
        controls={one["control"]: (one["significant"], one["of"]) for one in answer["controls"]},
    )
