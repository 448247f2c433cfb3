"""Exceptions of other libraries in our words: the thing, the value, the mend."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rankone.core.errors import RankOneError, first_line

_MEND = "Check that the place exists, can be read and written, and has room."
# What a library's own exceptions mean, by the package that defines them; others are taken for a fault of what it was given.
_MENDS = {
    "safetensors": _MEND,
    "huggingface_hub": "Check the name and the network, or give a directory.",
    "httpx": "Check the address and the network.",
    "httpx2": "Check the address and the network.",
    "requests": "Check the address and the network.",
    "datasets": "Check the name of the data set and the network, or give a directory of text.",
    "torch": "Check that the device works and has room; `--device cpu` does without it.",
}
# Libraries that raise ValueError and its like for a model, a file or a setting that they cannot do.
_RAISE = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "peft",
    "accelerate",
    "datasets",
    "huggingface_hub",
    "lm_eval",
)
# How the CPU allocator words it.
_FULL = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory")
_GENERAL = "Check the files that were given, or make them again."


@contextmanager
def one_error_type(what: str) -> Generator[None]:
    """The boundary of a verb: what a user can mend becomes a RankOneError that begins with `what`; faults of ours pass."""
    try:
        yield
    except RankOneError:
        raise
    except BaseException as error:
        said = explained(error)
        if said is None:
            raise
        raise RankOneError(f"{what}: {said}") from error


def explained(error: BaseException) -> str | None:
    """What an exception that is not ours means for its user, in one line; None where it can only be a fault of RankOne's."""
    return _about_text(error) or _about_places(error) or _about_memory(error) or _about_libraries(error)


def _about_text(error: BaseException) -> str | None:
    said = _first_line(error)
    if isinstance(error, UnicodeEncodeError):
        piece = error.object[error.start : error.end]
        return (
            f"{piece!r} is not a character (half of a surrogate pair, or bytes that are not UTF-8). "
            "Remove it from the text or the command."
        )
    if isinstance(error, UnicodeDecodeError):
        return f"text that is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}. Save it as UTF-8."
    if isinstance(error, TypeError) and said.startswith("TextEncodeInput"):
        return (
            "text that no tokenizer takes: half of a surrogate pair, or bytes that are not UTF-8. "
            "Remove it from the text or the command."
        )
    if isinstance(error, IndexError) and "index out of range in self" in said:
        return "a token id lies past the model's embedding. Load the tokenizer the model was trained with."
    if isinstance(error, RecursionError):
        return f"something that was given nests too deep ({said}). {_GENERAL}"
    return None


def _about_places(error: BaseException) -> str | None:
    said = _first_line(error)
    if "No space left" in said or f"os error {errno.ENOSPC}" in said:
        return f"{said}. Make room, or choose another place."
    if (
        "(os error " in said or "IoError(Os {" in said
    ):  # of Rust: tokenizers, safetensors and its older versions
        return f"a file could not be read or written: {said}. {_MEND}"
    if isinstance(error, ConnectionError | TimeoutError):
        return f"a connection failed: {said}. Check the address and the network."
    # Those of libraries (the Hub's) are OSErrors of their own class.
    if isinstance(error, OSError) and error.errno is not None:
        place = f" at '{error.filename}'" if error.filename else ""
        return f"{error.strerror}{place}. {_MEND}"
    if type(error) is OSError:  # NumPy's: "8 requested and 4 written"
        return f"a file could not be read or written whole ({said}). {_MEND}"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: CUDA and Python have classes for it, PyTorch on a CPU raises a plain RuntimeError."""
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _FULL)


@contextmanager
def memory_as(refusal: Callable[[str], RankOneError]) -> Generator[None]:
    """An allocation that fails inside the block becomes what `refusal` makes of its first line."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise refusal(_first_line(error)) from error


def _about_memory(error: BaseException) -> str | None:
    if not is_out_of_memory(error):
        return None
    said = _first_line(error)
    return f"out of memory: {said}. Take fewer tokens or rows, a smaller batch, or a larger machine."


def _about_libraries(error: BaseException) -> str | None:
    """An exception of a class that another library defines, or of the interpreter's own raised by the code of one of _RAISE.

    The interpreter's own from elsewhere may be faults of ours.
    """
    kind, said = type(error).__name__, _first_line(error)
    package = type(error).__module__.partition(".")[0].lstrip("_")
    # Rust gives no better class (tokenizers); neither RankOne nor Python raises a plain Exception.
    if kind == "PanicException" or type(error) is Exception:
        return f"a library gave up on what it was given: {said}. {_GENERAL}"
    if isinstance(error, RuntimeError) and ("CUDA error" in said or "NCCL error" in said):
        return f"the device failed: {said}. {_MENDS['torch']}"
    if not isinstance(error, Exception):
        return None
    if package in sys.stdlib_module_names | {"rankone", "__main__"}:
        package = _raised_in(error)
    if package is None:
        return None
    return f"{package} refused what it was given ({kind}: {said[:300]}). {_MENDS.get(package, _GENERAL)}"


def _raised_in(error: BaseException) -> str | None:
    """The library of _RAISE whose code an exception was raised in, by its innermost frame."""
    frames = list(traceback.walk_tb(error.__traceback__))
    name: str = frames[-1][0].f_globals.get("__name__", "") if frames else ""
    package = name.partition(".")[0]
    return package if package in _RAISE else None


def _first_line(error: BaseException) -> str:
    return first_line(error).rstrip(".")
