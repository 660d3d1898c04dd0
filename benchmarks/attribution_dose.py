"""How large a share of a batch a bad document must be for attribution to name it.

`python benchmarks/attribution_dose.py NOVELS.jsonl.zst --results FILE.jsonl` plants documents of
six faults and of clean text into paragraphs of novels, runs, exports, trains a small GPT, and asks
for the events' documents: once a dose and seed. It adds a line each to FILE, and does nothing again
that stands there; then it prints the tables of docs/attribution.md.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from planted_training import PLACEBO, Plan, clean_texts, made, score

from cleanpipe.stability.attribution import trained_order
from cleanpipe.stability.attribution.answer import answered, events_of, one_log
from cleanpipe.stability.attribution.question import Question
from cleanpipe.stability.spikes.events import Bounds

DOSES = {0.1: 48, 0.05: 48, 0.03: 192, 0.01: 192, 0.003: 192, 0.001: 192}
"""Of a batch's tokens; and the batch's sequences of 64 tokens, in which the dose is a document."""
BOUNDS = Bounds(grad_norm=5)
POWER = 0.8


def asked(novels: Path, dose: float, seed: int) -> dict:
    """Train once, ask once, and count."""
    plan = Plan(steps=900, batch=DOSES[dose], length=64, dose=dose)
    texts = clean_texts(novels, seed, plan.steps * plan.tokens // 45 + 2000)
    with tempfile.TemporaryDirectory() as folder:
        known = made(Path(folder) / "it", texts, seed, plan)
        events = events_of(one_log(known.log_path), BOUNDS)
        who, proof, _ = trained_order.read(
            known.order, trained_order.export_of(known.order, None), known.log
        )
        answer = answered(events, known.log, (who, proof), known.run, Question(seed=seed))
        late = known.planted.filter(known.planted["step"] > known.log.height // 10)
        named = {one["id"] for event in answer["candidates"] for one in event["candidates"]}
        planted = [one for one in late["id"].to_list() if not one.startswith(PLACEBO)]
        told = asdict(score(known, events, answer))
    told |= {"named_documents": len(named & set(planted)), "planted_documents": len(planted)}
    return {"dose": dose, "seed": seed, "status": answer["status"], **told}


def share(found: int, of: int) -> str:
    """With Clopper and Pearson's interval."""
    if not of:
        return "none asked"
    low, high = stats.binomtest(found, of).proportion_ci()
    return f"{found} of {of} ({found / of:.0%}; {low:.0%} to {high:.0%})"


def table(lines: list[dict]) -> str:
    """A row a dose."""
    columns = (
        *("dose", "trainings", "with something associated", "planted documents that are events"),
        *("planted documents named", "true events asked about, planted among the first five"),
        "events that name a placebo",
    )
    told = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for dose in sorted({line["dose"] for line in lines}):
        own = [line for line in lines if line["dose"] == dose]

        def total(name: str, own: list[dict] = own) -> int:
            return sum(line[name] for line in own)

        kinds = [kind for kind in own[0]["planted"] if kind != PLACEBO]
        raised = sum(line["raised"].get(kind, 0) for line in own for kind in kinds)
        asked_of = sum(line["events"] for line in own if line["status"] == "attributed")
        cells = (
            f"{dose:.1%}",
            str(len(own)),
            str(sum(line["status"] == "attributed" for line in own)),
            share(raised, total("planted_documents")),
            share(total("named_documents"), total("planted_documents")),
            share(total("five"), total("asked")),
            share(total("placebo"), asked_of),
        )
        told.append("| " + " | ".join(cells) + " |")
    return "\n".join([*told, "", *by_kind(lines)])


def by_kind(lines: list[dict]) -> list[str]:
    """Events by kind and dose, and the dose from which POWER of a kind's documents are events."""
    doses = sorted({line["dose"] for line in lines})
    told = [
        "| planted | " + " | ".join(f"{dose:.1%}" for dose in doses) + " | limit |",
        "|" + "---|" * (len(doses) + 2),
    ]
    for kind in lines[0]["planted"]:
        counts = [
            [
                sum(line[what].get(kind, 0) for line in lines if line["dose"] == dose)
                for dose in doses
            ]
            for what in ("raised", "planted")
        ]
        cells = [f"{a} of {b}" for a, b in zip(*counts, strict=True)]
        told.append(f"| {kind} | " + " | ".join(cells) + f" | {limit(doses, *counts)} |")
    return told


def limit(doses: list[float], found: list[int], of: list[int]) -> str:
    """Where the share first reaches POWER, between two doses by the logarithm; or beyond which."""
    shares = np.array(found) / np.maximum(of, 1)
    above = np.flatnonzero(shares >= POWER)
    if not len(above):
        return f"above {doses[-1]:.0%}"
    place = int(above[0])
    if place == 0:
        return f"below {doses[0]:.1%}"
    part = (POWER - shares[place - 1]) / (shares[place] - shares[place - 1])
    low, high = np.log(doses[place - 1]), np.log(doses[place])
    return f"{np.exp(low + part * (high - low)):.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("novels", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--doses", type=float, nargs="*", default=list(DOSES))
    parser.add_argument("--minutes", type=float, default=60)
    given = parser.parse_args()
    known = given.results.read_bytes().splitlines() if given.results.exists() else []
    lines = [orjson.loads(line) for line in known]
    done = {(line["dose"], line["seed"]) for line in lines}
    wanted = [(d, s) for s in range(given.seeds) for d in given.doses if (d, s) not in done]
    begun = time.monotonic()
    for count, (dose, seed) in enumerate(wanted):
        passed = time.monotonic() - begun
        if passed > 60 * given.minutes:
            break
        lines.append(asked(given.novels, dose, seed))
        with given.results.open("ab") as file:
            file.write(orjson.dumps(lines[-1]) + b"\n")
        left = (time.monotonic() - begun) / (count + 1) * (len(wanted) - count - 1)
        print(dose, seed, lines[-1]["status"], f"{left / 60:.0f} min left", flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
