"""One MLP per site, from the site's input to the logits of all its subcomponents. Source: VPD's `shared_mlp`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.decomposition.importance.config import SharedMLPConfig
from rankone.decomposition.importance.function import ImportanceFunction
from rankone.decomposition.importance.layers import Perceptron


class SharedMLP(ImportanceFunction):
    """x [B, T, d_in] → hidden → logits [B, T, C] for each site on its own."""

    def __init__(self, config: SharedMLPConfig, widths: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__(config, widths, counts)
        self.last = len(config.hidden)
        self.sites = nn.ModuleList(
            Perceptron(width, config.hidden, count) for count, width in zip(counts, widths, strict=True)
        )

    def forward(
        self, inputs: list[Float[Tensor, "b t d"]], present: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t c"]:
        """Logits from the inputs of every site; each position by itself."""
        del present  # no position sees another
        return torch.cat([mlp(x) for mlp, x in zip(self.sites, inputs, strict=True)], dim=-1)

    def axis(self, parameter: str) -> int | None:
        """Only the last layer of a site, `sites.<i>.layers.<last>`, has one row per subcomponent."""
        _, site, _, layer, _ = parameter.split(".")
        return int(site) if int(layer) == self.last else None
