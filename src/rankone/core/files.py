"""Files written in one rename, and JSON read strictly: whatever is wrong with one is an error that names it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, overload

from pydantic import JsonValue

from rankone.core.errors import RankOneError
from rankone.core.paths import PARTIAL, hidden_file

# No JSON of an artefact comes near it.
_LARGEST = 1 << 30


def require_folder(path: Path) -> None:
    """Raise unless `path` is a directory that can be written in, or can become one."""
    folder = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not folder.is_dir():
        raise RankOneError(f"'{folder}' is a file: nothing can be written below it. Choose another place.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RankOneError(
            f"'{folder}' cannot be written in. Choose another place, or change its permissions."
        )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@overload
def read_json(path: Path) -> dict[str, JsonValue]: ...
@overload
def read_json(path: Path, kind: type[list[JsonValue]]) -> list[JsonValue]: ...
def read_json(
    path: Path, kind: type[dict[str, JsonValue]] | type[list[JsonValue]] = dict
) -> dict[str, JsonValue] | list[JsonValue]:
    """Read a JSON file that holds a `kind`; RankOneError names one that is missing, damaged or of another kind."""
    try:
        value = parse_json(read_text(path))
    except FileNotFoundError:
        raise RankOneError(f"no file '{path}'. Check the path.") from None
    except (OSError, ValueError) as error:
        raise RankOneError(f"cannot read JSON from '{path}' ({error}). Write it again.") from error
    if not isinstance(value, kind):
        what = "object (`key: value` pairs)" if kind is dict else "list"
        raise RankOneError(f"'{path}' must hold a JSON {what}. Write it again.")
    return value


def read_text(path: Path, most: int = _LARGEST) -> str:
    """What a file holds, as UTF-8; ValueError for a pipe or a device, which may have no end, and for over `most` bytes."""
    require_regular(path)
    with path.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has over {most >> 20:,} MiB")
    return content.decode("utf8")


# Their files are made by the kernel as they are read, and some never end or never begin.
_KERNEL = ("/proc", "/sys")


def require_regular(path: Path) -> None:
    """ValueError for a pipe, a device, a socket or a file of the kernel: opening or reading one may never return."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError("it is not a regular file but a pipe, a device or a socket")
    real = path.resolve()
    if any(real.is_relative_to(place) for place in _KERNEL):
        raise ValueError(f"it is not a regular file but '{real}', which the kernel makes as it is read")


def parse_json(text: str) -> JsonValue:
    """The value of a JSON text; ValueError where it is not JSON, nests too deep or has a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_without_doubles)
    except RecursionError:
        raise ValueError("it nests too deep") from None


class DoubledKey(ValueError):
    """A key that stands twice in JSON: which of its values counts depends on the reader."""


def refuse_doubled_keys(path: Path) -> None:
    """Raise for a JSON file of other libraries with a key twice; whatever else is wrong with it they say themselves."""
    try:
        parse_json(read_text(path))
    except DoubledKey as error:
        raise RankOneError(
            f"in '{path}' {error}: readers differ in which value they take. Remove one of the two."
        ) from None
    except (OSError, ValueError):
        return


def _without_doubles(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        raise DoubledKey(f"the key '{next(n for n in names if names.count(n) > 1)}' stands there twice")
    return values


def write_json(path: Path, value: object, new: bool = False, constants: bool = False) -> None:
    """Write JSON atomically, as `atomic_file` does.

    constants: NaN and infinity may stand in it, as `Record` says; else they are refused: other readers take no such JSON.
    """
    try:
        text = json_text(value, constants)
    except ValueError as error:
        raise RankOneError(
            f"cannot write '{path}': it would hold NaN or infinity, no JSON ({error}). Look for the figure that went wrong."
        ) from error
    write_text(path, text, new)


def json_text(value: object, constants: bool = False) -> str:
    """JSON as it is written here; ValueError for NaN and infinity without `constants`."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=constants) + "\n"


def write_text(path: Path, text: str, new: bool = False) -> None:
    """Write text atomically, as `atomic_file` does; what UTF-8 cannot hold is refused."""
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise RankOneError(
            f"cannot write '{path}': {text[error.start]!r} is half of a surrogate pair, not a character. "
            "Remove it from the text it came from."
        ) from error
    with atomic_file(path, new) as stream:
        stream.write(content)


@contextmanager
def atomic_file(path: Path, new: bool = False) -> Generator[BinaryIO]:
    """Yield a stream whose content becomes the file `path`, in one rename, when the block ends well.

    new: what has appeared at `path` meanwhile is refused and left as it is; else it is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = hidden_file(path, PARTIAL)
    try:
        with os.fdopen(handle, "wb") as stream:
            _lock(stream)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        _move_new(temporary, path) if new else temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def appeared(path: Path) -> RankOneError:
    """The error for what stands at an output and was not there when the work began."""
    return RankOneError(
        f"something else has appeared at '{path}' during the work. It was left as it is, and nothing was written. "
        "Move it away and run the same command again, or choose another name."
    )


def _move_new(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise appeared(path) from None
    except OSError:  # a file system without links
        temporary.rename(path)
    else:
        temporary.unlink()


def is_being_written(path: Path) -> bool:
    """Whether a running process has `path` open in `atomic_file`; False for folders, and where the system has no flock."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return not _lock(stream)
    except OSError:
        return False


def _lock(stream: IO[bytes]) -> bool:
    """Take the lock of an open file, which goes with its process; False where another has it."""
    try:
        import fcntl
    except ImportError:  # Windows, where an open file cannot be removed anyway
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
