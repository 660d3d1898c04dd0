"""The report page in a real browser: it draws, finds, folds, stays silent and asks for nothing."""

import shutil
import time
from dataclasses import dataclass, field

import orjson
import pytest
from conftest import InProcess
from hostile import STRINGS

from cleanpipe.cli.cli import app
from cleanpipe.cli.cli_stability import stability
from cleanpipe.recipes.recipe_file import load
from cleanpipe.report import rendering
from cleanpipe.run import Work, all_steps
from cleanpipe.stats import stats

SCHEMES = [(1280, "light"), (800, "dark"), (390, "light"), (390, "dark")]
COPIES = 16_700
"""Of the sixty documents of a run: more than a million."""


@dataclass
class Opened:
    """A page, what it asked for, what it complained of, and how long it took to open."""

    page: object
    requests: list = field(default_factory=list)
    complaints: list = field(default_factory=list)
    dialogs: list = field(default_factory=list)
    seconds: float = 0.0


@pytest.fixture(scope="session")
def chromium():
    """The machine's Chromium; tests are skipped where it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """A function that opens a file at a width, in a colour scheme."""
    contexts = []

    def opened(path, width=1200, scheme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        known = Opened(context.new_page())
        page = known.page
        page.on("request", lambda request: known.requests.append(request.url))
        page.on("console", lambda message: known.complaints.append(message.text))
        page.on("pageerror", lambda error: known.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (known.dialogs.append(dialog.message), dialog.dismiss()))
        start = time.monotonic()
        page.goto(path.as_uri(), wait_until="load")
        known.seconds = time.monotonic() - start
        return known

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
    """A function that runs a recipe's sections over documents and gives the run."""

    def made(documents, name="in.jsonl", **sections):
        folder = tmp_path_factory.mktemp("page")
        (folder / name).write_bytes(b"\n".join(map(orjson.dumps, documents)))
        known = {
            "version": 1,
            "seed": 1,
            "input": {"path": "*.jsonl"},
            "output": {"path": "out"},
            "measure": {"language": False},
        }
        (folder / "recipe.yaml").write_bytes(orjson.dumps(known | sections))
        return all_steps(Work(load(folder / "recipe.yaml"), InProcess(), lambda *_: None))

    return made


@pytest.fixture(scope="module")
def hostile(run_of):
    """A run in which ids, sources, languages, texts, a file, a rule and a notice are hostile."""
    words = "some ordinary words that stand between "
    documents = [
        {
            "id": string,
            "source": string,
            "lang": string,
            "text": f"{words * (2 + number % 3)}{string}",
            STRINGS[0]: number % 5,
        }
        for number, string in enumerate(STRINGS)
    ]
    documents += [{**documents[0], "id": "double " + STRINGS[1]}]
    return run_of(
        documents,
        name="'\"><img src=x onerror=alert(1)>.jsonl",
        filter={STRINGS[0]: {"high": 3}, "words": {"low": 12}},
        dedup={},
        notices=[STRINGS[1]],
        report={"samples": "full"},
    )


@pytest.fixture(scope="module")
def plain(run_of):
    """A run of sixty documents with drops, fixes, duplicates and repeats."""
    documents = [
        {
            "id": f"page-{i}",
            "source": ("web", "news")[i % 2],
            "text": f"{'ten words and more ' * (i % 9)} Nr. {i // 2}  \u00c3\u00a9 {'x' * (i % 7)}",
        }
        for i in range(60)
    ]
    return run_of(documents, filter={"words": {"low": 9}, "repeat_run": {"high": 20}}, dedup={})


def silent(opened, path):
    """Nothing was asked for but the page, nothing complained, nothing asked back."""
    assert opened.requests == [path.as_uri()]
    assert (opened.complaints, opened.dialogs) == ([], [])


def test_hostile_strings_are_shown_and_do_nothing(hostile, open_page):
    """150 strings in id, source, language, text, file, rule and notice: text as it is, no act."""
    assert len(set(STRINGS)) == 150
    opened = open_page(hostile.report)
    page = opened.page
    page.click("#unfold")
    while page.is_visible("#more-found"):
        page.click("#more-found")
    ids = page.eval_on_selector_all(
        "#found tr td:first-child", "all => all.map(x => x.textContent)"
    )
    listed = [
        line["id"]
        for line in rendering.material(hostile.folder, recipe_of(hostile), hostile.stats).listed
    ]
    assert set(listed) <= set(ids)
    assert len(set(listed) & set(STRINGS)) >= 60
    assert STRINGS[0] in page.inner_text("#rules")
    assert STRINGS[1] in page.inner_text("header")
    assert "onerror=alert(1)>.jsonl" in page.text_content("#origin")
    sources = page.eval_on_selector_all("#groups td", "all => all.map(x => x.textContent)")
    assert len(set(sources) & set(STRINGS)) >= 50
    for string in STRINGS[::7]:
        page.fill("#find", string)
    assert (
        page.evaluate("document.querySelectorAll('img, iframe, object, base, form, link').length")
        == 0
    )
    assert page.evaluate("document.scripts.length") == 2
    silent(opened, hostile.report)


def recipe_of(run):
    from cleanpipe.recipes.recipe_file import load

    return load(run.folder / "recipe.yaml")


@pytest.mark.parametrize(("width", "scheme"), SCHEMES)
def test_the_page_is_drawn_and_accessible(plain, open_page, width, scheme):
    """Every picture has a size, nothing is wider than the screen, axe-core finds no violation."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = open_page(plain.report, width, scheme)
    page = opened.page
    silent(opened, plain.report)
    page.click("#unfold")
    empty = page.evaluate(
        "[...document.querySelectorAll('main svg')].filter(x => x.getBoundingClientRect().width < 8"
        " || !x.querySelector('rect')).length"
    )
    assert empty == 0
    assert page.evaluate("document.querySelectorAll('#rules svg').length") >= 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def spikes_page(_, folder):
    """A log with an event, whose name is markup."""
    log = folder / f"{STRINGS[0].replace('/', '_')[:60]}.csv"
    losses = [3 + (n % 7) / 50 + (4 if n == 300 else 0) for n in range(400)]
    lines = [f"{n},{loss},{1 + (n % 5) / 20}" for n, loss in enumerate(losses)]
    log.write_text("\n".join(["step,loss,grad_norm", *lines]) + "\n")
    words = ["spikes", str(log), "--html", str(folder / "spikes.html")]
    assert stability(words, result_action="return_value") == 0
    return folder / "spikes.html"


def diff_page(plain, folder):
    """A run beside another with another bound."""
    given = {"filter.words.low": "14"}
    recipe = load(plain.folder / "recipe.yaml", given, output=str(folder / "other"))
    now = all_steps(Work(recipe, InProcess(), lambda *_: None))
    words = ["diff", str(plain.folder), str(now.folder), "--html", str(folder / "diff.html")]
    assert app(words, result_action="return_value") == 0
    return folder / "diff.html"


@pytest.mark.parametrize("make", [spikes_page, diff_page], ids=lambda one: one.__name__)
def test_other_pages_are_read_by_everybody_and_ask_for_nothing(plain, open_page, tmp_path, make):
    """On a phone in the dark and on a desk: nothing too wide, no request, no violation of axe."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    path = make(plain, tmp_path)
    for width, scheme in ((1280, "light"), (390, "dark")):
        opened = open_page(path, width, scheme)
        silent(opened, path)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(opened.page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_search_and_filters_find_documents(plain, open_page):
    """Words of a text, an id and a reason narrow the list; the keyboard reaches the box."""
    page = open_page(plain.report).page
    said = "#found-count"
    every = page.inner_text(said)
    page.focus("#find")
    page.keyboard.type("page-17")
    assert page.inner_text(said).startswith("1 of ")
    assert page.inner_text("#found tr:first-child td:first-child") == "page-17"
    page.fill("#find", "no such document")
    assert page.inner_text(said).startswith("0 of ")
    page.fill("#find", "")
    assert page.inner_text(said) == every
    page.select_option("#only-why", "=filter words")
    reasons = page.eval_on_selector_all(
        "#found td:nth-child(2)", "all => all.map(x => x.textContent)"
    )
    assert set(reasons) == {"filter words"}
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") in {"SELECT", "INPUT", "DIV"}


def test_pages_of_none_one_and_a_million_documents(plain, run_of, open_page, tmp_path):
    """Each opens in under two seconds and weighs less than 5 MB."""
    one = run_of([{"text": "a single document of a few words"}], filter={"words": {"low": 3}})
    none = run_of([], filter={"words": {"low": 3}})
    recipe = recipe_of(plain)
    known = rendering.material(plain.folder, recipe, many(plain.stats))
    million = tmp_path / "million.html"
    start = time.monotonic()
    million.write_text(rendering.render("report.html.jinja", known), encoding="utf-8")
    assert time.monotonic() - start < 5
    for path, read in ((none.report, "0 doc"), (one.report, "1 doc"), (million, "1,002,000 doc")):
        opened = open_page(path)
        assert read in opened.page.inner_text("header")
        assert opened.seconds < 2
        assert path.stat().st_size < 5_000_000
        silent(opened, path)


def many(known):
    """The statistics of COPIES times a run's documents, with as many sources."""
    scaled = times(known) | stats.merged([known] * COPIES)
    sources = {
        side: {
            f"{name}-{i}": sizes
            for name, sizes in known["by"]["source"][side].items()
            for i in range(COPIES)
        }
        for side in ("raw", "clean")
    }
    scaled["by"] = {**scaled["by"], "source": sources}
    return {**scaled, "alerts": [], "gates": [], "version": known["version"]}


def times(value, name=""):
    """Every count of a record times COPIES; bounds, values and changes stay."""
    if isinstance(value, dict):
        return {key: times(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [times(one, name) for one in value]
    stays = name in {"low", "high", "bound", "change"} or not isinstance(value, int)
    return value if stays or isinstance(value, bool) else value * COPIES
