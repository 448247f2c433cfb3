"""One MLP per subcomponent on the whole input of its site. Source: VPD's layerwise `vector_mlp`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.decomposition.importance.config import VectorMLPConfig
from rankone.decomposition.importance.function import ImportanceFunction
from rankone.decomposition.importance.layers import StackedPerceptron


class VectorMLP(ImportanceFunction):
    """A scalar-valued MLP x → g per subcomponent: C · d_in · hidden parameters a site, for small models."""

    def __init__(self, config: VectorMLPConfig, widths: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__(config, widths, counts)
        self.sites = nn.ModuleList(
            StackedPerceptron(count, width, config.hidden)
            for count, width in zip(counts, widths, strict=True)
        )

    def forward(
        self, inputs: list[Float[Tensor, "b t d"]], present: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t c"]:
        """Logits from the inputs of every site; each position by itself."""
        del present  # no position sees another
        return torch.cat([mlp(x.unsqueeze(-2)) for mlp, x in zip(self.sites, inputs, strict=True)], dim=-1)

    def axis(self, parameter: str) -> int:
        """Parameters are `sites.<i>.…` [C_i, …]."""
        return int(parameter.split(".")[1])
