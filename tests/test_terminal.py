"""What a person at a terminal sees of a run: a live table, a summary of one screen."""

import os
import pty
import re
import select
import subprocess
import sys
import time

from cleanpipe.memory import resident

RUN = (sys.executable, "-m", "cleanpipe", "run")


def seen(command, columns=80, lines=24):
    """What a command writes to a terminal of this size, and its exit code."""
    parent, child = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(columns), "LINES": str(lines)}
    process = subprocess.Popen(
        command, stdin=child, stdout=child, stderr=child, env=environment, close_fds=True
    )
    os.close(child)
    found = b""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        ready, _, _ = select.select([parent], [], [], 0.2)
        if not ready:
            if process.poll() is not None:
                break
            continue
        try:
            piece = os.read(parent, 65536)
        except OSError:
            break
        if not piece:
            break
        found += piece
    os.close(parent)
    return found.decode(errors="replace"), process.wait(timeout=30)


def test_a_run_at_a_terminal_of_80_by_24(sample_recipe, tmp_path):
    """While it runs: steps with documents a second and memory; at its end one screen."""
    written, code = seen([*RUN, str(sample_recipe), "--output", str(tmp_path / "out")])
    assert code == 0, written
    assert re.search(r"[\d,]+ docs/s, [\d.,]+ MB/s", written)
    assert re.search(r"\d\.\d GB", written)
    assert re.search(r"docs/s, \d+\.\d% kept", written)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).replace("\r", "")
    summary = plain[plain.rindex("stage ") :].splitlines()  # after the bars, which are wiped
    paths = [line for line in summary if line.startswith(("clean parts", "report", "why"))]
    assert len(paths) == 3  # these are as long as the folder's name is, and may wrap
    assert all(len(line) <= 80 for line in summary if line not in paths)
    assert len(summary) <= 22
    assert re.search(r"and \d+ rules more, of \d+ documents", plain)


def test_a_run_without_a_terminal_tells_plain_lines(sample_recipe, tmp_path):
    """No control sequence reaches a log; each step has its line, with its pace."""
    done = subprocess.run(
        [*RUN, str(sample_recipe), "--output", str(tmp_path / "out")],
        capture_output=True,
        check=True,
    )
    assert b"\x1b" not in done.stdout + done.stderr
    assert re.search(rb"normalize and measure: \d of \d, [\d,]+ docs/s", done.stderr)


def test_memory_is_of_this_process_and_its_children():
    """A child that holds 200 MB is counted."""
    before = resident()
    hold = "x = b'x' * 200_000_000; print(flush=True); input()"
    command = [sys.executable, "-c", hold]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        during = resident()
        child.stdin.close()
    assert during - before > 190_000_000
