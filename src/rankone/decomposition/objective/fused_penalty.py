"""The mean importance penalty f_c of every subcomponent in one pass over the logits, and its gradient in another.

f_c = mean over positions of ψ(upper(logit)), ψ of minimality.py; beside it the share of positions with a logit above 0.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.decomposition.masking.kernels import kernel
from rankone.decomposition.masking.squash import upper, upper_slope, wide
from rankone.decomposition.objective.minimality import PENALTIES


def _penalty(logits: Tensor, sharpness: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    logit = wide(logits)
    psi, _ = PENALTIES[kind]
    return psi(upper(logit), sharpness).mean((0, 1)), (logit > 0).float().mean((0, 1))


def _add_gradient(total: Tensor, logits: Tensor, sharpness: Tensor, grad: Tensor, kind: str) -> None:
    logit = wide(logits)
    _, slope = PENALTIES[kind]
    # No gradient where the squashing is flat, so ψ'(0) = ∞ of L_p (p < 1) never appears.
    to_logit = torch.where(
        logit <= 0, torch.zeros_like(logit), slope(upper(logit), sharpness) * upper_slope(logit)
    )
    total.copy_(wide(total) + to_logit * (grad / (logits.shape[0] * logits.shape[1])))


def mean_penalty(
    logits: Float[Tensor, "b t c"], sharpness: Float[Tensor, ""], kind: str, compiled: bool = False
) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Mean penalty f_c of the minimality `kind` and firing share of each subcomponent, in fp32, without gradients."""
    return kernel(_penalty, compiled)(logits.detach(), sharpness, kind)


def add_gradient(
    total: Float[Tensor, "b t c"],
    logits: Float[Tensor, "b t c"],
    sharpness: Float[Tensor, ""],
    grad: Float[Tensor, " c"],
    kind: str,
    compiled: bool = False,
) -> None:
    """Add the logits' gradient to `total`, given the gradient of their mean penalty: no other copy of it is made."""
    kernel(_add_gradient, compiled)(total, logits.detach(), sharpness, grad, kind)
