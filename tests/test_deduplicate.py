"""Dedup from corpus to books: options that change who stays, and memory that changes nothing."""

import orjson
import polars as pl
import pytest
from conftest import InProcess, digests

from cleanpipe.duplicates import bands, deduplicate
from cleanpipe.errors import RecipeError
from cleanpipe.outcome import Run
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps, silent

WORDS = [f"word{n}" for n in range(400)]


def page(topic, end=""):
    """Sixty words of a topic; those of one topic are near-duplicates whatever their end is."""
    return " ".join(WORDS[(topic * 67 + i * (topic + 3)) % 400] for i in range(60)) + end


def documents():
    """Twelve topics: two equal texts and three similar ones each, from three sources."""
    lines = []
    for topic in range(12):
        for number, end in enumerate(["", "", " a", " b c", " d e"]):
            source = ["web", "books", "news"][(topic + number) % 3]
            lines.append(
                {
                    "id": f"t{topic:02d}-{number}",
                    "text": page(topic, end),
                    "from": source,
                    "date": f"20{24 - number}-01-0{topic % 9 + 1}",
                }
            )
    return lines


@pytest.fixture
def deduplicated(write_recipe, tmp_path):
    """A function that runs a recipe with this `dedup` over the documents, in this process."""
    lines = documents()
    for number in range(3):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(b"\n".join(map(orjson.dumps, lines[number::3])))

    def run(name="out", **sections) -> Run:
        recipe = load(
            write_recipe(
                input={"path": str(tmp_path / "*.jsonl")},
                measure={"language": False},
                output={"path": str(tmp_path / name)},
                **sections,
            )
        )
        return all_steps(Work(recipe, InProcess(), silent))

    return run


def kept(run):
    return set(run.verdicts.filter(pl.col("verdict") == "kept").collect()["id"])


def test_memory_changes_nothing_of_what_is_decided(deduplicated, monkeypatch):
    """One portion and one part, or dozens of them: the same verdicts, pairs and parts."""
    whole = deduplicated("whole", dedup={})
    monkeypatch.setattr(deduplicate, "SHARE", 64_000_000 // 3_000)  # 3 kB a task
    cut = deduplicated("cut", dedup={}, memory="64MB")
    same = {name: value for name, value in digests(whole.output).items() if "pairs/" not in name}
    assert same == {n: v for n, v in digests(cut.output).items() if "pairs/" not in n}
    pairs, pieces = (
        [pl.read_parquet(path) for path in sorted((run.folder / "pairs").glob("pairs-*"))]
        for run in (whole, cut)
    )
    assert len(pairs) == 1
    assert len(pieces) == 12
    assert pl.concat(pieces).equals(pairs[0])
    answers = [run.decide({"dedup.near.threshold": "0.9"})["documents"] for run in (whole, cut)]
    assert answers[0] == answers[1]


def test_of_each_cluster_one_stays(deduplicated):
    """Without a wish the longest one; equal texts and similar ones give way to it by name."""
    run = deduplicated(dedup={})
    assert len(kept(run)) == 12
    verdicts = run.verdicts.filter(pl.col("verdict") == "dropped").collect()
    assert set(verdicts["duplicate_of"]) == kept(run)
    assert set(verdicts["cluster_size"]) == {5}


@pytest.mark.parametrize(
    ("keep", "chosen"),
    [
        (["-date"], {f"t{topic:02d}-0" for topic in range(12)}),
        (["date"], {f"t{topic:02d}-4" for topic in range(12)}),
    ],
)
def test_the_earliest_or_the_latest_stays(deduplicated, keep, chosen):
    """A date chooses: of two equal texts that one, too."""
    assert kept(deduplicated(dedup={"near": {"keep": keep}})) == chosen


def test_a_preferred_source_stays(deduplicated):
    """Books before news, whatever else is true of them; what no list names comes last."""
    run = deduplicated(dedup={"near": {"keep": [{"from": ["books", "news"]}, "-chars"]}})
    sources = {line["id"]: line["from"] for line in documents()}
    assert [sources[name] for name in kept(run)] == ["books"] * 12


@pytest.mark.parametrize("wrong", [{"from": []}, {}, {"from": ["a"], "id": ["b"]}])
def test_a_preference_is_one_column_and_its_values(deduplicated, wrong):
    """Anything else is refused before a document is read."""
    with pytest.raises(RecipeError, match="expected one column and its values"):
        deduplicated(dedup={"near": {"keep": [wrong]}})


def test_near_duplicates_may_be_marked_and_kept(deduplicated):
    """Verdicts name the similar document and the cluster's size; equal texts go as ever."""
    run = deduplicated(dedup={"near": {"drop": False}})
    assert run.stats["duplicates"]["near"] == 0
    assert run.stats["duplicates"]["marked"] == 36
    verdicts = run.verdicts.collect()
    assert set(verdicts.filter(pl.col("verdict") == "dropped")["rule"]) == {"exact"}
    assert verdicts.filter(pl.col("verdict") == "kept").height == 48
    marked = verdicts.filter((pl.col("verdict") == "kept") & pl.col("duplicate_of").is_not_null())
    assert marked.height == 36
    assert marked["similarity"].min() >= 0.8
    assert set(verdicts["cluster_size"]) == {5}
    (story, *_) = run.why(marked["id"][0])
    assert story["representative"]["verdict"] == "kept"
    answer = run.decide({"dedup.near.drop": "true"})
    assert answer["documents"]["after"]["kept"] == [12, 12]


def test_a_crowded_bucket_is_an_alert(deduplicated, monkeypatch):
    """The statistics name how many crowded buckets there are, and the report says so in words."""
    assert deduplicated(dedup={}).stats["alerts"] == []
    monkeypatch.setattr(bands, "CROWDED", 3)
    run = deduplicated("crowded", dedup={})
    assert run.stats["duplicates"]["crowded"]["largest"] == 4
    (alert,) = run.stats["alerts"]
    assert "such as t" in alert
    assert "MinHash buckets hold more than" in run.report.read_text(encoding="utf-8")


def test_the_report_says_which_source_repeats_which(write_recipe, tmp_path):
    """Documents of one source that gave way to those of another are counted, and similarities."""
    lines = documents()
    inputs = []
    for number, name in enumerate(["wires", "blogs"]):
        path = tmp_path / f"{name}.jsonl"
        own = [{**line, "id": f"{name} {line['id']}"} for line in lines[number::2]]
        path.write_bytes(b"\n".join(map(orjson.dumps, own)))
        inputs.append({"path": str(path), "source": name})
    recipe = write_recipe(input=inputs, measure={"language": False}, dedup={})
    run = all_steps(Work(load(recipe), InProcess(), silent))
    told = run.stats["duplicates"]["sources"]
    dropped = run.verdicts.filter(pl.col("verdict") == "dropped").collect()
    counted = dropped.group_by(
        source=pl.col("id").str.split(" ").list.first(),
        other=pl.col("duplicate_of").str.split(" ").list.first(),
    ).len("documents")
    rows = [(row["source"], row["other"], row["documents"]) for row in told]
    assert sorted(rows) == sorted(counted.rows())
    assert len(told) == 2
    near = dropped.filter(pl.col("rule") == "near")
    assert sum(count for _, count in run.stats["similarities"]) == near.height
    assert all(0.8 <= low <= 1 for low, _ in run.stats["similarities"])
    page = run.report.read_text(encoding="utf-8")
    assert "Which sources repeat which" in page
    assert "gave way to one of" in page
