"""How many events at bad documents of which size attribution needs, to name them.

`python benchmarks/attribution_power.py NOVELS.jsonl.zst --results FILE.jsonl` plants documents of
six faults and of clean text into paragraphs of novels, runs and exports, and writes logs of no
model in which the gradient norm of so many planted batches stands out, and of no other: whether a
document raises an event is another question (event_dose.py, attribution_dose.py). Each answer is a
line in FILE, and is not asked for again; then it prints the table of docs/attribution.md.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from attribution_dose import share
from attribution_null import NoModel

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from planted_training import PLACEBO, Plan, clean_texts, made, score

from cleanpipe.stability.attribution import trained_order
from cleanpipe.stability.attribution.answer import answered, events_of, one_log
from cleanpipe.stability.attribution.question import Question
from cleanpipe.stability.probe import training
from cleanpipe.stability.spikes.events import Bounds

DOSES = {0.1: 48, 0.03: 48, 0.01: 48, 0.003: 128, 0.001: 128}
"""Of a batch's tokens; and the batch's sequences of 64 tokens: a thousandth of 128 is 8 tokens."""
STEPS = 1_300
"""Room for 48 events and their controls."""
COUNTS = (24, 36, 48)
SPIKE = 3.0
"""By which the gradient norm of an event is multiplied: far out of its spread of a tenth."""


def asked(novels: Path, dose: float, seed: int, counts: list[int]) -> list[dict[str, Any]]:
    """Export once, and ask for each number of events."""
    plan = Plan(steps=STEPS, batch=DOSES[dose], length=64, dose=dose, each=10)
    texts = clean_texts(novels, seed, plan.steps * plan.tokens // 45 + 2000)
    with tempfile.TemporaryDirectory() as folder:
        known = made(Path(folder) / "it", texts, seed, plan)
        return [{"dose": dose, "seed": seed, "count": n} | _answer(known, seed, n) for n in counts]


def _answer(known: Any, seed: int, count: int) -> dict[str, Any]:
    """Let so many batches with a planted document stand out, and ask what they have in common."""
    bad = known.planted.filter(~pl.col("id").str.starts_with(PLACEBO))["step"].unique().sort()
    late = bad.filter(bad > known.log.height // 10 + 5).to_numpy()
    chosen = np.random.default_rng([seed, 9]).permutation(late)[:count]
    log = known.log.with_columns(
        pl.col("grad_norm") * pl.when(pl.col("step").is_in(chosen)).then(SPIKE).otherwise(1.0)
    )
    path = known.log_path.with_name(f"log-{count}.jsonl")
    log.write_ndjson(path)
    events = events_of(one_log(path), Bounds())
    who, proof, _ = trained_order.read(known.order, trained_order.export_of(known.order, None), log)
    answer = answered(events, log, (who, proof), known.run, Question(seed=seed))
    return {"status": answer["status"], **asdict(score(known, events, answer))}


def table(lines: list[dict[str, Any]]) -> str:
    """A row for each dose and number of events."""
    head = (
        *("dose", "tokens", "events planned", "exports", "something associated"),
        *(
            "events asked about, a planted document among the first five",
            "of which a placebo is named",
        ),
    )
    told = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for dose, count in sorted({(line["dose"], line["count"]) for line in lines}, reverse=True):
        own = [one for one in lines if (one["dose"], one["count"]) == (dose, count)]
        known = [one for one in own if one["status"] == "attributed"]
        events = sum(one["true_events"] for one in own)
        cells = (
            *(f"{dose:.1%}", f"{round(dose * DOSES[dose] * 64)}", f"{count}", f"{len(own)}"),
            share(len(known), len(own)),
            share(sum(one["five"] for one in own), events),
            share(sum(one["placebo"] for one in own), events),
        )
        told.append("| " + " | ".join(cells) + " |")
    return "\n".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("novels", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--doses", type=float, nargs="*", default=list(DOSES))
    parser.add_argument("--minutes", type=float, default=60)
    given = parser.parse_args()
    training.Trainer = NoModel  # type: ignore[assignment,misc]
    known = given.results.read_bytes().splitlines() if given.results.exists() else []
    lines = [orjson.loads(line) for line in known]
    done = {(line["dose"], line["seed"], line["count"]) for line in lines}
    begun = time.monotonic()
    for seed, dose in [(seed, dose) for seed in range(given.seeds) for dose in given.doses]:
        counts = [count for count in COUNTS if (dose, seed, count) not in done]
        if not counts or time.monotonic() - begun > 60 * given.minutes:
            continue
        found = asked(given.novels, dose, seed, counts)
        lines += found
        with given.results.open("ab") as file:
            file.writelines(orjson.dumps(line) + b"\n" for line in found)
        print(dose, seed, [(one["count"], one["status"], one["five"]) for one in found], flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
