"""The page's first words and its tables: five answers, what was left, who holds repeats."""

import orjson
import polars as pl

from cleanpipe.report import findings, shown


def statistics(read=100, *stages, kept=None, **known):
    """stats.json of a run that lost what `stages` say: (stage, rule, verdict, documents)."""
    rows = [
        {"stage": s, "rule": r, "verdict": v, "documents": n, "bytes": 10 * n}
        for s, r, v, n in stages
    ]
    lost = sum(row["documents"] for row in rows)
    quarantined = sum(r["documents"] for r in rows if r["verdict"] == "quarantined")
    count = read - lost if kept is None else kept
    return {
        "documents": {"read": read, "kept": count, "quarantined": quarantined},
        "raw": {"documents": read - quarantined, "bytes": 10 * (read - quarantined)},
        "stages": rows,
        "fixes": {"spaces": 0},
        "copies": {"written": 0, "bytes": 0},
        "duplicates": {"column": 0, "exact": 0, "near": 0, "marked": 0, "uncompared": 0},
        "gates": [],
        "filter": {"passed": count},
        "rules": [],
        "by": {},
        **known,
    }


def said(stats, section, before=()):
    found = findings.in_short(stats, before)
    return next(one["answers"] for one in found if one["section"] == section)


def test_what_was_left_goes_down_to_what_was_kept():
    """Each step takes away what its stage lost, quarantine with read; the last is what was kept."""
    stats = statistics(
        100,
        ("read", "not_json", "quarantined", 4),
        ("read", "null_text", "dropped", 1),
        ("filter", "words", "dropped", 20),
        ("dedup", "exact", "dropped", 5),
    )
    steps = findings.funnel(stats)
    assert [step["documents"] for step in steps] == [100, 95, 75, 70]
    assert [step["lost"] for step in steps] == [0, 5, 20, 5]
    assert steps[-1]["documents"] == stats["documents"]["kept"]
    assert steps[0]["bytes"] - steps[-1]["bytes"] == 260


def test_the_largest_reasons_are_named_and_the_rest_counted():
    """Three rules by name, the largest first; quarantine is told apart."""
    lost = [
        ("filter", name, "dropped", n) for name, n in zip("abcde", (1, 9, 3, 5, 2), strict=True)
    ]
    told = said(statistics(100, *lost, ("read", "x", "quarantined", 2)), "attrition")
    assert told[0] == "20 (20.0 %) by filter: mostly b 9, d 5, c 3; 2 more reasons."
    assert told[1].startswith("2 could not be read")


def test_what_got_worse_is_a_comparison_with_the_run_before():
    """Less kept, and rules that drop half a point more; no more than that, and nothing of none."""
    then = statistics(1000, ("filter", "words", "dropped", 50), ("filter", "lines", "dropped", 50))
    now = statistics(1000, ("filter", "words", "dropped", 150), ("filter", "lines", "dropped", 54))
    before = [{"run": "0001", "documents": then["documents"], "stats": then}]
    told = said(now, "trend", before)
    assert told == [
        "Less was kept: 79.6% of documents, and 90.0% in run 0001.",
        "filter words dropped 15.0%, and 5.0% then.",
    ]
    assert "No rule" in said(then, "trend", before)[1]
    assert "no earlier" in said(now, "trend")[0]


def test_advice_names_bounds_languages_and_rules_that_do_nothing_alone():
    """The bound that lets most pass, the rule that is never alone, the language that is lost."""
    move = {"side": "low", "change": -10, "bound": 45.0, "failed": 1, "passed": 85}
    stats = statistics(
        100,
        ("filter", "words", "dropped", 20),
        rules=[
            {"rule": "words", "failed": 20, "alone": 9, "moves": [move]},
            {"rule": "lines", "failed": 3, "alone": 0, "moves": []},
        ],
        by={"lang": {"raw": {"ja": {"documents": 10}}, "clean": {"ja": {"documents": 1}}}},
    )
    told = said(stats, "rules")
    assert told[0].startswith("filter.words.low: 45 would let 5 more pass")
    assert told[1].startswith("lines drop no document that another rule")
    assert told[2].startswith("Of language ja only 10.0 % is kept")


def write_block(folder, number, rows):
    ids = [f"{number}-{i}" for i in range(len(rows))]
    empty = {n: pl.lit(None, pl.String) for n in ("duplicate_of",)}
    numbers = {n: pl.lit(None, pl.Float64) for n in ("value", "low", "high", "similarity")}
    verdicts = pl.DataFrame(
        {
            "id": ids,
            "shard": [f"s{number}"] * len(rows),
            "row": pl.Series(range(len(rows)), dtype=pl.UInt64),
            "verdict": [verdict for verdict, _, _ in rows],
            "stage": ["filter" if v == "dropped" else None for v, _, _ in rows],
            "rule": ["words" if v == "dropped" else None for v, _, _ in rows],
        }
    ).with_columns(**empty, **numbers)
    measures = pl.DataFrame(
        {
            "source": [s for _, s, _ in rows],
            "repeat_tokens": [n for _, _, n in rows],
            "bytes": [10 * n for _, _, n in rows],
        }
    )
    for name, table in (("verdicts", verdicts), ("measures", measures)):
        (folder / name).mkdir(exist_ok=True)
        table.write_parquet(folder / name / f"block-{number}.parquet")


def test_holders_of_repeats_are_those_of_all_blocks(tmp_path):
    """Sums by source and shard over blocks, read and kept; the documents with most come first."""
    write_block(tmp_path, 0, [("kept", "a", 5), ("dropped", "b", 40)])
    write_block(tmp_path, 1, [("kept", "a", 7), ("kept", None, 0)])
    found = shown.holders(tmp_path)
    sources = [(row["name"], row["raw"], row["clean"]) for row in found["groups"]["source"]]
    assert sources == [("b", 40, 0), ("a", 12, 12)]
    assert found["groups"]["source"][0]["raw_total"] == 52
    assert [row["id"] for row in found["documents"]] == ["0-1", "1-0", "0-0"]


def test_what_dropping_and_masking_cost_is_told_of_what_was_kept(tmp_path):
    """By bounds, over all blocks: documents, their text, their repeated tokens; no empty row."""
    write_block(tmp_path, 0, [("kept", "a", 31), ("kept", "a", 32), ("dropped", "a", 900)])
    write_block(tmp_path, 1, [("kept", "b", 200)])
    assert shown.holders(tmp_path)["prices"] == [
        {"bound": 32, "documents": 2, "bytes": 2320, "repeat_tokens": 232},
        {"bound": 128, "documents": 1, "bytes": 2000, "repeat_tokens": 200},
    ]


def test_the_list_holds_few_of_each_reason_by_chance_and_those_with_a_text(tmp_path):
    """No reason takes all the room, another seed shows others, and what has an excerpt is there."""
    write_block(tmp_path, 0, [("dropped", "a", 0)] * 400 + [("kept", "b", 0)] * 10)
    examples = {"rules": [{"name": "words", "examples": [{"id": "0-7", "text": [["", "seen"]]}]}]}
    lists = [shown.listed(tmp_path, seed, examples) for seed in (1, 1, 2)]
    assert lists[0] == lists[1] != lists[2]
    assert [line["why"] for line in lists[0]].count("filter words") == shown.EACH
    assert [line["why"] for line in lists[0]].count("kept") == 10
    assert next(line for line in lists[2] if line["id"] == "0-7")["text"] == "seen"


def test_earlier_runs_come_last_first_with_the_statistics_of_the_last(tmp_path):
    """Runs of later numbers and this one are none of them; a missing stats.json is no fault."""
    folder = tmp_path / "runs" / "0003"
    assert shown.earlier(folder) == []
    lines = [orjson.dumps({"run": f"000{n}", "documents": {}, "clean": {}}) for n in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert [line["run"] for line in shown.earlier(folder)] == ["0002", "0001"]
    assert shown.earlier(folder)[0]["stats"] is None
