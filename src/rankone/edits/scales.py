"""Scales: the edit that re-weights existing subcomponents, W' = W + Σ_c (α_c − 1) u_c v_cᵀ."""

from __future__ import annotations

from collections import defaultdict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankone.decomposition.model import Decomposition
from rankone.edits.lowrank import LowRankEdit
from rankone.errors import RankOneError


def scale_edit(decomposition: Decomposition, scales: dict[str, float], description: str = "") -> LowRankEdit:
    """The edit that multiplies each named subcomponent by its scale α (1 leaves it, 0 deletes it, < 0 inverts it)."""
    grouped: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for name, alpha in scales.items():
        site, _ = decomposition.locate(name)
        read, write = decomposition.vectors(name)
        grouped[site].append(((alpha - 1.0) * write, read))
    factors = {
        site: (torch.stack([w for w, _ in pairs], dim=1), torch.stack([r for _, r in pairs]))
        for site, pairs in grouped.items()
    }
    return LowRankEdit(factors, description=description or _describe(scales), method="scales")


def _describe(scales: dict[str, float]) -> str:
    shown = [f"{name} × {alpha:.3g}" for name, alpha in list(scales.items())[:3]]
    more = f" and {len(scales) - 3} more" if len(scales) > 3 else ""
    return ", ".join(shown) + more


class Scales:
    """One learned scale per chosen subcomponent (the fitting `Method`), all starting at `start`."""

    def __init__(
        self, decomposition: Decomposition, components: list[str], name: str = "scalar", start: float = 1.0
    ) -> None:
        self.name, self.decomposition, self.components = name, decomposition, components
        self._start = start
        columns = [decomposition.column(component) for component in components]
        twice = [c for i, c in enumerate(components) if columns[i] in columns[:i]]
        if twice:
            raise RankOneError(f"subcomponent '{twice[0]}' is given twice: one scale each.")
        self._by_site: dict[str, list[int]] = defaultdict(list)
        for index, component in enumerate(components):
            self._by_site[decomposition.locate(component)[0]].append(index)
        self._factors = {site: self._vectors(indices) for site, indices in self._by_site.items()}

    def _vectors(self, indices: list[int]) -> tuple[Float[Tensor, "d_in k"], Float[Tensor, "k d_out"]]:
        pairs = [self.decomposition.vectors(self.components[i]) for i in indices]
        return torch.stack([v for v, _ in pairs], dim=1), torch.stack([u for _, u in pairs])

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """α at its start everywhere: [runs, components]."""
        return {"alpha": nn.Parameter(torch.full((runs, len(self.components)), self._start))}

    def sites(self) -> list[str]:
        """Sites that hold chosen subcomponents."""
        return list(self._by_site)

    def change(
        self, site: str, parameters: dict[str, nn.Parameter], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        """((x V) ⊙ (α − 1)) U over the chosen subcomponents of the site."""
        read, write = self._factors[site]
        alpha = parameters["alpha"][:, self._by_site[site]].unsqueeze(1)
        return ((x @ read.to(x.dtype)) * (alpha - 1).to(x.dtype)) @ write.to(x.dtype)

    def edit(self, parameters: dict[str, Tensor], run: int) -> LowRankEdit:
        """The scales of one run as an edit."""
        return scale_edit(self.decomposition, self.scales(parameters, run))

    def scales(self, parameters: dict[str, Tensor], run: int) -> dict[str, float]:
        """Component name → fitted α of one run."""
        return dict(zip(self.components, parameters["alpha"][run].tolist(), strict=True))
