"""Windows' rules of files, kept by a process on Linux: what Windows refuses is refused and noted.

No two names that differ by case alone, no name with a colon; nothing is removed, renamed or replaced while it is open or
mapped into memory, no rename replaces a file, links need a right that few have. Modules of Unix alone are not there. It is
no Windows: drives, permissions, the console and the longest path are not stood in for.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rankone.core.paths import CLAIM, read_hidden

UNIX_ALONE = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
_REFUSED = set('<>:"/\\|?*') | set(map(chr, range(32)))
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)( *\..*)?", re.IGNORECASE)


def portable(name: str) -> bool:
    """Whether Windows takes a file of this name."""
    return not set(name) & _REFUSED and name[-1:] not in (" ", ".") and not _RESERVED.fullmatch(name)


def unportable(names: list[str]) -> Iterator[str]:
    """Of the names in one folder those that Windows does not take, or takes for another of them."""
    counts = Counter(name.lower() for name in names)
    yield from (name for name in names if not portable(name) or counts[name.lower()] > 1)


def below(folder: Path) -> Iterator[str]:
    """Paths below a folder that Windows does not take."""
    for place, folders, files in os.walk(folder):
        yield from (os.path.join(place, name) for name in unportable([*folders, *files]))


def held(path: str) -> list[str]:
    """Files at a path, or below it, that this process has open or mapped."""
    real = os.path.realpath(path)
    with open("/proc/self/maps", encoding="utf8") as lines:
        mapped = {line.rstrip("\n").split(maxsplit=5)[5] for line in lines if line.count("/")}
    opened = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)}
    return sorted(
        name
        for name in mapped | opened
        if (name == real or name.startswith(f"{real}/")) and os.path.isfile(name)
    )


def _is_open(fd: str) -> bool:
    """Whether a descriptor still is: the one that the list was read by is not."""
    return os.path.islink(f"/proc/self/fd/{fd}")


class Rules:
    """The rules for everything below a folder. broken: what was refused, in order, also as lines of `log` if given."""

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        self._root, self._log = os.path.realpath(folder), log
        self.broken: list[str] = []

    def keep(self, without: Sequence[str] = UNIX_ALONE) -> None:
        """From now on, for good: a process has no way back. without: modules that cannot be imported any more."""
        import asyncio  # noqa: F401  its part for Unix finds what it needs

        import filelock

        for name in without:
            sys.modules[name] = None  # pyright: ignore[reportArgumentType]
        vars(shutil)["_use_fd_functions"] = False
        os.rename = self._renaming(os.rename, replaces=False)
        os.replace = self._renaming(os.replace, replaces=True)
        release = filelock.UnixFileLock._release

        def released(lock: filelock.UnixFileLock) -> None:
            """Of Windows' lock: its file goes with it."""
            release(lock)
            Path(lock.lock_file).unlink(missing_ok=True)

        filelock.UnixFileLock._release = released
        sys.addaudithook(self._look)

    def _look(self, event: str, given: tuple[object, ...]) -> None:
        """Python says what it is about to do; an exception keeps it from doing so."""
        if event not in ("open", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link"):
            return
        path = given[1 if event in ("os.symlink", "os.link") else 0]
        if not isinstance(path, str | bytes | os.PathLike) or not self._is_inside(os.fsdecode(path)):
            return
        name = os.fsdecode(path)
        if event == "open":
            if isinstance(given[2], int) and given[2] & os.O_CREAT:
                self._require_name(name)
        elif event in ("os.remove", "os.rmdir"):
            self._require_free(name)
        else:
            self._require_name(name)
            if event == "os.symlink":
                raise self._refusal(errno.EPERM, name, "a link needs a right that few users have")

    def _renaming(
        self, rename: Callable[..., None], *, replaces: bool
    ) -> Callable[[str | os.PathLike[str], str | os.PathLike[str]], None]:
        def renamed(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> None:
            old, new = os.fspath(old), os.fspath(new)
            if self._is_inside(new):
                self._require_name(new)
                self._require_free(old)
                if os.path.exists(new):
                    self._require_free(new)
                    if not replaces or os.path.isdir(new):
                        raise self._refusal(errno.EEXIST, new, "a rename replaces nothing")
            rename(old, new)

        return renamed

    def _is_inside(self, path: str) -> bool:
        return os.path.abspath(path).startswith(f"{self._root}/")

    def _require_name(self, path: str) -> None:
        if not portable(os.path.basename(os.path.abspath(path))):
            raise self._refusal(errno.EINVAL, path, "Windows takes no such name")

    def _require_free(self, path: str) -> None:
        said = read_hidden(os.path.basename(path))
        if files := held(path):
            reason = f"open: {', '.join(files)}"
            # A claim is removed while it is held, so that nobody takes it then; where that cannot be, the lock does it.
            raise self._refusal(errno.EACCES, path, reason, noted=said is None or said.kind != CLAIM)

    def _refusal(self, code: int, path: str, why: str, noted: bool = True) -> OSError:
        if noted:
            self.broken.append(f"{path}: {why}")
            if self._log is not None:
                with self._log.open("a", encoding="utf8") as stream:
                    stream.write(f"{path}: {why}\n")
        return OSError(code, why, path)
