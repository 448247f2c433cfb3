"""From documents to token blocks: packed streams for training, padded passages for measuring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.text.chats import Chat, Encoded, encode_chat
from rankone.text.openers import AUTO, opener_id, special_ids


@dataclass(frozen=True)
class Blocks:
    """Token rows with the positions that count.

    ids: [N, T], each row starts with a token that is not scored: the opener (text/openers.py), or where there is none the
    text's first token. valid: [N, T], True where the token is scored (never the first, never padding, of a chat only what
    the assistant says).
    """

    ids: Int[Tensor, "rows length"]
    valid: Bool[Tensor, "rows length"]

    @property
    def tokens(self) -> int:
        """Number of text tokens."""
        return int(self.valid.sum())

    @property
    def present(self) -> Bool[Tensor, "rows length"]:
        """True at real positions: all up to the last scored token of the row, not the padding."""
        real = self.valid.flip(1).cumsum(1).flip(1) > 0
        real[:, 0] = True
        return real

    def to(self, device: torch.device) -> Blocks:
        """The same rows on a device."""
        return Blocks(self.ids.to(device), self.valid.to(device))

    def rows(self, start: int, stop: int) -> Blocks:
        """A slice of the rows."""
        return Blocks(self.ids[start:stop], self.valid[start:stop])

    def split(self, rows: int, device: torch.device | None = None) -> Iterator[Blocks]:
        """The rows in their order, so many at a time, each piece on the device, if one is named."""
        for start in range(0, len(self.ids), rows):
            piece = self.rows(start, start + rows)
            yield piece if device is None else piece.to(device)

    def take(self, tokens: int) -> Blocks:
        """The first rows up to exactly `tokens` text tokens; the last row is cut."""
        keep = self.valid.flatten().cumsum(0).view_as(self.ids) <= tokens
        valid = self.valid & keep
        rows = int(valid.any(1).nonzero().max()) + 1 if valid.any() else 0
        width = int(valid.any(0).nonzero().max()) + 1 if rows else 1
        return Blocks(self.ids[:rows, :width], valid[:rows, :width])


def joined(texts: Sequence[Blocks]) -> Blocks:
    """The rows of several texts under one another, padded at the right with id 0 where one is narrower."""
    width = max(text.ids.shape[1] for text in texts)
    ids, valid = (
        torch.cat([F.pad(side, (0, width - side.shape[1])) for side in sides])
        for sides in ([text.ids for text in texts], [text.valid for text in texts])
    )
    return Blocks(ids, valid)


def encode(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> list[list[int]]:
    """Token ids of each document, without special tokens; of a chat those of the assistant's turns."""
    return [
        [i for i, scored in zip(*one, strict=True) if scored] for one in encode_scored(tokenizer, documents)
    ]


def encode_scored(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> list[Encoded]:
    """Token ids of each document with what is scored: plain text whole, a chat in its template (text/chats.py)."""
    plain = [document for document in documents if not isinstance(document, Chat)]
    ids = iter(_plain_ids(tokenizer, plain))  # pyright: ignore[reportArgumentType]
    return [
        encode_chat(tokenizer, document) if isinstance(document, Chat) else _plain(next(ids))
        for document in documents
    ]


def _with_openings(
    tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]
) -> Iterator[tuple[Encoded, bool]]:
    """Each encoded document, and whether it opens itself: a chat whose template starts with a special token."""
    special = special_ids(tokenizer)
    for document, one in zip(documents, encode_scored(tokenizer, documents), strict=True):
        yield one, isinstance(document, Chat) and not special.isdisjoint(one.ids[:1])


def _plain_ids(tokenizer: PreTrainedTokenizerBase, documents: list[str]) -> list[list[int]]:
    """Ids of plain text: `<|endoftext|>` written in it is spelled out, and never becomes the special token."""
    if not documents:
        return []
    encoded = tokenizer(documents, add_special_tokens=False, split_special_tokens=True, verbose=False)
    return encoded["input_ids"]  # pyright: ignore[reportReturnType]


def _plain(ids: list[int]) -> Encoded:
    return Encoded(ids, [True] * len(ids))


def passage_blocks(
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[str],
    length: int,
    need: int = 1,
    what: str = "the text",
    opener: str = AUTO,
) -> Blocks:
    """Rows of the opener + up to length − 1 tokens of one document each, padded at the right.

    A conversation whose template opens it gets no second one. Raises RankOneError when
    there are fewer than `need` scored tokens in all, and for rows of one token.
    """
    if length < 2:
        raise RankOneError(
            f"a context of {length} leaves no token to score: each is predicted from those before it. Take one of 2 or "
            "more, or a model that reads more positions."
        )
    first = opener_id(tokenizer, opener)
    pieces = [
        piece
        for one, opened in _with_openings(tokenizer, documents)
        for piece in _rows(one, first, length, opened)
    ]
    total = sum(sum(piece.scored) for piece in pieces)
    if total < need:
        raise RankOneError(
            f"{what} has {total} tokens, but {need} are needed. Give more text or ask for less."
        )
    ids = torch.full((len(pieces), length), _padding(tokenizer, first), dtype=torch.long)
    valid = torch.zeros(len(pieces), length, dtype=torch.bool)
    for row, piece in enumerate(pieces):
        ids[row, : len(piece.ids)] = torch.tensor(piece.ids)
        valid[row, : len(piece.ids)] = torch.tensor(piece.scored)
    return Blocks(ids, valid)


def _rows(document: Encoded, opener: int | None, length: int, opened: bool) -> list[Encoded]:
    """A document cut into rows that start with an unscored token: the opener, or where there is none the token before.

    opened: the document's first token opens it. Rows without a scored token are left out.
    """
    ids, scored = document
    start = 1 if opened or opener is None else 0
    rows = []
    for at in range(start, len(ids), length - 1):
        lead = ids[at - 1] if opener is None or (opened and at == start) else opener
        rows.append(Encoded([lead, *ids[at : at + length - 1]], [False, *scored[at : at + length - 1]]))
    return [row for row in rows if any(row.scored)]


def _padding(tokenizer: PreTrainedTokenizerBase, opener: int | None) -> int:
    """What fills a row: never seen by a causal model's scored positions, and so any id does."""
    return opener if opener is not None else int(tokenizer.pad_token_id or 0)  # pyright: ignore[reportArgumentType]


def chunk_documents(documents: Sequence[str], chars: int) -> list[str]:
    """Cut documents at line ends into pieces of about `chars` characters, so that long ones can be mixed.

    Chats stay whole.
    """
    pieces: list[str] = []
    for document in documents:
        if isinstance(document, Chat):
            pieces.append(document)
            continue
        piece: list[str] = []
        size = 0
        for line in document.split("\n"):
            piece.append(line)
            size += len(line) + 1
            if size >= chars:
                pieces.append("\n".join(piece))
                piece, size = [], 0
        if piece:
            pieces.append("\n".join(piece))
    return pieces


def packed_stream(
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[str],
    tokens: int,
    batch: int = 2000,
    opener: str = AUTO,
) -> np.ndarray:
    """One stream of at most `tokens` ids: opener + document, one after the other; chats in their templates."""
    first = opener_id(tokenizer, opener)
    parts: list[np.ndarray] = []
    count = 0
    for start in range(0, len(documents), batch):
        for one, opened in _with_openings(tokenizer, documents[start : start + batch]):
            lead = [] if first is None or opened else [first]
            parts.append(np.array([*lead, *one.ids], dtype=np.int32))
            count += len(parts[-1])
        if count >= tokens:
            break
    return np.concatenate(parts)[:tokens] if parts else np.empty(0, dtype=np.int32)
