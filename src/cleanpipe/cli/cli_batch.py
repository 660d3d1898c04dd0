"""The verbs `stability batch`, who stood in a step, and `skip`, which leaves steps out."""

import sys
from pathlib import Path
from typing import Annotated

import orjson
from cyclopts import App, Parameter
from rich.console import Console

from cleanpipe.errors import InputError, RecipeError

skip = App(
    name="skip",
    help="Print what tells a trainer to leave the batches of some steps out when it begins again.",
)
Skipped = Annotated[
    int, Parameter(help="Numbered from 0, in the order of the data.", show_default=False)
]

Begin = Annotated[int, Parameter(help="The step at which the run begins again.")]
BatchesAStep = Annotated[int, Parameter(help="accumulate_grad_batches.")]


def batch(
    export: Path, *steps: int, order: tuple[Path, ...], most: int = 20, json: bool = False
) -> int:
    """Say which documents of EXPORT stood in the batches of STEPS, and with how many tokens.

    Parameters
    ----------
    export
        The folder of the token files.
    steps
        The trainer's own numbers.
    order
        A step log, or a table of `stability order`; one a rank, where there are more.
    most
        Documents of a step that are shown; --json has all.
    json
        Print as JSON: step, id, tokens, copy, part, row.
    """
    import polars as pl  # noqa: PLC0415 - heavy; --help needs none

    from cleanpipe.cli.console import visible  # noqa: PLC0415
    from cleanpipe.export.exposure import Export, exposure, steps_of  # noqa: PLC0415
    from cleanpipe.stability.attribution import trained_order  # noqa: PLC0415

    if not steps:
        raise RecipeError("no step is named, expected one at least: batch EXPORT 12 --order ORDER")
    opened = Export.open(export)
    spans, _, notes = trained_order.spans_of(order, opened)
    known = spans["step"].unique().sort()
    lost = sorted(set(steps) - set(known))
    if lost:
        its = f"its steps are {known[0]} to {known[-1]}" if len(known) else "it has none"
        raise InputError(f"{order[0]} has no step {lost[0]}; {its}")
    people = Console(highlight=False, markup=False, soft_wrap=True)
    for note in notes:
        Console(stderr=True, highlight=False, markup=False).print(note)
    places = pl.read_parquet(export / "train.docs.parquet", columns=["copy", "part", "row"])
    found = exposure(opened, steps_of(spans, steps))
    found = pl.concat([found, places[found["document"].to_list()]], how="horizontal")
    if json:
        rows = found.drop("document").to_dicts()
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    for step in dict.fromkeys(steps):
        own = found.filter(step=step).sort("tokens", "id", descending=[True, False])
        people.print(f"step {step}: {own.height:,} documents, {own['tokens'].sum():,} tokens")
        for row in own.head(most).iter_rows(named=True):
            copy = f" (copy {row['copy']})" if row["copy"] else ""
            place = f"{row['part']}, row {row['row']}"
            people.print(f"{row['tokens']:>9,}  {visible(row['id'])}{copy}  {visible(place)}")
        if own.height > most:
            people.print(f"           and {own.height - most:,} more")
    return 0


@skip.command
def megatron(*steps: Skipped) -> int:
    """Megatron-LM's option. Its log says `iteration 1` of the step that is 0 here."""
    from cleanpipe.export import skipping  # noqa: PLC0415 - heavy; --help needs none

    sys.stdout.write(skipping.megatron(steps) + "\n")
    return 0


@skip.command
def metaseq(*steps: Skipped, begin: Begin = 0) -> int:
    """Metaseq's option."""
    from cleanpipe.export import skipping  # noqa: PLC0415 - heavy; --help needs none

    sys.stdout.write(skipping.metaseq(steps, begin) + "\n")
    return 0


@skip.command
def lightning(*steps: Skipped, batches_a_step: BatchesAStep = 1) -> int:
    """skip_batches.json, as Lightning's SpikeDetection writes it."""
    from cleanpipe.export import skipping  # noqa: PLC0415 - heavy; --help needs none

    sys.stdout.write(skipping.lightning(steps, batches_a_step).decode())
    return 0
