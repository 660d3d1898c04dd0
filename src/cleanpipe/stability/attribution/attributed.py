"""The answers of `cleanpipe stability attribute` and `replay`, as tables for a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from cleanpipe.cli.console import visible

MOST = 12
"""Rows of a table; --json has all."""


def show_attribution(console: Console, answer: dict[str, Any]) -> None:
    """What is associated with events, what must not be and is not, and who the candidates are."""
    kinds = ", ".join(f"{count} {name}" for name, count in answer["classes"].items())
    console.print(f"{answer['events']} events ({kinds or 'none'})", markup=False)
    console.print(answer["order"]["said"], markup=False)
    for one in answer["replication"]:
        console.print(
            f"{one['recur']} of {one['events']} events recur in the other run of this order, "
            f"{one['by_chance']:.1f} would by chance (p {one['p']:.3f})"
        )
    if "design" in answer:
        _show_design(console, answer["design"])
    console.print(f"[bold]{answer['status']}[/bold]: ", end="")
    console.print(answer["why"], markup=False)
    if answer["findings"]:
        console.print(_findings(answer["findings"]))
        console.print(_controls(answer["controls"]))
    if answer["candidates"]:
        console.print(_candidates(answer["candidates"]))
    for rule in answer["rules"]:
        _show_rule(console, rule)
    console.print(f"rung {answer['rung']}, {answer['rung_said']}", markup=False)
    console.print(answer["limits"], markup=False)


def _show_design(console: Console, design: dict[str, Any]) -> None:
    left = {name: count for name, count in design["left_out"].items() if count}
    lost = "".join(f"; {count} left out ({name})" for name, count in left.items())
    console.print(
        f"{design['events_asked']} asked about{lost}, {design['controls_each']} controls each, at "
        f"least {design['distance']} steps from any event; {design['numbers']} numbers of lags "
        f"{', '.join(map(str, design['lags']))}; an AUROC of {design['detectable_auroc']:.2f} "
        "would be found four times in five",
        markup=False,
    )


def _findings(findings: list[dict[str, Any]]) -> Table:
    table = Table("number of a batch", "AUROC [95 %]", "Cliff's delta", box=None)
    for name in ("p", "family", "q", "shifted"):
        table.add_column(name, justify="right")
    table.add_column("associated")
    for one in findings[:MOST]:
        table.add_row(
            visible(one["feature"]),
            f"{one['auroc']:.2f} [{one['low']:.2f}, {one['high']:.2f}]",
            f"{one['cliffs_delta']:+.2f}",
            *(f"{one[name]:.4f}" for name in ("p", "p_family", "q", "p_shift")),
            "yes" if one["associated"] else "",
        )
    return table


def _controls(controls: list[dict[str, Any]]) -> Table:
    table = Table("negative control", "significant", "least p", "holds", box=None)
    for one in controls:
        table.add_row(
            one["control"],
            f"{one['significant']} of {one['of']}",
            f"{one['p'][0]:.3f}" if one["p"] else "",
            "yes" if one["holds"] else "[red]no[/red]",
        )
    return table


def _candidates(events: list[dict[str, Any]]) -> Table:
    table = Table("event", "candidates, the likeliest first (score)", box=None)
    for event in events[:MOST]:
        named = [f"{one['id']} ({one['score']:.2f})" for one in event["candidates"][:3]]
        table.add_row(str(event["step"]), visible(", ".join(named) or "none"))
    if len(events) > MOST:
        table.add_row("", f"and {len(events) - MOST} events more (--json)")
    return table


def _show_rule(console: Console, rule: dict[str, Any]) -> None:
    least, most = rule["documents"]
    count = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    console.print(
        f"--set {rule['set']} drops the first candidate of {rule['events']} events "
        f"({rule['share']:.0%}), and costs {count} documents, {rule['tokens']:,} tokens "
        f"({rule['token_share']:.2%})",
        markup=False,
    )


def show_replay(console: Console, answer: dict[str, Any]) -> None:
    """Norms at each checkpoint, and the sequences without which the first one falls most."""
    table = Table("checkpoint", "gradient norm", "without suspects", "ratio", "p", box=None)
    for one in answer["checkpoints"]:
        without = one["without_suspects"] or {}
        table.add_row(
            visible(one["checkpoint"]),
            f"{one['norm']:.4g}",
            *(
                f"{without[name]:.{digits}g}" if without else ""
                for name, digits in (("norm", 4), ("ratio", 3), ("p", 2))
            ),
        )
    console.print(table)
    first = answer["checkpoints"][0]
    rows = Table("sequence", "loss", "own norm", "norm without it", "suspect", box=None)
    for one in first["sequences"][:MOST]:
        rows.add_row(
            str(one["row"]),
            *(f"{one[name]:.4g}" for name in ("loss", "norm", "norm_without")),
            "yes" if one["suspect"] else "",
        )
    console.print(rows)
    for one in answer["checkpoints"]:
        if one["masked"] is not None:
            console.print(f"{one['checkpoint']}: masked, {one['masked']:.4g}", markup=False)
        if "control" in one:
            control = one["control"]
            console.print(
                f"{one['checkpoint']}: control batch {control['norm']:.4g}, with the suspects "
                f"{control['norm_with_suspects']:.4g}; this batch with the control's sequences in "
                f"their places {control['norm_of_batch_refilled']:.4g}",
                markup=False,
            )
    console.print(answer["said"], markup=False)
