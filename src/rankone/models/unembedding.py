"""The unembedding as directions in the residual stream: what raises a token's logit above those of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.models.anatomy import is_norm


@dataclass(frozen=True)
class Unembedding:
    """rows: [vocab, width], the unembedding with the gain of the final norm, less its mean over the vocabulary.

    A vector w added to the final residual stream moves the logits by rows @ w, up to the scale of the norm and a constant
    that softmax does not see.
    """

    rows: Float[Tensor, "vocab width"]

    def effect(self, write: Float[Tensor, "c width"], token: int) -> Float[Tensor, " c"]:
        """Rise of a token's logit over the mean logit per unit of each write vector."""
        return write.float() @ self.rows[token]

    def sharpness(self, write: Float[Tensor, "c width"], token: int) -> Float[Tensor, " c"]:
        """`effect` in standard deviations over the vocabulary: how much more than other tokens it is raised."""
        covariance = self.rows.T @ self.rows / len(self.rows)
        spread = ((write.float() @ covariance) * write.float()).sum(1).clamp_min(1e-20).sqrt()
        return self.effect(write, token) / spread


def unembedding_of(model: PreTrainedModel) -> Unembedding:
    """The unembedding of a model; RankOneError where it has no linear output layer."""
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor):
        raise RankOneError(
            f"{type(model).__name__} has no linear output layer to read token directions from."
        )
    rows = weight.detach().float()
    norm = _final_norm(model, rows.shape[1])
    if norm is not None:
        gain, centres = norm_gain(norm, rows.shape[1])
        rows = rows * gain
        rows = rows - rows.mean(1, keepdim=True) if centres else rows
    return Unembedding(rows - rows.mean(0))


def _final_norm(model: nn.Module, width: int) -> nn.Module | None:
    """The last norm outside the list of blocks that has one weight per dimension."""
    lists = [name + "." for name, m in model.named_modules() if isinstance(m, nn.ModuleList)]
    norms = [
        module
        for name, module in model.named_modules()
        if is_norm(module)
        and tuple(getattr(module, "weight", torch.empty(0)).shape) == (width,)
        and not name.startswith(tuple(lists))
    ]
    return norms[-1] if norms else None


def norm_gain(norm: nn.Module, width: int) -> tuple[Float[Tensor, " width"], bool]:
    """Gain per dimension of a norm with a `weight`, and whether it takes the mean out, read off its outputs.

    Some families keep the gain less one as the weight; what the module does is the same for all.
    """
    weight = cast(Tensor, norm.weight)
    signs = torch.ones(width, dtype=weight.dtype, device=weight.device)
    signs[1::2] = -1
    with torch.no_grad():
        gain = (norm(signs) - norm(-signs)) / 2 * signs
        same = norm(torch.ones_like(signs)) - norm(-torch.ones_like(signs))
    return gain.float(), bool(same.abs().max() < 1e-3 * gain.abs().max().clamp_min(1e-12))
