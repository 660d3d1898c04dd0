"""Objects of S3-compatible storage that are put once, and one that is swapped.

An object is put only where none is (If-None-Match), HEAD.json only where it is still the one that
was read (If-Match): two who publish at once cannot overwrite one another, and a put that is tried
again finds what it left. pyarrow's file systems know no such conditions; boto3 does (extra `s3`).

Storage that honours no conditions (`guards`) is asked what is there before each put: that keeps
apart two who publish one after the other, but not two at once.
"""

import base64
import functools
import hashlib
import io
from pathlib import Path
from typing import IO, Any

from cleanpipe import store
from cleanpipe.errors import OutputError, RecipeError
from cleanpipe.input.places import ATTEMPTS, SCHEME, endpoint

HASH = "xxh3-128"
"""The header of an object that keeps its hash; proxies drop names with an underscore."""
MISSING = {"NoSuchKey", "404", "NotFound"}
DIFFERS = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
UNKNOWN = {"NotImplemented", "501"}
ASKED = b"Put here to ask whether this storage honours conditional puts. It may be deleted.\n"
NO_VERSION = f'"{"0" * 32}"'
"""An ETag that no object has."""
Condition = dict[str, str]


@functools.cache
def _client() -> Any:
    try:
        import boto3  # noqa: PLC0415 - the extra `s3`
        from botocore.config import Config  # noqa: PLC0415
    except ImportError as error:
        raise RecipeError(
            f"publishing to s3:// needs {error.name}: pip install 'cleanpipe[s3]'"
        ) from error
    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    # over TLS boto3's own checksums go in a form that older servers refuse (aws-chunked: Swift
    # 2.30); all know Content-MD5, which `_put` gives
    known = Config(retries=retries, request_checksum_calculation="when_required")
    return boto3.client("s3", endpoint_url=endpoint(), config=known)


def _place(address: str) -> dict[str, str]:
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    return {"Bucket": bucket, "Key": key}


def _ask(address: str, name: str, answers: set[str], **given: Any) -> tuple[Any, str]:
    """One request: its answer and "", or None and which of `answers` it had; else OutputError."""
    client = _client()
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - the extra `s3`

    try:
        return getattr(client, name)(**_place(address), **given), ""
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in answers:
            return None, code
        raise _failed(address, error) from error
    except BotoCoreError as error:
        raise _failed(address, error) from error


def _failed(address: str, error: Exception) -> OutputError:
    where = endpoint() or "Amazon S3"
    return OutputError(
        f"{address} at {where}: {error}. Nothing that readers see has changed; when it is mended, "
        "`cleanpipe push` goes on where this stopped"
    )


def _put(
    address: str, body: IO[bytes], condition: Condition, answers: set[str], **about: Any
) -> str:
    """Put an object, checked on its way; "", or the answer why the storage refused."""
    digest = hashlib.md5(usedforsecurity=False)
    while piece := body.read(1 << 20):
        digest.update(piece)
    body.seek(0)
    md5 = base64.b64encode(digest.digest()).decode()
    given = {"Body": body, "ContentMD5": md5, **condition, **about}
    return _ask(address, "put_object", answers, **given)[1]


def guards(address: str) -> bool:
    """Whether the storage refuses a put whose condition does not hold: tried with this object."""
    tries = ({"IfNoneMatch": "*"}, {"IfNoneMatch": "*"}, {"IfMatch": NO_VERSION})
    answers = [_put(address, io.BytesIO(ASKED), one, DIFFERS | UNKNOWN) for one in tries]
    return all(answer in DIFFERS for answer in answers[1:])


def put_new(path: Path, address: str, content: str, guarded: bool) -> bool:
    """Put a file where no object is; whether it was put now, and not by an earlier attempt.

    `content` is the file's XXH3-128, which the object keeps. Errors: OutputError where another
    object is there.
    """
    if store.file_hash(path) != content:
        raise OutputError(f"{path} differs from its receipt: its bytes were changed")
    condition = {"IfNoneMatch": "*"} if guarded else {}
    if guarded or _content(address) is None:
        with path.open("rb") as file:
            if not _put(address, file, condition, DIFFERS, Metadata={HASH: content}):
                return True
    if _content(address) != content:
        raise OutputError(
            f"{address} is there already, and is another file: somebody else publishes to this "
            "place. Choose another output.publish_to, or `cleanpipe fetch` theirs and go on from it"
        )
    return False


def _content(address: str) -> str | None:
    """The hash that an object keeps, "" where it keeps none; None where there is no object."""
    there, _ = _ask(address, "head_object", MISSING)
    if there is None:
        return None
    kept = {name.lower(): value for name, value in there["Metadata"].items()}  # rclone: Xxh3-128
    return str(kept.get(HASH, ""))


def read(address: str) -> tuple[bytes, str] | None:
    """An object's bytes and its version (ETag); None where there is none."""
    found, _ = _ask(address, "get_object", MISSING)
    return None if found is None else (found["Body"].read(), found["ETag"])


def swap(address: str, data: bytes, version: str | None, guarded: bool) -> None:
    """Put `data` in place of the version that was read, or where nothing was.

    Errors: OutputError where somebody else was first; a repeated swap of equal bytes is none.
    """
    condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
    there = None if guarded else read(address)
    if guarded or (there and there[1]) == version:
        given = condition if guarded else {}
        if not _put(address, io.BytesIO(data), given, DIFFERS | MISSING):
            return
    now = read(address)
    if now is None or now[0] != data:
        raise OutputError(
            f"{address} was changed by somebody else meanwhile: nothing of theirs was touched, "
            "and readers see theirs. `cleanpipe fetch` it and go on from it"
        )
