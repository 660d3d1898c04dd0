"""`cleanpipe stability spikes`: a table, JSON and a page, of good logs and bad ones."""

import doctest
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cleanpipe.cli.cli import app
from cleanpipe.errors import CleanpipeError
from cleanpipe.stability.spikes.events import SCHEMA
from cleanpipe.stability.spikes.spikes_shown import _events, _fitting

BAD = "<script>alert(1)</script>.csv"


class Page(HTMLParser):
    """The tags of a page, and what they would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href"}]


@pytest.fixture
def log(tmp_path):
    """A log of 3,000 steps with one gradient spike and one outlier, under a hostile name."""
    chance = np.random.default_rng(0)
    steps = np.arange(1, 3001)
    loss = 3 + 5 * steps**-0.4 + chance.normal(0, 0.02, 3000)
    norm = np.exp(chance.normal(-1, 0.1, 3000))
    loss[2000] += 1
    norm[2500] += 5
    rows = [f"{n},{x:.4f},{y:.4f}" for n, x, y in zip(steps, loss, norm, strict=True)]
    path = tmp_path / BAD.replace("/", "_")
    path.write_text("\n".join(["step,loss,grad_norm", *rows, ""]), encoding="utf-8")
    return path


def call(*words) -> int:
    """The command's exit code; what it refuses goes to standard error."""
    try:
        return app(["stability", "spikes", *map(str, words)], result_action="return_value")
    except CleanpipeError as error:
        sys.stderr.write(str(error))
        return error.exit_code


def test_json_tells_both_events_and_nothing_more(log, capsys):
    """The result is on standard output, and only it."""
    assert call(log, "--json") == 0
    [told] = json.loads(capsys.readouterr().out)["logs"]
    events = [(event["step"], event["class"]) for event in told["events"]]
    assert events == [(2001, "content outlier"), (2501, "gradient spike")]
    assert told["classes"]["divergence"] == 0
    assert told["alarms"]["loss"]["decoys"] == 0


def test_a_terminal_shows_them_too(log, capsys):
    """Each event's line, others' scores, and what a log does not tell."""
    assert call(log, log) == 0
    shown = capsys.readouterr().out
    assert "2,001" in shown
    assert "OLMo 2 spike score" in shown
    assert "share a data order" in shown.replace("\n", " ").replace("  ", " ")


def test_every_number_is_whole_in_eighty_columns(capsys):
    """Ten million steps, a norm of seven digits and a small loss are neither cut nor wrapped."""
    event = {
        **dict.fromkeys(SCHEMA),
        "step": 10_000_000,
        "class": "content outlier",
        "channel": "grad_norm",
        "size": 12345.6,
        "next": -123.4,
        "loss": 0.00012346,
        "grad_norm": 1234567.8,
    }
    narrow = Console(width=80)
    narrow.print(_fitting(_events([event, {**event, "back_after": 1000}]), narrow))
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert [len(line.split()) for line in shown.splitlines()] == [8, 1, 10, 9]
    assert all(
        word in shown for word in ("10,000,000", "0.0001235", "1.235e+06", "1.2e+04", "not yet")
    )


def test_the_page_marks_them_and_loads_nothing(log, tmp_path):
    """A mark an event, markup of names escaped, no script, no address."""
    page = tmp_path / "spikes.html"
    assert call(log, "--html", page) == 0
    seen = Page(page.read_text(encoding="utf-8"))
    assert seen.tags.count("line") == 2
    assert seen.tags.count("svg") == 2
    assert "script" not in seen.tags
    assert seen.loads == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "no log"),
        (("nowhere.log",), 3, "nowhere.log"),
        (("here.csv", "--column", "loss"), 2, "OURS=THEIRS"),
        (("here.csv", "--loss", "0"), 2, "above 0"),
    ],
)
def test_what_cannot_be_is_refused(words, code, said, capsys):
    """With an exit code and a word about it."""
    assert call(*words) == code
    assert said in capsys.readouterr().err


def test_a_run_that_diverges_is_drawn(tmp_path, capsys):
    """NaN from some step on is one divergence, in JSON that a strict reader takes."""
    path = tmp_path / "a.jsonl"
    rows = [{"step": n, "loss": 3.0 + n % 7 / 100 if n < 800 else float("nan")} for n in range(999)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert call(path, "--json", "--html", tmp_path / "a.html") == 0
    [told] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["logs"]
    assert [(one["step"], one["class"]) for one in told["events"]] == [(800, "divergence")]
    assert (tmp_path / "a.html").stat().st_size > 1000


def test_the_page_of_the_documentation_says_what_happens(tmp_path, monkeypatch, capsys):
    """The programs of docs/training-logs.md run, and print what stands below them."""
    page = (Path(__file__).parents[1] / "docs" / "training-logs.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(first, {})  # noqa: S102 - our own page
    command, wanted = re.findall(r"```console\n\$ cleanpipe (.*?)\n(.*?)```", page, re.DOTALL)[0]
    capsys.readouterr()
    assert call(*command.split()[2:]) == 0
    shown = capsys.readouterr().out
    assert doctest.OutputChecker().check_output(wanted, shown, doctest.NORMALIZE_WHITESPACE)
    exec(second, {})  # noqa: S102
    assert capsys.readouterr().out == page.partition("```text\n")[2].partition("```")[0]
