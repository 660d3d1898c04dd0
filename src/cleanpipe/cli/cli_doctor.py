"""The verb `cleanpipe doctor`: is this machine, and its Prefect server, set up as it should be?"""

import sys
from pathlib import Path

import orjson
from rich.console import Console

COLORS = {"good": "green", "note": "yellow", "bad": "red"}


def doctor(*, output: Path | None = None, json: bool = False) -> int:
    """Look at this machine and the Prefect server that runs go to; say what to mend, and how.

    Exit code 1 where something is bad: open to others, unreachable, or missing.

    Parameters
    ----------
    output
        A folder that runs shall write to; looked at, and nothing left in it.
    json
        Print the findings as JSON.
    """
    from cleanpipe.doctor import examine  # noqa: PLC0415 - heavy; --help needs none

    findings = examine(output)
    if json:
        sys.stdout.write(orjson.dumps([vars(one) for one in findings]).decode() + "\n")
    else:
        console = Console(highlight=False, markup=False, soft_wrap=True)
        for one in findings:
            console.print(f"{one.verdict:<5}", style=COLORS[one.verdict], end=" ")
            console.print(f"{one.what}: {one.found}")
            if one.do:
                console.print(f"      {one.do}")
    return int(any(one.verdict == "bad" for one in findings))
