"""Whether a file ends before it should, told by its size and its first and last bytes: none is read through for it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from rankone.core.errors import RankOneError
from rankone.core.manifest import Manifest

# SHA-256 of nothing: what a file that is meant to be empty is listed with.
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
# A longer header than safetensors itself takes is none.
_LONGEST = 100_000_000
_NPY = re.compile(
    rb"\{'descr': '[<>|=]?[biufc](?P<width>\d+)', 'fortran_order': (?:True|False), 'shape': \((?P<shape>[\d, ]*)\), \}\s*"
)


def require_whole(path: Path, manifest: Manifest) -> None:
    """RankOneError for a file of an artefact that is seen to be cut short; one of a kind not known here may yet be."""
    for name, digest in manifest.files.items():
        said = _cut(path / name, digest)
        if said:
            raise RankOneError(f"'{path / name}' is cut short: {said}. Restore the artefact from its source.")


def _cut(file: Path, digest: str) -> str:
    """What is missing of a file, '' for nothing that is seen."""
    size = file.stat().st_size
    if size == 0:
        return "" if digest == _EMPTY else "it is empty"
    look = _LOOKS.get(file.suffix)
    if look is None:
        return ""
    try:
        with file.open("rb") as stream:
            return look(stream, size)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "its header is incomplete"


def _safetensors(stream: BinaryIO, size: int) -> str:
    length = int.from_bytes(stream.read(8), "little")
    if length > min(_LONGEST, size):
        return "its header is incomplete"
    header = json.loads(stream.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return _short(size, 8 + length + max(ends, default=0))


def _parquet(stream: BinaryIO, size: int) -> str:
    """Its table of contents stands at the end, before its length and the mark that it begins with too."""
    start = stream.read(4)
    stream.seek(max(size - 8, 0))
    length, end = int.from_bytes(stream.read(4), "little"), stream.read(4)
    return "" if start == end == b"PAR1" and length <= size - 12 else "it does not end as a Parquet file does"


def _json(stream: BinaryIO, size: int) -> str:
    stream.seek(max(size - 64, 0))
    return "" if stream.read().rstrip()[-1:] in b"}]" else "it does not end as JSON does"


def _npy(stream: BinaryIO, size: int) -> str:
    """Of an array of numbers; read here, since importing NumPy takes longer than a whole list of artefacts does."""
    magic = stream.read(8)
    length = int.from_bytes(stream.read(2 if magic[6:7] == b"\1" else 4), "little")
    header = _NPY.fullmatch(stream.read(min(length, size)))
    if magic[:6] != b"\x93NUMPY" or header is None:
        raise ValueError
    shape = [int(side) for side in header["shape"].replace(b",", b" ").split()]
    return _short(size, stream.tell() + math.prod(shape) * int(header["width"]))


def _short(size: int, wanted: int) -> str:
    return "" if size >= wanted else f"{size:,} bytes where its header wants {wanted:,}"


_LOOKS: dict[str, Callable[[BinaryIO, int], str]] = {
    ".safetensors": _safetensors,
    ".parquet": _parquet,
    ".json": _json,
    ".npy": _npy,
}
