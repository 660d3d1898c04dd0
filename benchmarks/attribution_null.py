"""How often steps drawn by chance have something in common, by both nulls of attribution.

`python benchmarks/attribution_null.py NOVELS.jsonl.zst --results FILE.jsonl` exports novels with
planted documents, and asks of 24 steps drawn by chance what `stability attribute` asks of events.
No model is trained, since the measures of batches do not depend on it: the loss falls, and the
rest is chance. `all` draws from all steps; `clean` leaves out those with a planted document, as
steps do that are no events. Each answer is a line in FILE, and is not asked for again.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import planted_training

from cleanpipe.stability.attribution import permutation, trained_order
from cleanpipe.stability.attribution.answer import measured
from cleanpipe.stability.attribution.attribution import attribute
from cleanpipe.stability.attribution.question import Question
from cleanpipe.stability.probe import training

EVENTS, SETTLED = 24, 100
MODES = ("all", "clean")


class NoModel:
    """In place of a trainer: a log as of a training, and nothing learnt."""

    def __init__(self, log: Path, seed: int) -> None:
        self.log, self.step, self.chance = log, 0, np.random.default_rng(seed)

    @classmethod
    def begin(cls, _shape: Any, _options: Any, seed: int, log: Path) -> "NoModel":
        """As training.Trainer.begin."""
        return cls(log, seed)

    def take(self, _batch: Any) -> dict[str, float]:
        """A line of the log."""
        self.step += 1
        line = {
            "step": self.step,
            "loss": 2 + 4 * np.exp(-self.step / 150) + self.chance.normal(0, 0.1),
            "grad_norm": np.exp(self.chance.normal(0, 0.1)),
            "lr": 3e-3 * min(1, self.step / 50),
        }
        with self.log.open("ab") as file:
            file.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
        return line


class Known:
    """A seed's export, and what its batches held."""

    def __init__(self, novels: Path, seed: int, folder: Path) -> None:
        plan = planted_training.Plan()
        count = plan.steps * plan.tokens // 45 + 2000
        texts = planted_training.clean_texts(novels, seed, count)
        found = planted_training.made(folder / "it", texts, seed, plan)
        opened = trained_order.export_of(found.order, None)
        self.who, _, _ = trained_order.read(found.order, opened, found.log)
        self.measures, self.log = measured(found.run.folder), found.log
        planted = found.planted["step"].to_numpy()
        steps = found.log["step"].to_numpy()
        late = steps[steps > SETTLED]
        beside = np.abs(late[:, None] - planted[None, :]).min(axis=1) <= 1
        self.steps = {"all": late, "clean": late[~beside]}

    def ask(self, mode: str, place: tuple[int, int]) -> dict[str, Any]:
        """Draw steps, and ask: whether the family's null is rejected, and whether both are."""
        chance = np.random.default_rng([*place, 77])
        drawn = np.sort(chance.choice(self.steps[mode], EVENTS, replace=False))
        found = attribute(drawn, self.log, self.who, self.measures, Question(seed=place[1]))
        family = found.judged.p_family <= permutation.LEVEL
        return {"family": bool(family.any()), "both": bool(found.associated.any())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("novels", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--times", type=int, default=100, help="of a seed and mode")
    parser.add_argument("--results", type=Path, required=True)
    given = parser.parse_args()
    training.Trainer = NoModel  # type: ignore[assignment,misc]
    known = given.results.read_bytes().splitlines() if given.results.exists() else []
    lines = [orjson.loads(line) for line in known]
    done = {(line["mode"], line["seed"], line["time"]) for line in lines}
    begun = time.monotonic()
    for seed in range(given.seeds):
        asked = [(m, seed, t) for t in range(given.times) for m in MODES]
        wanted = [one for one in asked if one not in done]
        if not wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            export = Known(given.novels, seed, Path(folder))
            for mode, _, number in wanted:
                place = {"mode": mode, "seed": seed, "time": number}
                lines.append(place | export.ask(mode, (seed, number)))
                with given.results.open("ab") as file:
                    file.write(orjson.dumps(lines[-1]) + b"\n")
        left = (time.monotonic() - begun) / (seed + 1) * (given.seeds - seed - 1) / 60
        print(f"seed {seed}; {left:.0f} min left", flush=True)
    for mode in MODES:
        own = [line for line in lines if line["mode"] == mode]
        for null in ("family", "both"):
            wrong = sum(line[null] for line in own)
            low, high = stats.binomtest(wrong, len(own)).proportion_ci()
            print(f"{mode}, {null}: {wrong} of {len(own)} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
