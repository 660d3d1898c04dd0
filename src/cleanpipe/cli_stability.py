"""The verbs of `cleanpipe stability`: what training makes of a corpus, in a small model."""

from pathlib import Path
from typing import Any

import orjson
from cyclopts import App
from rich.console import Console

from cleanpipe.errors import RecipeError

stability = App(name="stability", help="Link a corpus to the stability of training.")
people = Console(stderr=True, highlight=False)


@stability.command
def probe(
    *, raw: str, clean: str, output: Path = Path("probe"), form: str = "quick", json: bool = False
) -> int:
    """Train small twins: what faults, and what cleaning removed, do to the steps that follow.

    Stopped, it goes on where it was. Needs the extra `probe` (torch, tokenizers).

    Parameters
    ----------
    raw
        A path or pattern of the raw text.
    clean
        The output folder of the run that cleaned it, or a path of clean text.
    output
        Where logs, checkpoints and probe.json go.
    form
        `quick` (minutes) or `standard` (all faults, three learning rates, four checkpoints, and
        the arms of `stability sweep`: a night).
    json
        Print the result as JSON.
    """
    from cleanpipe.console import Progress  # noqa: PLC0415 - heavy; --help needs none

    _needs_torch()
    from cleanpipe.stability import probing  # noqa: PLC0415
    from cleanpipe.stability.shown import show_probe, show_sweep  # noqa: PLC0415

    with Progress(people) as progress:
        result = probing.probe(raw, clean, output, form, progress.tell)
    if json:
        _print(result)
        return 0
    show_probe(Console(highlight=False), result)
    if "sweep" in result:
        show_sweep(Console(highlight=False), result["sweep"])
    return 0


@stability.command
def sweep(
    *, raw: str, clean: str, output: Path = Path("sweep"), form: str = "quick", json: bool = False
) -> int:
    """Train small models from the start, on raw and on cleaned text, at equal tokens.

    Beside them: as many random documents removed, risky ones spread or gathered, repeats, noise;
    other optimizers, QK-norm. Stopped, it goes on where it was. Needs the extra `probe`.

    Parameters
    ----------
    raw
        A path or pattern of the raw text.
    clean
        The output folder of the run that cleaned it, or a path of clean text.
    output
        Where a log a run (JSON lines), runs.csv and sweep.json go.
    form
        `quick` (minutes) or `standard` (larger models, longer, five learning rates: a night).
    json
        Print the result as JSON.
    """
    from cleanpipe.console import Progress  # noqa: PLC0415 - heavy; --help needs none

    _needs_torch()
    from cleanpipe.stability import probing  # noqa: PLC0415
    from cleanpipe.stability.shown import show_sweep  # noqa: PLC0415

    with Progress(people) as progress:
        result = probing.arms(raw, clean, output, form, progress.tell)
    if json:
        _print(result)
    else:
        show_sweep(Console(highlight=False), result)
    return 0


@stability.command
def calibrate(
    *corpora: str,
    hard: tuple[str, ...] = (),
    scripts: str | None = None,
    output: Path = Path("calibration"),
    documents: int = 1000,
    json: bool = False,
) -> int:
    """Repeat, on CORPORA, the experiment on which measures foretell a batch's gradient.

    Two corpora at least: what is fitted on one is tested on the other. About half an hour on one
    core; stopped, it goes on where it was. Needs the extra `probe` (torch, tokenizers).

    Parameters
    ----------
    corpora
        Paths or patterns, each a corpus.
    hard
        Paths of texts that repeat and are no fault: lists, tables, code, logs.
    scripts
        A path of texts in many scripts.
    output
        Where checkpoints and calibration.json go.
    documents
        How many documents of a corpus are asked about.
    json
        Print the result as JSON.
    """
    from cleanpipe.console import Progress  # noqa: PLC0415 - heavy; --help needs none

    _needs_torch()
    from cleanpipe.stability.calibrate import Settings  # noqa: PLC0415
    from cleanpipe.stability.calibrate import calibrate as experiment  # noqa: PLC0415
    from cleanpipe.stability.shown import show_calibration  # noqa: PLC0415

    if len(corpora) < 2:
        raise RecipeError(f"{len(corpora)} corpora, expected two at least")
    settings = Settings(
        corpora={path: path for path in corpora},
        hard={path: path for path in hard},
        scripts=scripts,
        documents=documents,
    )
    with Progress(people) as progress:
        result = experiment(settings, output, progress.tell)
    if json:
        _print(result)
    else:
        show_calibration(Console(highlight=False), result)
    return 0


@stability.command
def spikes(
    *logs: Path,
    loss: float = 6.0,
    grad_norm: float = 8.0,
    since: int | None = None,
    column: tuple[str, ...] = (),
    html: Path | None = None,
    json: bool = False,
) -> int:
    """Find events in training LOGS, and what several logs have in common.

    A log is recognized by what is in it: Megatron, llm.c, nanoGPT, modded-nanogpt, OLMo,
    torchtitan, Composer, a trainer_state.json, Lightning's or W&B's CSV, JSON lines, or (a folder
    of) TensorBoard event files.

    Parameters
    ----------
    logs
        Files, or folders of event files.
    loss
        How far above its trend a loss is an event, in spreads.
    grad_norm
        The same of the gradient norm.
    since
        The first step that may be an event; 1,500 steps on, or a tenth of a shorter log, if not
        given.
    column
        How a table's columns are named: `loss=NAME`, `step=NAME`; may be given often.
    html
        Write a page with the curves.
    json
        Print the result as JSON.
    """
    from cleanpipe.console import Progress  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.stability.events import Bounds  # noqa: PLC0415
    from cleanpipe.stability.spikes import spikes as found_in  # noqa: PLC0415
    from cleanpipe.stability.spikes_page import write_page  # noqa: PLC0415
    from cleanpipe.stability.spikes_shown import show_spikes  # noqa: PLC0415

    for pair in column:
        if "=" not in pair:
            raise RecipeError(f"--column {pair}: expected OURS=THEIRS, such as loss=my_loss")
    columns = dict(pair.split("=", 1) for pair in column)
    bounds = Bounds(loss, grad_norm, since)
    with Progress(people) as progress:
        result, seen = found_in(logs, bounds, columns or None, progress.tell)
    if html:
        write_page(html, result, seen)
    if json:
        _print(result)
    else:
        show_spikes(Console(highlight=False), result)
    return 0


def _needs_torch() -> None:
    try:
        import tokenizers  # noqa: F401, PLC0415 - an extra
        import torch  # noqa: F401, PLC0415
    except ImportError as error:
        raise RecipeError(
            f"this verb needs the package {error.name}: pip install 'cleanpipe[probe]'"
        ) from None


def _print(result: dict[str, Any]) -> None:
    page = orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
    Console(highlight=False, soft_wrap=True).print(page.decode(), markup=False)
