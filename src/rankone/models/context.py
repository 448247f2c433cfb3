"""How many positions a model reads at most."""

from __future__ import annotations

from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.models.anatomy import stated_context


def context_length(model: PreTrainedModel) -> int | None:
    """Longest sequence by the model's configuration; None where it states none (no position limit)."""
    return stated_context(model.config.get_text_config())


def usual_context(model: PreTrainedModel, at_most: int = 512) -> int:
    """The context figures are measured at: the model's own, at most `at_most` positions."""
    return min(context_length(model) or at_most, at_most)


def require_context(model: PreTrainedModel, length: int) -> None:
    """Raise RankOneError when rows of `length` tokens do not fit the model's context."""
    longest = context_length(model)
    if longest is not None and length > longest:
        raise RankOneError(
            f"context {length} is longer than the {longest} positions {type(model).__name__} reads. "
            f"Set `context` to {longest} or less."
        )
