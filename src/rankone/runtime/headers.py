"""What a safetensors file holds, read from its header: names, types and shapes, and small tensors of integers.

Nothing here needs PyTorch, so that a wrong name is refused before anything is loaded.
"""

from __future__ import annotations

import array
import json
import struct
import sys
from pathlib import Path
from typing import cast

from pydantic import Field

from rankone.core.config import Config
from rankone.core.errors import RankOneError

_LENGTH = struct.Struct("<Q")
_LONGEST = 100_000_000  # bytes of a header; the format's own limit


class TensorEntry(Config):
    """One tensor of a file: its type as the format calls it, its shape, and its bytes after the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int] = Field(description="first byte and the one after the last")


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of a safetensors file by name; RankOneError where it is none."""
    try:
        with path.open("rb") as file:
            length = _header_length(file.read(_LENGTH.size))
            read: object = json.loads(file.read(length))
        if not isinstance(read, dict):
            raise ValueError("its header is not a JSON object")
    except (OSError, ValueError, struct.error) as error:
        raise RankOneError(f"cannot read tensors from '{path}': {error}.") from error
    entries = cast("dict[str, object]", read)
    return {
        name: TensorEntry.checked(entry, f"{path}: {name}")
        for name, entry in entries.items()
        if name != "__metadata__"
    }


def read_numbers(path: Path, entry: TensorEntry) -> list[int]:
    """The values of a one-dimensional int64 tensor of the file; RankOneError for another."""
    if entry.dtype != "I64" or len(entry.shape) != 1:
        raise RankOneError(
            f"cannot read tensors from '{path}': one is {entry.dtype} {list(entry.shape)}, not a list of int64."
        )
    start, end = entry.data_offsets
    values = array.array("q")
    with path.open("rb") as file:
        length = _header_length(file.read(_LENGTH.size))
        file.seek(_LENGTH.size + length + start)
        values.frombytes(file.read(end - start))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def _header_length(first: bytes) -> int:
    (length,) = _LENGTH.unpack(first)
    if length > _LONGEST:
        raise ValueError(f"its header would be {length:,} bytes")
    return length
