"""The command line as its users meet it: one line an error, the right exit code, no leftovers."""

import doctest
import os
import shutil
import signal
import subprocess
import sys

import orjson
import pytest
from conftest import ROOT

CLI = [sys.executable, "-m", "cleanpipe"]


def cleanpipe(*words, **options):
    return subprocess.run(
        [*CLI, *map(str, words)], capture_output=True, text=True, check=False, **options
    )


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory, sample_recipe):
    """sample_data/, cleaned by `cleanpipe run` in real worker processes."""
    output = tmp_path_factory.mktemp("cleaned") / "out"
    done = cleanpipe("run", sample_recipe, "--output", output)
    assert done.returncode == 0, done.stderr
    return output, done


def test_run_says_where_the_result_is_and_what_was_dropped(cleaned):
    """The last lines name the parts, the report, and how to ask about one document."""
    output, done = cleaned
    assert str(output / "data" / "0001") in done.stdout
    assert "report.html" in done.stdout
    assert "documents read =" in done.stdout
    assert "near" in done.stdout
    assert len(done.stdout.splitlines()) < 50


def test_json_is_json_and_nothing_else(cleaned):
    """With --json standard output is one JSON value; progress stays on standard error."""
    output, _ = cleaned
    again = cleanpipe("verify", output, "--json")
    assert orjson.loads(again.stdout) == {"faults": []}
    story = cleanpipe("why", output, "no-such-id", "--json")
    assert story.returncode == 3
    assert story.stdout == ""
    assert "no-such-id" in story.stderr


def test_why_shows_what_quarantine_keeps(cleaned):
    """Of a line that could not be read: what is wrong with it, where, and how it begins."""
    told = cleanpipe("why", cleaned[0], "forum/forum.jsonl.zst:63")
    assert told.returncode == 0
    assert "quarantined" in told.stdout
    assert "at byte" in told.stdout


def test_decide_shows_before_and_after(cleaned):
    """Both numbers of a rule, who comes back, and that it is exact; as JSON the same."""
    words = ["decide", cleaned[0], "--set", "filter.words.low=10"]
    shown = cleanpipe(*words)
    assert shown.returncode == 0, shown.stderr
    assert "filter.words.low: 50.0 -> 10.0" in shown.stdout
    assert "newly kept: " in shown.stdout
    assert "exact: a run with this recipe would decide the same" in shown.stdout
    assert len(shown.stdout.splitlines()) < 80
    answer = orjson.loads(cleanpipe(*words, "--json").stdout)
    assert answer["exact"]
    assert answer["newly_kept"]["documents"][0] > 0
    refused = cleanpipe("decide", cleaned[0], "--set", "normalize=null", "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "needs a run: normalize.fixes" in refused.stderr


def test_the_page_about_decide_shows_what_is_shown(cleaned):
    """Every command of docs/decide.md prints what stands below it; `...` stands for anything."""
    page = (ROOT / "docs" / "decide.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in page.split("```console\n$ ")[1:]]
    assert len(blocks) == 2
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for block in blocks:
        command, _, wanted = block.partition("\n")
        words = [str(cleaned[0]) if word == "clean" else word for word in command.split()[1:]]
        done = cleanpipe(*words)
        assert doctest.OutputChecker().check_output(wanted, done.stdout + done.stderr, flags)


def test_ctrl_c_says_how_to_go_on(tmp_path, sample_recipe):
    """A stopped run ends with 130 and a line that says what to do."""
    words = [*CLI, "run", sample_recipe, "--output", tmp_path / "out", "--workers", "1"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("look at the shards"):
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate()
    assert process.returncode == 130
    assert "run again to go on where it was" in rest


def test_the_readmes_python_runs_as_a_script(tmp_path):
    """The example of the README, saved as a file beside the checkout's folders, runs."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    script = tmp_path / "example.py"
    script.write_text(page.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    for name in ("configs", "sample_data"):
        (tmp_path / name).symlink_to(ROOT / name)
    # the recipe's output is beside its folder, which here is the checkout's: give it another
    text = script.read_text(encoding="utf-8")
    recipe = tmp_path / "own.yaml"
    source = (ROOT / "configs" / "sample.yaml").read_text(encoding="utf-8")
    recipe.write_text(source.replace("../", ""), encoding="utf-8")
    script.write_text(text.replace("configs/sample.yaml", "own.yaml"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'kept': 243" in done.stdout


def test_verify_finds_a_flipped_byte(cleaned, tmp_path):
    """One changed bit in one part is named, with exit code 1."""
    output = tmp_path / "copy"
    shutil.copytree(cleaned[0], output)
    part = next((output / "data" / "0001").glob("part-*"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    done = cleanpipe("verify", output)
    assert done.returncode == 1
    assert part.name in done.stderr


def test_presets_are_listed_and_printed():
    """Each with what it is and its source; one by name as the YAML that it is, or as JSON."""
    listed = cleanpipe("presets")
    assert "gopher  quality and repetition rules" in listed.stdout
    assert "2112.11446" in listed.stdout
    assert "# A.1.1: between 50 and 100,000 words." in cleanpipe("presets", "gopher").stdout
    known = orjson.loads(cleanpipe("presets", "gopher", "--json").stdout)
    assert known["gopher"]["recipe"]["filter"]["words"]["low"] == 50
    assert "recipe" not in orjson.loads(cleanpipe("presets", "--json").stdout)["gopher"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["presets", "gofer"], 2, "did you mean 'gopher'?"),
        (["run", "missing.yaml"], 2, "missing.yaml"),
        (["run", "recipe.yaml", "--input", "nowhere/*.jsonl"], 3, "nowhere"),
        (["run", "recipe.yaml", "--set", "filter.wrods.low=3"], 2, "words"),
        (["run", "recipe.yaml", "--set", "nonsense"], 2, "key=value"),
        (
            [
                "run",
                "recipe.yaml",
                "--input",
                "nowhere",
                "--set",
                "extends=gopher",
                "--set",
                "filter.words.low=3",
            ],
            3,
            "note: filter.words.low is 3 in --set filter.words.low=3, but some languages keep",
        ),
        (["verify", "empty"], 3, "no published run"),
        (["why", "empty", "x"], 3, "no published run"),
    ],
)
def test_a_mistake_is_one_message_and_its_exit_code(tmp_path, words, code, says):
    """Mistakes end in a message that names the thing, never in a traceback."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "recipe.yaml").write_text(
        "version: 1\ninput: {path: a.jsonl}\noutput: {path: out}\nmeasure: {language: false}\n"
    )
    done = cleanpipe(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_ends_in_one_line_and_code_5(tmp_path, sample_recipe):
    """On a disk that is too small nothing is published; with room, the same command goes on.

    tests/test_disks.py has every size.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", disk], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        done = cleanpipe("run", sample_recipe, "--output", disk / "out")
        assert done.returncode == 5, done.stderr
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (disk / "out" / "_cleanpipe" / "HEAD.json").exists()
        assert not list(disk.rglob(".tmp-*"))
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        assert cleanpipe("run", sample_recipe, "--output", disk / "out").returncode == 0
        assert cleanpipe("verify", disk / "out").returncode == 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_output_that_cannot_be_written_is_code_5(tmp_path, sample_recipe):
    """A file where the output folder should be: one line, and the input is not even read."""
    (tmp_path / "file").write_text("in the way")
    done = cleanpipe("run", sample_recipe, "--output", tmp_path / "file" / "out")
    assert done.returncode == 5
    assert "choose another --output" in done.stderr
