"""Exceptions of other libraries in our words: the thing, the value, the mend."""

from __future__ import annotations

import errno

_MEND = "Check that the place exists, can be read and written, and has room."


def explained(error: BaseException) -> str | None:
    """What an exception that is not ours means for its user, in one line; None where it can only be a fault of RankOne's."""
    kind, said = type(error).__name__, _first_line(error)
    if isinstance(error, UnicodeEncodeError):
        piece = error.object[error.start : error.end]
        return (
            f"{piece!r} is no character (half of a pair of surrogates, or bytes that are not UTF-8). "
            "Remove it from the text or the command."
        )
    if isinstance(error, UnicodeDecodeError):
        return f"text that is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}. Save it as UTF-8."
    if isinstance(error, TypeError) and said.startswith("TextEncodeInput"):
        return (
            "text that no tokenizer takes: half of a pair of surrogates, or bytes that are not UTF-8. "
            "Remove it from the text or the command."
        )
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        place = f" at '{error.filename}'" if error.filename else ""
        return f"{error.strerror}{place}. {_MEND}"
    if kind == "SafetensorError":
        return f"a safetensors file cannot be read or written: {said}. {_MEND}"
    if "No space left" in said or f"os error {errno.ENOSPC}" in said:
        return f"{said}. Make room, or choose another place."
    if kind == "OutOfMemoryError" or isinstance(error, MemoryError) or "can't allocate memory" in said:
        return f"out of memory: {said}. Take fewer tokens or rows, a smaller batch, or a larger machine."
    if isinstance(error, IndexError) and "index out of range in self" in said:
        return "a token id lies past the model's embedding. Load the tokenizer the model was trained with."
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
