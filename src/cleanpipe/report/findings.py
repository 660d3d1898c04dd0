"""The page's first words: five questions of a reader who knows nothing of the run, answered."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cleanpipe.report import trend
from cleanpipe.report.summary import STAGE_ORDER, megabytes, share

MOST = 3
"""Names in one sentence."""
WORSE = 0.005
"""Half a point of a hundred: a smaller change of a share is not told as one."""
SMALL_GROUP = 0.01
"""Of all documents: what a language or source must have to be told apart."""

Stats = Mapping[str, Any]
Answer = dict[str, Any]


def in_short(stats: Stats, before: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """Each question with its answers, whole sentences, and the section that says more."""
    return [
        {"question": question, "answers": list(answers), "section": section}
        for question, answers, section in (
            ("What was dropped, and why?", _dropped(stats), "attrition"),
            ("What was changed?", _changed(stats), "fixes"),
            ("What was kept twice?", _twice(stats), "duplicates"),
            ("What got worse since last time?", _worse(stats, before), "trend"),
            ("What could change in the recipe?", _advice(stats), "rules"),
        )
    ]


def funnel(stats: Stats) -> list[Answer]:
    """What was still there after each stage, in every unit that was counted; read comes first."""
    read = stats["documents"]["read"]
    quarantined = {"documents": read - stats["raw"]["documents"]}
    left = {**stats["raw"], "documents": read}
    steps = [{"stage": "came in", **left, "lost": 0}]
    for stage in STAGE_ORDER:
        rows = [row for row in stats["stages"] if row["stage"] == stage]
        if not rows and not (stage == "read" and quarantined["documents"]):
            continue
        lost = {
            unit: sum(row[unit] or 0 for row in rows if row["verdict"] == "dropped")
            for unit in left
        }
        if stage == "read":
            lost["documents"] += quarantined["documents"]
        left = {unit: left[unit] - lost[unit] for unit in left}
        steps.append({"stage": f"after {stage}", **left, "lost": lost["documents"]})
    return steps


def _dropped(stats: Stats) -> Iterator[str]:
    documents = stats["documents"]
    read = documents["read"]
    if not read:
        yield "Nothing was read: the input holds no document."
        return
    lost = [row for row in stats["stages"] if row["verdict"] == "dropped"]
    if not lost:
        yield "No document was dropped."
    for stage in STAGE_ORDER:
        rows = sorted((r for r in lost if r["stage"] == stage), key=lambda r: -r["documents"])
        if rows:
            total = sum(row["documents"] for row in rows)
            most = _names([(row["rule"], row["documents"]) for row in rows])
            yield f"{total:,} ({share(total, read)}) by {stage}: {most}."
    if documents["quarantined"]:
        yield f"{documents['quarantined']:,} could not be read and stand in quarantine."


def _names(counts: Sequence[tuple[str, int]]) -> str:
    told = ", ".join(f"{name} {count:,}" for name, count in counts[:MOST])
    rest = len(counts) - MOST
    if rest <= 0:
        return told
    return f"mostly {told}; {rest} more {'reason' if rest == 1 else 'reasons'}"


def _changed(stats: Stats) -> Iterator[str]:
    fixes = sorted(((n, c) for n, c in stats["fixes"].items() if c), key=lambda one: -one[1])
    if fixes:
        most = ", ".join(f"{name} in {count:,}" for name, count in fixes[: 2 * MOST])
        more = f", and {len(fixes) - 2 * MOST} more" if len(fixes) > 2 * MOST else ""
        yield f"Normalize's fixes changed documents, whether kept or not: {most}{more}."
    else:
        yield "Normalize changed no document."
    if stats.get("cuts"):
        cuts = stats["cuts"]
        size = megabytes(cuts["bytes"])
        yield f"Repeated spans were cut from {cuts['documents']:,} documents, {size} in all."


def _twice(stats: Stats) -> Iterator[str]:
    copies, known = stats["copies"], stats["duplicates"]
    if copies["written"]:
        yield (
            f"{copies['written']:,} extra copies ({megabytes(copies['bytes'])}) were written on "
            "purpose, for balance."
        )
    if known["marked"]:
        yield f"{known['marked']:,} near-duplicates are marked and kept, as the recipe asks."
    if known["uncompared"]:
        yield f"At most {known['uncompared']:,} similar pairs in crowded buckets were not compared."
    gone = sum(known.get(kind, 0) for kind in ("column", "exact", "near"))
    if gone:
        yield f"{gone:,} duplicates gave way to a document that stands for them."
    elif not (copies["written"] or known["marked"]):
        yield "No copy was asked for, and no duplicate was dropped or marked."


def _worse(stats: Stats, before: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not before:
        yield "This output folder has no earlier published run to compare with."
        return
    last = before[0]
    now, then = _kept(stats["documents"]), _kept(last["documents"])
    if now < then - WORSE:
        yield f"Less was kept: {now:.1%} of documents, and {then:.1%} in run {last['run']}."
    else:
        yield f"{now:.1%} of documents were kept, and {then:.1%} in run {last['run']}."
    if last.get("stats"):
        grown = sorted(_grown(stats, last["stats"]), key=lambda one: one[1] - one[2])[:MOST]
        for name, was, is_ in grown:
            yield f"{name} dropped {is_:.1%}, and {was:.1%} then."
        if not grown and now >= then - WORSE:
            yield "No rule drops more than half a point more than it did."
    yield from trend.told(stats)


def _kept(documents: Mapping[str, int]) -> float:
    return documents["kept"] / documents["read"] if documents["read"] else 0.0


def _grown(stats: Stats, last: Stats) -> Iterator[tuple[str, float, float]]:
    """Rules that lose a larger share than they did: name, the share then, the share now."""
    shares = []
    for one in (last, stats):
        read = one["documents"]["read"]
        rows = {f"{r['stage']} {r['rule']}": r["documents"] for r in one["stages"]}
        shares.append({name: count / read for name, count in rows.items()} if read else {})
    for name, now in sorted(shares[1].items()):
        was = shares[0].get(name, 0.0)
        if now - was > WORSE:
            yield name, was, now


def _advice(stats: Stats) -> Iterator[str]:
    for gate in stats["gates"]:
        if gate["outcome"] != "passed":
            yield f"The gate on {gate['metric']} did not pass: mend its cause, or loosen the gate."
    passed = stats["filter"]["passed"]
    moves = [
        (move["passed"] - passed, rule["rule"], move)
        for rule in stats["rules"]
        for move in rule["moves"]
        if move["bound"] is not None and move["passed"] > passed
    ]
    told: set[str] = set()
    for more, name, move in sorted(moves, key=lambda one: (-one[0], one[1]))[: 2 * MOST]:
        if name not in told and len(told) < MOST:
            told.add(name)
            yield (
                f"filter.{name}.{move['side']}: {move['bound']:,.6g} would let {more:,} more pass "
                "all rules; look at its examples before."
            )
    idle = [r["rule"] for r in stats["rules"] if r["failed"] and not r["alone"]]
    if idle:
        yield (
            f"{', '.join(idle[:MOST])}{' and others drop' if len(idle) > MOST else ' drop'} "
            "no document that another rule does not drop, too."
        )
    yield from _neglected(stats)
    if not (moves or idle):
        yield "The rules give no hint: no bound near the recipe's would change what passes."


def _neglected(stats: Stats) -> Iterator[str]:
    """Languages and sources of which less than half of the usual share is kept."""
    usual = _kept(stats["documents"])
    for kind, groups in stats["by"].items():
        for name, raw in groups["raw"].items():
            kept = groups["clean"].get(name, {"documents": 0})["documents"]
            large = raw["documents"] >= SMALL_GROUP * stats["documents"]["read"]
            if large and kept < usual / 2 * raw["documents"]:
                known = share(kept, raw["documents"])
                if kind == "lang" and name == "und":
                    yield f"Of documents of no known language only {known} is kept."
                elif kind == "lang":
                    yield f"Of language {name} only {known} is kept: it may need bounds by_lang."
                else:
                    yield f"Of {kind} {name} only {known} is kept."
