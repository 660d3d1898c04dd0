"""The verb `cleanpipe mixture`: from small training runs to weights for `balance`."""

import sys
from dataclasses import asdict
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text


def mixture(runs: Path, *, loss: str = "loss", seed: int = 0, json: bool = False) -> int:
    """Propose shares of groups from small training runs: the mixture of the lowest expected loss.

    Parameters
    ----------
    runs
        A CSV with a row a run: a column of shares for each group, and one of the loss.
    loss
        The column of the loss.
    seed
        The start of the mixtures that are tried.
    json
        Print the proposal as JSON.
    """
    from cleanpipe.balancing.mixture import fit, load, propose, weights  # noqa: PLC0415 - --help needs none

    known = load(runs, loss)
    regression = fit(known)
    found = propose(known, regression, seed)
    shares = weights(found.shares)
    if json:
        told = {**asdict(found), "weights": shares, "runs": len(known.losses)}
        told |= {"length": regression.length, "noise": regression.noise}
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    console = Console(highlight=False)
    table = Table("group", "proposed", "mean of the runs", box=None)
    for name, mean in zip(known.groups, known.shares.mean(axis=0), strict=True):
        table.add_row(Text(name), f"{shares[name]:.4f}", f"{mean:.4f}")
    console.print(table)
    console.print(
        f"\nexpected loss {found.loss:.4f}, give or take {found.deviation:.4f}; the best of "
        f"{len(known.losses)} runs had {found.best_run:.4f}. As a recipe has it:\n"
    )
    listed = ", ".join(f"{name}: {share:g}" for name, share in shares.items() if share)
    console.print(
        Text(f"balance: {{by: GROUP, strategy: explicit, weights: {{{listed}}}}}"), soft_wrap=True
    )
    return 0
