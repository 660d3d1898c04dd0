"""The experiment behind docs/stability.md, on any corpora: do cheap measures foretell gradients?

Resumable: a proxy's checkpoints and each proxy's results are files of the folder, and what is
there with the same settings is not done again.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from cleanpipe import store
from cleanpipe.errors import InputError, RecipeError
from cleanpipe.measures.measure import measure
from cleanpipe.stability.probe import excerpts, foretelling, gradients, packing, proxies
from cleanpipe.stability.probe.faults import Ground
from cleanpipe.stability.probe.model import Shape
from cleanpipe.stability.probe.training import Trainer, deterministic

Floats = npt.NDArray[np.float64]
Tell = Callable[[str, int, int], None]
LEAST = 200
"""Documents of a corpus that is compared: fewer than twenty positives say little."""
CHARACTERS = 16
"""Read to have two tokens; the rest is for long documents that others cut short."""
FLAGGED = 0.05
"""The share of English documents above the threshold at which scripts are compared."""


@dataclass(frozen=True)
class Settings:
    """What an experiment is made of."""

    corpora: Mapping[str, str]
    """Names and paths."""
    hard: Mapping[str, str] = field(default_factory=dict)
    """Of texts that repeat and are no fault: lists, tables, code, logs. Nothing is trained on
    them, and the model of statistics is not fitted on them."""
    scripts: str | None = None
    """A path of texts in many scripts, such as the Universal Declaration of Human Rights."""
    seed: int = 0
    documents: int = 1000
    """Of a corpus that are asked about."""
    characters: int = 12_000_000
    """Of the text that models are trained on, at most."""
    clean_tokens: int = 131_072
    plans: tuple[proxies.Plan, ...] = (
        proxies.Plan(seed=0),
        proxies.Plan(seed=1),
        proxies.Plan(seed=0, shape=Shape(width=64, layers=2)),
    )

    def key(self) -> str:
        """A hash of all settings."""
        return hashlib.sha256(orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)).hexdigest()


def calibrate(settings: Settings, folder: Path, tell: Tell) -> dict[str, Any]:
    """Train the proxies, measure batches and documents, and say what the measures are worth.

    The result is written to calibration.json in `folder`.

    Errors: InputError for corpora without text; RecipeError if the folder holds another experiment.
    """
    deterministic()
    folder.mkdir(parents=True, exist_ok=True)
    _same(settings, folder)
    texts = {
        name: excerpts.halves(path, settings.seed)
        for name, path in {**settings.corpora, **settings.hard}.items()
    }
    groups = {
        f"{name}:{lang}": found
        for name in settings.corpora
        for lang, found in texts[name].train.items()
    }
    training = packing.mixed(groups, settings.characters, settings.seed)
    vocabulary = settings.plans[0].shape.vocabulary
    tokenizer = packing.trained_tokenizer(training[::4], vocabulary)
    length = settings.plans[0].shape.length
    stream = packing.packed(tokenizer, training, length)
    tests = {name: texts[name].test for name in settings.corpora}
    held_out = packing.packed(
        tokenizer, packing.mixed(tests, CHARACTERS * settings.clean_tokens, settings.seed), length
    ).sequences()
    needed = 2 * settings.clean_tokens // length
    if len(held_out) < needed or not len(stream):
        raise InputError(
            f"{len(held_out)} sequences of {length} tokens to measure on, expected {needed}: "
            "name larger corpora, or --clean-tokens of fewer"
        )
    held_out = held_out[np.random.default_rng(settings.seed).permutation(len(held_out))]
    sets = _asked(settings, texts, tokenizer, length)
    found = [
        _of_proxy(settings, plan, folder, (stream, held_out, sets, tokenizer), tell)
        for plan in settings.plans
    ]
    result = {
        "settings": asdict(settings),
        "training_characters": sum(map(len, training)),
        "training_tokens": len(stream.ids),
        "proxies": found,
    }
    _write(folder / "calibration.json", result)
    return result


@dataclass(frozen=True)
class Asked:
    """Excerpts of one corpus, and their measures."""

    sequences: npt.NDArray[np.int64]
    measured: pl.DataFrame
    scripts: list[str]


def _asked(
    settings: Settings, texts: Mapping[str, excerpts.Halves], tokenizer: Any, length: int
) -> dict[str, Asked]:
    whole = {name: found.test for name, found in texts.items()}
    for name in settings.hard:
        whole[name] = [*whole[name], *(t for some in texts[name].train.values() for t in some)]
    if settings.scripts:
        halved = excerpts.halves(settings.scripts, settings.seed)
        whole["scripts"] = [*halved.test, *(t for some in halved.train.values() for t in some)]
    found = {}
    for name, some in whole.items():
        chosen, sequences = excerpts.excerpts(tokenizer, some, length, settings.documents)
        measured = measure(chosen)
        found[name] = Asked(sequences, measured, [excerpts.script(text) for text in chosen])
    return found


def _of_proxy(
    settings: Settings, plan: proxies.Plan, folder: Path, data: Any, tell: Tell
) -> dict[str, Any]:
    path = folder / f"{plan.name}.json"
    if path.exists():
        return dict(orjson.loads(path.read_bytes()))
    stream, held_out, sets, tokenizer = data
    started = time.monotonic()
    clean = held_out[: settings.clean_tokens // plan.shape.length]
    others = held_out[len(clean) :]
    trainer, copies = proxies.train(plan, stream.sequences(), others[:64], folder, tell)
    tell(f"faults in batches, {plan.name}", 0, 1)
    sketcher = gradients.Sketcher(trainer, settings.seed)
    ground = Ground.of(tokenizer, others, stream.ids)
    result: dict[str, Any] = {
        "plan": asdict(plan),
        "parameters": plan.shape.parameters,
        "copy_ratio": copies,
        "counts": copies < proxies.COPIES,
        "held_out_loss": trainer.loss(clean),
        "faults": gradients.fault_curves(trainer, sketcher, clean, ground, settings.seed),
    }
    tell(f"faults in batches, {plan.name}", 1, 1)
    sketched = {
        name: _sketched(sketcher, asked, f"documents of {name}, {plan.name}", tell)
        for name, asked in sets.items()
    }
    result |= _documents(settings, sets, sketched, trainer)
    result["seconds"] = round(time.monotonic() - started)
    _write(path, result)
    return result


def _sketched(
    sketcher: gradients.Sketcher, asked: Asked, step: str, tell: Tell
) -> npt.NDArray[np.float32]:
    found = np.zeros((len(asked.sequences), gradients.SIZE), np.float32)
    for row, sequences in enumerate(asked.sequences):
        found[row] = sketcher.sketch(sequences)
        tell(step, row + 1, len(found))
    return found


def _documents(
    settings: Settings,
    sets: Mapping[str, Asked],
    sketched: Mapping[str, npt.NDArray[np.float32]],
    trainer: Trainer,
) -> dict[str, Any]:
    norms = {name: np.linalg.norm(found, axis=1) for name, found in sketched.items()}
    signs = {
        name: foretelling.features(asked.measured)
        for name, asked in sets.items()
        if len(asked.sequences)
    }
    enough = [name for name in settings.corpora if len(norms[name]) >= LEAST]
    if len(enough) < 2:
        raise RecipeError(
            f"{len(enough)} corpora have {LEAST} documents of {excerpts.WINDOWS} sequences: "
            "two are needed, one to fit on and one to test on"
        )
    groups = {name: (signs[name], norms[name].astype(np.float64)) for name in enough}
    result = foretelling.compare(groups, sketched, settings.seed)
    fitted = foretelling.coefficients(groups, but=None)
    losses = {
        name: float(
            trainer.losses(
                sets[name].sequences[:64].reshape(-1, trainer.model.shape.length + 1)
            ).mean()
        )
        for name in signs
    }
    pooled = np.concatenate([norms[name] for name in enough])
    scores = {
        name: {**found, "model": foretelling.design(found) @ fitted}
        for name, found in signs.items()
    }
    bounds = {
        measure: float(np.quantile(np.concatenate([scores[n][measure] for n in enough]), 0.95))
        for measure in scores[enough[0]]
    }
    result["hard"] = {
        name: {
            "documents": len(norms[name]),
            "norm_ratio": float(np.median(norms[name]) / np.median(pooled)),
            "loss": losses[name],
            "flagged": {
                measure: float((scores[name][measure] > bound).mean())
                for measure, bound in bounds.items()
            },
            "lift": foretelling.lift(
                np.concatenate([sketched[name][:16], *(sketched[n] for n in enough)]),
                np.concatenate([np.ones(min(16, len(norms[name]))), np.zeros(len(pooled))]),
                settings.seed,
            ),
        }
        for name in signs
        if name not in enough and name != "scripts"
    }
    if "scripts" in signs:
        result["scripts"] = by_script(sets["scripts"].scripts, norms["scripts"], scores["scripts"])
    return result


def by_script(
    scripts: list[str], norms: Floats, scores: Mapping[str, Floats]
) -> dict[str, dict[str, Any]]:
    """For each script the norm over Latin's median, and how often each measure flags it.

    The threshold of each is that above which one in twenty Latin documents is. `matched` compares
    a document's norm with the Latin ones of about the same window entropy.
    """
    names = np.array(scripts)
    latin = names == "LATIN"
    bounds = {name: float(np.quantile(found[latin], 1 - FLAGGED)) for name, found in scores.items()}
    bounds["norm"] = float(np.quantile(norms[latin], 1 - FLAGGED))
    every = {**scores, "norm": norms}
    order = np.argsort(scores["window_entropy_min"][latin])
    sorted_entropy = scores["window_entropy_min"][latin][order]
    sorted_norms = norms[latin][order]
    places = np.searchsorted(sorted_entropy, scores["window_entropy_min"])
    alike = np.array([np.median(sorted_norms[max(0, p - 15) : p + 15]) for p in places])
    return {
        name: {
            "documents": int((names == name).sum()),
            "norm_ratio": float(np.median(norms[names == name]) / np.median(norms[latin])),
            "matched": float(np.median((norms / alike)[names == name])),
            "flagged": {
                measure: float((found[names == name] > bounds[measure]).mean())
                for measure, found in every.items()
            },
        }
        for name in sorted(set(scripts))
        if (names == name).sum() >= 3
    }


def _same(settings: Settings, folder: Path) -> None:
    path = folder / "settings.json"
    wanted = {"key": settings.key(), **asdict(settings)}
    if path.exists() and orjson.loads(path.read_bytes())["key"] != wanted["key"]:
        raise RecipeError(f"{folder} holds an experiment with other settings: name another folder")
    _write(path, wanted)


def _write(path: Path, content: dict[str, Any]) -> None:
    page = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
    store.write_file(path, lambda to: to.write(page))
