"""A folder that is replaced as a whole: the old one, or the new one, and never half of each."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cleanpipe import store
from cleanpipe.errors import OutputError


@contextmanager
def replaced(folder: Path, proof: str) -> Iterator[Path]:
    """A new folder beside `folder`, which takes its place when the block ends without an error.

    What is replaced must be empty or hold the file `proof`, by which such a folder is known. The
    lock is a file beside the folder, `.NAME.lock`, since the folder itself goes away. Who has
    opened files of the old folder, as a trainer has, goes on reading the old ones.

    Errors: OutputError for a folder that holds something else, or a disk that refuses; LockedError
    while another process writes it.
    """
    folder = folder.resolve()
    beside = folder.parent
    lock = store.take_lock(beside / f".{folder.name}.lock", folder)
    try:
        _check(folder, proof)
        _remove_leftovers(folder)
        name = f"{store.TEMPORARY}{folder.name}-{os.getpid()}-{secrets.token_hex(4)}"
        new = beside / name
        try:
            new.mkdir(mode=0o755)
            yield new
            store.sync_folder(new)
            _swap(new, folder)
        except OSError as error:
            raise store.cannot_write(folder, error) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
    finally:
        os.close(lock)


def _check(folder: Path, proof: str) -> None:
    if folder.is_dir():
        found = next(folder.iterdir(), None)
        if found is None or (folder / proof).is_file():
            return
        raise OutputError(
            f"{folder} holds {found.name} and no {proof}, so it is not known as one that may be "
            "replaced; name a new folder"
        )
    if folder.exists():
        raise OutputError(f"{folder} is a file; name a new folder")


def _swap(new: Path, folder: Path) -> None:
    """Between the two renames there is no folder of that name; a kill there leaves none."""
    old = new.with_name(f"{new.name[:-8]}{secrets.token_hex(4)}")
    replaces = folder.exists()
    if replaces:
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if replaces:
            old.rename(folder)
        raise
    store.sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    own = re.compile(re.escape(f"{store.TEMPORARY}{folder.name}-") + r"\d+-[0-9a-f]{8}")
    for path in folder.parent.iterdir():
        if own.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
