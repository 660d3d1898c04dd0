"""A disk that loses its power: at the n-th thing asked of it, with what it had not yet kept."""

import os
import re
from pathlib import Path


class PowerGone(BaseException):
    """Nothing can be done any more; no handler of errors gets to see it as one."""


class Disk:
    """Every sync, rename and deletion counted; at the `last` one the power goes.

    What was renamed in a folder that was not synced since is as it was before, and a file that was
    never synced holds half of what was written: the least that POSIX promises. With `keeps` the
    disk keeps everything, as when a process is killed.
    """

    def __init__(self, monkeypatch, last: int | None = None, *, keeps: bool = False) -> None:
        self.last, self.keeps = last, keeps
        self.steps: list[tuple[str, str]] = []
        self.off = False
        self._renamed: list[tuple[Path, bytes | None]] = []
        self._synced: set[int] = set()
        self._torn: list[Path] = []
        self._real = {name: getattr(os, name) for name in ("fsync", "replace", "unlink", "open")}
        for name in self._real:
            monkeypatch.setattr(os, name, getattr(self, name))

    def _step(self, what: str, path: Path) -> None:
        if self.off:
            raise PowerGone
        name = re.sub(r"\d+", "n", path.name.removeprefix(".tmp-").partition("-")[0] or path.name)
        folder = re.sub(r"\d", "n", path.parent.name)
        self.steps.append((what, f"{folder}/{name}"))
        if len(self.steps) == self.last:
            self.off = True
            if not self.keeps:
                self._lose()
            raise PowerGone

    def _lose(self) -> None:
        for path in self._torn:
            if path.exists():
                content = path.read_bytes()
                path.write_bytes(content[: len(content) // 2])
        for path, before in reversed(self._renamed):
            if before is None:
                self._real["unlink"](path)
            else:
                path.write_bytes(before)

    def open(self, path, flags, *given, **named):
        if self.off and flags & os.O_CREAT:
            raise PowerGone
        return self._real["open"](path, flags, *given, **named)

    def fsync(self, descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        self._step("sync", path)
        if path.is_dir():
            self._renamed = [(p, old) for p, old in self._renamed if p.parent != path]
        else:
            self._synced.add(os.fstat(descriptor).st_ino)

    def replace(self, source, target, **named):
        source, target = Path(source), Path(target)
        self._step("rename", target)
        before = target.read_bytes() if target.exists() else None
        is_synced = source.stat().st_ino in self._synced
        self._real["replace"](source, target, **named)
        self._renamed.append((target.resolve(), before))
        if not is_synced:
            self._torn.append(target.resolve())

    def unlink(self, path, **named):
        if self.off:
            raise PowerGone
        self._real["unlink"](path, **named)
