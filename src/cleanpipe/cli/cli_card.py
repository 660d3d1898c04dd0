"""The verb `cleanpipe card`: what Hugging Face and readers of Croissant know a corpus by."""

import sys
from pathlib import Path


def card(
    output: Path,
    *,
    name: str | None = None,
    license: str | None = None,  # noqa: A002 - the option's name
) -> int:
    """Write a dataset card (README.md) and Croissant 1.1 metadata (croissant.json).

    Both stand in the output folder, beside the parts.

    Parameters
    ----------
    output
        The output folder of a finished run.
    name
        The corpus' name; left out, the folder's.
    license
        The licence of the texts, such as cc-by-4.0, which cleanpipe cannot know.
    """
    from cleanpipe.export.card import write  # noqa: PLC0415 - heavy; --help needs none

    for path in write(output, name or output.resolve().name, license):
        sys.stdout.write(f"{path}\n")
    return 0
