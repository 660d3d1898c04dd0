"""Run after run: lines of shares over the published runs, and what drifted since the last one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cleanpipe.stats import drift

WIDTH, HEIGHT = 160, 32
MOST = 8
"""Rules that have a line: those whose share of documents moved most between any two runs."""

Line = Mapping[str, Any]


def sparklines(run: str, stats: Line, earlier: Sequence[Line]) -> list[dict[str, Any]]:
    """A line a share: kept documents and text, and what the rules lost; empty without runs before.

    `earlier` are lines of metrics.jsonl, the newest first. Each has name, first, least, most and
    last value, and the points of an SVG, oldest to the left.
    """
    if not earlier:
        return []
    now = {"run": run, **{name: stats[name] for name in ("documents", "raw", "clean")}}
    runs = [*earlier[::-1], {**now, "lost": lost(stats)}]
    kept = [_share(one["documents"]["kept"], one["documents"]["read"]) for one in runs]
    told = [_line("documents kept", kept)]
    if all("lost" in one for one in runs):
        told.append(
            _line("text kept", [_share(o["clean"]["bytes"], o["raw"]["bytes"]) for o in runs])
        )
        names = sorted({name for one in runs for name in one["lost"]})
        rules = [
            _line(name, [_share(o["lost"].get(name, 0), o["documents"]["read"]) for o in runs])
            for name in names
        ]
        moved = sorted(rules, key=lambda one: (one["least"] - one["most"], one["name"]))
        told += [one for one in moved if one["least"] != one["most"]][:MOST]
    return told


def lost(stats: Line) -> dict[str, int]:
    """Documents by `stage rule`, as a line of metrics.jsonl has them."""
    return {f"{row['stage']} {row['rule']}": row["documents"] for row in stats["stages"]}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _line(name: str, values: Sequence[float]) -> dict[str, Any]:
    least, most = min(values), max(values)
    step = WIDTH / max(len(values) - 1, 1)
    height = HEIGHT / (most - least) if most > least else 0.0
    points = (
        f"{place * step:.1f},{HEIGHT - (value - least) * height:.1f}"
        for place, value in enumerate(values)
    )
    ends = {"first": values[0], "before": values[-2], "last": values[-1]}
    return {"name": name, "points": " ".join(points), "least": least, "most": most, **ends}


def moved(stats: Line) -> dict[str, list[tuple[str, Any]]]:
    """What drifted from all that was published by more than chance, read and kept."""
    known = stats.get("drift") or {"raw": {}, "clean": {}}  # older statistics have none
    return {side: list(drift.largest(known, side))[:MOST] for side in ("raw", "clean")}


def told(stats: Line) -> Iterator[str]:
    """The same as sentences, of what was kept and drifted far."""
    found = [name for name, one in moved(stats)["clean"] if one["effect"] == "large"]
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        yield f"What was kept drifted far from what is published in {', '.join(found[:3])}{more}."
