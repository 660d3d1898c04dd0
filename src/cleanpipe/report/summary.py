"""A run in a few lines: what was kept, what was dropped, by which stage and rule."""

from typing import Any

STAGE_ORDER = ("read", "normalize", "cuts", "filter", "dedup", "balance", "augment")


def attrition(stats: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a stage and rule that lost documents, in the order of the stages, then `kept`.

    A row of the filter's says, too, how many documents fail the rule in all, and as the only one.
    """
    known = {rule["rule"]: rule for rule in stats["rules"]}
    nothing = {"failed": None, "alone": None}
    place = {stage: number for number, stage in enumerate(STAGE_ORDER)}
    lost = sorted(
        stats["stages"], key=lambda row: (place[row["stage"]], -row["documents"], row["rule"])
    )
    rows = [
        {
            "stage": row["stage"],
            "rule": row["rule"],
            "verdict": row["verdict"],
            "documents": row["documents"],
            "bytes": row["bytes"] or 0,
            **(_overlap(known[row["rule"]]) if row["stage"] == "filter" else nothing),
        }
        for row in lost
    ]
    kept = stats["clean"]
    last = {"stage": "", "rule": "", "verdict": "kept", **nothing}
    return [*rows, {**last, "documents": kept["documents"], "bytes": kept["bytes"]}]


def _overlap(rule: dict[str, Any]) -> dict[str, int]:
    return {"failed": rule["failed"], "alone": rule["alone"]}


def cut_told(stats: dict[str, Any]) -> str:
    """What cuts took from the documents, as a sentence without its dot; empty without cuts."""
    cut = stats.get("cuts")
    if not cut:
        return ""
    if not cut["cut"]:
        return f"nothing was cut: of {cut['spans']:,} spans none repeats in enough documents"
    return (
        f"{cut['cut']:,} repeats of {cut['repeated']:,} different spans were cut from "
        f"{cut['documents']:,} documents: {megabytes(cut['bytes'])}, "
        f"{share(cut['chars'], cut['chars'] + stats['raw']['chars'])} of all characters"
    )


def held_told(stats: dict[str, Any]) -> str:
    """Which groups max_epochs kept from their shares, as a sentence without its dot, or nothing.

    >>> groups = [{"group": "cy", "held_by": "max_epochs", "needed_epochs": 12.34}]
    >>> held_told({"groups": groups})
    'balance: max_epochs holds 1 of 1 groups (cy), whose shares would take up to 12.3 epochs'
    """
    held = [group for group in stats["groups"] if group["held_by"] == "max_epochs"]
    if not held:
        return ""
    held.sort(key=lambda group: -group["needed_epochs"])
    names = ", ".join(group["group"] for group in held[:5]) + (", ..." if len(held) > 5 else "")
    return (
        f"balance: max_epochs holds {len(held):,} of {len(stats['groups']):,} groups ({names}), "
        f"whose shares would take up to {held[0]['needed_epochs']:,.1f} epochs"
    )


def share(part: int, whole: int) -> str:
    """A share in percent, for people; a dash where there is nothing to share."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def megabytes(size: int) -> str:
    """A size for people: in kB below 100 kB.

    >>> megabytes(2_345_678), megabytes(4_321), megabytes(0)
    ('2.3 MB', '4.3 kB', '0')
    """
    if size == 0:
        return "0"
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size / 1e3:,.1f} kB"
