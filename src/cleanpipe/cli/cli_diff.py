"""The verb `cleanpipe diff`: what changed between two runs, and why."""

import sys
from pathlib import Path

import orjson
from rich.console import Console


def diff(
    was: Path, now: Path | None = None, *, json: bool = False, html: Path | None = None
) -> int:
    """Say what changed between two runs, and why: recipe, code, inputs, rules, documents.

    Parameters
    ----------
    was
        The earlier run's folder; or an output folder alone, for its last two published runs.
    now
        The later run's folder, or an output folder for its published run.
    json
        Print the answer as JSON.
    html
        Write it as a page, too.
    """
    from cleanpipe.cli.console_diff import page, show_diff  # noqa: PLC0415
    from cleanpipe.stats import diff as between  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.store import write_file  # noqa: PLC0415

    told = between.diff(*between.runs_of(was, now))
    if html is not None:
        text = page(told).encode()
        write_file(html, lambda file: file.write(text))
    if json:
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        show_diff(Console(highlight=False), told)
    return 0
