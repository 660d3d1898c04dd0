"""The verbs `cleanpipe report`, a finished run's page again, and `cleanpipe schema`."""

import sys
from pathlib import Path

import orjson

from cleanpipe.report.excerpts import Samples


def report(
    run: Path,
    *,
    samples: Samples | None = None,
    probe: tuple[Path, ...] = (),
    output: Path = Path("report.html"),
) -> int:
    """Draw the page of a finished run again; the run's own page stays as it was published.

    Parameters
    ----------
    run
        A run's folder, or an output folder for its published run.
    samples
        Excerpts of documents: none, masked or full, read again where the run shows others.
    probe
        The probe.json of `cleanpipe stability probe`, the sweep.json of `cleanpipe stability
        sweep` or the calibration.json of `cleanpipe stability calibrate`, to be shown on the page;
        may be given once for each.
    output
        Where the page goes.
    """
    from cleanpipe.outcome import Run  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.report.redraw import redraw  # noqa: PLC0415

    sys.stdout.write(f"{redraw(Run.load(run).folder, samples, output, *probe)}\n")
    return 0


def schema(*, stats: bool = False) -> int:
    """Print the JSON Schema of recipes, for editors; or of what runs leave.

    Parameters
    ----------
    stats
        The schema of stats.json instead.
    """
    from cleanpipe.recipes import recipe  # noqa: PLC0415
    from cleanpipe.stats import stats_schema  # noqa: PLC0415

    known = stats_schema.schema() if stats else recipe.Recipe.model_json_schema()
    sys.stdout.write(orjson.dumps(known, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 0
