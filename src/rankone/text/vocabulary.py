"""The entries of a vocabulary: how each is spelled, which spell a word, what pieces of characters make together."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError, nearest

# How tokenizers write the space before a word where they do not decode it.
SPACES = " ▁Ġ"


PIECE = re.compile(r"<0x([0-9A-F]{2})>")
"""A byte that is not a character by itself, as SentencePiece writes it."""
_UNKNOWN = "\ufffd"


def spelled(tokenizer: PreTrainedTokenizerBase, size: int = 0) -> list[str]:
    """The text of every entry; empty for entries that a model has beyond its tokenizer (up to `size`).

    Bytes of an entry that are not a whole character are written as in PIECE: ` <0xC3>`.
    """
    texts = [spelling(tokenizer, i) for i in range(len(tokenizer))]
    return texts + [""] * (size - len(texts))


def spelling(tokenizer: PreTrainedTokenizerBase, entry: int) -> str:
    """The text of one entry, as `spelled` has it."""
    text = str(tokenizer.decode([entry]))
    return _pieces(str(tokenizer.convert_ids_to_tokens(entry)), text) if _UNKNOWN in text else text


def _pieces(raw: str, decoded: str) -> str:
    """An entry of a byte-level vocabulary by its bytes; `decoded` where the tokenizer does not say them."""
    if PIECE.search(raw):
        return raw
    letters = _byte_letters()
    if not set(raw) <= letters.keys():
        return decoded
    text = bytes(letters[c] for c in raw).decode("utf-8", "surrogateescape")
    return "".join(f"<0x{ord(c) - 0xDC00:02X}>" if "\udc80" <= c <= "\udcff" else c for c in text)


@functools.cache
def _byte_letters() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for: itself below 256, then the others in order."""
    letters = sorted(ByteLevel.alphabet())
    themselves = {c: ord(c) for c in letters if ord(c) < 256}
    rest = [b for b in range(256) if b not in themselves.values()]
    return themselves | dict(zip((c for c in letters if ord(c) >= 256), rest, strict=True))


def with_neighbours(tokens: Sequence[str], centre: int = -1) -> list[str]:
    """Consecutive tokens for reading: pieces that make whole characters together stand in one of them, the others empty.

    That one is `centre`, where it is a piece of theirs, else the first. Pieces that make nothing whole stay as they are.
    """
    shown = list(tokens)
    for start, stop in _runs(tokens):
        whole = _joined(tokens[start:stop])
        if whole is not None:
            shown[start:stop] = [""] * (stop - start)
            shown[centre if start <= centre < stop else start] = whole
    return shown


def _runs(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """The longest stretches of tokens with pieces of characters in them."""
    runs: list[tuple[int, int]] = []
    for i, token in enumerate(tokens):
        if PIECE.search(token):
            runs = [*runs[:-1], (runs[-1][0], i + 1)] if runs and runs[-1][1] == i else [*runs, (i, i + 1)]
    return runs


def _joined(tokens: Sequence[str]) -> str | None:
    parts = PIECE.split("".join(tokens))
    raw = b"".join(bytes.fromhex(part) if i % 2 else part.encode() for i, part in enumerate(parts))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def require_tokens(word: str, texts: Sequence[str]) -> list[int]:
    """Entries whose text is `word`, with or without the space before; RankOneError where the vocabulary has none.

    A word with its space before (` der`) means that entry alone.
    """
    exact = [i for i, text in enumerate(texts) if text == word]
    if word[:1] in tuple(SPACES) and exact:
        return exact
    bare = word.strip(SPACES)
    entries = [i for i, text in enumerate(texts) if bare and text.strip(SPACES) == bare] or exact
    if not entries:
        known = list(dict.fromkeys(stripped for text in texts if (stripped := text.strip(SPACES))))
        raise RankOneError(
            f"the vocabulary has no token '{word}': a longer word is written with several. Name one of its tokens."
            f"{nearest(bare, known)}"
        )
    return entries
