"""What a run holds in memory now, for the table of its progress."""

import contextlib
import os
from pathlib import Path

from rich.progress import ProgressColumn, Task
from rich.text import Text


class Memory(ProgressColumn):
    """What this process and its workers hold now, beside the step that is under way."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """The memory of a step that is not done; nothing where the system does not tell."""
        held = 0 if task.finished else resident()
        return Text(f"{held / 1e9:.1f} GB" if held else "", style="dim")


def resident() -> int:
    """Bytes of memory of this process and all below it, shared pages counted once a process.

    0 where there is no /proc.
    """
    try:
        return sum(_resident(number) for number in _below(os.getpid()))
    except OSError:
        return 0


def _below(process: int) -> list[int]:
    found = [process]
    for number in found:
        for children in Path(f"/proc/{number}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found += map(int, children.read_text(encoding="ascii").split())
    return found


def _resident(process: int) -> int:
    try:
        pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
