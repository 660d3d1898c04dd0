"""Objects of S3-compatible storage that are put once, and one that is swapped.

An object is put only where none is (If-None-Match), HEAD.json only where it is still the one that
was read (If-Match): two who publish at once cannot overwrite one another, and a put that is tried
again finds what it left. pyarrow's file systems know no such conditions; boto3 does (extra `s3`).
"""

import functools
from pathlib import Path
from typing import Any

from cleanpipe import store
from cleanpipe.errors import OutputError, RecipeError
from cleanpipe.input.places import ATTEMPTS, SCHEME, endpoint

HASH = "xxh3_128"
MISSING = {"NoSuchKey", "404", "NotFound"}
DIFFERS = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


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
    return boto3.client("s3", endpoint_url=endpoint(), config=Config(retries=retries))


def _place(address: str) -> dict[str, str]:
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    return {"Bucket": bucket, "Key": key}


def _ask(address: str, name: str, **given: Any) -> tuple[Any, str]:
    """One request: its answer and "", or None and why the storage refused; else OutputError."""
    client = _client()
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - the extra `s3`

    try:
        return getattr(client, name)(**_place(address), **given), ""
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in MISSING | DIFFERS:
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


def put_new(path: Path, address: str, content: str) -> bool:
    """Put a file where no object is; whether it was put now, and not by an earlier attempt.

    `content` is the file's XXH3-128, which the object keeps. Errors: OutputError where another
    object is there.
    """
    if store.file_hash(path) != content:
        raise OutputError(f"{path} differs from its receipt: its bytes were changed")
    with path.open("rb") as file:
        about = {"Metadata": {HASH: content}, "IfNoneMatch": "*"}
        _, refused = _ask(address, "put_object", Body=file, **about)
    if not refused:
        return True
    there, _ = _ask(address, "head_object")
    if there is None or there["Metadata"].get(HASH) != content:
        raise OutputError(
            f"{address} is there already, and is another file: somebody else publishes to this "
            "place. Choose another output.publish_to, or `cleanpipe fetch` theirs and go on from it"
        )
    return False


def read(address: str) -> tuple[bytes, str] | None:
    """An object's bytes and its version (ETag); None where there is none."""
    found, _ = _ask(address, "get_object")
    return None if found is None else (found["Body"].read(), found["ETag"])


def swap(address: str, data: bytes, version: str | None) -> None:
    """Put `data` in place of the version that was read, or where nothing was.

    Errors: OutputError where somebody else was first; a repeated swap of equal bytes is none.
    """
    condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
    _, refused = _ask(address, "put_object", Body=data, **condition)
    if refused:
        now = read(address)
        if now is None or now[0] != data:
            raise OutputError(
                f"{address} was changed by somebody else meanwhile: nothing of theirs was touched, "
                "and readers see theirs. `cleanpipe fetch` it and go on from it"
            )
