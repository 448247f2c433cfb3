"""Fine-tuning of whole matrices: ΔW of every entry, of the part's matrix or of all; embedding and unembedding stay."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.edits.adapters import Method, gaussian_by_seed
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.kind import Kind, Target
from rankone.models.sites import find_sites

# Standard deviation of a random first step: far below what a step of training moves.
FIRST = 1e-5


class Full:
    """`dW:SITE` [runs, d_out, d_in] for every matching site, near zero at first."""

    fixed = False

    def __init__(self, model: PreTrainedModel, patterns: list[str], name: str, draw: int = 0) -> None:
        self.name, self.draw = name, draw
        self._shapes = {s.name: (s.d_out, s.d_in) for s in find_sites(model, patterns)}

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """A step too small to matter, another for every seed and draw."""
        return {
            f"dW:{site}": nn.Parameter(
                FIRST * gaussian_by_seed([seed * 3001 + 2 * i + self.draw for seed in seeds], *shape)
            )
            for i, (site, shape) in enumerate(self._shapes.items())
        }

    def sites(self) -> list[str]:
        """The trained matrices."""
        return list(self._shapes)

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        """x ΔWᵀ, batched over runs."""
        return torch.bmm(x, parameters[f"dW:{site}"].transpose(1, 2).to(x))

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """ΔW times `size`."""
        return {name: value * size for name, value in parameters.items()}

    def edit(self, parameters: Mapping[str, Tensor], run: int) -> LowRankEdit:
        """ΔW of every site, as itself times an identity on its smaller side."""
        factors = {}
        for site, (d_out, d_in) in self._shapes.items():
            change = parameters[f"dW:{site}"][run]
            unit = torch.eye(min(d_out, d_in)).to(change)
            factors[site] = (change, unit) if d_in <= d_out else (unit, change)
        return LowRankEdit(factors, description=f"{len(factors)} matrices trained whole", method=self.name)


def _starts(patterns: list[str], name: str, target: Target) -> list[Method]:
    return [Full(target.model, patterns, name, draw) for draw in range(2)]


KINDS = (
    Kind(
        "full_local", "one matrix trained whole", 9, 4, lambda t: _starts([t.site], "full_local", t), (0.001,)
    ),
    Kind(
        "full",
        "all matrices trained whole",
        9,
        5,
        lambda t: _starts(["*"], "full", t),
        (0.0003,),
        spends="nothing",
    ),
)
