"""What an attacker who writes documents, names or recipes may hope for, and does not get."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from cleanpipe.recipes.recipe import Recipe
from cleanpipe.run import Work, all_steps
from cleanpipe.warm import Here

ROOT = Path(__file__).parents[1]
OURS = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "flows").glob("*.py")])
TEMPLATES = sorted((ROOT / "src").rglob("*.jinja"))
CLI = [sys.executable, "-m", "cleanpipe"]
UNPICKLING = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
SAFE_ARGUMENT = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}


def named(node):
    """`a.b` of an expression that says so."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_no_code_is_made_of_data(path):
    """No unpickling, no eval, no shell, no YAML that builds objects, in any file of ours."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & UNPICKLING
        elif isinstance(node, ast.ImportFrom):
            # the error that torch raises at a file which holds more than numbers
            names = {alias.name for alias in node.names}
            assert (node.module or "").split(".")[0] not in UNPICKLING or names == {
                "UnpicklingError"
            }
        elif isinstance(node, ast.Call):
            call = named(node.func)
            given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            assert call not in RUNS_CODE
            assert call not in {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}
            assert given.get("shell") is not True
            assert "jinja2.Environment" not in call or "autoescape" in given
            if call in SAFE_ARGUMENT:
                name, value = SAFE_ARGUMENT[call]
                assert given.get(name) is value, f"{call} without {name}={value}"


def test_processes_are_never_forked():
    """Polars and Arrow hold threads and locks, which a fork would copy in an unknown state."""
    told = "".join(path.read_text(encoding="utf-8") for path in OURS)
    assert re.findall(r"get_context\(([^)]*)\)", told) == ['"spawn"']
    assert not re.search(r"os\.fork|set_start_method|ProcessPoolExecutor\(", told)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_escape_everything(path):
    """No template marks a value as safe but our own style and script, or switches escaping off."""
    text = path.read_text(encoding="utf-8")
    marked = re.findall(r"\{\{\s*(\w+)\s*\|\s*safe\s*\}\}", text)
    assert set(marked) <= {"style", "script"}
    assert len(re.findall(r"\|\s*safe\b|autoescape|Markup", text)) == len(marked)


WATCHED = """
import os, sys
from pathlib import Path

import cleanpipe
from cleanpipe.recipes.recipe_file import load
from cleanpipe.run import Work, all_steps
from cleanpipe.warm import Here

recipe, out = sys.argv[1], Path(sys.argv[2]).resolve()
all_steps(Work(load(Path(recipe), {}, output=str(out / "before")), Here(), lambda *_: None))
seen = []

def watch(event, given):
    if event in {"os.system", "subprocess.Popen", "socket.connect", "socket.getaddrinfo"}:
        seen.append((event, str(given)))
    elif event == "pickle.find_class" and "numba" not in str(given):
        seen.append((event, str(given)))
    elif event == "open" and isinstance(given[0], str) and given[2] & (os.O_WRONLY | os.O_RDWR):
        if not Path(given[0]).resolve().is_relative_to(out) and given[0] != os.devnull:
            seen.append((event, given[0]))
    elif event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}:
        folder = given[-1] if event in {"os.remove", "os.rmdir"} and given[-1] > 0 else None
        base = Path(f"/proc/self/fd/{folder}").readlink() if folder else Path()
        if not (base / os.fsdecode(given[0])).resolve().is_relative_to(out):
            seen.append((event, str(given)))

sys.addaudithook(watch)
done = all_steps(Work(load(Path(recipe), {}, output=str(out / "after")), Here(), lambda *_: None))
print(done.stats["documents"]["kept"], seen)
"""
NAMES = ["../../../escaped", "/etc/escaped", "C:\\escaped", "a/../../b", "\x00", "..", "~/x"]


def corpus(folder, texts, **sections):
    """Documents whose ids, sources, languages and groups are hostile names."""
    (folder / "in").mkdir()
    lines = [
        {"id": name, "source": name, "lang": name, "topic": name, "text": text}
        for name, text in zip(NAMES * 9, texts, strict=False)
    ]
    (folder / "in" / "a #%2F..\n.jsonl").write_bytes(b"\n".join(orjson.dumps(x) for x in lines))
    recipe = {
        "version": 1,
        "seed": 4,
        "input": {"path": "in/*.jsonl", "id": "id"},
        "dedup": {},
        "output": {"path": "out"},
        **sections,
    }
    (folder / "recipe.yaml").write_bytes(orjson.dumps(recipe))
    return folder / "recipe.yaml"


def test_a_run_writes_below_its_output_and_calls_nobody(tmp_path):
    """Names of documents choose no path; nothing is unpickled, started or connected to."""
    texts = [f"The people of house {n} opened doors at {n} and went to work" for n in range(20)]
    recipe = corpus(tmp_path, texts, measure={"language": False}, balance={"by": "topic"})
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(recipe), str(tmp_path / "to")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "20 []", done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["after", "before"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "recipe.yaml", "to"]


def test_a_run_needs_no_network(tmp_path):
    """Measuring languages, deduplicating, drawing the page: all of it in a world of its own."""
    alone = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("no network namespace of one's own here")
    recipe = corpus(tmp_path, ["It was a quiet morning, and all the people slept."] * 3)
    done = subprocess.run(
        [*alone, *CLI, "run", str(recipe), "--workers", "1", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout)["stats"]["documents"]["read"] == 3


SECRETS = [
    *(f"zora.neale{n}@example.org" for n in range(10)),
    *(f"+49 30 90{n}1 2245{n}" for n in range(10)),
    *(f"AKIA{'QZ3M7WLT'}{n:02d}PKVH{n:02d}" for n in range(10)),
    *(f"sk-live-{n:02d}9fQ2mZx7LkT4vBn8RwYc3Hd6" for n in range(10)),
    *(f"ghp_{n:02d}aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3" for n in range(10)),
]
TELLS = ("data", "quarantine", "scratch")


def places(folder, secrets):
    """The files in which one of the secrets stands as it is, and which."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not set(path.relative_to(folder).parts) & set(TELLS):
            content = path.read_bytes()
            held = [secret for secret in secrets if secret.encode() in content]
            found |= {str(path.relative_to(folder)): held} if held else {}
    return found


def test_fifty_secrets_stand_in_data_and_quarantine_only(tmp_path):
    """Not in reports, tables, statistics, receipts, on a terminal, or in what an error says."""
    texts = [
        f"It was a quiet morning when {secret} went to the river, and {n} people saw it go by."
        for n, secret in enumerate(SECRETS)
    ]
    recipe = corpus(tmp_path, texts, filter={"words": {"low": 3}, "where": "chars > 90"})
    (tmp_path / "in" / "bad.jsonl").write_text(f'{{"text": "{SECRETS[0]}\n{SECRETS[10]} no json\n')
    known = {**os.environ, "CLEANPIPE_TEST_TOKEN": SECRETS[20]}
    for settings, code in ((("max_quarantined=0.9",), 0), ((), 4), (("filter.wrods.low=3",), 2)):
        words = [word for setting in settings for word in ("--set", setting)]
        done = subprocess.run(
            [
                *CLI,
                "run",
                str(recipe),
                "--workers",
                "1",
                *words,
                "--output",
                str(tmp_path / f"out{code}"),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=known,
        )
        assert done.returncode == code, done.stderr
        assert [s for s in SECRETS if s in done.stdout + done.stderr] == []
        if code == 0:
            assert done.stderr or done.stdout
            folder = tmp_path / "out0"
            assert places(folder, SECRETS) == {}
            written = b"".join(path.read_bytes() for path in (folder / "data").rglob("*.parquet"))
            assert written
    private = [
        *tmp_path.rglob("quarantine/*"),
        *tmp_path.rglob("_cleanpipe/seed"),
        *tmp_path.rglob("identity.json"),
    ]
    assert {path.name for path in private} > {"seed", "identity.json"}
    assert [path for path in private if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("samples", ["none", "masked", "full"])
def test_addresses_in_ids_and_names_are_masked_on_the_page(tmp_path, samples):
    """Ids, sources and groups that are addresses: shown only where everything is to be shown."""
    names = SECRETS[:7] + SECRETS[30:33]
    lines = [
        {"id": f"{name}/{n}", "source": name, "topic": name, "text": text}
        for n, name in enumerate(names)
        for text in ("same text of a quiet morning at the river", "short", "a b c d e " * 40)
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(orjson.dumps(line) for line in lines))
    recipe = {
        "version": 1,
        "seed": 4,
        "input": {"path": str(tmp_path / "in.jsonl"), "id": "id"},
        "measure": {"language": False},
        "filter": {"words": {"low": 3}},
        "dedup": {},
        "balance": {"by": "source"},
        "report": {"samples": samples},
        "output": {"path": str(tmp_path / "out")},
    }
    done = all_steps(Work(Recipe.model_validate(recipe), Here(), lambda *_: None))
    page, short = (done.folder.joinpath(f"report.{kind}").read_text() for kind in ("html", "md"))
    assert any(secret in page for secret in names) is (samples == "full")
    if samples != "full":  # no two of them become one
        assert {"[e-mail]", *(f"[e-mail {n}]" for n in range(2, 8))} <= set(
            re.findall(r"\[e-mail[^\]]*\]", page[page.index('id="groups"') :])
        )
    assert not any(secret in short for secret in names)
