"""What `cleanpipe decide` shows people: before and after, what changes, and how sure that is."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cleanpipe.cli.console import visible
from cleanpipe.report.summary import megabytes

MOST_GROUPS = 20
MOST_VALUES = 8


def show_outlook(console: Console, answer: dict[str, Any]) -> None:
    """The answer of `cleanpipe.planning.outlook.outlook` as tables."""
    for change in answer["changed"]:
        told = f"{change['option']}: {change['before']} -> {change['after']}"
        console.print(visible(told))
    if not answer["changed"]:
        console.print("nothing is changed: this is the run itself")
    console.print(_stages(answer))
    for name in ("newly_kept", "newly_dropped"):
        _show_change(console, name.replace("_", " "), answer[name])
    for column, rows in answer["by"].items():
        if rows:
            console.print(_by(column, rows))
    if answer["groups"]["before"] or answer["groups"]["after"][0]:
        console.print(_groups(answer["groups"]))
        copies = answer["copies"]
        console.print(f"extra copies: {copies['before']:,} -> {_range(copies['after'])}")
    for gate in answer["gates"]:
        console.print(_gate(gate))
    console.print(_certainty(answer))


def _range(ends: list[int]) -> str:
    least, most = ends
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _stages(answer: dict[str, Any]) -> Table:
    table = Table("stage", "rule", "before", "after", "text before", "after", box=None)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in answer["stages"]:
        before, after = row["before"], row["after"]
        least, most = (megabytes(size) for size in after["bytes"])
        table.add_row(
            Text(row["stage"] or row["verdict"], style="" if row["stage"] else "bold"),
            visible(row["rule"] or ""),
            f"{before['documents']:,}",
            _range(after["documents"]),
            megabytes(before["bytes"]),
            least if least == most else f"{least} to {most}",
        )
    return table


def _show_change(console: Console, name: str, change: dict[str, Any]) -> None:
    sizes = " to ".join(dict.fromkeys(megabytes(size) for size in change["bytes"]))
    console.print(f"\n{name}: {_range(change['documents'])} documents, {sizes}")
    for one in change["examples"]:
        before, after = (_by_what(one[side]) for side in ("before", "after"))
        console.print(visible(f"  {one['id']}  {before} -> {after}"))


def _by_what(reason: dict[str, Any]) -> str:
    if reason["stage"] is None:
        return "kept"
    value = "" if reason.get("value") is None else f" = {reason['value']:g}"
    return f"{reason['stage']}: {reason['rule']}{value}"


def _by(column: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(column, "newly kept", "text", "newly dropped", "text", box=None)
    for one in table.columns[1:]:
        one.justify = "right"
    for row in rows[:MOST_VALUES]:
        kept, dropped = row["newly_kept"], row["newly_dropped"]
        table.add_row(
            visible(row["value"]),
            f"{kept['documents']:,}",
            megabytes(kept["bytes"]),
            f"{dropped['documents']:,}",
            megabytes(dropped["bytes"]),
        )
    if len(rows) > MOST_VALUES:
        table.add_row("and others (--json lists 20)")
    return table


def _groups(groups: dict[str, Any]) -> Table:
    """The mixture before and after; a range has an `after` for each of its ends."""
    ends = ["share after"] if len(groups["after"]) == 1 else ["if most stay", "if fewest stay"]
    table = Table("group", "share before", *ends, box=None)
    sides = [{row["group"]: row for row in side} for side in (groups["before"], *groups["after"])]
    names = list(dict.fromkeys(name for side in sides for name in side))
    for name in names[:MOST_GROUPS]:
        cells = (f"{s[name]['achieved_share']:.1%}" if name in s else "-" for s in sides)
        table.add_row(visible(name), *cells)
    if len(names) > MOST_GROUPS:
        table.add_row(f"and {len(names) - MOST_GROUPS:,} more")
    return table


def _gate(gate: dict[str, Any]) -> Text:
    if gate["value"] is None:
        return Text(f"gate {gate['metric']}: needs a run")
    least, most = (f"{value:,.6g}" for value in gate["value"])
    value = least if least == most else f"{least} to {most}"
    bounds = [f"{name} {gate[name]:g}" for name in ("low", "high") if gate[name] is not None]
    outcome = " or ".join(gate["outcome"])
    told = f"gate {gate['metric']}: {gate['before']:,.6g} -> {value} ({', '.join(bounds)})"
    return Text(f"{told} {outcome}", style="" if outcome == "passed" else "yellow")


def _certainty(answer: dict[str, Any]) -> str:
    if answer["exact"]:
        return "\nexact: a run with this recipe would decide the same"
    return (
        f"\na range: {answer['open_pairs']:,} pairs of similar documents were not compared, or may "
        "not be found by the changed bands. Kept most likely: "
        f"{answer['documents']['likely_kept']:,}"
    )
