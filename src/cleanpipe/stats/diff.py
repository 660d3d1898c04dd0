"""What changed between two runs, and why: recipe, code, inputs; rules, groups, drift, documents.

The numbers come from both runs' stats.json, the documents from their ledgers. A document of a file
whose bytes are the same in both runs is known by its place, wherever the file is now; another one
by its id, where a recipe names a column of ids and only one document has it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from cleanpipe import ledger, store
from cleanpipe.errors import InputError
from cleanpipe.outcome import Run
from cleanpipe.planning.whatif import flat
from cleanpipe.report.summary import STAGE_ORDER
from cleanpipe.stats import drift, stats

EXAMPLES = 5
HAS_ID = (pl.col("id") != pl.format("{}:{}", "shard", "row")) & (pl.len().over("id") == 1)
"""Whether an id names one document: where none was given, a document's place stands for it."""
MOST = 20
UNITS = ("documents", "bytes")
WORKS_ON = {"read": "input", "augment": "balance"}
"""The section of a recipe that decides what a stage drops, where it has another name."""


def runs_of(was: Path, now: Path | None = None) -> tuple[Path, Path]:
    """The folders of two runs; of an output folder alone, of its last two published ones.

    Errors: InputError where a run is not there, or only one was published.
    """
    if now is not None:
        return Run.load(was).folder, Run.load(now).folder
    output = Run.load(was).output
    known = [manifest["run"] for manifest in store.manifests(output / "_cleanpipe")]
    if len(known) < 2:
        raise InputError(f"{output} has one published run: name the run to compare it with")
    before, last = (output / "_cleanpipe" / "runs" / name for name in known[-2:])
    return Run.load(before).folder, Run.load(last).folder


def diff(was: Path, now: Path) -> dict[str, Any]:
    """What changed from one run to the other, by their folders.

    Keys: runs; recipe (options), versions and inputs that differ; documents, raw, clean; stages (by
    rule); by (groups); drift (raw and clean, as in stats.json); fates (of documents); in_short.
    """
    sides = [store.read_json(run / "stats.json") for run in (was, now)]
    for run, one in zip((was, now), sides, strict=True):
        if one["version"] != stats.VERSION:
            raise InputError(
                f"{run}/stats.json has version {one['version']}, and {stats.VERSION} is expected: "
                "run its recipe again"
            )
    identities = [store.read_json(run / "identity.json") for run in (was, now)]
    recipe = list(_changed(*(dict(flat(one["recipe"])) for one in identities)))
    recipe += _changed(*(one["lists"] | _models(one) for one in identities))
    told = {
        "runs": [str(was), str(now)],
        "recipe": recipe,
        "versions": list(_changed(*(dict(flat(one["versions"])) for one in identities))),
        "inputs": _inputs(*(one["inputs"] for one in identities)),
        **{name: [one[name] for one in sides] for name in ("documents", "raw", "clean")},
        "stages": list(_stages(sides[0], sides[1], [one["option"] for one in recipe])),
        "by": {
            column: _groups(*(one["by"][column] for one in sides))
            for column in sides[1]["by"]
            if column in sides[0]["by"]
        },
        "drift": drift.compare(*sides),
        "fates": _fates(was, now),
    }
    return told | {"in_short": list(in_short(told))}


def _models(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {f"measure: {name}": value for name, value in flat(identity["measure"]) if value}


def _changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What has another value: {} stands for nothing, as null does."""
    for name in dict.fromkeys((*was, *now)):
        before, after = was.get(name), now.get(name)
        if before != after and (before not in (None, {}) or after not in (None, {})):
            yield {"option": name, "before": before, "after": after}


def _inputs(was: Mapping[str, str], now: Mapping[str, str]) -> dict[str, Any]:
    """Files by name: those only one run read, those of other bytes; and how many are the same."""
    both = [name for name in was if name in now]
    return {
        "added": sorted(set(now) - set(was)),
        "gone": sorted(set(was) - set(now)),
        "changed": sorted(name for name in both if was[name] != now[name]),
        "same": sum(was[name] == now[name] for name in both),
    }


def _stages(
    was: Mapping[str, Any], now: Mapping[str, Any], options: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """What each rule lost then and now, the largest change of its share first.

    `options` are those of the recipe that changed and that the rule goes by.
    """
    sides = [
        {(r["stage"], r["rule"], r["verdict"]): r for r in one["stages"]} for one in (was, now)
    ]
    read = [max(one["documents"]["read"], 1) for one in (was, now)]
    rows = []
    for key in sides[0].keys() | sides[1].keys():
        counts = [side.get(key, dict.fromkeys(UNITS, 0)) for side in sides]
        shares = [one["documents"] / all_ for one, all_ in zip(counts, read, strict=True)]
        stage, rule, verdict = key
        section = WORKS_ON.get(stage, stage)
        rows.append(
            {
                "stage": stage,
                "rule": rule,
                "verdict": verdict,
                "before": {unit: counts[0][unit] or 0 for unit in UNITS} | {"share": shares[0]},
                "after": {unit: counts[1][unit] or 0 for unit in UNITS} | {"share": shares[1]},
                "changed": counts[0]["documents"] != counts[1]["documents"],
                "options": [n for n in options if _is_below(n, section, rule)],
            }
        )
    yield from sorted(
        rows,
        key=lambda row: (
            -abs(row["after"]["share"] - row["before"]["share"]),
            STAGE_ORDER.index(row["stage"]),
            row["rule"],
        ),
    )


def _is_below(option: str, section: str, rule: str) -> bool:
    """Whether a rule goes by an option: of the filter's its own, of another stage's all."""
    if section == "filter":
        return option == f"filter.{rule}" or option.startswith(f"filter.{rule}.")
    return option == section or option.startswith(f"{section}.")


def _groups(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Groups by their documents and shares of what was kept, the largest change first."""
    sides = [{name: one["documents"] for name, one in side["clean"].items()} for side in (was, now)]
    totals = [max(sum(side.values()), 1) for side in sides]
    rows = []
    for name in sides[0].keys() | sides[1].keys():
        counts = [side.get(name, 0) for side in sides]
        shares = [count / total for count, total in zip(counts, totals, strict=True)]
        rows.append({"group": name, "documents": counts, "share": shares})
    rows.sort(key=lambda row: (-abs(row["share"][1] - row["share"][0]), row["group"]))
    return rows[:MOST]


def _fates(was: Path, now: Path) -> dict[str, Any]:
    """What became of the documents of either run: those in both, and those in one."""
    both = _matched(was, now)
    kept = [pl.col(name) == "kept" for name in ("verdict", "verdict_now")]
    is_new, is_gone = pl.col("verdict").is_null(), pl.col("verdict_now").is_null()
    same_rule = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(f"{name}_now")) for name in ("stage", "rule")
    )
    kind = (
        pl.when(is_new)
        .then(pl.when(kept[1]).then(pl.lit("came_kept")).otherwise(pl.lit("came_dropped")))
        .when(is_gone)
        .then(pl.when(kept[0]).then(pl.lit("left_kept")).otherwise(pl.lit("left_dropped")))
        .when(kept[0] & kept[1])
        .then(pl.lit("still_kept"))
        .when(kept[1])
        .then(pl.lit("newly_kept"))
        .when(kept[0])
        .then(pl.lit("newly_dropped"))
        .when(same_rule)
        .then(pl.lit("still_dropped"))
        .otherwise(pl.lit("dropped_by_another"))
    )
    known = both.with_columns(kind=kind)
    reasons = ("kind", "stage", "rule", "stage_now", "rule_now")
    counts = known.group_by(reasons).len("documents").collect(engine="streaming")
    told: dict[str, Any] = {name: {"documents": 0, "reasons": [], "examples": []} for name in KINDS}
    for row in counts.sort("documents", *reasons, descending=[True] + [False] * 5).to_dicts():
        one = told[row["kind"]]
        one["documents"] += row["documents"]
        if row["kind"] in SHOWN and len(one["reasons"]) < MOST:
            one["reasons"].append({name: row[name] for name in (*reasons[1:], "documents")})
    for name in SHOWN:
        if told[name]["documents"]:
            chosen = known.filter(kind=name).select("id", "shard", "row", *reasons[1:])
            first = chosen.sort("shard", "row").head(EXAMPLES).collect(engine="streaming")
            told[name]["examples"] = first.to_dicts()
    return told


SHOWN = ("newly_kept", "newly_dropped", "dropped_by_another")
KINDS = (
    *(*SHOWN, "still_kept", "still_dropped"),
    *("came_kept", "came_dropped", "left_kept", "left_dropped"),
)
"""In both runs; in the later one only (came); in the earlier one only (left)."""


def _matched(was: Path, now: Path) -> pl.LazyFrame:
    """A row a document of either run: its place and id (the later run's), both verdicts."""
    contents = [_contents(store.read_json(run / "identity.json")["inputs"]) for run in (was, now)]
    shared = set(contents[0].values()) & set(contents[1].values())
    sides = [
        _side(run, {name: hash_ for name, hash_ in known.items() if hash_ in shared})
        for run, known in zip((was, now), contents, strict=True)
    ]
    named = [side.filter(pl.col("content").is_null()).with_columns(has_id=HAS_ID) for side in sides]
    by_place = [side.filter(pl.col("content").is_not_null()) for side in sides]
    by_id = [side.filter("has_id") for side in named]
    alone = [side.filter(~pl.col("has_id")) for side in named]
    return pl.concat(
        [
            _joined(by_place[0], by_place[1], ("content", "row")),
            _joined(by_id[0], by_id[1], ("id",)),
            _joined(alone[0], alone[1], ()),
        ]
    )


def _contents(inputs: Mapping[str, str]) -> dict[str, str]:
    """What names each file's bytes: their hash, with a number where files have the same."""
    seen: dict[str, int] = {}
    told = {}
    for name in sorted(inputs):
        seen[inputs[name]] = seen.get(inputs[name], 0) + 1
        told[name] = f"{inputs[name]}-{seen[inputs[name]]}"
    return told


def _side(run: Path, contents: Mapping[str, str]) -> pl.LazyFrame:
    names = pl.LazyFrame(
        {"shard": list(contents), "content": list(contents.values())},
        schema={"shard": pl.String, "content": pl.String},
    )
    columns = ("id", "shard", "row", "verdict", "stage", "rule")
    return ledger.load_verdicts(run).select(columns).join(names, on="shard", how="left")


def _joined(was: pl.LazyFrame, now: pl.LazyFrame, on: Sequence[str]) -> pl.LazyFrame:
    """Both sides' rows, those of one document as one; without `on`, one after another."""
    own = ("id", "shard", "row")
    verdict = ("verdict", "stage", "rule")
    later = now.rename({name: f"{name}_now" for name in verdict})
    if not on:
        found = pl.concat([was, later], how="diagonal")
        return found.select(*own, *verdict, *(f"{name}_now" for name in verdict))
    both = was.join(later, on=list(on), how="full", suffix="_later", coalesce=True)
    known = [
        pl.col(name) if name in on else pl.coalesce(f"{name}_later", name).alias(name)
        for name in own
    ]
    return both.select(*known, *verdict, *(f"{name}_now" for name in verdict))


def in_short(told: Mapping[str, Any]) -> Iterator[str]:
    """The answer in a few sentences: what differs before, and what came of it."""
    causes = []
    if told["recipe"]:
        causes.append(f"{_some(told['recipe'], 'option')} of the recipe")
    if told["versions"]:
        causes.append(f"{_some(told['versions'], 'version')} of the code")
    inputs = {name: len(told["inputs"][name]) for name in ("added", "gone", "changed")}
    if any(inputs.values()):
        files = ", ".join(f"{count:,} {name}" for name, count in inputs.items() if count)
        causes.append(f"files of the input ({files})")
    yield (
        f"Other in the later run: {'; '.join(causes)}."
        if causes
        else ("Both runs have the same recipe, code and inputs.")
    )
    shares = [one["kept"] / one["read"] if one["read"] else 0.0 for one in told["documents"]]
    yield f"{shares[1]:.1%} of documents were kept, and {shares[0]:.1%} before."
    for name, said in (("newly_kept", "kept"), ("newly_dropped", "dropped")):
        count = told["fates"][name]["documents"]
        are = "is" if count == 1 else "are"
        yield f"Of the documents of both runs {count:,} {are} newly {said}."
    moved = [
        name for name, one in drift.largest(told["drift"], "clean") if one["effect"] == "large"
    ]
    if moved:
        more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
        yield f"What is kept drifted far in {', '.join(moved[:3])}{more}."


def _some(rows: Sequence[Any], name: str) -> str:
    return f"{len(rows)} {name}{'' if len(rows) == 1 else 's'}"
