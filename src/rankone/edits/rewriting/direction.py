"""The direction in the residual stream that raises a token's logit over the others', and the proof that it does.

It is the row of the unembedding (models/unembedding.py) where the model's own derivative agrees with that row; where a head
does more (a transform, a cap), the derivative itself. Either is tried by moving the stream a little: a direction that does
not raise the token is refused.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.models.blocks import changed_stream, last_block, stream_as_leaf
from rankone.models.output import output_of
from rankone.models.unembedding import supposed_unembedding

# Cosine with the model's own derivative from which the unembedding's row is taken.
_AGREES = 0.9
# How far the stream is moved, of its own length, and at what share of positions the token must rise.
_STEP, _MOST = 0.01, 0.9


class Direction(NamedTuple):
    """A unit vector and what it was read off; cosine: of the two sources; raised: share of positions where it works."""

    vector: Float[Tensor, " width"]
    source: Literal["unembedding", "derivative"]
    cosine: float | None
    raised: float


def token_direction(model: PreTrainedModel, token: int, ids: Int[Tensor, "rows length"]) -> Direction:
    """The direction that raises `token` at the positions of some text.

    Raises RankOneError where the blocks' stream cannot be told, and where no direction raises the token.
    """
    block = last_block(model)
    derivative = F.normalize(_derivative(model, block, token, ids), dim=0)
    row = _row(model, token)
    fits = row is not None and row.shape == derivative.shape
    cosine = float(row @ derivative) if fits and row is not None else None
    by_row = cosine is not None and cosine >= _AGREES
    vector = row if by_row and row is not None else derivative
    raised = _raised(model, block, token, ids, vector)
    if not raised >= _MOST:
        raise RankOneError(
            f"no direction raises token {token} of {type(model).__name__}: moved along it, the stream raises it at only "
            f"{raised:.0%} of positions. Train the write vector instead (--train N)."
        )
    return Direction(vector, "unembedding" if by_row else "derivative", cosine, raised)


def _row(model: PreTrainedModel, token: int) -> Float[Tensor, " width"] | None:
    try:
        return F.normalize(supposed_unembedding(model).rows[token], dim=0)
    except RankOneError:
        return None


def _margin(logits: Float[Tensor, "rows length vocab"], token: int) -> Float[Tensor, "rows length"]:
    """A token's logit over the mean logit."""
    return logits[..., token].float() - logits.float().mean(-1)


def _derivative(
    model: PreTrainedModel, block: nn.Module, token: int, ids: Int[Tensor, "rows length"]
) -> Float[Tensor, " width"]:
    """Of the mean margin by the stream, summed over positions."""
    with torch.enable_grad(), stream_as_leaf(block) as kept:
        margin = _margin(output_of(model, ids), token).mean()
        (gradient,) = torch.autograd.grad(margin, kept)
    return gradient.float().sum((0, 1))


def _raised(
    model: PreTrainedModel, block: nn.Module, token: int, ids: Tensor, vector: Float[Tensor, " width"]
) -> float:
    """Share of positions where moving the stream along `vector` raises the token over the mean."""

    def moved(stream: Tensor) -> Tensor:
        return stream + _STEP * stream.norm(dim=-1, keepdim=True) * vector.to(stream)

    with torch.no_grad():
        before = _margin(output_of(model, ids), token)
        with changed_stream(block, moved):
            after = _margin(output_of(model, ids), token)
    return float((after > before).float().mean())
