"""Files that are whole or not there: atomic writes, tables, the lock, HEAD, and their check.

Every file is written under a temporary name in its target folder, synced, checked, renamed, and
its folder synced. A reader therefore sees an old file, a new file, or none. HEAD.json is the only
switch: what it does not reach does not exist for a reader.
"""

import contextlib
import errno
import fcntl
import io
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
import zstandard

from cleanpipe import plain
from cleanpipe.errors import LockedError, OutputError

ROWS_IN_GROUP = 1_000  # single documents are read back from parts: 0.6 ms a group of this size
ZSTD_LEVEL = 3
TEMPORARY = ".tmp-"
LEFTOVER = re.compile(r"\.tmp-.+-\d+-[0-9a-f]{8}")
FORMAT = 1
"""Of output folders; one of a later format is refused."""
ORPHANS_LEAVE_WITHIN = 60.0  # seconds; workers of a killed run leave as soon as their pipe closes
Record = dict[str, Any]
"""What a receipt says of a file: name, rows, bytes, xxh3_128."""


def write_file(path: Path, fill: Callable[[IO[bytes]], object], *, private: bool = False) -> Record:
    """Write `path` whole or not at all; `private` files (0600) hold documents or secrets."""
    temporary = path.parent / f"{TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, flags, 0o600 if private else 0o644), "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        record = {"bytes": temporary.stat().st_size, "xxh3_128": file_hash(temporary)}
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise
    return {"name": path.name, **record}


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error of a disk, said to people."""
    moves = {
        errno.ENOSPC: "free some space and run again: it goes on where it stopped",
        errno.EDQUOT: "free some of your quota and run again: it goes on where it stopped",
        errno.EIO: "its disk fails: clean into another --output, on a whole disk",
    }
    move = moves.get(error.errno or 0, "make it writable, or choose another --output")
    return OutputError(f"{path} cannot be written: {error.strerror or error}; {move}")


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_hash(path: Path) -> str:
    """xxh3_128 of a file's bytes, in hexadecimal."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: Path, value: Any, *, private: bool = False, indent: bool = True) -> Record:
    """Write JSON with sorted keys, so that equal values are equal bytes.

    Without `indent` long lists of numbers take a third of the room.
    """
    option = orjson.OPT_SORT_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    data = orjson.dumps(value, option=option) + b"\n"
    return write_file(path, lambda file: file.write(data), private=private)


def read_json(path: Path) -> Any:
    """Read JSON that this module wrote; a damaged file is named."""
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise OutputError(
            f"{path} is damaged ({error}); restore it or start a new output"
        ) from None


def write_lines(path: Path, lines: Iterable[Any]) -> Record:
    """Write JSON lines, compressed; used for quarantine, which holds documents."""
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)

    def fill(file: IO[bytes]) -> None:
        with compressor.stream_writer(file, closefd=False) as stream:
            for line in lines:
                stream.write(orjson.dumps(line, option=orjson.OPT_SORT_KEYS) + b"\n")

    return write_file(path, fill, private=True)


def read_lines(path: Path) -> Iterator[Any]:
    """Read what `write_lines` wrote."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        for line in io.BufferedReader(stream):
            yield orjson.loads(line)


def in_groups(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Regroup tables into ones of exactly `rows` rows, one chunk a column.

    Parquet's bytes depend on chunks and row groups: after this they depend on the rows alone.
    """
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        if count >= rows:
            whole = pa.concat_tables(waiting)
            cut = count - count % rows
            for start in range(0, cut, rows):
                yield whole.slice(start, rows).combine_chunks()
            waiting, count = [whole.slice(cut)], count - cut
    if count:
        yield pa.concat_tables(waiting).combine_chunks()


def write_table(
    path: Path, tables: Iterable[pa.Table], schema: pa.Schema, *, group: int = ROWS_IN_GROUP
) -> Record:
    """Write a table in the format that the path's ending names: .parquet, .arrow or .jsonl.zst.

    The one function that writes tables, so that equal rows are equal bytes whatever batches they
    come in: fixed row groups, one chunk, zstd 3, one thread.
    """
    rows = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal rows
        for table in in_groups(tables, group):
            rows += table.num_rows
            yield table

    def fill(file: IO[bytes]) -> None:
        if path.name.endswith(".parquet"):
            options = {"compression": "zstd", "compression_level": ZSTD_LEVEL}
            with pq.ParquetWriter(file, schema, write_page_checksum=True, **options) as writer:
                for table in counted():
                    writer.write_table(table, row_group_size=group)
        elif path.name.endswith(".arrow"):
            codec = pa.ipc.IpcWriteOptions(
                compression=pa.Codec("zstd", compression_level=ZSTD_LEVEL), use_threads=False
            )
            with pa.ipc.new_file(file, schema, options=codec) as writer:
                for table in counted():
                    writer.write_table(table)
        else:
            with zstandard.ZstdCompressor(level=ZSTD_LEVEL).stream_writer(
                file, closefd=False
            ) as stream:
                for table in counted():
                    for line in plain.json_lines(table):
                        stream.write(line)

    record = write_file(path, fill)
    return {**record, "rows": rows}


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files of killed writers; call it only while holding the lock."""
    for own in (folder / "_cleanpipe", folder / "data"):
        for path in own.rglob(f"{TEMPORARY}*"):
            if LEFTOVER.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)


def take_lock(path: Path, folder: Path | None = None) -> int:
    """Lock an output folder for this process and the workers that inherit the descriptor.

    The kernel frees the lock when the last holder is gone, so a killed run leaves none behind. An
    error names `folder`; left out, the folder of the _cleanpipe in which the lock stands.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise cannot_write(path, error) from error
    deadline = time.monotonic() + ORPHANS_LEAVE_WITHIN
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            if _is_alive(holder) or time.monotonic() > deadline:
                os.close(descriptor)
                raise LockedError(
                    f"{folder or path.parent.parent} is being written by another run ({holder}); "
                    "wait for it to end, or end it, and run again"
                ) from None
            time.sleep(0.05)  # its parent was killed: its workers are about to leave
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)
    return descriptor


def _is_alive(holder: str) -> bool:
    number = holder.removeprefix("process ")
    if not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(int(number))


def _is_zombie(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] == "Z"


def publish(control: Path, manifest: Record) -> None:
    """Write the next manifest and point HEAD at it: the moment a run becomes visible."""
    name = f"manifest-{manifest['number']}.json"
    write_json(control / name, manifest)
    write_json(control / "HEAD.json", {"format": FORMAT, "manifest": name})


def point_back(control: Path, number: int) -> None:
    """Point HEAD at an earlier manifest; the numbers of later ones are never given again."""
    last = last_number(control)
    head = {"format": FORMAT, "manifest": f"manifest-{number}.json", "last": last}
    write_json(control / "HEAD.json", head)


def _head(control: Path) -> Record | None:
    """What HEAD.json says; None where nothing was published yet.

    Errors: OutputError for a folder of a later format: what it holds would be misread.
    """
    path = control / "HEAD.json"
    if not path.exists():
        return None
    head: Record = read_json(path)
    if head.get("format", 1) > FORMAT:
        raise OutputError(
            f"{control.parent} has the format {head['format']}, which a later version of cleanpipe "
            f"wrote; this one knows {FORMAT}: install the later one, or choose another --output"
        )
    return head


def last_number(control: Path) -> int:
    """The highest number that HEAD ever pointed at; one that a kill left ahead does not count."""
    head = _head(control)
    return 0 if head is None else int(head.get("last", _number(head["manifest"])))


def _number(name: str) -> int:
    return int(name.removeprefix("manifest-").removesuffix(".json"))


def manifests(control: Path) -> list[Record]:
    """The published manifest and those before it, oldest first; none that was rolled back."""
    head = _head(control)
    number = 0 if head is None else _number(head["manifest"])
    found: list[Record] = []
    while number:
        path = control / f"manifest-{number}.json"
        manifest = read_json(path) if path.exists() else {}
        found += [manifest] if manifest else []
        number = manifest.get("previous", number - 1)
    return found[::-1]


def rolled_back(control: Path) -> list[Record]:
    """Manifests that HEAD once pointed at, and that the published one does not follow."""
    names = (control / f"manifest-{n}.json" for n in range(1, last_number(control) + 1))
    kept = {manifest["number"] for manifest in manifests(control)}
    known = [read_json(path) for path in names if path.exists()]
    return [manifest for manifest in known if manifest["number"] not in kept]


def current_manifest(output: Path) -> Record | None:
    """The manifest that HEAD points at, or None where nothing was published yet.

    Errors: OutputError for a folder that a later version wrote.
    """
    control = output / "_cleanpipe"
    head = _head(control)
    return None if head is None else dict(read_json(control / head["manifest"]))


def check_files(folder: Path, records: Iterable[Record]) -> list[str]:
    """Compare files with what their records say; one sentence for each that differs."""
    faults = []
    for record in records:
        path = folder / record["name"]
        if not path.exists():
            faults.append(f"{path} is missing")
        elif path.stat().st_size != record["bytes"] or file_hash(path) != record["xxh3_128"]:
            faults.append(f"{path} differs from its receipt: its bytes were changed")
    return faults


def canonical(value: Any) -> str:
    """JSON text that is equal for equal values; for identities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
