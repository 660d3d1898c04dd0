"""The page and its pictures: every rule is on it, nothing on it can act, and bars stand right."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise

import orjson
import polars as pl
import pytest
from conftest import InProcess

from cleanpipe.recipes.recipe_file import load
from cleanpipe.report import pictures, rules
from cleanpipe.report.summary import attrition
from cleanpipe.run import Work, all_steps
from cleanpipe.stats.histograms import edges, histogram

VOID = {"meta", "br", "input"}
HOSTILE = "<script>alert(1)</script>|`x`"


class Page(HTMLParser):
    """Tags of a page, and those that were not closed where they should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.wrong, self.texts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose languages, sources and columns try to be markup."""
    folder = tmp_path_factory.mktemp("report")
    texts = [" ".join(["word", "1234", "other"][: i % 4] * (i % 7)) for i in range(60)]
    lines = [orjson.dumps({"text": t, "lang": HOSTILE, "source": HOSTILE}) for t in texts]
    (folder / "in.jsonl").write_bytes(b"\n".join(lines))
    recipe = {
        "version": 1,
        "seed": 1,
        "input": {"path": "in.jsonl"},
        "output": {"path": "out"},
        "measure": {"language": False},
        "filter": {
            "words": {"low": 3, "high": 15, "by_lang": {HOSTILE: {"high": 12}}},
            "digit_char_frac": {"high": 0.3},
            "stop_words": {"low": 1, "langs": ["en"]},
            "control_chars": {"high": 0},
            "where": "source <> '<b>' AND words <> 4",
        },
        "dedup": {},
        "balance": {"by": "lang"},
        "notices": [f"notice {HOSTILE}"],
    }
    (folder / "recipe.yaml").write_bytes(orjson.dumps(recipe))
    return all_steps(Work(load(folder / "recipe.yaml"), InProcess(), lambda *_: None))


def test_the_page_is_whole_and_nothing_on_it_can_act(run):
    """Tags nest; no script or style but the hashed ones, no address; markup of inputs is text."""
    text = run.report.read_text(encoding="utf-8")
    page = Page(text)
    assert (page.open, page.wrong) == ([], [])
    assert HOSTILE in page.texts
    assert not {tag for tag, _ in page.seen} & {"link", "img", "iframe", "form", "b:x"}
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)
    (_, data), (_, ours) = scripts
    assert "<" not in data
    assert {line["lang"] for line in orjson.loads(data)} == {HOSTILE}
    digest = base64.b64encode(hashlib.sha256(ours.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "unsafe" not in text.partition("</head>")[0]
    for _, attributes in page.seen:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("href", "#").startswith("#")


def test_what_the_recipe_gave_to_tell_is_told(run):
    """A notice stands on the page and in its short form, its markup as text."""
    assert f"notice {HOSTILE}." in Page(run.report.read_text(encoding="utf-8")).texts
    short = (run.folder / "report.md").read_text(encoding="utf-8")
    assert "Note: notice  script alert 1" in short


def test_every_rule_says_what_it_does(run):
    """A card a rule with its numbers, its picture with both bounds, and its bounds moved."""
    text = run.report.read_text(encoding="utf-8")
    cards = [part.partition("</section>")[0] for part in text.split('<section class="card"')[1:]]
    told = {card.partition("<h4>")[2].split(" ")[0]: card for card in cards}
    assert set(told) == {rule["rule"] for rule in run.stats["rules"]}
    assert told["words"].count('class="bound"') == 2
    assert told["words"].count('class="outside"') == 2
    assert "at most" not in told["words"]
    assert "only en: 0 documents" in told["stop_words"]
    assert "no bound that could be moved" in told["where"]
    assert "A tenth of 0 is 0" in told["control_chars"]
    for rule in run.stats["rules"]:
        assert f"<dd>{rule['alone']:,}</dd>" in told[rule["rule"]]
    assert 'class="heat"' in text


def test_the_summary_says_of_each_rule_how_much_is_its_own(run):
    """A row of the filter has what fails the rule in all and alone; other rows have neither."""
    known = {rule["rule"]: rule for rule in run.stats["rules"]}
    rows = attrition(run.stats)
    assert any(row["stage"] == "filter" for row in rows)
    for row in rows:
        if row["stage"] == "filter":
            assert row["failed"] == known[row["rule"]]["failed"] >= row["documents"]
        else:
            assert row["failed"] is row["alone"] is None


def test_a_bound_stands_between_the_bars_it_parts():
    """Bars stand in the order of their bins, none over the next, and a bound where its value is."""
    lower = edges("words").tolist()
    pair = {
        "count": 30,
        "null": 0,
        "min": 1.0,
        "max": 90.0,
        "bins": [[lower[3], 9], [lower[20], 1]],
    }
    chart = pictures.histogram("words", {"raw": pair, "clean": pair}, [("low", lower[10])])
    first, last = chart["bars"]["raw"]
    (bound,) = chart["bounds"]
    assert first["x"] + first["width"] <= bound["x"] < last["x"]
    assert last["x"] + last["width"] <= pictures.WIDTH
    assert first["height"] == pictures.HEIGHT == 3 * last["height"]
    assert all(0 <= tick["x"] <= pictures.WIDTH for tick in chart["ticks"])


@pytest.mark.parametrize("name", ["words", "digit_char_frac", "window_entropy_min", "lang_score"])
def test_ticks_are_round_and_apart(name):
    """From two to seven labels for a whole scale, none over another, in order."""
    axis = pictures.Axis(name, [edges(name)[0], edges(name)[-1]])
    places = [tick["x"] for tick in axis.ticks()]
    assert 2 <= len(places) <= pictures.MOST_TICKS
    assert all(b - a >= pictures.BETWEEN_TICKS for a, b in pairwise(places))
    assert all(len(tick["label"]) <= 5 for tick in axis.ticks())


def test_overlaps_are_shares_of_the_rows_documents():
    """The same pair is two squares: a share of the one rule's documents, and of the other's."""
    known = [{"rule": "a", "failed": 10}, {"rule": "b", "failed": 5}, {"rule": "c", "failed": 0}]
    found = pictures.overlaps(known, [{"rule": "a", "other": "b", "documents": 4}])
    assert found["names"] == ["a", "b"]
    assert {(c["row"], c["column"]): c["share"] for c in found["cells"]} == {
        ("a", "b"): 0.4,
        ("b", "a"): 0.8,
    }


def test_bounds_in_words():
    """Whole numbers are grouped, shares are as they were written."""
    said = [rules.in_words({"low": low, "high": high}) for low, high in [(3.0, None), (None, None)]]
    assert said == ["at least 3", "no bound"]


def test_a_measure_of_the_users_own_may_be_negative():
    """Bins on both sides of 0, ticks in order, and NaN counted as no value."""
    values = pl.Series([-800.0, -3.0, -0.5, 0.0, 12.0, float("nan"), None])
    found = histogram("log_likelihood", values)
    assert (found["count"], found["null"], found["min"], found["max"]) == (5, 2, -800.0, 12.0)
    lower = [edge for edge, _ in found["bins"]]
    assert len(lower) == 5
    assert all(edge <= value for edge, value in zip(lower, [-800, -3, -0.5, 0, 12], strict=True))
    chart = pictures.histogram("log_likelihood", {"raw": found, "clean": found}, [("low", -100.0)])
    places = [tick["x"] for tick in chart["ticks"]]
    assert len(places) >= 3
    assert places == sorted(places)
    assert chart["bars"]["raw"][0]["x"] < chart["bounds"][0]["x"] < chart["bars"]["raw"][1]["x"]
