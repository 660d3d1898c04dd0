"""Events of logs as tables for a terminal."""

from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

MOST = 20
"""Events of a log that a terminal shows, the largest ones."""
WIDE = 200
"""Columns that every table of events has room in."""


def show_spikes(console: Console, result: dict[str, Any]) -> None:
    """A table a log, then what several logs have in common."""
    for log in result["logs"]:
        _show_log(console, log)
    if "compared" in result:
        for line in sentences(result["compared"]):
            console.print(line, markup=False)
    console.print(result["limits"], markup=False)


def _show_log(console: Console, log: dict[str, Any]) -> None:
    console.print(
        f"{log['name']}: {log['form']}, {log['rows']:,} rows, steps {log['first']:,} to "
        f"{log['last']:,}; events from step {log['since']:,} on",
        markup=False,
    )
    for note in log["notes"]:
        console.print(f"  note: {note['text']}", markup=False)
    for line in verdicts(log):
        console.print(f"  {line}", markup=False)
    if log["events"]:
        console.print(_fitting(_events(log["events"]), console))
    console.print(_scores(log), markup=False)


def verdicts(log: dict[str, Any]) -> list[str]:
    """Counts of events, what part of them may be chance, and replays, in sentences."""
    counts = [_counted(count, kind) for kind, count in log["classes"].items() if count]
    found = [", ".join(counts) or "no events"]
    for channel, alarm in log["alarms"].items():
        if alarm["events"]:
            below = (
                f"{alarm['decoys']:,} as far below: about {100 * alarm['false_share']:.0f} % may "
                "be chance"
                if alarm["decoys"]
                else "none as far below"
            )
            found.append(
                f"{channel}: {alarm['events']:,} above {alarm['bound']:g} spreads, {below}"
            )
    found += [
        f"data came again: steps {one['first']:,} to {one['last']:,} go with those {one['lag']:,} "
        f"steps before (correlation {one['correlation']:.2f}): another epoch, or a loader that "
        "was resumed at the wrong place"
        for one in log["replays"]
    ]
    return found


def _counted(count: int, kind: str) -> str:
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    return f"{count:,} {kind if count == 1 else plural}"


def _events(events: list[dict[str, Any]]) -> Table:
    """The largest events, in their order; 80 columns hold ten million steps."""
    largest = sorted(events, key=lambda event: -(event["size"] or 0))[:MOST]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("step", "class", "channel", "size", "after", "back", "loss", "norm"):
        justify: Literal["left", "right"] = "left" if name in {"class", "channel"} else "right"
        table.add_column(name, justify=justify, no_wrap=True, overflow="fold")
    for event in sorted(largest, key=lambda event: event["step"]):
        table.add_row(
            f"{event['step']:,}",
            Text(event["class"]),
            event["channel"],
            spreads(event["size"]),
            spreads(event["next"]),
            "not yet" if event["back_after"] is None else f"{event['back_after']:,}",
            digits(event["loss"]),
            digits(event["grad_norm"]),
        )
    if len(events) > MOST:
        table.caption = f"the {MOST} largest of {len(events):,}; --json has all"
    return table


def _fitting(table: Table, console: Console) -> Table:
    """The table with less between its columns where the terminal is too narrow for it."""
    if console.measure(table, options=console.options.update(width=WIDE)).maximum > console.width:
        table.padding = 0
    return table


def spreads(value: float | None) -> str:
    """How far out, in a few characters; nothing for none.

    >>> spreads(25.64), spreads(123456.0), spreads(None)
    ('25.6', '1.2e+05', '')
    """
    return "" if value is None else format(value, ".1f" if abs(value) < 10_000 else ".2g")


def digits(value: float | None) -> str:
    """A value to four digits; nothing for none."""
    return "" if value is None else format(value, ".4g")


def _scores(log: dict[str, Any]) -> str:
    return "  by others' counts: " + "; ".join(f"{name} {value}" for name, value in counted(log))


def counted(log: dict[str, Any]) -> list[tuple[str, str]]:
    """Others' scores by name, as they are printed."""
    scores = log["scores"]
    found = [
        (f"OLMo 2 spike score, {channel}", f"{value:.3f} %")
        for channel, value in scores["olmo2_spike_score"].items()
        if value is not None
    ]
    if scores["olmo_core_spike_score"] is not None:
        found.append(("OLMo-core spike score", f"{scores['olmo_core_spike_score']:.3f} %"))
    if ratio := scores.get("loss_ratio"):
        found.append(("steps of loss ratio above 1.2", f"{ratio['steps']:,}"))
        found.append(("largest loss ratio", f"{ratio['largest']:.3f}"))
    if zclip := scores.get("zclip"):
        found.append(
            ("steps that ZClip would clip", f"{zclip['steps']:,} ({zclip['share']:.1f} %)")
        )
    return found


def sentences(compared: dict[str, Any]) -> list[str]:
    """What several logs have in common, a line each."""
    found = []
    for pair in compared["pairs"]:
        one, other = pair["logs"]
        if pair["correlation"] is None:
            few = f"only {pair['steps']:,} steps" if pair["steps"] else "no step"
            found.append(f"{one} and {other}: {few} in common")
            continue
        same = "share a data order" if pair["same_order"] else "have different data orders"
        found.append(
            f"{one} and {other} {same}: residual correlation {pair['correlation']:.3f} over "
            f"{pair['steps']:,} steps"
        )
    for group in compared["groups"]:
        told = ", ".join(f"{name} {value:.3f}" for name, value in group["intraclass"].items())
        found.append(f"one order, {len(group['logs'])} runs: share of the batch (ICC): {told}")
        for channel, runs in group.get("state_only", {}).items():
            counts = ", ".join(f"{name} {len(steps):,}" for name, steps in runs.items())
            found.append(f"  {channel}, events that a run has beyond its twins: {counts}")
    for pair in compared["recurring"]:
        one, other = pair["logs"]
        found.append(
            f"gradient events of {one} that recur in {other}: {pair['shared']:,} of "
            f"{pair['events'][0]:,} (by chance {pair['expected']:.2f}, p = {pair['p']:.3f})"
        )
    return found
