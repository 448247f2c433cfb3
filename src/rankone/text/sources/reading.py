"""Reading text files of any origin: streamed, in bounded memory, whole or with an error that names the file.

Text that strangers made may be a device, a compressed bomb, half a file, or no text at all: none of these hangs, fills the
memory, or passes for shorter text.
"""

from __future__ import annotations

import io
import re
import stat
from codecs import getincrementaldecoder
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from rankone.core.errors import RankOneError
from rankone.core.files import require_regular
from rankone.text.sources.layout import undecodable_line
from rankone.text.sources.records import read_record

_CHARS_AT_ONCE = 1 << 20
# A plain document without a separator is cut here; a line of JSON this long is refused.
LONGEST_DOCUMENT = 1 << 22
LONGEST_LINE = 1 << 26
# Compressed text is a third to a twentieth of its size. What expands further, and to more than this, is refused.
MOST_EXPANSION, EXPANDED_FREELY = 200, 1 << 26
# Empty lines of JSON; each costs a step, and a bomb of them packs best.
_BLANK_IN_A_ROW = 100_000
# Small, since a few bytes of a bomb expand to a megabyte.
_COMPRESSED_AT_ONCE = 1 << 10
_BLANK_LINES = re.compile(r"\n\s*\n")


def require_file(path: Path) -> None:
    """Raise RankOneError for a device, a pipe, a socket, a file of the kernel or a broken link."""
    try:
        mode = path.stat().st_mode
        require_regular(path)
    except OSError as error:
        raise RankOneError(
            f"cannot read text from '{path}': {error.strerror}. Remove it or mend the link."
        ) from error
    except ValueError as error:
        raise RankOneError(f"cannot read text from '{path}': {error}. Take it out.") from error
    if not stat.S_ISREG(mode):
        raise RankOneError(f"'{path}' is not a regular file: text is read from files alone.")


_PEEK = 1 << 12  # bytes at the start of a file that must be text


def require_text_inside(path: Path) -> None:
    """Raise RankOneError for a plain file that begins with what is not text, or with no record where it should hold them.

    A compressed file is seen when it is read, and so is what comes after the first bytes.
    """
    if path.suffix == ".zst":
        return
    with path.open("rb") as stream:
        start = stream.read(_PEEK)
    try:
        _require_characters(getincrementaldecoder("utf-8")().decode(start))
        if (
            ".jsonl" in path.suffixes
            and (lines := start.splitlines(keepends=True))
            and _whole(lines[0], start)
        ):
            next(_records(io.BytesIO(lines[0])), None)
    except ValueError as error:
        raise _unreadable(path, error) from None


def _whole(line: bytes, start: bytes) -> bool:
    """Whether the first line of a file ends within what was read of it."""
    return line.endswith((b"\n", b"\r")) or len(start) < _PEEK


def read_documents(path: Path) -> Iterator[str]:
    """Yield the documents of one text or JSON-lines file, streamed."""
    require_file(path)
    try:
        with path.open("rb") as raw:
            binary = io.BufferedReader(_Zstd(raw, path.stat().st_size)) if path.suffix == ".zst" else raw
            if ".jsonl" in path.suffixes:
                yield from _records(binary)
            else:
                yield from _plain_documents(io.TextIOWrapper(binary, encoding="utf-8-sig"))
    except (ValueError, zstandard.ZstdError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RankOneError:
    place, mend = "", "Mend the file or take it out."
    if isinstance(error, UnicodeDecodeError):
        place, mend = undecodable_line(path), "Text must be UTF-8."
    elif isinstance(error, zstandard.ZstdError):
        mend = "A .zst must be whole."
    return RankOneError(f"cannot read text from '{path}': {place}{error}. {mend}")


class _Zstd(io.RawIOBase):
    """Decompressed bytes of one or more zstd frames; ValueError for an unfinished frame and for what expands too far."""

    def __init__(self, raw: BinaryIO, size: int) -> None:
        if size == 0:
            raise ValueError("the file is empty, without even the head of a zstd frame")
        self._raw, self._limit = raw, max(EXPANDED_FREELY, MOST_EXPANSION * size)
        self._frame, self._count = None, 0
        # A view: what a bomb makes of one piece is not copied for every few kilobytes that are taken from it.
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fill the buffer as far as one piece goes; 0 at the end."""
        while not self._ready:
            if not (piece := self._raw.read(_COMPRESSED_AT_ONCE)):
                if self._frame is not None:
                    raise ValueError("the file ends in the middle of a zstd frame")
                return 0
            self._ready = memoryview(b"".join(self._decompressed(piece)))
        given = self._ready[: len(buffer)]
        buffer[: len(given)] = given
        self._ready = self._ready[len(given) :]
        return len(given)

    def _decompressed(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            content = self._frame.decompress(piece)
            self._count += len(content)
            if self._count > self._limit:
                raise ValueError(f"it expands to over {MOST_EXPANSION} times its size: no text does")
            yield content
            piece = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None


def _records(stream: BinaryIO) -> Iterator[str]:
    number = blank = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise ValueError(f"line {number} has over {LONGEST_LINE >> 20} MiB")
        blank = 0 if line.strip() else blank + 1
        if blank > _BLANK_IN_A_ROW:
            raise ValueError(f"line {number} is the {blank:,}th empty one in a row: no text")
        if not blank:
            try:
                yield read_record(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error


def _plain_documents(stream: io.TextIOWrapper) -> Iterator[str]:
    """Split at form feeds from the first one on, at blank lines before (code keeps its blank lines)."""
    head = _more(stream)
    yield from _split_stream(head, stream, re.compile("\f") if "\f" in head else _BLANK_LINES)


def _split_stream(buffer: str, stream: io.TextIOWrapper, mark: re.Pattern[str]) -> Iterator[str]:
    while buffer:
        *whole, buffer = mark.split(buffer)
        yield from (_without_blank_ends(d) for d in whole if d.strip())
        while len(buffer) > LONGEST_DOCUMENT:
            end = buffer.rfind("\n", 1, LONGEST_DOCUMENT) + 1 or LONGEST_DOCUMENT
            yield buffer[:end].strip("\n")
            buffer = buffer[end:]
        if not (more := _more(stream)):
            break
        buffer += more
    if buffer.strip():
        yield _without_blank_ends(buffer)


def _without_blank_ends(text: str) -> str:
    """Without its first and last blank lines, in one look at each: a search by pattern takes n² steps over n of them."""
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    end = text.find("\n", last)
    return text[text.rfind("\n", 0, first) + 1 : end if end >= 0 else len(text)]


def _more(stream: io.TextIOWrapper) -> str:
    """The next characters; ValueError where they are not text."""
    return _require_characters(stream.read(_CHARS_AT_ONCE))


def _require_characters(characters: str) -> str:
    if "\0" in characters:
        raise ValueError("it holds NUL bytes, so it is not text")
    return characters
