"""All that logs alone tell of their events, as one result: for JSON, a terminal, or a page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cleanpipe.errors import RecipeError
from cleanpipe.stability.logs.log import Log
from cleanpipe.stability.logs.logs import read
from cleanpipe.stability.spikes.events import CLASSES, Bounds, Found, look
from cleanpipe.stability.spikes.replays import replays
from cleanpipe.stability.spikes.scores import scores
from cleanpipe.stability.spikes.shared_order import compared

LIMITS = (
    "Events are steps that stand out of their log. A content outlier is most often a batch that is "
    "hard, or of another kind, and harms nothing. What was in a batch, and whether it has to do "
    "with the event, a log alone does not tell."
)
Tell = Callable[[str, int, int], None]


def spikes(
    paths: Sequence[Path | str],
    bounds: Bounds,
    columns: Mapping[str, str] | None = None,
    tell: Tell = lambda *_: None,
) -> tuple[dict[str, Any], list[tuple[Log, Found]]]:
    """The result, and the logs with their residuals, which pictures are drawn of.

    Errors: InputError for a file that is no log, RecipeError for no file at all.
    """
    if not paths:
        raise RecipeError("no log: name one file at least")
    logs: list[Log] = []
    for done, path in enumerate(paths):
        tell("logs", done, len(paths))
        logs.extend(read(path, columns))
    tell("logs", len(paths), len(paths))
    names = _names(logs)
    seen: list[tuple[Log, Found]] = []
    told = []
    for done, (name, log) in enumerate(zip(names, logs, strict=True)):
        tell("events", done, len(logs))
        found = look(log, bounds)
        seen.append((log, found))
        told.append(_one(name, log, found, bounds.first(log)))
    tell("events", len(logs), len(logs))
    result: dict[str, Any] = {"logs": told, "limits": LIMITS}
    if len(logs) > 1:
        since = [bounds.first(log) for log in logs]
        result["compared"] = compared(names, [found for _, found in seen], since)
    return result, seen


def _names(logs: Sequence[Log]) -> list[str]:
    """Names that tell logs apart: files of one name in many folders get a number."""
    names = [log.name for log in logs]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def _one(name: str, log: Log, found: Found, since: int) -> dict[str, Any]:
    counts = dict(found.events["class"].value_counts().rows())
    loss = found.channels.get("loss")
    return {
        "name": name,
        "form": log.form,
        "rows": log.steps.height,
        "first": log.steps["step"][0],
        "last": log.steps["step"][-1],
        "since": since,
        "interval": log.interval,
        "resolution": {channel: log.resolution[channel] for channel in found.channels},
        "notes": [note._asdict() for note in log.notes],
        "classes": {kind: counts.get(kind, 0) for kind in CLASSES},
        "events": found.events.to_dicts(),
        "alarms": found.alarms,
        "scores": scores(log),
        "replays": [] if loss is None else replays(loss, since, log.interval),
    }
