"""What `cleanpipe diff` shows people, at a terminal and as a page."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cleanpipe.cli.console import visible
from cleanpipe.report import rendering
from cleanpipe.stats import drift
from cleanpipe.stats.diff import SHOWN

MOST = 12


def show_diff(console: Console, told: dict[str, Any]) -> None:
    """The answer of `cleanpipe.stats.diff.diff` as sentences and tables."""
    for sentence in told["in_short"]:
        console.print(visible(sentence), soft_wrap=True)
    for line in causes(told):
        console.print(visible(f"  {line}"), soft_wrap=True)
    moved = [row for row in told["stages"] if row["changed"]]
    if moved:
        console.print(_stages(moved))
    for column, rows in told["by"].items():
        others = [row for row in rows if row["documents"][0] != row["documents"][1]]
        if others:
            console.print(_groups(column, others))
    for side, said in (("raw", "read"), ("clean", "kept")):
        found = list(drift.largest(told["drift"], side))
        if found:
            console.print(_drift(said, found))
    for kind in SHOWN:
        _show_fates(console, kind.replace("_", " "), told["fates"][kind])
    console.print()
    console.print(visible(elsewhere(told["fates"])), soft_wrap=True)


def page(told: Mapping[str, Any]) -> str:
    """The answer of `cleanpipe.stats.diff.diff` as one HTML file: no request, no script."""
    apart = {side: list(drift.largest(told["drift"], side))[:MOST] for side in ("raw", "clean")}
    others = elsewhere(told["fates"])
    return rendering.fill("diff.html.jinja", told=told, apart=apart, elsewhere=others)


def causes(told: Mapping[str, Any]) -> Iterator[str]:
    """What differs before anything is decided, a line each."""
    for kind in ("recipe", "versions"):
        for one in told[kind][:MOST]:
            yield f"{one['option']}: {one['before']} -> {one['after']}"
        if len(told[kind]) > MOST:
            yield f"and {len(told[kind]) - MOST} more (--json lists all)"
    for kind in ("added", "gone", "changed"):
        names = told["inputs"][kind]
        if names:
            more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
            yield f"input {kind}: {', '.join(names[:3])}{more}"


def elsewhere(fates: Mapping[str, Any]) -> str:
    """Documents of one run alone, as a sentence without its dot."""
    came, left = (
        sum(fates[f"{name}_{fate}"]["documents"] for fate in ("kept", "dropped"))
        for name in ("came", "left")
    )
    return (
        f"in the later run alone {came:,} documents, {fates['came_kept']['documents']:,} of them "
        f"kept; in the earlier one alone {left:,}, {fates['left_kept']['documents']:,} of them kept"
    )


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _stages(rows: list[dict[str, Any]]) -> Table:
    table = _table("dropped by", "before", "after", "share before", "after", "changed options")
    table.columns[5].justify = "left"
    for row in rows[:MOST]:
        before, after = row["before"], row["after"]
        table.add_row(
            visible(f"{row['stage']} {row['rule']}"),
            f"{before['documents']:,}",
            f"{after['documents']:,}",
            f"{before['share']:.2%}",
            f"{after['share']:.2%}",
            visible(", ".join(row["options"][:3])),
        )
    if len(rows) > MOST:
        table.add_row(f"and {len(rows) - MOST} more")
    return table


def _groups(column: str, rows: list[dict[str, Any]]) -> Table:
    table = _table(f"{column}, kept", "before", "after", "share before", "after")
    for row in rows[:MOST]:
        counts = (f"{count:,}" for count in row["documents"])
        table.add_row(visible(row["group"]), *counts, *(f"{one:.1%}" for one in row["share"]))
    return table


def _drift(said: str, found: list[tuple[str, dict[str, Any]]]) -> Table:
    table = _table(f"drift of what was {said}", "effect", "psi", "ks", "moved by (sd)")
    for name, one in found[:MOST]:
        numbers = (one.get(key) for key in ("psi", "ks", "wasserstein_sd"))
        cells = ("-" if value is None else f"{value:.3f}" for value in numbers)
        table.add_row(visible(name), one["effect"], *cells)
    return table


def _show_fates(console: Console, name: str, known: Mapping[str, Any]) -> None:
    console.print(Text(f"\n{name}: {known['documents']:,}"))
    for row in known["reasons"][:MOST]:
        console.print(visible(f"  {row['documents']:,}: {reason(row)}"))
    if known["examples"]:
        ids = ", ".join(str(one["id"]) for one in known["examples"])
        console.print(visible(f"  such as {ids}"), soft_wrap=True)


def reason(row: Mapping[str, Any]) -> str:
    """What decided then and now.

    >>> reason({"stage": "filter", "rule": "words", "stage_now": None, "rule_now": None})
    'filter words -> kept'
    """
    sides = ((row["stage"], row["rule"]), (row["stage_now"], row["rule_now"]))
    return " -> ".join(f"{stage} {rule}" if stage else "kept" for stage, rule in sides)
