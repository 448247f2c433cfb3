"""What a fit makes of the forget text: up to chance (the published objective), or the losses of other unlearning methods.

With s the mean −ln p of the forget tokens, s₀ that of the base model, n tokens and c the cap:
    uniform   max(0, c − s)
    ascent    −s                                           gradient ascent; with a retain term GradDiff
    npo       −(2/β) ln σ(β n (s − s₀)),   β = .1          Zhang et al. 2024, eq. 3
    simnpo    −(2/β) ln σ(β s − γ),   β = 2.5, γ = 0       Fan et al. 2024, eq. 4
    learn     s                                            ordinary training, for a task vector
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from rankone.edits.fitting.config import Objective

NPO_BETA, SIMNPO_BETA = 0.1, 2.5


def removal_loss(
    objective: Objective,
    surprise: Float[Tensor, " runs"],
    base: Float[Tensor, " runs"],
    tokens: Float[Tensor, " runs"],
    cap: Float[Tensor, " runs"],
) -> Float[Tensor, " runs"]:
    """The forget term of every run; `surprise`, `base` and `cap` in nats per token."""
    if objective == "uniform":
        return F.relu(cap - surprise)
    if objective == "npo":
        return -2 / NPO_BETA * F.logsigmoid(NPO_BETA * tokens * (surprise - base))
    if objective == "simnpo":
        return -2 / SIMNPO_BETA * F.logsigmoid(SIMNPO_BETA * surprise)
    return surprise if objective == "learn" else -surprise
