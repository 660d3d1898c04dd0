"""Models trained on raw and on cleaned text from the start, at equal tokens and paired seeds.

Arms of data (raw, cleaned, as many random documents removed, risky ones spread or gathered,
repeats, noise of five tokens) stand beside arms of the optimizer and of the model, each over the
same learning rates. Training losses are never compared across arms: easier text has a lower one.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from cleanpipe import store
from cleanpipe.errors import InputError, RecipeError
from cleanpipe.stability.probe import endpoints, packing, pools
from cleanpipe.stability.probe.faults import inserted
from cleanpipe.stability.probe.model import Shape
from cleanpipe.stability.probe.side_by_side import side_by_side
from cleanpipe.stability.probe.training import Line, Machine, Optimizer, Trainer

Ids = npt.NDArray[np.int64]
Tell = Callable[[str, int, int], None]
HELD = 64
"""Sequences of each held-out set."""


@dataclass(frozen=True)
class Arm:
    """One way to train, and the arm that it differs from in one thing."""

    order: str = "raw"
    """The text (pools.ORDERS)."""
    against: str = "raw"
    changes: Mapping[str, float | None] = field(default_factory=dict)
    """Options of the optimizer that are others."""
    qk_norm: bool = False
    noise: float = 0.0
    """The share of places where noise of five tokens stands (arXiv 2602.02400)."""


ARMS = {
    "raw": Arm(),
    "clean": Arm("clean"),
    "random_removed": Arm("random_removed"),
    "spread": Arm("spread"),
    "gathered": Arm("gathered"),
    "repeats": Arm("repeats"),
    "noise 5 %": Arm("clean", "clean", noise=0.05),
    "noise 15 %": Arm("clean", "clean", noise=0.15),
    "noise 55 %": Arm("clean", "clean", noise=0.55),
    "beta2 0.999": Arm(changes={"beta2": 0.999}),
    "ZClip": Arm(changes={"clip": None, "zclip": 2.5}),
    "QK-norm": Arm(qk_norm=True),
}
"""beta2 is 0.95 and gradients are clipped at 1 in all others."""


@dataclass(frozen=True)
class Sweep:
    """How much is done."""

    arms: tuple[str, ...] = tuple(ARMS)
    seeds: int = 6
    rates: tuple[float, ...] = (1e-2, 1e-1)
    base: float = 1e-2
    """The learning rate at which single runs are compared."""
    steps: int = 200
    batch: int = 8
    every: int = 25
    """Steps between two looks at the held-out sets."""
    warmup: int = 20
    shape: Shape = field(default_factory=lambda: Shape(512, width=48, layers=2, heads=2, length=64))

    @property
    def tokens(self) -> int:
        """That a run trains on."""
        return self.steps * self.batch * self.shape.length


FORMS = {
    "quick": Sweep(),
    "standard": Sweep(
        rates=(1e-3, 1e-2, 3e-2, 1e-1),
        steps=800,
        batch=16,
        every=25,
        warmup=100,
        shape=Shape(1024, width=96, layers=3, heads=2, length=128),
    ),
}


@dataclass(frozen=True)
class Held:
    """Sequences that nothing is trained on, of raw and of cleaned text."""

    raw: Ids
    clean: Ids


def sweep(
    raw: list[str],
    clean: list[str],
    folder: Path,
    form: Sweep,
    tell: Tell,
    workers: int | None = None,
) -> dict[str, Any]:
    """Train every arm, seed and learning rate; compare; write sweep.json and runs.csv to `folder`.

    `workers` runs go on side by side, which changes nothing in the result; one a processor if not
    given.

    Errors: InputError for too little text; RecipeError if the folder holds another sweep.
    """
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    _same(folder, {"raw": raw, "clean": clean, "form": asdict(form)})
    pool = pools.read(raw, clean)
    tokenizer = packing.trained_tokenizer(pool.sample(), form.shape.vocabulary)
    held = _held(pool, tokenizer, form)
    wanted = list(product(range(form.seeds), form.arms, form.rates))
    missing = [run for run in wanted if not _path(folder, run).exists()]
    lost: list[tuple[int, int]] = []

    def tasks() -> Iterator[tuple[Any, ...]]:
        """Of what is missing, with its text, which is made once for all rates."""
        for seed in range(form.seeds):
            text = pools.chosen(pool, tokenizer, seed, form.tokens)
            lost.append(text.tokens)
            for arm in form.arms:
                rates = [rate for rate in form.rates if (seed, arm, rate) in missing]
                given = _given(text, ARMS[arm], tokenizer, form, seed) if rates else None
                for rate in rates:
                    yield form, (seed, arm, rate), given, held, folder

    begun = 1 + len(wanted) - len(missing)
    for done, _ in enumerate(side_by_side(_run, tasks(), workers), begun):
        tell("runs", done, len(wanted))
    runs = [dict(orjson.loads(_path(folder, run).read_bytes())) for run in wanted]
    table = pl.DataFrame([endpoints.row(run) for run in runs])
    store.write_file(folder / "runs.csv", lambda to: to.write(table.write_csv().encode()))
    against = {arm: ARMS[arm].against for arm in form.arms if ARMS[arm].against in form.arms}
    result = {
        "form": asdict(form),
        "raw": raw,
        "clean": clean,
        "parameters": form.shape.parameters,
        "machine": str(Machine.here()),
        "tokens": form.tokens,
        "tokens_lost": [round(1 - kept / whole, 4) for whole, kept in lost],
        "arms": endpoints.compared(runs, against, form.base),
        "limits": LIMITS,
    }
    page = orjson.dumps(result, option=orjson.OPT_INDENT_2)
    store.write_file(folder / "sweep.json", lambda to: to.write(page))
    return result


LIMITS = (
    "These are associations in a small model, far from convergence, with these settings. That an "
    "arm is no better here does not show that it is none at scale; that one is better does not "
    "show that it prevents spikes in a large model."
)


def _held(pool: pools.Pool, tokenizer: Any, form: Sweep) -> Held:
    found = []
    for name in ("raw", "clean"):
        rows = packing.packed(tokenizer, pool.held(name), form.shape.length).sequences()
        if len(rows) < HELD:
            raise InputError(
                f"{len(rows)} sequences of {name} text to measure with, expected {HELD}: "
                "give more text"
            )
        found.append(rows[np.random.default_rng(0).permutation(len(rows))[:HELD]])
    return Held(*found)


def _given(text: pools.Text, arm: Arm, tokenizer: Any, form: Sweep, seed: int) -> Ids:
    """The sequences of an arm, in the order of training."""
    size = (form.steps, form.batch, form.shape.length)
    found = pools.sequences(text, arm.order, tokenizer, size, seed)
    if not arm.noise:
        return found
    chance = np.random.default_rng([seed, 3])
    few = chance.integers(1, form.shape.vocabulary, 5)
    return inserted(found, few, arm.noise, chance)


Run = tuple[int, str, float]
"""Seed, arm and learning rate."""


def _path(folder: Path, run: Run) -> Path:
    """Where a run's end points are kept."""
    seed, name, rate = run
    title = f"{name.replace(' ', '-').replace('%', 'percent')}-lr-{rate:g}-seed-{seed}"
    return folder / "runs" / f"{title}.json"


def _run(form: Sweep, run: Run, given: Ids, held: Held, folder: Path) -> None:
    """Train one model, and keep its end points."""
    seed, name, rate = run
    path = _path(folder, run)
    log = path.with_suffix(".jsonl")
    log.unlink(missing_ok=True)
    arm = ARMS[name]
    options = replace(Optimizer(lr=rate, warmup=form.warmup), **dict[str, Any](arm.changes))
    trainer = Trainer.begin(replace(form.shape, qk_norm=arm.qk_norm), options, seed, log)
    lines: list[Line] = []
    looks = [_look(trainer, held)]
    for step in range(form.steps):
        lines.append(trainer.take(given[step * form.batch : (step + 1) * form.batch]))
        if not math.isfinite(lines[-1]["loss"]):
            break
        if (step + 1) % form.every == 0:
            looks.append(_look(trainer, held))
    sampled = given[np.linspace(0, len(given) - 1, HELD).astype(int)]
    own = "clean" if arm.order in {"clean", "repeats"} else "raw"
    result = {"seed": seed, "arm": name, "lr": rate, "looks": looks, "own": own}
    result["seen_loss"] = _finite(trainer.loss(sampled))
    result |= endpoints.of_log(lines, form.steps)
    store.write_file(path, lambda to: to.write(orjson.dumps(result)))


def _look(trainer: Trainer, held: Held) -> dict[str, float | None]:
    return {
        "tokens": trainer.tokens,
        "clean": _finite(trainer.loss(held.clean)),
        "raw": _finite(trainer.loss(held.raw)),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _same(folder: Path, wanted: dict[str, Any]) -> None:
    path = folder / "settings.json"
    page = orjson.dumps(wanted, option=orjson.OPT_INDENT_2)
    if path.exists() and path.read_bytes() != page:
        raise RecipeError(f"{folder} holds a sweep with other settings: name another folder")
    store.write_file(path, lambda to: to.write(page))
