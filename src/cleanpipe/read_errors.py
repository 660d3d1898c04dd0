"""A disk that fails while a run reads its own files: which file it is, and what to do.

Reading fails with EIO, but what is mapped ends the process with SIGBUS, and whoever reads a table
rarely says which file it was. So the files are read again when it has happened, to find it.
"""

import contextlib
import ctypes
import errno
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from pebble import ProcessExpired

from cleanpipe.errors import CleanpipeError, OutputError, WorkerDiedError

PIECE = 1 << 20
MOST_NAMED = 3
OF_RUST = f"(os error {errno.EIO})"
"""How an error of Polars ends, which has no errno."""


def unreadable(folder: Path) -> list[Path]:
    """The first files below a folder that the disk fails to read; the newest run's come first."""
    found: list[Path] = []
    for path in sorted((p for p in folder.rglob("*") if p.is_file()), reverse=True):
        try:
            with path.open("rb", buffering=0) as file:
                while file.read(PIECE):
                    pass
        except OSError as error:
            if error.errno == errno.EIO:
                found.append(path)
        if len(found) == MOST_NAMED:
            break
    return found


def of_a_disk(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is a disk's that cannot read.

    >>> of_a_disk(OSError(errno.EIO, "Input/output error")), of_a_disk(OSError(errno.ENOENT, ""))
    (True, False)
    """
    while error is not None:
        if isinstance(error, ProcessExpired) and error.exitcode == -signal.SIGBUS:
            return True
        if getattr(error, "errno", None) == errno.EIO or OF_RUST in str(error):
            return True
        error = error.__cause__
    return False


def said(output: Path) -> OutputError:
    """The error of a disk that fails below an output folder, said to people."""
    found = unreadable(output)
    what = ", ".join(map(str, found)) or "a file, of which the system's log says more"
    return OutputError(
        f"the disk fails to read {what} (Input/output error). Nothing half is published. Save what "
        "the folder holds to a whole disk and run again there, or clean into another --output"
    )


@contextlib.contextmanager
def named(output: Path) -> Iterator[None]:
    """Within this, a disk that fails below the output folder is an OutputError that names the file.

    Where a mapped file of this very process fails, nothing can be raised: the process says so and
    ends with the error's exit code.
    """

    def end(_: int) -> None:
        sys.stderr.write(f"cleanpipe: {said(output)}\n")
        sys.stderr.flush()
        os._exit(OutputError.exit_code)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(end)
    signals = ctypes.CDLL(None).signal
    signals.restype = ctypes.c_void_p
    signals.argtypes = (ctypes.c_int, ctypes.c_void_p)
    before = signals(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    except Exception as error:
        is_said = isinstance(error, CleanpipeError) and not isinstance(error, WorkerDiedError)
        if is_said or not of_a_disk(error):
            raise
        raise said(output) from error
    finally:
        signals(signal.SIGBUS, before)
