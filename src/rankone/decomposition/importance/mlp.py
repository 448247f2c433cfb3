"""One small MLP per subcomponent on its own activation v_c · x. Source: VPD's layerwise `mlp`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.decomposition.importance.config import MLPConfig
from rankone.decomposition.importance.function import ImportanceFunction, Taps
from rankone.decomposition.importance.layers import StackedPerceptron


class SubcomponentMLP(ImportanceFunction):
    """A scalar MLP per subcomponent; `widths` equal `counts`, since every site is read as its activations [B, T, C]."""

    taps: ClassVar[Taps] = "activations"

    def __init__(self, config: MLPConfig, widths: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__(config, widths, counts)
        self.sites = nn.ModuleList(StackedPerceptron(count, 1, config.hidden) for count in counts)

    def forward(
        self, inputs: list[Float[Tensor, "b t c"]], present: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t c"]:
        """Logits from the activations of every site; each position by itself."""
        del present  # no position sees another
        return torch.cat([mlp(x.unsqueeze(-1)) for mlp, x in zip(self.sites, inputs, strict=True)], dim=-1)

    def axis(self, parameter: str) -> int:
        """Parameters are `sites.<i>.…` [C_i, …]."""
        return int(parameter.split(".")[1])
