"""A published output folder to storage, and back: parts, books, measures, index, then HEAD.json.

Every file but HEAD.json is put once and never changed. Readers follow HEAD.json to a manifest, and
that to files with their hashes: they see what was published before or what is now.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from cleanpipe import outcome, store
from cleanpipe.errors import InputError, OutputError
from cleanpipe.input.places import endpoint, open_bytes
from cleanpipe.storage import objects
from cleanpipe.verify import files_of

CONTROL = "_cleanpipe"
HEAD = f"{CONTROL}/HEAD.json"
PIECE = 8_000_000
Map = Callable[[str, Callable[[int], store.Record], Sequence[int]], list[store.Record]]
Call = Callable[..., Any]


def here(_: str, step: Callable[[int], store.Record], numbers: Sequence[int]) -> list[store.Record]:
    """The map of this process."""
    return [step(number) for number in numbers]


def keeps_apart(address: str, *, alone: bool) -> bool:
    """Whether the storage keeps apart two who publish to one place at once.

    Errors: OutputError where it does not, and it is not said that one publishes `alone`; and where
    it cannot be written.
    """
    guarded = objects.guards(f"{address.rstrip('/')}/{CONTROL}/conditions")
    if not (guarded or alone):
        raise OutputError(
            f"{address} at {endpoint() or 'Amazon S3'}: this storage does not honour conditional "
            "puts (If-None-Match, If-Match), so two who publish there at once could overwrite one "
            "another. Nothing was published. If nobody else publishes to this place, say so by "
            "output.publish_alone: true, or `cleanpipe push --alone`; or choose other storage"
        )
    return guarded


def ready(address: str | None, *, alone: bool) -> None:
    """Raise now what `keeps_apart` would raise when a run wants to publish, hours later."""
    if address is not None:
        keeps_apart(address, alone=alone)


def push(
    output: Path,
    address: str,
    map_: Map = here,
    call: Call = lambda act, *given: act(*given),
    *,
    alone: bool = False,
) -> store.Record:
    """Put what an output folder publishes below an address (s3://bucket/prefix), HEAD.json last.

    What is there already is not sent again, so that a push that broke off goes on. `alone` is for
    storage that `keeps_apart` refuses. Gives how many files were sent, and their bytes. Errors:
    OutputError where the place holds what this folder does not follow, and where storage fails.
    """
    manifest = store.current_manifest(output)
    if manifest is None:
        raise InputError(f"{output} holds no published run: there is nothing to push")
    address = address.rstrip("/")
    guarded = keeps_apart(address, alone=alone)
    control, name = output / CONTROL, f"manifest-{manifest['number']}.json"
    head = objects.read(f"{address}/{HEAD}")
    known = _known(control, address, head)
    files = [one for one in files_of(output, manifest) if one["path"] not in known]
    files += [_record(output, f"{CONTROL}/{one}") for one in ("seed", name)]

    def put(number: int) -> store.Record:
        file = files[number]
        path, place = output / file["path"], f"{address}/{file['path']}"
        return {"sent": call(objects.put_new, path, place, file["xxh3_128"], guarded)}

    sent = map_("publish", put, range(len(files)))
    points = (control / "HEAD.json").read_bytes()
    objects.swap(f"{address}/{HEAD}", points, head and head[1], guarded)
    return {
        "files": sum(one["sent"] for one in sent),
        "bytes": sum(f["bytes"] for f, one in zip(files, sent, strict=True) if one["sent"]),
    }


def _record(output: Path, path: str) -> store.Record:
    file = output / path
    return {"path": path, "bytes": file.stat().st_size, "xxh3_128": store.file_hash(file)}


def _known(control: Path, address: str, head: tuple[bytes, str] | None) -> set[str]:
    """The paths of what is published there, which must be this folder's own, or one it follows."""
    if head is None:
        return set()
    name = _manifest_name(address, head[0])
    theirs = objects.read(f"{address}/{CONTROL}/{name}")
    own = control / name
    if theirs is None or not own.exists() or own.read_bytes() != theirs[0]:
        raise OutputError(
            f"{address} publishes what {control.parent} does not follow ({name} is another one): "
            f"choose another place, or `cleanpipe fetch {address}` into a new folder and go on"
        )
    manifest = orjson.loads(theirs[0])
    return {file["path"] for file in [*manifest["parts"], *manifest["books"]]}


def _manifest_name(address: str, head: bytes) -> str:
    try:
        name = orjson.loads(head)["manifest"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        name = ""
    if not (isinstance(name, str) and name.startswith("manifest-") and "/" not in name):
        raise InputError(f"{address}/{HEAD} is damaged: it names no manifest")
    return name


def fetch(address: str, output: Path, map_: Map = here) -> store.Record:
    """Make an output folder of what is published at an address; gives how many files there are.

    A fetch that broke off goes on. Errors: InputError where nothing is published there, or a file
    is not what its manifest says; OutputError where the folder publishes something already.
    """
    address = address.rstrip("/")
    control = output / CONTROL
    lock = store.take_lock(control / "lock")
    try:
        if (control / "HEAD.json").exists():
            raise OutputError(f"{output} publishes something already: fetch into a new folder")
        head = objects.read(f"{address}/{HEAD}")
        if head is None:
            raise InputError(f"{address} publishes nothing: there is no {HEAD}")
        name = _manifest_name(address, head[0])
        found = objects.read(f"{address}/{CONTROL}/{name}")
        if found is None:
            raise InputError(f"{address}/{CONTROL}/{name} is missing, and HEAD.json names it")
        manifest = orjson.loads(found[0])

        def get(files: Sequence[store.Record]) -> None:
            map_("fetch", lambda n: _get(address, output, files[n]), range(len(files)))

        get([night["books"] for night in manifest.get("nights", ())])  # they name further files
        files = files_of(output, manifest)
        get(files)
        seed = objects.read(f"{address}/{CONTROL}/seed")
        if seed is not None:
            store.write_file(control / "seed", lambda file: file.write(seed[0]), private=True)
        store.write_file(control / name, lambda file: file.write(found[0]))
        store.write_file(control / "HEAD.json", lambda file: file.write(head[0]))
        outcome.write_metrics(control)
    finally:
        os.close(lock)
    return {"files": len(files)}


def _get(address: str, output: Path, record: store.Record) -> store.Record:
    """One file, unless it is there; what its manifest does not say stays away."""
    parts = PurePosixPath(record["path"]).parts
    if not parts or parts[0] not in {"data", CONTROL} or ".." in parts:
        raise InputError(f"{address}: a manifest names {record['path']!r}, which no output holds")
    path = output.joinpath(*parts)
    if path.exists() and store.file_hash(path) == record["xxh3_128"]:
        return record

    def fill(file: Any) -> None:
        with open_bytes(f"{address}/{record['path']}") as stored:
            while piece := stored.read(PIECE):
                file.write(piece)

    got = store.write_file(path, fill, private="quarantine" in parts)
    if got["xxh3_128"] != record["xxh3_128"]:
        path.unlink()
        raise InputError(f"{address}/{record['path']} is not what its manifest says: fetch again")
    return record
