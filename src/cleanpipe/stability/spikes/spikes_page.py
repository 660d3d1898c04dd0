"""Events of logs as one offline page: curves as SVG, the events marked; it loads nothing."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from cleanpipe.errors import OutputError
from cleanpipe.stability.logs.log import Log
from cleanpipe.stability.spikes.curves import curves
from cleanpipe.stability.spikes.events import Found
from cleanpipe.stability.spikes.spikes_shown import counted, digits, sentences, spreads, verdicts

HERE = Path(__file__).parent
MOST = 500
"""Events of a log in the page's table, the largest ones."""


def page(result: dict[str, Any], seen: Sequence[tuple[Log, Found]]) -> str:
    """The page of a result and the logs it was made of."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"spreads": spreads, "digits": digits}
    style = (HERE / "spikes.css").read_text(encoding="utf-8")
    digest = hashlib.sha256(style.encode()).digest()
    logs = [_log(log, read, found) for log, (read, found) in zip(result["logs"], seen, strict=True)]
    return environment.get_template("spikes.html.jinja").render(
        result=result,
        logs=logs,
        lines=sentences(result["compared"]) if "compared" in result else [],
        style=style,
        style_hash=base64.b64encode(digest).decode(),
    )


def write_page(path: Path, result: dict[str, Any], seen: Sequence[tuple[Log, Found]]) -> None:
    """Write the page; OutputError where it cannot be."""
    try:
        path.write_text(page(result, seen), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _log(log: dict[str, Any], read: Log, found: Found) -> dict[str, Any]:
    largest = sorted(log["events"], key=lambda event: -(event["size"] or 0))[:MOST]
    return {
        **log,
        "events": sorted(largest, key=lambda event: event["step"]),
        "left_out": len(log["events"]) - len(largest),
        "curves": curves(read, found),
        "verdicts": verdicts(log),
        "counted": counted(log),
    }
