"""Results of the probe and of the experiment on gradients, as tables for a terminal."""

import math
from typing import Any

from rich.console import Console
from rich.table import Table

from cleanpipe.stability.probe.exact import SPREAD


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
            "kind": kind.removesuffix(SPREAD),
            "placed": "spread" if kind.endswith(SPREAD) else "together",
            "excess loss": _interval(found["excess_loss"]),
            "p": found["excess_loss"]["p"],
            "diverged": f"{found['diverged']} of {found['excess_loss']['seeds']}",
        }
        for setting in result["settings"]
        for kind, found in setting["kinds"].items()
    ]


def show_sweep(console: Console, result: dict[str, Any]) -> None:
    """One table: each arm beside the one that it differs from in one thing."""
    table = Table(
        title=f"{result['parameters']:,} parameters, {result['tokens']:,} tokens a run, "
        f"{result['form']['seeds']} seeds; differences at learning rate {result['form']['base']:g}"
    )
    lines = sweep_rows(result)
    for name in lines[0]:
        table.add_column(name, justify="left" if name in {"arm", "against"} else "right")
    for line in lines:
        table.add_row(*map(str, line.values()))
    console.print(table)
    better = [
        line["arm"]
        for line in lines
        if line["against"] and _below(result["arms"][line["arm"]]["effects"]["held_clean"])
    ]
    console.print(
        f"A lower loss on held-out clean text than the arm beside it: {', '.join(better)}."
        if better
        else "No arm has a lower loss on held-out clean text than the arm beside it."
    )
    console.print(result["limits"], markup=False)


def _below(effect: dict[str, Any]) -> bool:
    return effect["high"] is not None and effect["high"] < 0


def sweep_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The arms of a sweep as plain rows: differences, with intervals, to the arm named beside.

    Losses are in nats; tokens to target are those to a loss that both arms reached; the largest
    stable rate is the geometric mean over seeds of the learning rates below which none diverged.
    """
    found = []
    rates = result["form"]["rates"]
    for arm, entry in result["arms"].items():
        effects = entry.get("effects", {})
        line: dict[str, Any] = {"arm": arm, "against": entry.get("against", "")}
        for title, name in (
            ("held-out clean", "held_clean"),
            ("held-out raw", "held_raw"),
            ("gap", "gap"),
            ("sensitivity", "sensitivity"),
        ):
            level = entry["levels"][name]
            own = "not finite" if level is None else f"{level:.3f}"
            line[title] = _interval(effects[name]) if effects else own
        tokens = effects.get("log_tokens_to_target", {}).get("mean")
        line["tokens to target"] = "" if tokens is None else f"{100 * math.expm1(tokens):+.0f} %"
        line["largest stable rate"] = _stable(2 ** entry["levels"]["log2_largest_stable_lr"], rates)
        line["events per 1,000"] = _of(entry["levels"]["events_per_1000"])
        line["p of all"] = f"{effects['held_clean']['p_of_all']:.3f}" if effects else ""
        line["diverged"] = f"{entry['diverged']} of {entry['runs']}"
        found.append(line)
    return found


def setting(result: dict[str, Any]) -> str:
    """In what models and batches a probe's or a sweep's result was found, as a sentence."""
    form = result["form"]
    if "arms" in result:
        shape, batch = form["shape"], form["batch"]
        own = f"{result['tokens']:,} tokens a run, learning rate {form['base']:g}"
    else:
        shape, batch = form["plan"]["shape"], form["plan"]["batch"]
        own = (
            f"faults in {100 * form['dose']:.0f} % of the sequences of {form['batches']} batches "
            f"that follow each other, or as many spread over all; {form['after']} steps watched"
        )
    return (
        f"{result['parameters']:,} weights in {shape['layers']} layers, {form['seeds']} seeds, "
        f"batches of {batch * shape['length']:,} tokens, {own} "
        f"({result.get('machine', 'cpu, float32')})."
    )


def _stable(rate: float, rates: list[float]) -> str:
    """A rate, or that it lies beyond those that were tried.

    >>> _stable(1.0, [0.01, 1.0]), _stable(0.316, [0.01, 1.0]), _stable(0.005, [0.01, 1.0])
    ('1 or more', '0.32', 'below 0.01')
    """
    if rate >= max(rates):
        return f"{max(rates):g} or more"
    return f"below {min(rates):g}" if rate < min(rates) else f"{rate:.2g}"


def _of(level: float | None) -> str:
    return "not finite" if level is None else f"{level:.1f}"


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
