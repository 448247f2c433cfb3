"""The output of a target model, whatever kind of module it is."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError


def output_of(target: nn.Module, batch: Tensor) -> Float[Tensor, "b t out"]:
    """Logits of a language model on token ids [B, T]; of any other module what it returns on its input [B, T, d]."""
    if isinstance(target, PreTrainedModel):
        return target(input_ids=batch, use_cache=False).logits
    return target(batch)


def require_finite_logits(logits: Tensor) -> None:
    """RankOneError for logits that hold NaN or infinity: nothing can be chosen or drawn by them."""
    if not logits.isfinite().all():
        raise RankOneError(
            "the model's logits are not finite: a weight holds NaN or infinity, or the edit is too large for the dtype."
        )


def run_blocks(target: nn.Module, batch: Tensor) -> None:
    """Run a model for what its blocks do (hooks see it), without the unembedding where the model can leave it out."""
    if isinstance(target, PreTrainedModel) and target.base_model is not target:
        target.base_model(input_ids=batch, use_cache=False)
    else:
        output_of(target, batch)


def vocabulary_size(target: nn.Module) -> int:
    """Number of entries of a language model's vocabulary; RankOneError for a module that is none."""
    size = getattr(getattr(target, "config", None), "vocab_size", None)
    if not isinstance(size, int):
        raise RankOneError(f"{type(target).__name__} is not a language model: its config has no vocab_size.")
    return size
