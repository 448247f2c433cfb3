"""From documents to token blocks: packed streams for training, padded passages for measuring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError


@dataclass(frozen=True)
class Blocks:
    """Token rows with the positions that count.

    ids: [N, T], each row starts with the tokenizer's BOS. valid: [N, T], True where the token is a text token
    (never BOS, never padding): exactly the tokens whose prediction is scored.
    """

    ids: Int[Tensor, "rows length"]
    valid: Bool[Tensor, "rows length"]

    @property
    def tokens(self) -> int:
        """Number of text tokens."""
        return int(self.valid.sum())

    @property
    def present(self) -> Bool[Tensor, "rows length"]:
        """True at real positions: the BOS and the text tokens, not the padding."""
        real = self.valid.clone()
        real[:, 0] = True
        return real

    def to(self, device: torch.device) -> Blocks:
        """The same rows on a device."""
        return Blocks(self.ids.to(device), self.valid.to(device))

    def rows(self, start: int, stop: int) -> Blocks:
        """A slice of the rows."""
        return Blocks(self.ids[start:stop], self.valid[start:stop])

    def take(self, tokens: int) -> Blocks:
        """The first rows up to exactly `tokens` text tokens; the last row is cut."""
        keep = self.valid.flatten().cumsum(0).view_as(self.ids) <= tokens
        valid = self.valid & keep
        rows = int(valid.any(1).nonzero().max()) + 1 if valid.any() else 0
        width = int(valid.any(0).nonzero().max()) + 1 if rows else 1
        return Blocks(self.ids[:rows, :width], valid[:rows, :width])


def bos_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that opens a row: BOS, else EOS."""
    found = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if not isinstance(found, int):
        raise RankOneError("the tokenizer has neither a BOS nor an EOS token; set one of them.")
    return found


def encode(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> list[list[int]]:
    """Token ids of each document, without special tokens."""
    if not documents:
        return []
    return tokenizer(list(documents), add_special_tokens=False, verbose=False)["input_ids"]  # pyright: ignore[reportReturnType]


def passage_blocks(
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[str],
    length: int,
    need: int = 1,
    what: str = "the text",
) -> Blocks:
    """Rows of BOS + up to length − 1 tokens of one document each, padded at the right.

    Raises RankOneError when there are fewer than `need` tokens in all.
    """
    bos = bos_id(tokenizer)
    pieces = [
        ids[i : i + length - 1]
        for ids in encode(tokenizer, documents)
        for i in range(0, len(ids), length - 1)
    ]
    total = sum(map(len, pieces))
    if total < need:
        raise RankOneError(
            f"{what} has {total} tokens, but {need} are needed. Give more text or ask for less."
        )
    ids = torch.full((len(pieces), length), bos, dtype=torch.long)
    valid = torch.zeros(len(pieces), length, dtype=torch.bool)
    for row, piece in enumerate(pieces):
        ids[row, 1 : len(piece) + 1] = torch.tensor(piece)
        valid[row, 1 : len(piece) + 1] = True
    return Blocks(ids, valid)


def chunk_documents(documents: Sequence[str], chars: int) -> list[str]:
    """Cut documents at line ends into pieces of about `chars` characters, so that long ones can be mixed."""
    pieces: list[str] = []
    for document in documents:
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
    tokenizer: PreTrainedTokenizerBase, documents: Sequence[str], tokens: int, batch: int = 2000
) -> np.ndarray:
    """One stream of at most `tokens` ids: BOS + document, one after the other."""
    bos = bos_id(tokenizer)
    parts: list[np.ndarray] = []
    count = 0
    for start in range(0, len(documents), batch):
        for ids in encode(tokenizer, documents[start : start + batch]):
            parts.append(np.array([bos, *ids], dtype=np.int32))
            count += len(ids) + 1
        if count >= tokens:
            break
    return np.concatenate(parts)[:tokens] if parts else np.empty(0, dtype=np.int32)
