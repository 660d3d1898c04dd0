"""Disks with read errors: a library between a process and the kernel, and a real one of ext4."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("bad_disk.c")


def library(folder: Path) -> Path:
    """bad_disk.c, compiled; skips where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, and Linux")
    made = folder / "bad_disk.so"
    flags = ["-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(made), str(SOURCE), "-ldl"]
    subprocess.run([compiler, *flags], check=True)
    return made


def run_on(made: Path | None, recipe: Path, output: Path, *options: str, **faults: str):
    """The command line, where reading fails as `faults` say: BAD_PATH, BAD_FROM, BAD_ONCE."""
    words = [sys.executable, "-m", "cleanpipe", "run", recipe, "--output", output, *options]
    known = os.environ | ({} if made is None else {"LD_PRELOAD": str(made), **faults})
    return subprocess.run(
        [*map(str, words), "--workers", "1"],
        env=known,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@contextmanager
def torn_disk(folder: Path, files: dict[str, bytes]):
    """A mounted disk with these files; gives it, and a function that tears off all but a share."""
    image, place = folder / "image", folder / "disk"
    place.mkdir()
    with image.open("wb") as made:
        made.truncate(32_000_000)
    make = ["mkfs.ext4", "-q", "-F", "-O", "^has_journal", str(image)]
    mount = ["mount", "-o", "loop", str(image), str(place)]
    for words in (make, mount):
        if shutil.which(words[0]) is None:
            pytest.skip(f"no {words[0]} here")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk of one's own here: {done.stderr.strip()}")

    def tear(share: float) -> None:
        subprocess.run(["umount", str(place)], check=True)
        whole = image.read_bytes()
        (folder / "whole").write_bytes(whole)
        subprocess.run(mount, check=True)
        os.truncate(image, int(len(whole) * share))

    try:
        for name, content in files.items():
            (place / name).write_bytes(content)
        yield place, tear
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)
