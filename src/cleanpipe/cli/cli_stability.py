"""The verbs of `cleanpipe stability`: what training makes of a corpus, in a small model."""

from pathlib import Path
from typing import Any

import orjson
from cyclopts import App
from rich.console import Console

from cleanpipe.errors import RecipeError

stability = App(name="stability", help="Link a corpus to the stability of training.")
stability.command(
    "cleanpipe.cli.cli_order:order", name="order", help="Write which tokens each step read."
)
stability.command(
    "cleanpipe.cli.cli_batch:batch", name="batch", help="Say who stood in a step's batch."
)
stability.command(
    "cleanpipe.cli.cli_batch:skip", name="skip", help="Tell a trainer which batches to leave out."
)
people = Console(stderr=True, highlight=False)


@stability.command
def probe(
    *,
    raw: str,
    clean: str,
    output: Path = Path("probe"),
    form: str = "quick",
    workers: int | None = None,
    json: bool = False,
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
    workers
        Trainings side by side; changes nothing in the result. Default: one a processor.
    json
        Print the result as JSON.
    """
    from cleanpipe.cli.console import Progress  # noqa: PLC0415 - heavy; --help needs none

    needs_torch()
    from cleanpipe.stability.probe import probing  # noqa: PLC0415
    from cleanpipe.stability.probe.shown import show_probe, show_sweep  # noqa: PLC0415

    with Progress(people) as progress:
        result = probing.probe(raw, clean, output, form, progress.tell, workers)
    if json:
        _print(result)
        return 0
    show_probe(Console(highlight=False), result)
    if "sweep" in result:
        show_sweep(Console(highlight=False), result["sweep"])
    return 0


@stability.command
def sweep(
    *,
    raw: str,
    clean: str,
    output: Path = Path("sweep"),
    form: str = "quick",
    workers: int | None = None,
    json: bool = False,
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
        `quick` (minutes) or `standard` (larger models, longer, four learning rates: a night).
    workers
        Trainings side by side; changes nothing in the result. Default: one a processor.
    json
        Print the result as JSON.
    """
    from cleanpipe.cli.console import Progress  # noqa: PLC0415 - heavy; --help needs none

    needs_torch()
    from cleanpipe.stability.probe import probing  # noqa: PLC0415
    from cleanpipe.stability.probe.shown import show_sweep  # noqa: PLC0415

    with Progress(people) as progress:
        result = probing.arms(raw, clean, output, form, progress.tell, workers)
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
    from cleanpipe.cli.console import Progress  # noqa: PLC0415 - heavy; --help needs none

    needs_torch()
    from cleanpipe.stability.probe.calibrate import Settings  # noqa: PLC0415
    from cleanpipe.stability.probe.calibrate import calibrate as experiment  # noqa: PLC0415
    from cleanpipe.stability.probe.shown import show_calibration  # noqa: PLC0415

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

    A log is recognized by what is in it: Megatron, NeMo, nanotron, llm.c, nanoGPT, modded-nanogpt,
    OLMo, torchtitan, Composer, a trainer_state.json, Lightning's or W&B's CSV, JSON lines, or (a
    folder of) TensorBoard event files.

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
    from cleanpipe.cli.console import Progress  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.stability.spikes.events import Bounds  # noqa: PLC0415
    from cleanpipe.stability.spikes.spikes import spikes as found_in  # noqa: PLC0415
    from cleanpipe.stability.spikes.spikes_page import write_page  # noqa: PLC0415
    from cleanpipe.stability.spikes.spikes_shown import show_spikes  # noqa: PLC0415

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


@stability.command
def attribute(
    *,
    log: Path,
    order: tuple[Path, ...],
    run: Path,
    export: Path | None = None,
    twin: tuple[Path, ...] = (),
    kind: tuple[str, ...] = (),
    feature: str | None = None,
    measure: tuple[str, ...] = (),
    loss: float = 6.0,
    grad_norm: float = 8.0,
    since: int | None = None,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Say what the batches of a log's events have in common, and which documents have it.

    Associations in this log beside matched batches, with negative controls; no causes. Nothing is
    said where the order is not proved to be the one that was trained on, or events are too few.

    Parameters
    ----------
    log
        The training log.
    order
        What stood in each step's batch: a step log (cleanpipe.training.callback), or a table
        with step, start, length and file (.parquet, .csv, .jsonl). One a rank, where there are
        several.
    run
        The output folder whose corpus was exported, or a run's folder.
    export
        The folder of the token files; left out: the order's own.
    twin
        Logs of other trainings that had the same order.
    kind
        Classes of events that are asked about; left out: content outlier, gradient spike and
        instability.
    feature
        One number named beforehand, such as "largest repeat_run": enough for 8 to 19 events.
    measure
        Measures that are asked about; left out: all.
    loss
        How far above its trend a loss is an event, in spreads.
    grad_norm
        The same of the gradient norm.
    since
        The first step that may be an event; as `spikes` has it, if not given.
    seed
        Of controls and permutations.
    json
        Print the answer as JSON.
    """
    from cleanpipe.cli.console import Progress  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.outcome import Run  # noqa: PLC0415
    from cleanpipe.stability.attribution import trained_order  # noqa: PLC0415
    from cleanpipe.stability.attribution.answer import answered, events_of, one_log  # noqa: PLC0415
    from cleanpipe.stability.attribution.attributed import show_attribution  # noqa: PLC0415
    from cleanpipe.stability.attribution.question import Question  # noqa: PLC0415
    from cleanpipe.stability.spikes.events import Bounds  # noqa: PLC0415

    bounds = Bounds(loss, grad_norm, since)
    twins = tuple(events_of(one_log(path), bounds, kind) for path in twin)
    known = one_log(log)
    events = events_of(known, bounds, kind)  # before the order, for the sake of memory
    steps, told = known.steps.select("step", "loss", "lr"), [note.text for note in known.notes]
    del known
    first, *ranks = order
    batches, proof, notes = trained_order.read(
        first, trained_order.export_of(first, export), steps, ranks
    )
    for note in (*told, *notes):
        people.print(note, markup=False)
    with Progress(people) as progress:
        answer = answered(
            events,
            steps,
            (batches, proof),
            Run.load(run),
            Question(feature=feature, measures=measure, seed=seed),
            twins=twins,
            tell=progress.tell,
        )
    if json:
        _print(answer)
    else:
        show_attribution(Console(highlight=False), answer)
    return 0


@stability.command
def replay(
    *,
    checkpoint: tuple[Path, ...],
    batch: Path,
    suspect: tuple[int, ...] = (),
    load: str | None = None,
    loss: str | None = None,
    mask: Path | None = None,
    control: Path | None = None,
    json: bool = False,
) -> int:
    """Give a batch to a model again: the gradient norm with each sequence and without the suspects.

    Twice as many backward passes as there are sequences, at each checkpoint. Needs torch. The
    functions named are Python that is run: name your own.

    Parameters
    ----------
    checkpoint
        The state before the event; more of them: the same batch at other states.
    batch
        Token ids as a .npy file: a row a sequence, the last token as the last target.
    suspect
        Rows of the batch, from 0.
    load
        module:function that makes a torch model of a checkpoint's path; left out: a checkpoint of
        `cleanpipe stability probe`.
    loss
        module:function of (model, batch): the mean loss, or better one a sequence or a token; left
        out: that of the probe's model.
    mask
        A .npy file of Booleans, a row a sequence and a column a target: tokens whose loss is left
        out. Needs a loss a token.
    control
        Another batch as .npy, in which nothing happened: the suspects are put into it.
    json
        Print the answer as JSON.
    """
    from cleanpipe.cli.console import Progress  # noqa: PLC0415 - heavy; --help needs none

    needs_torch()
    from cleanpipe.stability.attribution import replay as replays  # noqa: PLC0415
    from cleanpipe.stability.attribution.attributed import show_replay  # noqa: PLC0415

    with Progress(people) as progress:
        answer = replays.at_checkpoints(
            checkpoint,
            replays.Asked(
                batch=replays.array(batch),
                suspects=suspect,
                mask=None if mask is None else replays.array(mask),
                control=None if control is None else replays.array(control),
            ),
            replays.own_model if load is None else replays.function(load),
            replays.own_loss if loss is None else replays.function(loss),
            progress.tell,
        )
    if json:
        _print(answer)
    else:
        show_replay(Console(highlight=False), answer)
    return 0


def needs_torch() -> None:
    """Refuse, with what to install, where the extra `probe` is missing."""
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
