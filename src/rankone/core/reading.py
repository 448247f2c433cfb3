"""The boundary of every reader of artefacts: files may be signed and yet hold anything.

Hashes say that a file is unaltered, not that it is right. Readers check schema, names and shapes; whatever a library makes
of the rest becomes the one error, which names the artefact.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from rankone.core.errors import RankOneError

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def reading(what: Path | str) -> Generator[None]:
    """Turn any exception of the block into a RankOneError that names what was read."""
    try:
        yield
    except (RankOneError, MemoryError):
        raise
    except Exception as error:
        said = (str(error).strip() or "no details").splitlines()[0]
        raise RankOneError(
            f"'{what}' does not hold what it should ({type(error).__name__}: {said[:200]}). Restore it from its source, or "
            "make it again."
        ) from error


def reads(method: Callable[P, R]) -> Callable[P, R]:
    """A method of a reader whose `artifact` is at fault for what goes wrong in it."""

    @wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        reader: Any = args[0]
        with reading(reader.artifact.path):
            return method(*args, **kwargs)

    return guarded
