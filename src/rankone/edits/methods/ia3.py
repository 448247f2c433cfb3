"""IA3: one factor per channel of keys, values and MLP activations: W' = diag(l) W, or W diag(l) where it is read."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.kind import Kind, Target
from rankone.models.anatomy import acts_on_scores, in_attention, is_output, is_value, leaf_of
from rankone.models.sites import Site, find_sites, weight_of

# Where the second start lies: every factor a little below 1.
BELOW = 0.9


class IA3:
    """`l:SITE` [runs, channels] for every key, value and MLP output matrix; an MLP output's channels are what it reads."""

    fixed = False

    def __init__(self, model: PreTrainedModel, start: float = 1.0) -> None:
        self.name, self._start = "ia3", start
        self._weights = {s.name: weight_of(s) for s in find_sites(model, ["*"]) if _scaled(s)}
        if not self._weights:
            raise RankOneError("IA3 finds no key, value or MLP output matrix that it knows by name here.")

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """All factors at the start."""
        return {
            f"l:{site}": nn.Parameter(torch.full((runs, weight.shape[_side(site)]), self._start))
            for site, weight in self._weights.items()
        }

    def sites(self) -> list[str]:
        """The matrices it scales."""
        return list(self._weights)

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        """W ((l − 1) ⊙ x), or (l − 1) ⊙ W x."""
        factor = (parameters[f"l:{site}"] - 1).unsqueeze(1).to(x)
        weight = self._weights[site].to(x)
        return (factor * x) @ weight.T if _side(site) else factor * (x @ weight.T)

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """1 + size · (l − 1)."""
        return {name: 1 + size * (value - 1) for name, value in parameters.items()}

    def edit(self, parameters: Mapping[str, Tensor], run: int) -> LowRankEdit:
        """The scaled matrices less what they were; of full rank."""
        factors = {}
        for site, weight in self._weights.items():
            wide = weight.detach().float()
            diagonal = torch.diag(parameters[f"l:{site}"][run].to(wide) - 1)
            factors[site] = (wide, diagonal) if _side(site) else (diagonal, wide)
        return LowRankEdit(factors, description=f"IA3 on {len(factors)} sites", method=self.name)


def _scaled(site: Site) -> bool:
    key = acts_on_scores(site.name) and leaf_of(site.name).startswith("k")
    return key or is_value(site.name) or (is_output(site.name) and not in_attention(site.name))


def _side(site: str) -> int:
    """The dimension of the weight that holds the channels: inputs of an MLP output, else outputs."""
    return 1 if is_output(site) else 0


def _starts(target: Target) -> list[Method]:
    return [IA3(target.model, start) for start in (1.0, BELOW)]


KINDS = (Kind("ia3", "IA3", 8, 6, _starts, (0.03, 0.01), spends="nothing"),)
"""Two starts: at 1, and every factor a tenth below it."""
