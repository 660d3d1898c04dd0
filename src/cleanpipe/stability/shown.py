"""Results of the probe and of the experiment on gradients, as tables for a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show_probe(console: Console, result: dict[str, Any]) -> None:
    """One table a setting: the effect of each kind against the placebo."""
    for setting in result["settings"]:
        table = Table(
            title=f"{result['parameters']:,} parameters, learning rate {setting['lr']:g}, "
            f"branch after {setting['checkpoint']} steps on text"
        )
        names = ("kind", "excess loss [95 %]", "p", "p of all", "diverged", "back after", "logit")
        for name in names:
            table.add_column(name, justify="left" if name == "kind" else "right")
        for kind, found in setting["kinds"].items():
            excess = found["excess_loss"]
            logit = found["peaks"]["max_attn_logit"]["mean"]
            table.add_row(
                kind,
                _interval(excess),
                f"{excess['p']:.3f}",
                f"{excess['p_of_all']:.3f}" if "p_of_all" in excess else "",
                f"{found['diverged']} of {excess['seeds']}",
                f"{found['recovery_steps']:g} steps",
                "" if logit is None else f"{100 * logit:+.0f} %",
            )
        console.print(table)
    if not result["copies"]:
        console.print(
            "These models cannot copy (ratios "
            f"{', '.join(map(str, result['copy_ratios'][:6]))}, below 0.3 wanted): what they say "
            "of repeats does not carry over to models that can."
        )
    console.print(result["limits"], markup=False)


def rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The same as plain rows, for other screens."""
    return [
        {
            "learning rate": setting["lr"],
            "steps before": setting["checkpoint"],
            "kind": kind,
            "excess loss": _interval(found["excess_loss"]),
            "p": found["excess_loss"]["p"],
            "diverged": f"{found['diverged']} of {found['excess_loss']['seeds']}",
        }
        for setting in result["settings"]
        for kind, found in setting["kinds"].items()
    ]


def _interval(effect: dict[str, Any]) -> str:
    if effect["low"] is None:
        return "not finite"
    return f"{effect['mean']:+.4f} [{effect['low']:+.4f}, {effect['high']:+.4f}]"


def show_calibration(console: Console, result: dict[str, Any]) -> None:
    """One table a proxy: each measure's worth, and whether the model of all beats the best."""
    for proxy in result["proxies"]:
        counts = "" if proxy["counts"] else "; cannot copy, and does not count"
        table = Table(
            title=f"{proxy['parameters']:,} parameters, seed {proxy['plan']['seed']}, "
            f"copy ratio {proxy['copy_ratio']:.2f}{counts}"
        )
        for name in ("measure", "AUROC", "average precision", "lift"):
            table.add_column(name, justify="left" if name == "measure" else "right")
        ranked = sorted(proxy["means"].items(), key=lambda entry: -entry[1]["auroc"])
        for measure, means in ranked:
            numbers = (means[name] for name in ("auroc", "average_precision", "lift"))
            table.add_row(measure, *(f"{number:.3f}" for number in numbers))
        console.print(table)
        gain = proxy["gain"]
        console.print(
            f"the model of all over {proxy['best_single']}: {gain['estimate']:+.3f} "
            f"[{gain['low']:+.3f}, {gain['high']:+.3f}]"
        )
