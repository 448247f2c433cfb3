"""Cross-entropy of hidden states against kept targets, some positions at a time, so that no logit outlives its piece."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rankone.decomposition.training.head import logits_at_once


def log_sums(
    logits: Float[Tensor, "*positions vocab"],
) -> tuple[Float[Tensor, "*positions"], Float[Tensor, "*positions vocab"]]:
    """ln Σ exp z and softmax z, with one pass of exponentials: ln Σ exp z = z_max − ln p_max."""
    odds = logits.softmax(-1)
    return logits.amax(-1) - odds.amax(-1).log(), odds


def log_sum(logits: Float[Tensor, "n vocab"]) -> Float[Tensor, " n"]:
    """ln Σ exp z alone: as the cross-entropy of token 0, which is faster than a softmax or `torch.logsumexp`."""
    first = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    return logits[:, 0] + F.cross_entropy(logits, first, reduction="none")


class Unembedding:
    """The linear layer that gives a model's logits: targets from hidden states, and surprise at them.

    A target is kept as its mean row Wᵀ q, mean bias b·q and entropy H(q).
    """

    def __init__(self, layer: nn.Linear) -> None:
        self.weight, self.bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()

    def targets(
        self, hidden: Float[Tensor, "n d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"], Float[Tensor, " n"]]:
        """(mean row, mean bias, entropy) of the predictions that hidden states make."""
        rows, biases, entropies = [], [], []
        for piece in hidden.float().split(logits_at_once(hidden.device, len(self.weight))):
            logits = self._logits(piece)
            sums, odds = log_sums(logits)
            rows.append(odds @ self.weight.float())
            biases.append(torch.zeros_like(sums) if self.bias is None else odds @ self.bias.float())
            entropies.append(sums - (odds * logits).sum(-1))
        return torch.cat(rows), torch.cat(biases), torch.cat(entropies)

    def following(self, ids: Int[Tensor, " n"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
        """(row, bias) of tokens that are the targets themselves."""
        none = torch.zeros(len(ids), device=ids.device)
        return self.weight[ids].float(), none if self.bias is None else self.bias[ids].float()

    def surprise(self, hidden: Float[Tensor, "n d"], rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """−Σ q ln p at every position, but for the mean bias b·q; gradients go to `hidden`."""
        return _Surprise.apply(hidden, rows, self)  # pyright: ignore[reportReturnType]

    def _logits(self, hidden: Float[Tensor, "n d"]) -> Float[Tensor, "n vocab"]:
        kind = hidden.device.type
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled(kind):
            return F.linear(hidden, weight, bias).float()
        return F.linear(hidden.to(weight), weight, bias).float()

    def pulled(self, odds: Float[Tensor, "n vocab"]) -> Float[Tensor, "n d"]:
        """Wᵀ p at every position, in the dtype of the logits' product."""
        kind = odds.device.type
        if torch.is_autocast_enabled(kind):
            return (odds @ self.weight).float()
        return (odds.to(self.weight) @ self.weight).float()


class _Surprise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, rows: Tensor, head: Unembedding) -> Tensor:
        """The value at every position, and at once its gradient, Wᵀ p − Wᵀ q."""
        wanted = ctx.needs_input_grad[0]
        values, gradients = [], []
        size = logits_at_once(hidden.device, len(head.weight))
        for piece, row in zip(hidden.split(size), rows.split(size), strict=True):
            logits = head._logits(piece)
            if wanted:
                sums, odds = log_sums(logits)
                gradients.append(head.pulled(odds) - row)
            else:
                sums = log_sum(logits)
            values.append(sums - (piece.float() * row).sum(-1))
        if wanted:
            ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradients,) = ctx.saved_tensors
        return gradients * grad.unsqueeze(-1), None, None
