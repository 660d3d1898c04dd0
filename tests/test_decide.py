"""`cleanpipe decide`: what it says of a changed recipe is what a run with that recipe does."""

import os
import random
import re

import orjson
import polars as pl
import pytest
from conftest import InProcess
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from test_laws import RECIPE, SLOW, corpora_of_faults, lay_out, sentence

from cleanpipe.duplicates import dedup, replay
from cleanpipe.errors import QuarantineError, RecipeError
from cleanpipe.planning.outlook import told
from cleanpipe.planning.whatif import decide
from cleanpipe.recipes.recipe_file import load
from cleanpipe.report import rendering
from cleanpipe.run import Work, all_steps

NEAR = {"ngram": 3, "threshold": 0.7}
SHORTEST = {"dedup.near.keep": "[chars]"}
KEPT = "url LIKE 'https%' OR lang = 'en'"
"""True of all documents here: pass 1 keeps both columns, and few changes are refused for want."""
BASES = st.fixed_dictionaries(
    {
        "dedup": st.sampled_from([{"near": NEAR}, {}, {"near": None}, {"exact": False}, None]),
        "order": st.sampled_from([["filter", "dedup", "balance"], ["dedup", "filter", "balance"]]),
        "balance": st.sampled_from([RECIPE["balance"], None]),
        "filter": st.sampled_from(
            [
                {"words": {"low": 20}, "where": KEPT},
                {"where": f"({KEPT}) AND lang = 'en'", "chars": {"high": 700}},
                {"words": {"low": 20}, "where": KEPT, "urls": {"per_domain": 3, "by": "url"}},
            ]
        ),
    }
)
CHANGES = {
    "filter.words.low": ["1", "45", "70"],
    "filter.words": ["null", "{low: 9, high: 90, by_lang: {de: {low: 50}}}"],
    "filter.where": ["words > 30", "lang = 'de' OR chars < 400", "null"],
    "filter.repeat_run": ["{high: 1}"],
    "filter.urls": ["null", "{per_domain: 2, by: url, keep: [-chars]}"],
    "filter.urls.per_domain": ["1", "2"],
    "dedup": ["null"],
    "dedup.near": ["null"],
    "dedup.near.keep": ["[chars]", "[-words, lang]", "[id]"],
    "dedup.near.threshold": ["0.72", "0.81", "0.9", "0.97"],
    "dedup.near.recall": ["0.9"],
    "order": ["[dedup, filter, balance]", "[filter, dedup, balance]"],
    "balance.max_epochs": ["1.5"],
    "balance": ["null", "{by: lang, strategy: unimax, unit: documents}"],
    "gates": ["{kept_share: {low: 0.5, on_fail: warn}, kept_bytes: {high: 900, on_fail: warn}}"],
    "gates.duplicate_share": ["{high: 0.2, on_fail: warn}"],
    "gates.dropped_by_words": ["{high: 0.1, on_fail: warn}"],
}
CHANGED = st.lists(
    st.sampled_from([(option, value) for option, values in CHANGES.items() for value in values]),
    max_size=4,
    unique_by=lambda pair: pair[0],
).map(dict)


@pytest.fixture(scope="module", autouse=True)
def only_decisions():
    """Runs here draw no page and wait for no disk: nothing below looks at either."""

    def blank(folder, *_):
        for name in ("report.html", "report.md"):
            (folder / name).touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "write", blank)
        patch.setattr(os, "fsync", lambda _: None)
        yield


def crowd(chance, count):
    """Variations of three texts: each shares a band with more of them than may be compared."""
    bodies = [[sentence(chance) for _ in range(9)] for _ in range(3)]
    documents = []
    for number in range(count):
        body = list(chance.choice(bodies))
        for place in range(chance.choice([0, 1, 1, 2, 2, 3])):
            body[place] = sentence(chance)
        text = " ".join(body[: chance.randint(7, 9)])
        known = {"lang": chance.choice(["en", "de"]), "url": f"https://{number % 7}.org/"}
        documents.append({"id": f"d{number}", "text": text, **known})
    return documents


CROWDS = st.builds(crowd, st.integers(0, 2**32).map(random.Random), st.integers(10, 50))


def run(folder, sections, changed=None):
    """A run in this process, with the seed and the input of all others here."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {
        **RECIPE,
        "seed": 5,
        "input": [{"path": "../in/*.jsonl", "id": "id"}],
        "output": {"path": "out"},
        **sections,
    }
    (folder / "recipe.yaml").write_bytes(orjson.dumps(known))
    recipe = load(folder / "recipe.yaml", changed or {})
    return all_steps(Work(recipe, InProcess(), lambda *_: None))


@pytest.mark.parametrize("limit", [64, 2])
@settings(SLOW, max_examples=10, phases=[Phase.generate])  # to shrink a failing run takes minutes
@given(
    documents=st.one_of(corpora_of_faults(), CROWDS),
    sections=BASES,
    changed=CHANGED,
    seed=st.integers(0, 9),
)
def test_decide_says_what_a_run_does(
    tmp_path_factory, monkeypatch, limit, documents, sections, changed, seed
):
    """Every number after is a real run's, or between its ends where it is a range.

    With room for two comparisons a document, pairs are left open and there are ranges; with 64
    only where bands change.
    """
    for module in (dedup, replay):
        monkeypatch.setattr(module, "COMPARED", limit)
    folder = tmp_path_factory.mktemp("decide")
    lay_out(folder / "in", documents, 2, seed)
    before = run(folder / "before", sections)
    try:
        asked = decide(before.folder, changed)
        answer = told(asked)
    except RecipeError as refused:
        assume("needs a run" not in str(refused))
        with pytest.raises(RecipeError):
            run(folder / "after", sections, changed)
        return
    after = run(folder / "after", sections, changed)
    kept = (after.verdicts.collect()["verdict"] == "kept").to_numpy()
    if answer["exact"]:
        hold_exact(answer, after, asked, kept)
    elif asked.asked.balance is None and not capped_after_dedup(asked.asked):
        hold_range(answer, after, asked, kept)


def test_a_crowd_is_answered_by_a_range(tmp_path, monkeypatch):
    """Ranges hold the truth where comparisons are missing, and no guess leaves its range."""
    for module in (dedup, replay):
        monkeypatch.setattr(module, "COMPARED", 2)
    ranges = 0
    for seed in range(6):
        folder = tmp_path / str(seed)
        lay_out(folder / "in", crowd(random.Random(seed), 40), 2, seed)
        sections = {"dedup": {"near": NEAR}, "balance": None, "filter": {"words": {"low": 95}}}
        before = run(folder / "before", sections)
        for name, changed in (("low", {"filter.words.low": "1"}), ("keep", SHORTEST)):
            asked = decide(before.folder, changed)
            answer = told(asked)
            after = run(folder / name, sections, changed)
            kept = (after.verdicts.collect()["verdict"] == "kept").to_numpy()
            hold_range(answer, after, asked, kept)
            low, high = answer["documents"]["after"]["kept"]
            assert low <= answer["documents"]["likely_kept"] <= high
            ranges += low < high
    assert ranges > 2


def hold_exact(answer, after, asked, kept):
    """All that the answer says, against a run that was made with the changed recipe."""
    assert asked.documents.alive.tolist() == kept.tolist()
    stats = after.stats
    for name, ends in answer["documents"]["after"].items():
        assert ends == [stats["documents"][name]] * 2
    lost = {(r["stage"], r["rule"]): (r["documents"], r["bytes"] or 0) for r in stats["stages"]}
    told = {
        (row["stage"], row["rule"]): (row["after"]["documents"][0], row["after"]["bytes"][0])
        for row in answer["stages"][:-1]
        if row["after"]["documents"] != [0, 0]
    }
    assert told == lost
    assert answer["stages"][-1]["after"]["bytes"] == [stats["clean"]["bytes"]] * 2
    assert answer["groups"]["after"] == [stats["groups"]]
    assert answer["copies"]["after"] == [stats["copies"]["asked"]] * 2
    lines = [{**line, "value": line["value"][0]} for line in answer["gates"]]
    names = ("metric", "value", "low", "high")
    assert [[line[n] for n in names] for line in lines] == [
        [line[n] for n in names] for line in stats["gates"]
    ]
    assert [line["outcome"] for line in lines] == [[line["outcome"]] for line in stats["gates"]]


def capped_after_dedup(recipe):
    """Whether places under a cap go to whom dedup left: fewer left, and others have a place."""
    urls = recipe.filter.urls
    return recipe.order[0] == "dedup" and urls is not None and urls.per_domain is not None


def hold_range(answer, after, asked, kept):
    """The truth lies between the ends, for all documents together and for each of them."""
    low, high = answer["documents"]["after"]["kept"]
    assert low <= kept.sum() <= high
    least, most = asked.ends[-1].alive, asked.ends[0].alive
    assert not (least & ~kept).any()
    assert not (kept & ~most).any()
    for line, truth in zip(answer["gates"], after.stats["gates"], strict=True):
        assert line["value"][0] <= truth["value"] <= line["value"][1]
    for row in answer["stages"]:
        for stage in after.stats["stages"]:
            if (row["stage"], row["rule"]) == (stage["stage"], stage["rule"]) == ("dedup", "near"):
                assert row["after"]["documents"][0] <= stage["documents"]


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A run on twenty documents, two of them short, two alike, with a column that nobody kept."""
    folder = tmp_path_factory.mktemp("told")
    body = "It was a quiet morning and the people who lived by the river had begun to open doors"
    documents = [
        {"id": f"d{i:02d}", "text": f"{body} {' '.join(f'w{i}x{j}' for j in range(20 + i))}"}
        for i in range(17)
    ]
    documents += [{"id": "short", "text": "four short words only"}]
    documents += [{"id": "tiny", "text": "two words"}]
    documents += [{"id": "twin", "text": documents[0]["text"] + " again"}]
    for i, document in enumerate(documents):
        document |= {"year": 1990 + i, "lang": "en" if i % 2 else "de"}
    lay_out(folder / "in", documents, 2, 0)
    sections = {"filter": {"words": {"low": 20}}, "dedup": {}, "balance": None}
    return run(folder / "before", sections)


def test_nothing_changed_is_the_run_itself(before):
    """Without a change the answer is exact and equal to the run."""
    answer = before.decide()
    assert answer["changed"] == []
    assert answer["exact"]
    assert answer["newly_kept"]["documents"] == answer["newly_dropped"]["documents"] == [0, 0]
    for row in answer["stages"]:
        assert row["after"] == {name: [value] * 2 for name, value in row["before"].items()}


def test_examples_name_documents_and_reasons(before):
    """Who comes back and who goes, by id, with the rule that decided before and after."""
    (one,) = before.decide({"filter.words.low": "3"})["newly_kept"]["examples"]
    assert (one["id"], one["before"], one["after"]["stage"]) == (
        "short",
        {"stage": "filter", "rule": "words"},
        None,
    )
    answer = before.decide({"filter.words.low": "40"})
    gone = {one["id"]: one["after"] for one in answer["newly_dropped"]["examples"]}
    assert gone["d01"]["rule"] == "words"
    assert gone["d01"]["value"] < gone["d01"]["low"] == 40
    assert answer["by"] == {}  # pass 1 kept neither lang nor source


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"normalize.fixes": "[nfc]"}, "needs a run: normalize.fixes"),
        ({"measure.language": "true"}, "needs a run: measure.language"),
        ({"input.text": "body"}, "needs a run: input"),
        ({"seed": "6"}, "needs a run: seed"),
        ({"dedup.near.ngram": "4"}, "needs a run: dedup.near.ngram"),
        ({"dedup.near.num_perm": "256"}, "needs a run: dedup.near.num_perm"),
        ({"dedup.near.threshold": "0.3"}, "needs a run: dedup.near.threshold: pairs below 0.4"),
        (
            {"dedup.near.threshold": "0.85"},
            "--set dedup.near.bands=16 --set dedup.near.rows=8",
        ),
        ({"dedup.exact": "false"}, "needs a run: dedup.exact"),
        ({"filter.where": "year > 2000"}, "needs a run: 'year': pass 1 did not keep"),
        ({"balance": "{by: year}"}, "needs a run: 'year'"),
        ({"filter.where": "yaer > 2000"}, "'yaer' is neither a measure nor a column"),
        ({"filter.wrods.low": "3"}, "did you mean 'words'?"),
        ({"gates.kept_shrae.low": "0"}, "did you mean 'kept_share'?"),
    ],
)
def test_what_the_tables_cannot_say_is_refused_by_name(before, changed, message):
    """Each refusal names the option; a mistake is told as a run would tell it."""
    with pytest.raises(RecipeError, match=re.escape(message)):
        before.decide(changed)


def test_the_advice_of_a_refusal_is_answered_exactly(before):
    """The run's own bands make of the refused threshold an exact answer."""
    bands = {"dedup.near.bands": "16", "dedup.near.rows": "8"}
    advised = {"dedup.near.threshold": "0.85", **bands}
    assert before.decide(advised)["exact"]


def test_too_much_quarantine_ends_here_too(before):
    """As a run with that bound would end."""
    with pytest.raises(QuarantineError, match="2 of 22 documents could not be read"):
        before.decide({"max_quarantined": "0.01"})


def test_options_without_effect_on_verdicts_are_answered(before):
    """What is written of a document, and how, changes no verdict."""
    answer = before.decide({"output.format": "jsonl", "augment": "null"})
    assert answer["exact"]
    assert answer["newly_dropped"]["documents"] == [0, 0]


def test_another_recipe_in_place_of_the_runs_own(before, tmp_path):
    """A file with the same input and its own rules; presets count."""
    known = {
        "version": 1,
        "input": [{"path": str(before.folder.parents[4] / "in" / "*.jsonl"), "id": "id"}],
        "output": {"path": "out"},
        "max_quarantined": 1.0,
        "measure": {"language": False},
        "extends": "olmo2-repetition",
    }
    (tmp_path / "other.yaml").write_bytes(orjson.dumps(known))
    answer = before.decide({}, tmp_path / "other.yaml")
    changed = {change["option"]: change["after"] for change in answer["changed"]}
    assert changed["filter.repeat_run.high"] == 31
    assert changed["dedup.exact"] is changed["filter.words.low"] is None
    assert answer["documents"]["after"]["kept"] == [20, 20]


def test_pairs_hold_the_documents_that_the_filter_dropped(tmp_path):
    """Two short texts that are alike are a pair, though a rule dropped both."""
    texts = [f"a b c d e f g h i j k l m n o p {end}" for end in ("q", "q r")]
    lay_out(tmp_path / "in", [{"id": t[-1], "text": t} for t in texts], 1, 0)
    done = run(tmp_path / "a", {"filter": {"words": {"low": 50}}, "dedup": {}, "balance": None})
    pairs = pl.read_parquet(done.folder / "pairs" / "pairs-00000.parquet")
    assert pairs.select("id", "other", "intersection", "union").rows() == [("q", "r", 13, 14)]
    answer = done.decide({"filter.words": "null"})
    assert answer["documents"]["after"]["kept"] == [1, 1]
    assert answer["exact"]
