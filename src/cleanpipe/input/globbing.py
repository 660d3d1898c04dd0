"""The files that a path of the recipe names: a file, a folder, or a pattern."""

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from cleanpipe.errors import InputError
from cleanpipe.input.places import cannot_read, is_address, stored_files

MAGIC = re.compile(r"[*?\[]")
IN_FOLDERS = re.compile(
    r"\.(?:parquet|arrows?|feather|ipc"
    r"|(?:jsonl|ndjson|csv|tsv|tab|txt)(?:\.gz|\.zst|\.zstd|\.bz2)?"
    r"|json(?:\.gz|\.zst|\.zstd|\.bz2))$",
    re.IGNORECASE,
)
"""What a folder's shards end in. A bare .json is none: beside shards it describes them."""


def matching_files(path: str, folder: Path, *, any_ending: bool) -> tuple[str, list[str]]:
    """The fixed prefix of `path`, and the regular files that it names.

    `any_ending` takes every file of a folder; otherwise only those whose ending tells a format.
    Hidden files and folders (.x) are left out; a link to a folder is followed once.
    Raises InputError where nothing matches, or where something cannot be read.
    """
    if is_address(path):
        return _stored(path, any_ending=any_ending)
    if re.match(r"[a-z0-9+]+://", path):
        raise InputError(
            f"input.path {path!r} is an address that is not s3://; give local files (mount or copy "
            "it) or objects on S3-compatible storage"
        )
    prefix, files = _local(path, folder, any_ending=any_ending)
    return str(prefix), [str(file) for file in files]


def _stored(path: str, *, any_ending: bool) -> tuple[str, list[str]]:
    prefix, found = stored_files(path, MAGIC)
    segments = tuple(path.rstrip("/").removeprefix(prefix).split("/")[1:])
    if segments:
        matches = _segment_matcher(segments)
        files = [file for file in found if matches(tuple(file[len(prefix) + 1 :].split("/")))]
    else:
        files = [file for file in found if any_ending or file == path or IN_FOLDERS.search(file)]
    if not files:
        raise InputError(f"input.path {path!r} matches no object; {len(found)} lie below {prefix}")
    return prefix, files


def _local(path: str, folder: Path, *, any_ending: bool) -> tuple[Path, list[Path]]:
    """As `matching_files`, on a disk."""
    whole = folder / Path(path).expanduser()
    parts = whole.parts
    fixed = next((i for i, part in enumerate(parts) if MAGIC.search(part)), len(parts))
    if fixed == len(parts) or whole.exists():
        return _named(whole, path, folder, any_ending=any_ending)
    prefix = Path(*parts[:fixed])
    if not prefix.is_dir():
        raise _nothing(path, folder, prefix)
    matches = _segment_matcher(parts[fixed:])
    files = sorted(
        file for file in _walk(prefix, parts[fixed:]) if matches(file.relative_to(prefix).parts)
    )
    if not files:
        raise _nothing(path, folder, prefix)
    for file in files:
        _check_regular(file)
    return prefix, files


def _named(whole: Path, path: str, folder: Path, *, any_ending: bool) -> tuple[Path, list[Path]]:
    if not os.path.lexists(whole):
        raise _nothing(path, folder, whole)
    if not whole.is_dir():
        _check_regular(whole)
        return whole.parent, [whole]
    found = sorted(_walk(whole, ("**", "*")))
    files = [file for file in found if any_ending or IN_FOLDERS.search(file.name)]
    if not files:
        seen = f"; it holds {found[0].name!r}: name the files with a pattern" if found else ""
        raise InputError(
            f"input.path {path!r}: no file in {whole} ends in .parquet, .arrow, .jsonl, .csv, "
            f".tsv or .txt (compressed or not){seen}"
        )
    for file in files:
        _check_regular(file)
    return whole, files


def _walk(prefix: Path, segments: tuple[str, ...]) -> Iterator[Path]:
    """Every visible file under `prefix` as deep as the pattern can look; each folder once."""
    deepest = None if "**" in segments else len(segments)
    seen: set[tuple[int, int]] = set()
    links = [prefix]
    while links:
        # real folders before links: a file's name does not depend on which link came first
        folders = [links.pop(0)]
        while folders:
            current = folders.pop(0)
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            depth = len(current.relative_to(prefix).parts) + 1
            for entry in _entries(current):
                if entry.is_dir():
                    if deepest is None or depth < deepest:
                        (links if entry.is_symlink() else folders).append(current / entry.name)
                else:
                    yield current / entry.name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror}") from error
    visible = [entry for entry in found if not entry.name.startswith(".")]
    for entry in visible:
        check_name(os.path.join(folder, entry.name))  # noqa: PTH118 (the name may be no text)
    return visible


def check_name(path: str) -> None:
    """Refuse a name that is not UTF-8: it could stand in no table and no report."""
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path)
        raise InputError(f"the name {shown!r} is not UTF-8; rename the file or folder") from None


def _segment_matcher(segments: tuple[str, ...]) -> Callable[[tuple[str, ...]], bool]:
    patterns = [
        None if segment == "**" else re.compile(fnmatch.translate(segment)) for segment in segments
    ]

    def matches(parts: tuple[str, ...]) -> bool:
        # reached[i]: the parts so far can be matched by the first i segments
        reached = _past_stars({0}, patterns)
        for part in parts:
            onward = set()
            for i in reached:
                if i < len(patterns):
                    pattern = patterns[i]
                    if pattern is None:
                        onward.add(i)
                    elif pattern.match(part):
                        onward.add(i + 1)
            reached = _past_stars(onward, patterns)
        return len(patterns) in reached

    return matches


def _past_stars(reached: set[int], patterns: list[re.Pattern[str] | None]) -> set[int]:
    """`**` stands for no folder, too; at the pattern's end it stands for any file."""
    for i in sorted(reached):
        while i < len(patterns) and patterns[i] is None:
            i += 1  # noqa: PLW2901 (a walk from each place)
            reached.add(i)
    return reached


def _check_regular(file: Path) -> None:
    try:
        status = file.stat()
    except OSError as error:
        raise cannot_read(file, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{file} is no regular file (a pipe or a device?); leave it out")


def _nothing(path: str, folder: Path, missing: Path) -> InputError:
    nearest = missing
    while not nearest.is_dir():
        nearest = nearest.parent
    names = sorted(p.name for p in nearest.iterdir() if not p.name.startswith("."))[:5]
    holds = f"which holds {', '.join(map(repr, names))}" if names else "which is empty"
    return InputError(
        f"input.path {path!r} matches no file (looked from {folder.resolve()}); "
        f"the nearest folder that exists is {nearest}, {holds}"
    )
