"""One MLP over the inputs of all sites at once. Source: VPD's `global_shared_mlp`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from rankone.decomposition.importance.config import GlobalSharedMLPConfig
from rankone.decomposition.importance.function import ImportanceFunction, concatenated
from rankone.decomposition.importance.layers import Perceptron


class GlobalSharedMLP(ImportanceFunction):
    """Site inputs side by side [B, T, Σ d_in] → hidden → logits [B, T, ΣC]."""

    def __init__(self, config: GlobalSharedMLPConfig, widths: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__(config, widths, counts)
        self.last = len(config.hidden)
        self.mlp = Perceptron(sum(widths), config.hidden, sum(counts))

    def forward(
        self, inputs: list[Float[Tensor, "b t d"]], present: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t c"]:
        """Logits from the inputs of all sites; each position by itself."""
        del present  # no position sees another
        return self.mlp(concatenated(inputs))

    def axis(self, parameter: str) -> Literal["all"] | None:
        """Only the last layer, `mlp.layers.<last>`, has one row per subcomponent."""
        return "all" if int(parameter.split(".")[2]) == self.last else None
