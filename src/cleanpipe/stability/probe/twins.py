"""Twins: what planted faults, and what cleaning removed, do to a small model that trains on.

From one checkpoint several twins go on, which share every later batch; in the first few, half of
the sequences are replaced: by a fault, by text that cleaning removed or changed, or, as a placebo,
by other clean text. The difference to the placebo is the effect, since all else is the same. Each
kind has a second twin, in which as many sequences are spread evenly over all steps.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from cleanpipe import store
from cleanpipe.errors import InputError, RecipeError
from cleanpipe.stability.probe import excerpts, packing, proxies
from cleanpipe.stability.probe.exact import SPREAD, compared
from cleanpipe.stability.probe.faults import FAULTS, Ground
from cleanpipe.stability.probe.model import Shape
from cleanpipe.stability.probe.side_by_side import side_by_side
from cleanpipe.stability.probe.training import Line, Machine, Trainer, stored

Ids = npt.NDArray[np.int64]
Tell = Callable[[str, int, int], None]
PLACEBOS = ("placebo", "placebo_again")
"""The second is compared with the first: what no fault at all looks like."""
REMOVED = "removed"
WATCHED = (*range(1, 11), *range(15, 101, 5))
"""Steps after the branch at which the loss on the fixed batch is read."""
FIXED = 32
"""Sequences of the fixed clean batch."""
PEAK = 10
"""Steps within which the peaks of secondary end points are sought: Adam's memory."""


@dataclass(frozen=True)
class Form:
    """How much is done."""

    kinds: tuple[str, ...] = ("noise_5", "single_token", "period_4")
    seeds: int = 6
    """The least of exact two-sided p-values is 2 / 2^seeds: 0.031 with six."""
    rates: tuple[float, ...] = (4e-3,)
    checkpoints: tuple[int, ...] = (200,)
    """Steps on text before the branch."""
    school: int = 300
    batches: int = 3
    """In which faults stand, directly after the branch."""
    dose: float = 0.5
    """The share of their sequences."""
    after: int = 100
    """Steps that are watched."""
    plan: proxies.Plan = field(
        default_factory=lambda: proxies.Plan(shape=Shape(width=64, layers=2))
    )
    characters: int = 8_000_000
    """Of clean text that is trained on, at most."""


QUICK = Form()
STANDARD = Form(
    kinds=tuple(kind for kind in FAULTS if kind != "placebo"),
    rates=(1e-3, 4e-3, 1e-2),
    checkpoints=(100, 400, 1200, 2400),
)
FORMS = {"quick": QUICK, "standard": STANDARD}


@dataclass(frozen=True)
class Data:
    """Sequences: to train on, a fixed clean batch, and what takes their places."""

    stream: packing.Packed
    fixed: Ids
    ground: Ground
    removed: Ids


def clean_path(path: str) -> list[str]:
    """The current parts of an output folder, or the path itself."""
    manifest = store.current_manifest(Path(path)) if Path(path).is_dir() else None
    if manifest is None:
        return [path]
    return [str(Path(path) / part["path"]) for part in manifest["parts"]]


def read(raw: str, clean: str, form: Form) -> Data:
    """The clean text in two halves, and the raw text that is not in it."""
    halved = [excerpts.halves(path, seed=0) for path in clean_path(clean)]
    groups: dict[str, list[str]] = {}
    for part in halved:
        for lang, texts in part.train.items():
            groups.setdefault(lang, []).extend(texts)
    test = [text for part in halved for text in part.test]
    kept = {text for texts in groups.values() for text in texts} | set(test)
    given = excerpts.halves(raw, seed=0)
    whole = [*given.test, *(text for texts in given.train.values() for text in texts)]
    training = packing.mixed(groups, form.characters, seed=0)
    shape = form.plan.shape
    tokenizer = packing.trained_tokenizer(training[::4], shape.vocabulary)
    stream = packing.packed(tokenizer, training, shape.length)
    others = packing.packed(tokenizer, test, shape.length).sequences()
    least = FIXED + 4 * form.plan.batch
    if len(others) < least or len(stream) < form.plan.batch:
        raise InputError(
            f"{clean}: {len(stream)} sequences of {shape.length} tokens to train on and "
            f"{len(others)} to measure with; expected {form.plan.batch} and {least}: give more text"
        )
    others = others[np.random.default_rng(0).permutation(len(others))]
    taken = packing.packed(tokenizer, [t for t in whole if t not in kept], shape.length)
    ground = Ground.of(tokenizer, others[FIXED:], stream.ids)
    return Data(stream, others[:FIXED], ground, taken.sequences())


def probe(
    raw: str, clean: str, folder: Path, form: Form, tell: Tell, workers: int | None = None
) -> dict[str, Any]:
    """Train, branch, compare; the result is also written to probe.json in `folder`.

    `workers` trainings go on side by side, which changes nothing in the result; one a processor
    if not given.

    Errors: InputError for too little text; RecipeError if the folder holds another probe.
    """
    (folder / "twins").mkdir(parents=True, exist_ok=True)
    _same(folder, {"raw": raw, "clean": clean, "form": asdict(form)})
    data = read(raw, clean, form)
    faults = [*form.kinds, *([REMOVED] if len(data.removed) >= form.plan.batch else [])]
    kinds = [*PLACEBOS, *faults, *(kind + SPREAD for kind in faults)]
    settings = list(product(form.checkpoints, form.rates))
    branches = list(product(form.checkpoints, range(form.seeds)))
    tell("checkpoints", 0, len(branches))
    copies: list[float] = []
    sequences = data.stream.sequences()
    tasks = ((form, folder, branch, sequences, data.fixed) for branch in branches)
    for ratio in side_by_side(_checkpoint, tasks, workers):
        copies.append(ratio)
        tell("checkpoints", len(copies), len(branches))
    all_twins = [
        (*setting, seed, kind)
        for setting, seed, kind in product(settings, range(form.seeds), kinds)
    ]
    missing = [twin for twin in all_twins if not _path(folder, twin).exists()]
    # a process gets its twin's batches alone: all of what was removed can be 100 times as much
    given = ((form, folder, twin, _batches_of(form, data, twin), data.fixed) for twin in missing)
    trained = side_by_side(_twin, given, workers)
    for done, _ in enumerate(trained, 1 + len(all_twins) - len(missing)):
        tell("twins", done, len(all_twins))
    arms = [dict(orjson.loads(_path(folder, twin).read_bytes())) for twin in all_twins]
    result = {
        "form": asdict(form),
        "raw": raw,
        "clean": clean,
        "parameters": form.plan.shape.parameters,
        "machine": str(Machine.here()),
        "clean_tokens": len(data.stream.ids),
        "removed_tokens": int(data.removed.size),
        "copy_ratios": [round(ratio, 3) for ratio in copies],
        "copies": max(copies) < proxies.COPIES,
        "settings": [
            {"checkpoint": steps, "lr": rate, **compared(_of(arms, steps, rate), kinds)}
            for steps, rate in settings
        ],
        "limits": LIMITS,
    }
    page = orjson.dumps(result, option=orjson.OPT_INDENT_2)
    store.write_file(folder / "probe.json", lambda to: to.write(page))
    return result


LIMITS = (
    "These are associations in a small model with these settings. They do not show that a "
    "document causes a spike in a large one, that results hold at billions of parameters or in "
    "low precision, or that cleaning prevents spikes."
)


def _of(arms: list[dict[str, Any]], steps: int, rate: float) -> list[dict[str, Any]]:
    return [arm for arm in arms if arm["checkpoint"] == steps and arm["lr"] == rate]


Branch = tuple[int, int]
"""Steps on text, and the seed."""
Twin = tuple[int, float, int, str]
"""Steps on text before the branch, learning rate, seed and kind."""


def _plan(form: Form, branch: Branch) -> proxies.Plan:
    steps, seed = branch
    return proxies.Plan(
        seed, form.plan.shape, form.plan.optimizer, form.school, steps, form.plan.batch
    )


def _home(folder: Path, branch: Branch) -> Path:
    """Where the model that twins branch from is kept."""
    return folder / f"checkpoint-{branch[0]}"


def _checkpoint(form: Form, folder: Path, branch: Branch, sequences: Ids, fixed: Ids) -> float:
    """Train the model that twins branch from, and keep it; its copy ratio."""
    home = _home(folder, branch)
    home.mkdir(exist_ok=True)
    return proxies.train(_plan(form, branch), sequences, fixed, home, lambda *_: None)[1]


def _batches_of(form: Form, data: Data, twin: Twin) -> Ids:
    """(steps, batch, length + 1): what a twin is trained on."""
    steps, _, seed, kind = twin
    return np.stack(list(batches(form, data, kind, seed, form.school + steps)))


def batches(form: Form, data: Data, kind: str, seed: int, first: int) -> Iterator[Ids]:
    """The batches after a branch at step `first`: the same for all kinds, but for what is planted.

    Faults take the places of the first sequences of a batch, the same for every kind.
    """
    plan = proxies.Plan(seed, form.plan.shape, form.plan.optimizer, 0, 0, form.plan.batch)
    sequences = data.stream.sequences()
    own = kind.removesuffix(SPREAD)
    number = sorted({*FAULTS, *PLACEBOS, REMOVED}).index(own)
    chance = np.random.default_rng([seed, first, number])
    for step, bad in enumerate(planted(form, is_spread=own != kind)):
        batch = proxies.batch_of(plan, first + step, sequences)
        if bad and own == REMOVED:
            batch[:bad] = data.removed[chance.choice(len(data.removed), bad, replace=False)]
        elif bad:
            fault = FAULTS["placebo" if own in PLACEBOS else own]
            batch[:bad] = fault(data.ground, bad, chance)
        yield batch


def planted(form: Form, *, is_spread: bool) -> list[int]:
    """How many sequences of each step after the branch are replaced.

    >>> form = Form(batches=2, dose=0.5, after=8, plan=proxies.Plan(batch=4))
    >>> planted(form, is_spread=False), planted(form, is_spread=True)
    ([2, 2, 0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1, 0, 1])
    """
    bad = round(form.dose * form.plan.batch)
    if not is_spread:
        return [bad] * min(form.batches, form.after) + [0] * (form.after - form.batches)
    total = bad * form.batches
    ends = [total * step // form.after for step in range(form.after + 1)]
    return [after - before for before, after in itertools.pairwise(ends)]


def _path(folder: Path, twin: Twin) -> Path:
    """Where a twin's end points are kept."""
    steps, rate, seed, kind = twin
    own = kind.replace(SPREAD, "-spread")
    return folder / "twins" / f"checkpoint-{steps}-lr-{rate:g}-seed-{seed}-{own}.json"


def _twin(form: Form, folder: Path, twin: Twin, given: Ids, fixed: Ids) -> None:
    """Train one twin, and keep its end points."""
    steps, rate, seed, kind = twin
    branch = steps, seed
    path = _path(folder, twin)
    log = path.with_suffix(".jsonl")
    log.unlink(missing_ok=True)
    state = stored(_plan(form, branch).path(_home(folder, branch)))
    trainer = Trainer.resume(state, log, lr=rate)
    before = trainer.loss(fixed)
    lines, losses = [], [before]
    for step, batch in enumerate(given, 1):
        lines.append(trainer.take(batch))
        if step in WATCHED:
            losses.append(trainer.loss(fixed))
        if not math.isfinite(lines[-1]["loss"]):
            break
    result = {"checkpoint": steps, "lr": rate, "seed": seed, "kind": kind}
    result |= _end_points(form, lines, losses)
    store.write_file(path, lambda to: to.write(orjson.dumps(result)))


def _end_points(form: Form, lines: list[Line], losses: list[float]) -> dict[str, Any]:
    """What is compared; `losses` begin before the branch."""
    watched = [0, *(step for step in WATCHED if step <= form.after)][: len(losses)]
    finite = len(lines) == form.after and math.isfinite(losses[-1])
    peaks = {
        name: max(line[name] for line in lines[: form.batches + PEAK])
        for name in ("grad_norm", "update_norm", "max_attn_logit", "second_moment")
    }
    return {
        "steps": watched,
        "losses": losses,
        "diverged": not finite or losses[-1] > losses[0],
        "peaks": peaks,
    }


def _same(folder: Path, wanted: dict[str, Any]) -> None:
    path = folder / "settings.json"
    page = orjson.dumps(wanted, option=orjson.OPT_INDENT_2)
    if path.exists() and path.read_bytes() != page:
        raise RecipeError(f"{folder} holds a probe with other settings: name another folder")
    store.write_file(path, lambda to: to.write(page))
