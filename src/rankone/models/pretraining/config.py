"""A pretraining recipe: the text, the tokenizer, and sizes of the model with the training each gets."""

from __future__ import annotations

from pydantic import Field

from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.core.fields import Seed
from rankone.text.mix import Mixture


class Preset(Config):
    """A model size with the training it gets."""

    hidden_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    tokens: int = Field(gt=0, description="training tokens")
    batch_rows: int = Field(gt=0, description="rows per step")
    learning_rate: float = Field(gt=0)


class PretrainConfig(Config):
    """A pretraining recipe."""

    vocab_size: int = Field(default=4096, ge=300)
    context: int = Field(default=128, ge=8)
    mixture: Mixture
    presets: dict[str, Preset]
    tokenizer_chars: int = Field(
        default=24_000_000, gt=0, description="characters of training text the tokenizer sees"
    )
    warmup_steps: int = Field(default=100, ge=0)
    final_lr_fraction: float = Field(default=0.1, ge=0, le=1)
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, gt=0)
    seed: Seed = 0
    checkpoint_every: int = Field(default=200, gt=0)
    tokenizer_from: str | None = Field(
        default=None, description="reuse the tokenizer of this model directory"
    )
    without: list[str] = Field(default_factory=list, description="domains to leave out (reference models)")

    def require_preset(self, name: str) -> Preset:
        """A model size by name; RankOneError for one that the recipe lacks."""
        if name not in self.presets:
            offered = list(self.presets)
            raise RankOneError(
                f"unknown preset '{name}'; the recipe has {', '.join(offered)}.{nearest(name, offered)}"
            )
        return self.presets[name]
