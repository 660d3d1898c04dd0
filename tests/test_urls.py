"""Rules over URLs: hosts as cases, lists against a slow reference, caps that chance decides."""

import gzip
import json
import string
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import polars as pl
import pytest
import zstandard
from conftest import InProcess, digests
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cleanpipe.errors import InputError, RecipeError
from cleanpipe.recipes.recipe_file import load
from cleanpipe.rules import url_lists, url_parts
from cleanpipe.rules.filter import Filter
from cleanpipe.rules.urls import Urls
from cleanpipe.run import Work, all_steps

CASES = Path(__file__).parent / "cases"
LABEL = st.text(alphabet="ab", min_size=1, max_size=2)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


def cases(name):
    known = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["label"]) for case in known]


@pytest.mark.parametrize("case", cases("url_host"))
def test_hosts(case):
    """The host of one URL, or none; alone and among others."""
    urls = pl.Series([case["original"], "http://other.example", None], dtype=pl.String)
    assert url_parts.hosts(urls).to_list() == [case["expected"], "other.example", None]


@pytest.mark.parametrize("case", cases("url_page"))
def test_pages(case):
    """The page that a URL names; naming it again changes nothing."""
    pages = url_parts.pages(pl.Series([case["original"]], dtype=pl.String))
    assert pages.to_list() == [case["expected"]]
    assert url_parts.pages(pages).to_list() == [case["expected"]]


@given(st.lists(HOST, min_size=1), st.sampled_from(["", "me@", "me:pw@"]), st.integers(0, 70_000))
def test_hosts_of_ordinary_urls_are_the_standard_library_s(hosts, user, port):
    """Where urlsplit finds a host, so do we, and the same one."""
    urls = [f"http://{user}{host}:{port}/a?b#c" for host in hosts]
    assert url_parts.hosts(pl.Series(urls)).to_list() == [urlsplit(u).hostname for u in urls]


@given(st.lists(st.one_of(st.none(), st.text(), st.text(alphabet="ab./:@[]%\\?# 1")), min_size=1))
def test_any_text_is_a_url_or_none(texts):
    """No text breaks a rule, and hosts are settled: a host's host is the host."""
    urls = pl.Series(texts, dtype=pl.String)
    hosts = url_parts.hosts(urls)
    again = url_parts.hosts("//" + hosts)
    assert again.to_list() == hosts.to_list()
    assert url_parts.pages(urls).is_null().to_list() == urls.is_null().to_list()


@pytest.fixture
def listed(tmp_path):
    """A function that writes a list and gives its path."""

    def write(text, name="list.txt"):
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return str(tmp_path / name)

    return write


@given(hosts=st.lists(HOST, min_size=1), domains=st.lists(HOST, min_size=1))
def test_a_domain_is_itself_and_all_below_it(tmp_path_factory, hosts, domains):
    """As a slow reference says: equal, or ending in a dot and the domain."""
    path = tmp_path_factory.mktemp("domains") / "list.txt"
    path.write_text("\n".join(domains), encoding="utf-8")
    rules = Urls(blocked_domains=(str(path),))
    table = pl.DataFrame({"url": [f"http://{host}/" for host in hosts]})
    below = [any(f".{host}".endswith(f".{domain}") for domain in domains) for host in hosts]
    assert rules.failures(table)["domain_blocked"].to_list() == below


@pytest.mark.parametrize(
    ("url", "fails"),
    [
        ("http://evil.example", True),
        ("https://www.Evil.example./x", True),
        ("http://notevil.example", False),
        ("http://evil.example.org", False),
        ("http://example/?from=evil.example", False),
        ("http://user:evil.example@good.org/", False),
        ("http://shop.m\u00fcnchen.example/", True),
        ("http://shop.xn--mnchen-3ya.example/", True),
        ("http://192.0.2.7/", True),
        ("http://1.192.0.2.7/", False),
        ("http://2.192.0.2.77/", False),
        ("http://a.whole.starred.example/", True),
        ("http://whole.example/", True),
        ("images/evil.example", False),
        (None, False),
    ],
)
def test_domains_that_a_list_drops(listed, url, fails):
    """Capitals, subdomains, dots, names beyond ASCII, addresses; and what must stay."""
    text = "# bad ones\nEVIL.example  # with a comment\n\nxn--mnchen-3ya.example\r\n192.0.2.7\n"
    path = listed(text + "*.starred.example\n.whole.example\n")
    table = pl.DataFrame({"url": [url]}, schema={"url": pl.String})
    rules = Urls(blocked_domains=(path,))
    assert rules.failures(table)["domain_blocked"].to_list() == [fails]
    found = rules.explain(table)[0]
    assert found["fails"] is fails
    assert [hit["list"] for hit in found["found"]] == [path] * fails


@pytest.mark.parametrize(
    ("url", "words", "soft", "parts"),
    [
        ("http://example.org/win-casino", 1, 0, 0),
        ("http://casino.example/casino", 1, 0, 0),
        ("http://casinos.example/", 0, 0, 0),
        ("http://a.example/Free_bonus", 0, 2, 0),
        ("http://a.example/free/free", 0, 1, 0),
        ("http://pok-er.example/", 0, 0, 1),
        ("http://p.oker.example/", 0, 0, 1),
        ("http://a.example/\u043a\u0430\u0437\u0438\u043d\u043e", 1, 0, 0),
        (None, None, None, None),
    ],
)
def test_words_in_a_url(listed, url, words, soft, parts):
    """Words stand between what is no letter or digit; parts stand anywhere; each counts once."""
    rules = Urls(
        words=(listed("casino\n\u041a\u0430\u0437\u0438\u043d\u043e\n", "words.txt"),),
        soft_words={"lists": (listed("free\nbonus\n", "soft.txt"),)},
        parts=(listed("poker\n", "parts.txt"),),
    )
    table = pl.DataFrame({"url": [url]}, schema={"url": pl.String})
    counts = {"url_words": words, "url_soft_words": soft, "url_parts": parts}
    failed = rules.failures(table).row(0, named=True)
    assert failed == {
        "url_words": bool(words), "url_soft_words": (soft or 0) > 1, "url_parts": bool(parts)
    }  # fmt: skip
    for line in rules.explain(table):
        assert line["value"] == (counts[line["rule"]] or 0)
        assert line["applies"] is (url is not None)


def test_a_url_is_listed_as_a_page(listed):
    """Scheme, fragment and capitals of the host aside, it is the whole URL that must be equal."""
    rules = Urls(blocked_urls=(listed("https://Example.org/a?b=1\nexample.org/c\n"),))
    urls = ["http://example.org/a?b=1#x", "example.org/c", "http://example.org/c/d", "http://c/"]
    table = pl.DataFrame({"url": urls})
    assert rules.failures(table)["url_blocked"].to_list() == [True, True, False, False]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bytes])
def test_lists_may_be_compressed(listed, pack):
    """By what they are, not by what they are called; a byte order mark is no entry."""
    path = listed(pack(b"\xef\xbb\xbfevil.example\n"))
    assert url_lists.read([path], "domain").row(0) == ("evil.example", "evil.example", path)


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (
            "domain",
            "a.example\nhttp://a.example/page\n",
            "list.txt:2: 'http://a.example/page' is no",
        ),
        ("domain", "a b\n", "expected a domain such as example.org"),
        ("domain", "me@a.example\n", "'me@a.example' is no entry"),
        ("domain", "/\n?\n", "(2 entries are not)"),
        ("page", "nothing\n", "expected a URL such as example.org/a/page"),
        ("word", "two words\n", "expected one word"),
        ("word", "semi-final\n", "expected one word"),
        ("part", "--\n", "expected letters or digits"),
        ("domain", "# nothing but a comment\n\n", "holds no entry"),
        ("domain", b"\xff\xfe\n", "byte 0 is not UTF-8"),
        ("domain", gzip.compress(b"a.example", mtime=0)[:-3], "is damaged"),
    ],
)
def test_a_list_that_would_match_nothing_is_refused(listed, kind, text, says):
    """The list, the line, the entry, and what was expected."""
    path = listed(text)
    with pytest.raises(InputError) as refused:
        url_lists.read([path], kind)
    assert says in str(refused.value)
    assert path in str(refused.value)


def test_a_missing_list_is_told(tmp_path):
    """By its path."""
    with pytest.raises(InputError, match=r"cannot read .*nowhere.txt: No such file"):
        url_lists.read([str(tmp_path / "nowhere.txt")], "word")


def test_options_that_decide_nothing_are_refused():
    """No rule, `by` or `keep` without a cap, a name twice."""
    for options in ({}, {"by": "site"}, {"keep": ["chars"], "words": ["x"]},
                    {"per_domain": 0}, {"per_domain": 1, "keep": ["chars", "-chars"]},
                    {"words": []}):  # fmt: skip
        with pytest.raises(ValidationError):
            Urls.model_validate(options)
    assert Filter(urls=False).urls is None
    assert Urls(words=False, per_domain=3).rules() == {"domain_cap": {"low": None, "high": 3}}


TEXTS = [f"{word} stood by the river for a while" for word in string.ascii_lowercase]


@pytest.fixture
def clean(tmp_path):
    """A function that cleans documents with rules over URLs, and gives the run."""

    def run(documents, shards=1, **sections):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for shard in range(shards):
            rows = b"\n".join(orjson.dumps(one) for one in documents[shard::shards])
            (folder / f"{shard}.jsonl").write_bytes(rows + b"\n")
        recipe = {"version": 1, "seed": 5, "input": {"path": "in/*.jsonl"}, "measure": False}
        recipe |= {"output": {"path": f"out{shards}"}, **sections}
        (tmp_path / "recipe.yaml").write_bytes(orjson.dumps(recipe))
        return all_steps(Work(load(tmp_path / "recipe.yaml"), InProcess(), lambda *_: None))

    return run


def documents_of(urls):
    return [{"id": f"d{i}", "text": TEXTS[i], "url": url} for i, url in enumerate(urls)]


def test_a_run_says_what_dropped_each_document(clean, listed):
    """Lists first, other rules then, the cap last, of what is left; why names list and entry."""
    listed("evil.example\n", "domains.txt")
    listed("casino\nbonus\n", "words.txt")
    urls = [
        "http://evil.example/casino",
        "http://a.example/casino-bonus",
        None,
        "x",
        "http://b.example",
    ]
    urls += [
        "http://www.a.example/1",
        "http://a.example/2",
        "http://A.example/3",
        "http://sub.a.example",
    ]
    documents = documents_of(urls)
    documents[6]["text"] = "short"
    rules = {"blocked_domains": ["domains.txt"], "words": ["words.txt"], "per_domain": 1}
    run = clean(documents, filter={"words": {"low": 3}, "urls": rules})
    told = {row["id"]: row for row in run.verdicts.collect().to_dicts()}
    dropped = {name: row["rule"] for name, row in told.items() if row["rule"]}
    capped = {name for name, rule in dropped.items() if rule == "domain_cap"}
    assert capped < {"d5", "d7"}  # one of them stays: d1 and d6 do not count
    assert {k: v for k, v in dropped.items() if k not in capped} == {
        "d0": "domain_blocked", "d1": "url_words", "d6": "words"
    }  # fmt: skip
    assert (told["d1"]["value"], told["d1"]["high"]) == (2, 0)
    (last,) = capped
    assert (told[last]["value"], told[last]["high"]) == (2, 1)
    rules = {line["rule"]: line for line in run.why("d0")[0]["rules"]}
    assert rules["domain_blocked"]["found"][0]["entry"] == "evil.example"
    assert rules["domain_blocked"]["found"][0]["list"].endswith("domains.txt")
    assert rules["url_words"]["fails"]
    assert not rules["domain_cap"]["fails"]
    rules = {line["rule"]: line for line in run.why(last)[0]["rules"]}
    assert (rules["domain_cap"]["value"], rules["domain_cap"]["fails"]) == (2, True)
    counted = {row["rule"]: row for row in run.stats["rules"]}
    assert list(counted) == ["domain_blocked", "url_words", "words", "domain_cap"]
    assert counted["domain_blocked"]["applies"] == 8
    assert counted["domain_cap"]["applies"] == 7  # two have no host
    assert counted["url_words"] | {"failed": 2, "first": 1, "alone": 1} == counted["url_words"]


def test_a_cap_keeps_the_same_documents_in_other_files(clean):
    """Chance is the document's own: how they are cut into files changes nothing, a seed does."""
    urls = [f"http://www{i % 2 * '.'}{i % 3}.example/{i}" for i in range(24)]
    kept = []
    for shards, seed in ((1, 5), (4, 5), (1, 6)):
        run = clean(documents_of(urls), shards, seed=seed, filter={"urls": {"per_domain": 3}},
                    output={"path": f"out{shards}{seed}"})  # fmt: skip
        rows = run.verdicts.filter(pl.col("verdict") == "kept").collect()
        kept.append(sorted(rows["id"]))
    assert kept[0] == kept[1] != kept[2]
    hosts = url_parts.hosts(pl.Series(urls)).str.replace("^www[.]", "")
    assert sum(min(3, n) for n in hosts.value_counts()["count"]) == len(kept[0]) < 24


def test_a_cap_can_choose_and_count_by_columns(clean):
    """The longest of each site stay; a null site is not counted."""
    documents = [
        {"id": f"d{i}", "text": "word " * (i + 1), "site": "a" if i < 4 else None} for i in range(6)
    ]
    rules = {"per_domain": 2, "by": "site", "keep": ["-chars"]}
    run = clean(documents, filter={"urls": rules})
    rows = run.verdicts.filter(pl.col("verdict") == "dropped").sort("id").collect()
    assert rows.select("id", "value").rows() == [("d0", 4.0), ("d1", 3.0)]


def test_a_changed_list_is_another_run(clean, listed, tmp_path):
    """Its bytes are part of a run's identity; why does not explain by a list that is another."""
    path = listed("evil.example\n", "domains.txt")
    rules = {"filter": {"urls": {"blocked_domains": ["domains.txt"]}}}
    documents = documents_of(["http://evil.example", "http://good.example"])
    work = Work(load(write_recipe(clean, documents, rules, tmp_path)), InProcess(), lambda *_: None)
    folder = work.folder
    listed("good.example\n", "domains.txt")
    for number in work.blocks_to_measure():
        work.measure(number)
    work.measured()
    with pytest.raises(InputError, match="was changed while the run went on"):
        work.decide("filter", work.over)
    run = all_steps(Work(load(tmp_path / "recipe.yaml"), InProcess(), lambda *_: None))
    assert run.folder != folder
    assert digests(run.output)
    assert run.why("d1")[0]["rules"][0]["found"][0]["entry"] == "good.example"
    Path(path).unlink()
    story = run.why("d1")[0]
    assert story["changed_lists"] == [path]
    assert story["rules"] == []


def write_recipe(clean, documents, sections, tmp_path):
    """The recipe of a run that was published, so that the next one begins anew."""
    clean(documents, output={"path": "out"}, filter={"words": {"low": 1}})
    recipe = orjson.loads((tmp_path / "recipe.yaml").read_bytes()) | sections
    (tmp_path / "recipe.yaml").write_bytes(orjson.dumps(recipe))
    return tmp_path / "recipe.yaml"


def test_what_cannot_be_is_refused_before_anything_is_measured(clean, listed):
    """A list that is not there, a column that is not there or holds no text."""
    documents = documents_of(["http://a.example"])
    for rules, error, says in (
        ({"words": ["nowhere.txt"]}, InputError, "nowhere.txt: No such file"),
        (
            {"per_domain": 1, "column": "link"},
            RecipeError,
            "filter.urls.column: 'link' is no column",
        ),
        ({"per_domain": 1, "by": "sit"}, RecipeError, "filter.urls.by: 'sit' is no column"),
        ({"per_domain": 1, "keep": ["charz"]}, RecipeError, "did you mean 'chars'?"),
    ):
        with pytest.raises(error, match=says.replace("?", r"\?")):
            clean(documents, filter={"urls": rules})
    for one in documents:
        one["url"] = 7
    with pytest.raises(RecipeError, match="'url' holds Int64, not text"):
        clean(documents, filter={"urls": {"words": [listed("x\n")]}})
