"""Two sizes per subcomponent between which its activation |v·x| counts: g = (|v·x| − low) / (high − low), clamped.

The least an importance function can be. With quantiles as the two sizes it needs no training (untrained.py): it says where
a part is active, not where the output needs it, which is enough to harvest, label and show parts of any origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.decomposition.importance.config import MagnitudeConfig
from rankone.decomposition.importance.function import ImportanceFunction, Taps


class Magnitude(ImportanceFunction):
    """Linear between two sizes of each activation; `widths` equal `counts`, as sites are read as activations [B, T, C]."""

    taps: ClassVar[Taps] = "activations"

    def __init__(self, config: MagnitudeConfig, widths: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__(config, widths, counts)
        self.low = nn.ParameterList(nn.Parameter(torch.zeros(c)) for c in counts)
        self.high = nn.ParameterList(nn.Parameter(torch.ones(c)) for c in counts)

    def forward(
        self, inputs: list[Float[Tensor, "b t c"]], present: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t c"]:
        """Logits from the activations of every site; each position by itself."""
        del present  # no position sees another
        each = zip(inputs, self.low, self.high, strict=True)
        return torch.cat([(x.abs() - low) / (high - low).clamp_min(1e-12) for x, low, high in each], dim=-1)

    def axis(self, parameter: str) -> int:
        """Parameters are `low.<i>` and `high.<i>`, [C_i] each."""
        return int(parameter.split(".")[1])
