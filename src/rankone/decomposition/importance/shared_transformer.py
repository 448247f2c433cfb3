"""The causal importance function: one transformer that sees the inputs of all sites at once.

Site inputs of the clean forward, each normalised on its own (weightless RMSNorm), concatenated in sorted site order →
Linear → pre-norm bidirectional transformer blocks with RoPE → Linear → one logit per subcomponent.
Source: VPD's `global_shared_transformer`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.decomposition.importance.config import TransformerSizes
from rankone.decomposition.importance.function import ImportanceFunction, concatenated
from rankone.decomposition.importance.layers import scaled_linear
from rankone.models.simple_mlp import rotary_tables, rotate


class _Block(nn.Module):
    def __init__(self, config: TransformerSizes) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.up = scaled_linear(config.width, config.hidden, math.sqrt(2))
        self.down = scaled_linear(config.hidden, config.width, 1.0)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], keys: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        parts = (
            self.qkv(F.rms_norm(x, (width,))).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        q, k, v = rotate(parts[0], *rotary), rotate(parts[1], *rotary), parts[2]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(F.rms_norm(x, (width,)))))


class SharedTransformer(ImportanceFunction):
    """Importance logits [B, T, ΣC] from site inputs; `widths` are the d_in of the sites in sorted order."""

    def __init__(self, config: TransformerSizes, widths: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__(config, widths, counts)
        self.head_width = config.width // config.heads
        self.project = scaled_linear(sum(widths), config.width, math.sqrt(2))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.blocks))
        self.head = scaled_linear(config.width, sum(counts), 1.0)

    def forward(
        self, inputs: list[Float[Tensor, "b t d"]], present: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t c"]:
        """Logits for the site inputs of one clean forward; `present` marks real (not padded) positions."""
        x = self.project(concatenated([F.rms_norm(one, one.shape[-1:]) for one in inputs]))
        positions = torch.arange(x.shape[1], device=x.device).unsqueeze(0)
        rotary = rotary_tables(positions, self.head_width, 10000.0)
        keys = None if present is None else present[:, None, None, :]
        for block in self.blocks:
            x = block(x, rotary, keys)
        return self.head(x)

    def axis(self, parameter: str) -> Literal["all"] | None:
        """Only the head has one row per subcomponent."""
        return "all" if parameter.startswith("head.") else None
