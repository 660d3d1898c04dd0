"""docs/nightly.md for the person on call: what the code can say has a paragraph there."""

import ast
import re
import shutil
import signal
import subprocess
from zoneinfo import ZoneInfo

import pytest
from conftest import ROOT

from cleanpipe.errors import CleanpipeError
from cleanpipe.nights import status

PAGE = (ROOT / "docs" / "nightly.md").read_text(encoding="utf-8")
WOKEN = " ".join(PAGE.partition("## You were woken")[2].split())
QUOTED = re.findall(r"\*\*`([^`]+)`\*\*", WOKEN)
# What a night runs through, beside what names a recipe's line or an input's file: those have one
# paragraph each.
MODULES = ["run", "store", "pool", "identity", *(f"nights/{name}" for name in (
    "earlier", "incremental", "nightly", "status"
))]  # fmt: skip
GENERAL = {"RecipeError": ("--max-age", "workers is")}  # the command line's own


def patterns():
    """The page's messages, as regular expressions; `...` stands for anything."""
    return [".*?".join(map(re.escape, text.split("..."))) for text in QUOTED]


def said(node):
    """The text of a message, its values as X; None where it is made elsewhere."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else "X" for v in node.values)
    return None


def messages():
    """Every message of every error that these modules raise, and status' sentences."""
    for name in MODULES:
        tree = ast.parse((ROOT / "src" / "cleanpipe" / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error"):
                text = said(node.args[0]) if node.args else None
                general = GENERAL.get(ast.unparse(node.func), ())
                if text and not text.startswith(general):
                    yield name, text
            if name == "nights/status" and isinstance(node, ast.JoinedStr):
                text = said(node) or ""
                if "run X" in text or "published" in text:
                    yield name, text


def test_every_exit_code_has_a_heading():
    """Those of all errors, those of signals, and no heading for a code that does not exist."""
    errors = [CleanpipeError, *CleanpipeError.__subclasses__()]
    codes = {error.exit_code for error in errors} | {128 + signal.SIGINT, 128 + signal.SIGTERM}
    heads = re.findall(r"^### Exit codes? ([\d and]+)", PAGE, re.MULTILINE)
    assert {int(code) for head in heads for code in re.findall(r"\d+", head)} == codes | {0}


@pytest.mark.parametrize(("module", "text"), sorted(set(messages())))
def test_every_message_has_its_paragraph(module, text):
    """Some quoted message of the page is what this one says, whatever its values are."""
    assert any(re.search(pattern, text) for pattern in patterns()), f"{module}: {text}"


def test_messages_are_found():
    """The reading above sees what it should: gates, locks, damaged files, status' verdicts."""
    found = [text for _, text in messages()]
    for words in ("another run", "is damaged", "max_quarantined", "stopped before", "ago, and"):
        assert any(words in text for text in found), words
    assert len(found) > 15


def test_every_alert_of_the_server_and_state_has_its_paragraph():
    """The automations' texts, and Prefect's states that end or hold up a night."""
    alerts = ast.parse((ROOT / "flows" / "alerts.py").read_text(encoding="utf-8"))
    (texts,) = [
        node.value
        for node in alerts.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TEXTS"
    ]
    names = [key.value.removeprefix("cleanpipe: ") for key in texts.keys]
    assert len(names) == 3
    for name, value in zip(names, texts.values, strict=True):
        assert f"*{name}*" in WOKEN
        assert any(re.match(pattern, said(value)) for pattern in patterns())
    for state in ("Crashed", "TimedOut", "Cancelled", "Late", "Running"):
        assert f"`{state}`" in WOKEN


def units(folder):
    """The page's two units of systemd, written into a folder, with a program that is there."""
    (text,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    found = []
    for part in re.split(r"^# /etc/systemd/system/", text, flags=re.MULTILINE)[1:]:
        name, _, unit = part.partition("\n")
        found.append(folder / name)
        found[-1].write_text(unit.replace("/srv/venv/bin/cleanpipe", "/bin/true"))
    return found


def test_the_units_are_good_to_systemd(tmp_path):
    """`systemd-analyze verify` finds nothing, and the timer is at half past three in Berlin."""
    systemd = shutil.which("systemd-analyze")
    if systemd is None:
        pytest.skip("no systemd-analyze here")
    files = units(tmp_path)
    assert len(files) == 2
    checked = subprocess.run(
        [systemd, "verify", *files], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert str(tmp_path) not in checked.stderr
    calendar = re.search(r"OnCalendar=(.*)", PAGE)[1]
    planned = subprocess.run([systemd, "calendar", calendar], capture_output=True, check=True)
    assert b"03:30:00 Europe/Berlin" in planned.stdout


def test_the_crontab_runs_what_there_is():
    """Five fields in range, a time zone, and verbs whose options exist; the age is one."""
    (table,) = re.findall(r"```crontab\n(.*?)```", PAGE, re.DOTALL)
    zone, *lines = table.splitlines()
    assert ZoneInfo(zone.removeprefix("CRON_TZ="))
    assert [line.split()[:5] for line in lines] == [
        ["30", "3", "*", "*", "*"],
        ["0", "8", "*", "*", "*"],
    ]
    assert all(line.split()[5] == "cleanpipe" for line in lines)
    assert status.seconds(re.search(r"--max-age (\S+)", lines[1])[1]) == 26 * 3600
    assert not [line for line in lines if "%" in line]  # a crontab's % is a new line


def test_a_worker_can_call_the_alert():
    """For a night that crashed the worker calls the hook by these names."""
    flow = ast.parse((ROOT / "flows" / "nightly.py").read_text(encoding="utf-8"))
    (hook,) = [node for node in flow.body if getattr(node, "name", "") == "alert"]
    assert [argument.arg for argument in hook.args.args] == ["flow", "flow_run", "state"]
