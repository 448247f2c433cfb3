"""Claims on places that a run writes to: made at its start, so that of two writers the second is refused at once.

A claim on OUT is a locked file beside it (core/paths.py has its name). The lock dies with its process, so nothing has to
guess whether an old claim is alive; what a killed writer left is cleared away by the next claim on the place, or by `clean`.
Both remove only what has a name that RankOne has made.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rankone.core.errors import RankOneError
from rankone.core.files import is_being_written, require_folder
from rankone.core.paths import CLAIM, OLD, PARTIAL, hidden_folder, hidden_name, read_hidden

# Places claimed by this process, and by which of its threads.
_HELD: dict[Path, int] = {}
_REGISTER = threading.Lock()


@contextmanager
def claim(path: Path) -> Generator[None]:
    """Hold `path` against other writers while the block runs; RankOneError where another has it.

    What a killed writer left beside it goes first. Claims nest within a thread. The block's end raises if the folder
    that `path` was to stand in has been removed meanwhile.
    """
    path = Path(os.path.abspath(path))
    with _REGISTER:
        owner = _HELD.get(path)
        if owner is not None and owner != threading.get_ident():
            raise _taken(path)
        if owner is None:
            _HELD[path] = threading.get_ident()
    if owner is not None:
        yield
        return
    try:
        with _locked(path):
            _clear(path)
            yield
    finally:
        _HELD.pop(path, None)


def require_claim(path: Path) -> None:
    """Raise if a place claimed by this process cannot be written any more: its folder was removed or replaced."""
    path = Path(os.path.abspath(path))
    if path in _HELD and not _claim_file(path).exists():
        raise RankOneError(
            f"the folder '{path.parent}' was removed or replaced while '{path.name}' was being made. "
            "Nothing was written; run the same command again."
        )


def staging_folder(path: Path) -> Path:
    """A new hidden folder beside `path`, which `clean` and the next claim on `path` know as unfinished."""
    try:
        return hidden_folder(path, PARTIAL)
    except FileNotFoundError:
        require_claim(path)
        raise


@contextmanager
def scratch_folder(path: Path) -> Generator[Path]:
    """A hidden folder beside `path` for the length of the block."""
    folder = staging_folder(path)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def retired(path: Path) -> Path:
    """Where what stands at `path` waits until its successor is in place."""
    return hidden_folder(path, OLD) / "artifact"


def clean(place: Path) -> list[Path]:
    """Remove what killed writers left in `place` and the folders below it; returns what was removed.

    What a running process has claimed stays. An artefact that was set aside for a successor that never came is put back.
    """
    return [path for target, left in _left_by_target(place) for path in _cleaned(target, left)]


def leftovers(place: Path) -> list[Path]:
    """What `clean` would remove; nothing is touched."""
    return [path for target, left in _left_by_target(place) if not _is_claimed(target) for path in left]


def _left_by_target(place: Path) -> Iterator[tuple[Path, list[Path]]]:
    """What stands unfinished in `place` and the folders below it, by the path it was to become."""
    for folder, folders, files in os.walk(place):
        left: dict[str, list[Path]] = {}
        for entry in (*folders, *files):
            path = Path(folder) / entry
            if (said := read_hidden(entry)) and not path.is_symlink() and not is_being_written(path):
                left.setdefault(said.name, []).append(path)
        folders[:] = [name for name in folders if read_hidden(name) is None]
        yield from ((Path(folder) / name, sorted(paths)) for name, paths in sorted(left.items()))


def _cleaned(path: Path, left: list[Path]) -> list[Path]:
    try:
        with claim(path):
            pass
    except RankOneError:
        return []
    return [p for p in left if not p.exists()]


def _is_claimed(path: Path) -> bool:
    """Whether a running process, this one too, holds `path`."""
    path = Path(os.path.abspath(path))
    if path in _HELD:
        return True
    return _claim_file(path).exists() and is_locked(_claim_file(path))


@contextmanager
def _locked(path: Path) -> Generator[None]:
    require_folder(path.parent)
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_claim_file(path), thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if not _claim_file(path).exists():
            raise RankOneError(f"nothing can be written in '{path.parent}'. Choose another folder.") from None
        raise _taken(path) from None
    try:
        yield
    finally:
        # Unlinked while it is held: one who opened it meanwhile finds it unlinked and begins anew. Windows unlinks no open
        # file: there the lock does it as it is let go.
        with suppress(PermissionError):
            _claim_file(path).unlink(missing_ok=True)
        lock.release()
        for folder in made:
            with suppress(OSError):  # Something is in it: the block wrote what it was to write.
                folder.rmdir()


def _claim_file(path: Path) -> Path:
    return path.parent / hidden_name(path.name, CLAIM)


def _clear(path: Path) -> None:
    """Remove what a writer of `path` that was killed left beside it; the claim is held."""
    for left in list(path.parent.iterdir()):
        said = read_hidden(left.name)
        if said is None or said.name != path.name or said.kind == CLAIM:
            continue
        if left.is_symlink() or is_being_written(left):
            continue
        if (left / "artifact").is_dir() and said.kind == OLD and not path.exists():
            (left / "artifact").rename(path)
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(PermissionError):  # Windows: somebody writes it
                left.unlink(missing_ok=True)


def is_locked(file: Path) -> bool:
    """Whether a running process holds the lock of an existing file."""
    lock = FileLock(file, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _taken(path: Path) -> RankOneError:
    return RankOneError(
        f"another run is writing to '{path}'. Wait until it has ended, or choose another name."
    )
