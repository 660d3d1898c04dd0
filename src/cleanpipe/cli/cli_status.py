"""The verb `cleanpipe status`: for schedulers, and for who is woken by one."""

import sys
from pathlib import Path

import orjson
from rich.console import Console


def status(output: Path, *, max_age: str | None = None, json: bool = False) -> int:
    """Say what is published, how old it is, and how the newest run came out.

    Exit code 1 where nothing is published, the publication is too old, or the newest run failed or
    stopped.

    Parameters
    ----------
    output
        The output folder.
    max_age
        How old the publication may be, such as 90m, 26h or 2d; left out, any age is good.
    json
        Print the status as JSON.
    """
    from cleanpipe.nights.status import status_of, told  # noqa: PLC0415 - heavy; --help needs none

    known = status_of(output, max_age)
    if json:
        sys.stdout.write(orjson.dumps(vars(known), default=str).decode() + "\n")
    else:
        console = Console(highlight=False, markup=False, soft_wrap=True)
        if known.age is not None:
            console.print(f"{output}: run {known.run} is {told(known.age)} old")
        if known.under_way:
            console.print(f"{output}: a run is under way")
        for fault in known.faults:
            console.print(fault, style="red")
    return 1 if known.faults else 0
