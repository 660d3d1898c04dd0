"""Arrays and tables between the passes, in a run's scratch folder.

They are made anew whenever a run goes on, so that nothing is synced and nothing hashed.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from secrets import token_hex
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cleanpipe import store


def save(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array, which `load` maps."""
    plain = np.ascontiguousarray(array)

    def fill(file: IO[bytes]) -> None:
        # not np.save, whose own writing hides the reason when a disk is full
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(plain))
        file.write(plain.data)

    _write(path, fill)


def new(path: Path, dtype: type, numbers: int) -> npt.NDArray[Any]:
    """An array of a new file, mapped to be written to.

    Its room is taken first: a disk that is full later ends the process which writes to it (SIGBUS).
    """
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, numbers * np.dtype(dtype).itemsize)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise store.cannot_write(path, error) from error
    return np.memmap(path, dtype, "r+", shape=(numbers,))


def load(path: Path) -> npt.NDArray[Any]:
    """An array of a file, read where it is touched."""
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def save_table(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write a table as an Arrow file without compression, which `load_table` maps."""

    def fill(file: IO[bytes]) -> None:
        with pa.ipc.new_file(file, schema) as writer:
            for table in tables:
                writer.write_table(table)

    _write(path, fill)


def load_table(path: Path) -> pa.Table:
    """A table of a file, read where it is touched."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _write(path: Path, fill: Callable[[IO[bytes]], None]) -> None:
    temporary = path.parent / f"{store.TEMPORARY}{path.name}-{os.getpid()}-{token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            fill(file)
        temporary.replace(path)  # two machines may do one task, when one was taken for dead
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise store.cannot_write(path, error) from error
