"""A plan on one screen of a terminal."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cleanpipe.cli.console import visible
from cleanpipe.report.summary import STAGE_ORDER, megabytes, share

MOST_RULES = 16
MOST_VALUES = 6
MOST_NOTICES = 6
LONGEST_NAME = 20

UNKNOWN = ("unknown", "hidden from a sample")
Told = dict[str, Any]


def show_plan(console: Console, told: Told) -> None:
    """What was looked at, what will be dropped, how long it takes, and what is worth a word."""
    console.print(_head(told))
    console.print(_attrition(told))
    for line in ("", *_costs(told), *_bands(told), *_values(told), *_balance(told)):
        console.print(line, soft_wrap=True)
    for notice in told["notices"][:MOST_NOTICES]:
        console.print(Text("note       ", "yellow") + visible(notice), soft_wrap=True)
    more = len(told["notices"]) - MOST_NOTICES
    if more > 0:
        console.print(f"           and {more} more notes: --json has all")


def _head(told: Told) -> str:
    sample, read = told["sample"], told["documents"]["read"]
    about = f" ({_range(read)})" if _range(read) else ""
    size = f"{read['estimate']:,} documents{about}, {megabytes(told['text']['estimate'])} of text."
    if sample["whole"]:
        by_chance = (
            "" if sample["seed"] else ",\nbut for what goes by chance: the run will draw a seed"
        )
        return f"{size} All were measured: these are the run's own counts{by_chance}.\n"
    met = ""
    if sample["stretches"] < sample["of_stretches"]:
        met = f", drawn from {sample['stretches']:,} of {sample['of_stretches']:,} stretches"
    return (
        f"{size} {sample['documents']:,} were measured{met}: the run's\n"
        "number is in the range 19 times in 20.\n"
    )


def _attrition(told: Told) -> Table:
    """A line a rule that drops something, then what passes, what dedup drops, what is kept."""
    names = ("stage", "rule", "documents", "range", "share", "text")
    table = Table(*names, box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify, column.no_wrap = "right", True
    place = {stage: number for number, stage in enumerate(STAGE_ORDER)}
    lines = sorted(
        (line for line in told["attrition"] if line["stage"] != "dedup"),
        key=lambda line: (place[line["stage"]], -line["documents"]["estimate"], line["rule"]),
    )
    seen = [line for line in lines if line["drawn"]]
    before = [line for line in seen if line["stage"] != "balance"]
    for line in before[:MOST_RULES]:
        table.add_row(line["stage"], visible(line["rule"]), *_cells(told, line))
    rest = [line for line in lines if line not in seen] + before[MOST_RULES:]
    most = max((line["documents"]["high"] for line in rest), default=0)
    if most:
        table.add_row("", f"{len(rest)} other rules", "each", f"0 to {most:,}")
    for stage, rule in told["left_out"]:
        table.add_row(stage, rule, *UNKNOWN)
    passed = {"documents": told["passed"]["documents"], "bytes": told["passed"]["bytes"]}
    duplicates = {name: line for name, line in told["duplicates"].items() if line is not None}
    if duplicates and not told["sample"]["whole"]:
        table.add_row(Text("pass", "bold"), "every rule", *_cells(told, passed))
    for name, line in duplicates.items():
        table.add_row("dedup", name, *_duplicates(told, line))
    for line in seen:
        if line["stage"] == "balance":
            table.add_row("balance", visible(line["rule"]), *_cells(told, line))
    table.add_row(Text("kept", "bold"), "", *_kept(told))
    return table


def _cells(told: Told, line: Told) -> tuple[str, str, str, str]:
    found = line["documents"]
    estimate, read = found["estimate"], told["documents"]["read"]["estimate"]
    part = share(estimate, read)
    return f"{estimate:,}", _range(found), part, megabytes(line["bytes"]["estimate"])


def _duplicates(told: Told, line: Told) -> tuple[str, ...]:
    if line["estimate"] is not None:
        read = told["documents"]["read"]["estimate"]
        return f"{line['estimate']:,}", "", share(line["estimate"], read)
    if line["at_least"]:
        return "at least", f"{line['at_least']:,}"
    return UNKNOWN


def _kept(told: Told) -> tuple[str, ...]:
    kept = told["kept"]
    if kept["documents"]["estimate"] is not None:
        return _cells(told, kept)
    most = kept["documents"]["high"]
    return "at most", f"{most:,}", share(most, told["documents"]["read"]["estimate"])


def _costs(told: Told) -> Iterator[str]:
    costs = told["costs"]
    if not costs:
        return
    steps = ", ".join(f"{n} {s:.0f}" for n, s in costs["steps"].items() if s >= 0.5)
    workers = f"{costs['workers']} worker{'s' if costs['workers'] > 1 else ''}"
    yield f"time       about {_duration(costs['seconds'])} with {workers} ({steps} s)"
    yield (
        f"needs      disk: {megabytes(costs['parts_bytes']['high'])} for parts, at most, and "
        f"{megabytes(costs['books_bytes'])} for the books; memory: "
        f"{costs['memory_bytes'] / 1e9:.1f} GB"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7_200 else f"{seconds / 3600:.1f} hours"


def _bands(told: Told) -> Iterator[str]:
    bands = told["bands"]
    if bands:
        found = ", ".join(f"{100 * p:.0f} % at {s:g}" for s, p in bands["found"])
        why = "as the recipe gives them"
        if bands["recall"] is not None:
            at = f"{100 * bands['recall']:g} % of pairs at {bands['threshold']:g}"
            why = f"the fewest candidates for {at}"
        yield f"near       {bands['bands']} bands of {bands['rows']} ({why}) find: {found}"


def _values(told: Told) -> Iterator[Text]:
    for name in ("languages", "sources"):
        if told[name]:
            read = told["documents"]["read"]["estimate"]
            parts = [f"{_cut(x['value'])} {share(x['read']['estimate'], read)}" for x in told[name]]
            yield visible(f"{name:10} {_listed(parts)}")


def _balance(told: Told) -> Iterator[Text]:
    balance = told["balance"]
    if balance is None:
        return
    if balance["left_out"]:
        yield visible(f"balance    cannot be foretold: {balance['left_out']}")
        return
    dedup = ", before dedup" if told["kept"]["documents"]["estimate"] is None else ""
    lines = sorted(balance["groups"], key=lambda line: -line["size"]["estimate"])
    parts = [f"{_cut(line['group'])} {_epochs(line['epochs'])}" for line in lines]
    yield visible(f"balance    epochs by {balance['by']}{dedup}: {_listed(parts)}")


def _epochs(found: dict[str, float]) -> str:
    low, high = f"{found['low']:.2f}", f"{found['high']:.2f}"
    return low if low == high else f"{low} to {high}"


def _listed(parts: list[str]) -> str:
    more = len(parts) - MOST_VALUES
    return ", ".join(parts[:MOST_VALUES]) + (f" and {more} more" if more > 0 else "")


def _range(found: dict[str, int]) -> str:
    return "" if found["low"] == found["high"] else f"{found['low']:,} to {found['high']:,}"


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
