"""The verbs of the command line. Results go to standard output, all else to standard error."""

import errno
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import orjson
from cyclopts import App, Parameter
from rich.console import Console

from cleanpipe.errors import CleanpipeError, OutputError, RecipeError

app = App(
    name="cleanpipe",
    help="Clean, deduplicate and balance text for language-model training; lose no document.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
people = Console(stderr=True, highlight=False)
Set = Annotated[tuple[str, ...], Parameter(name="--set", negative="", consume_multiple=False)]


@app.command
def run(
    recipe: Path,
    *,
    input: str | None = None,  # noqa: A002 - the option is called --input
    output: Path | None = None,
    set_: Set = (),
    samples: Literal["none", "masked", "full"] | None = None,
    workers: int | None = None,
    incremental: bool = False,
    rehash: bool = False,
    prefect: bool = False,
    json: bool = False,
) -> int:
    """Clean a corpus as RECIPE says.

    Parameters
    ----------
    recipe
        The YAML file that says what to do.
    input
        A path or pattern in place of the recipe's input.
    output
        A folder in place of the recipe's output.
    set_
        An override such as filter.words.low=40; may be repeated.
    samples
        Excerpts of documents on the report page, in place of the recipe's report.samples.
    workers
        Processes to use; changes nothing in the output. Default: one a processor.
    incremental
        Clean only files that are new or changed, and add what they bring to what is published.
    rehash
        With --incremental: read all files, also those of unchanged size, time and inode.
    prefect
        Run as a Prefect flow, on a local server of its own or on PREFECT_API_URL's.
    json
        Print the statistics as JSON.
    """
    from cleanpipe.cli.console import Progress, show_run  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.outcome import Run  # noqa: PLC0415
    from cleanpipe.recipes.recipe_file import load  # noqa: PLC0415
    from cleanpipe.run import run as local  # noqa: PLC0415

    if samples is not None:
        set_ = (*set_, f"report.samples={samples}")
    known = load(recipe, overrides(set_), input=input, output=output and str(output))
    for notice in known.notices:
        people.print(f"note: {notice}", markup=False, style="yellow", soft_wrap=True)
    with Progress(people) as progress:
        if prefect:
            progress.say("starting a local Prefect server: 10 to 30 seconds")
            from cleanpipe.flows.clean import clean  # noqa: PLC0415 - only here
            from cleanpipe.flows.passes import told  # noqa: PLC0415

            told.set(progress.tell)
            folder = clean(
                str(recipe), overrides(set_), input, output and str(output), workers, incremental
            )
            done = Run.load(folder)
        elif incremental:
            from cleanpipe.nights.incremental import run_new  # noqa: PLC0415

            done = run_new(known, rehash=rehash, workers=workers, tell=progress.tell)
        else:
            done = local(known, workers=workers, tell=progress.tell)
    if json:
        print_json({"run": str(done.folder), "stats": done.stats})
    else:
        show_run(Console(highlight=False), done)
    return 0


@app.command
def plan(
    recipe: Path,
    *,
    input: str | None = None,  # noqa: A002 - the option is called --input
    output: Path | None = None,
    set_: Set = (),
    sample: float = 0.01,
    workers: int | None = None,
    json: bool = False,
) -> int:
    """Foretell a run from a sample: what it will drop, how long it takes, what it needs.

    Nothing is written into the output.

    Parameters
    ----------
    recipe
        The YAML file that says what to do.
    input
        A path or pattern in place of the recipe's input.
    output
        A folder in place of the recipe's output.
    set_
        An override such as filter.words.low=40; may be repeated.
    sample
        The share of documents to measure; at least about 500, and small corpora in whole.
    workers
        Processes to use, now and in the run whose time is foretold. Default: one a processor.
    json
        Print the plan as JSON.
    """
    from cleanpipe.cli.console import Progress  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.cli.plan_view import show_plan  # noqa: PLC0415
    from cleanpipe.planning.plan import plan as foretell  # noqa: PLC0415
    from cleanpipe.recipes.recipe_file import load  # noqa: PLC0415

    known = load(recipe, overrides(set_), input=input, output=output and str(output))
    with Progress(people) as progress:
        told = foretell(known, share=sample, workers=workers, tell=progress.tell)
    if json:
        print_json(told)
    else:
        show_plan(Console(highlight=False), told)
    return 0


def overrides(pairs: tuple[str, ...]) -> dict[str, str]:
    """`key=value` strings as a mapping."""
    for pair in pairs:
        if "=" not in pair:
            raise RecipeError(f"--set {pair}: expected key=value, such as filter.words.low=40")
    return dict(pair.split("=", 1) for pair in pairs)


@app.command
def decide(run: Path, *, set_: Set = (), recipe: Path | None = None, json: bool = False) -> int:
    """Say what a changed recipe would do to a run's documents, without reading a text.

    Filter, exact duplicates, balance and gates are answered exactly; near-duplicates exactly where
    the run compared all pairs concerned, and else as a range. What needs a run is refused.

    Parameters
    ----------
    run
        A run's folder, or an output folder (then its published run).
    set_
        A change such as filter.words.low=40; may be repeated.
    recipe
        Another recipe in place of the run's own.
    json
        Print the answer as JSON.
    """
    from cleanpipe.outcome import Run  # noqa: PLC0415

    answer = Run.load(run).decide(overrides(set_), recipe)
    if json:
        print_json(answer)
    else:
        from cleanpipe.cli.console_decide import show_outlook  # noqa: PLC0415

        show_outlook(Console(highlight=False), answer)
    return 0


@app.command
def why(run: Path, id: str, *, json: bool = False) -> int:  # noqa: A002 - a document's id
    """Tell one document's story: what it measured, what dropped it, its text before and after.

    Parameters
    ----------
    run
        A run's folder, or an output folder (then its published run).
    id
        The document's id; all documents of that id are told.
    json
        Print the stories as JSON.
    """
    from cleanpipe.cli.console import show_story  # noqa: PLC0415
    from cleanpipe.outcome import Run  # noqa: PLC0415

    stories = Run.load(run).why(id)
    if json:
        print_json(stories)
    else:
        for story in stories:
            show_story(Console(highlight=False), story)
    return 0


@app.command
def verify(output: Path, *, json: bool = False) -> int:
    """Hash all files of the published run again, and check the books. Exit code 1 on a fault.

    Parameters
    ----------
    output
        The output folder.
    json
        Print the faults as JSON.
    """
    from cleanpipe.verify import faults_of  # noqa: PLC0415

    faults = faults_of(output)
    if json:
        print_json({"faults": faults})
    else:
        for fault in faults:
            people.print(fault, markup=False, style="red", soft_wrap=True)
        if not faults:
            people.print(f"{output}: every file is as it was written, and the books balance")
    return 1 if faults else 0


@app.command
def presets(name: str | None = None, *, json: bool = False) -> int:
    """List the presets that a recipe can extend, or print one of them.

    Parameters
    ----------
    name
        The preset to print, as YAML with its sources in comments.
    json
        Print as JSON.
    """
    from cleanpipe.cli.console import show_presets  # noqa: PLC0415
    from cleanpipe.presets import files, load, unknown  # noqa: PLC0415

    known = files()
    if name is not None and name not in known:
        raise RecipeError(f"presets: {unknown(name, known)}")
    chosen = [load(one, path) for one, path in known.items() if name in {None, one}]
    if json:
        heads = {
            preset.name: {
                "about": preset.about,
                "source": preset.source,
                "languages": preset.languages,
                **({} if name is None else {"recipe": preset.tree.plain()}),
            }
            for preset in chosen
        }
        print_json(heads)
    elif name is None:
        show_presets(Console(highlight=False), chosen)
    else:
        sys.stdout.write(chosen[0].path.read_text(encoding="utf-8"))
    return 0


app.command("cleanpipe.cli.cli_init:init", name="init", help="Write a recipe for a corpus.")
app.command("cleanpipe.cli.cli_report:report", name="report", help="Draw a run's page again.")
app.command(
    "cleanpipe.cli.cli_report:schema",
    name="schema",
    help="Print the JSON Schema of recipes, for editors, or of stats.json.",
)
app.command("cleanpipe.cli.cli_diff:diff", name="diff", help="Say what changed between two runs.")
app.command(
    "cleanpipe.cli.cli_status:status",
    name="status",
    help="Say what is published, how old it is, and how the newest run came out.",
)
app.command(
    "cleanpipe.cli.cli_doctor:doctor",
    name="doctor",
    help="Look at this machine and its Prefect server; say what to mend.",
)
app.command(
    "cleanpipe.cli.cli_export:export", name="export", help="Write token files for trainers."
)
app.command(
    "cleanpipe.cli.cli_quality:quality",
    name="quality",
    help="A classifier of your own, for measure.models.",
)
app.command(
    "cleanpipe.cli.cli_nights:forget", name="forget", help="Take documents out again, by id."
)
app.command("cleanpipe.cli.cli_nights:rollback", name="rollback", help="Publish what was before.")
app.command("cleanpipe.cli.cli_nights:gc", name="gc", help="Delete what is not published any more.")
app.command("cleanpipe.cli.cli_augment:augment", name="augment")
app.command("cleanpipe.cli.cli_import:import_", name="import")
app.command("cleanpipe.cli.cli_storage:push", name="push", help="Put what is published on S3.")
app.command("cleanpipe.cli.cli_storage:fetch", name="fetch", help="Get what is published on S3.")
app.command("cleanpipe.cli.cli_card:card", name="card", help="Write a dataset card and Croissant.")
app.command(
    "cleanpipe.cli.cli_mixture:mixture",
    name="mixture",
    help="Propose shares of groups from small training runs.",
)
app.command(
    "cleanpipe.cli.cli_stability:stability",
    name="stability",
    help="Link a corpus to the stability of training.",
)


def print_json(value: Any) -> None:
    """A result for machines."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


class _TerminatedError(BaseException):
    """SIGTERM, as an exception that unwinds the run."""


def _terminated(*_: object) -> NoReturn:
    raise _TerminatedError


def _report_fault(error: Exception) -> None:
    """A fault of ours, in a line; the traceback goes to a file that can be sent along."""
    page = "".join(traceback.format_exception(error))
    with tempfile.NamedTemporaryFile(
        "w", prefix="cleanpipe-fault-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(page)
    what = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    people.print(
        f"cleanpipe: this is a fault of cleanpipe, please report it with {file.name}: {what}",
        markup=False,
        style="red",
        soft_wrap=True,
    )


def main() -> None:
    """Run a verb; every error that is the user's to mend ends in one line and its exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = app(result_action="return_value")
    except CleanpipeError as error:
        people.print(f"cleanpipe: {error}", markup=False, style="red", soft_wrap=True)
        code = error.exit_code
    except (KeyboardInterrupt, _TerminatedError) as stop:
        people.print("cleanpipe: stopped; run again to go on where it was")
        code = 128 + (signal.SIGTERM if isinstance(stop, _TerminatedError) else signal.SIGINT)
    except Exception as error:  # noqa: BLE001 - whatever it is, users get a line, not a page
        if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
            people.print("cleanpipe: no more files can be opened: run again after ulimit -n 256")
            code = OutputError.exit_code
        else:
            _report_fault(error)
            code = CleanpipeError.exit_code
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
