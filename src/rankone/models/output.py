"""The output of a target model, whatever kind of module it is."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel


def output_of(target: nn.Module, batch: Tensor) -> Float[Tensor, "b t out"]:
    """Logits of a language model on token ids [B, T]; of any other module what it returns on its input [B, T, d]."""
    if isinstance(target, PreTrainedModel):
        return target(input_ids=batch, use_cache=False).logits
    return target(batch)
