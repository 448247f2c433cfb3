"""LoRA as a fitting method: W' = W + (a / r) · B A on the given sites, A random, B zero (PEFT's default start)."""

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

# Between the random starts of one seed: beyond what seeds and sites span, within the 32 bits that a CPU generator reads.
DRAWS = 500_000_003


class Lora:
    """LoRA of rank r with scale a / r on every matching site.

    A is drawn uniform with the bound of `kaiming_uniform_(a=√5)`, that is 1/√d_in, as PEFT does; B starts at zero.
    draw: which of several starts of a seed.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        patterns: list[str],
        rank: int = 1,
        alpha: float = 16.0,
        name: str = "lora_r1",
        draw: int = 0,
    ) -> None:
        self.name, self.rank, self.scale, self.draw = name, rank, alpha / rank, draw
        self._shapes = {s.name: (s.d_out, s.d_in) for s in find_sites(model, patterns)}

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:
        """`A:<site>` [runs, r, d_in] and `B:<site>` [runs, d_out, r] for every site."""
        parameters = {}
        for index, (site, (d_out, d_in)) in enumerate(self._shapes.items()):
            gaussian = gaussian_by_seed(
                [seed * 1009 + index + self.draw * DRAWS for seed in seeds], self.rank, d_in
            )
            uniform = torch.special.ndtr(gaussian) * 2 - 1
            parameters[f"A:{site}"] = nn.Parameter(uniform / d_in**0.5)
            parameters[f"B:{site}"] = nn.Parameter(torch.zeros(runs, d_out, self.rank))
        return parameters

    def sites(self) -> list[str]:
        """Adapted sites."""
        return list(self._shapes)

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        """scale · (x Aᵀ) Bᵀ, batched over runs."""
        return torch.bmm(self.inner(site, parameters, x), self.outer(site, parameters).to(x))

    def inner(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "own n d_in"]
    ) -> Float[Tensor, "runs n r"]:
        """x Aᵀ; inputs of one run are read for all."""
        return x @ parameters[f"A:{site}"].transpose(1, 2).to(x)

    def outer(self, site: str, parameters: Mapping[str, Tensor]) -> Float[Tensor, "runs r d_out"]:
        """scale · Bᵀ."""
        return self.scale * parameters[f"B:{site}"].transpose(1, 2)

    fixed = False

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """The parameters whose change is `size` times that of these: B times `size`."""
        return {name: value * size if name.startswith("B:") else value for name, value in parameters.items()}

    def edit(self, parameters: Mapping[str, Tensor], run: int) -> LowRankEdit:
        """The adapter of one run as an edit."""
        factors = {
            site: (self.scale * parameters[f"B:{site}"][run], parameters[f"A:{site}"][run])
            for site in self._shapes
        }
        return LowRankEdit(
            factors, description=f"LoRA rank {self.rank} on {len(factors)} sites", method=self.name
        )


def everywhere(target: Target, rank: int = 1, name: str = "lora_r1") -> list[Method]:
    """LoRA on every site, from two random starts."""
    return [Lora(target.model, ["*"], rank, name=name, draw=draw) for draw in range(2)]


def _at_the_part(target: Target) -> list[Method]:
    return [Lora(target.model, [target.site], rank=1, name="lora_r1_local", draw=draw) for draw in range(2)]


KINDS = (
    Kind("lora_r1", "LoRA rank 1", 3, 1, everywhere, (0.003, 0.001, 0.0003), spends="nothing"),
    Kind(
        "lora_r4",
        "LoRA rank 4",
        5,
        4,
        lambda t: everywhere(t, 4, "lora_r4"),
        (0.003, 0.001, 0.0003),
        spends="nothing",
    ),
    Kind(
        "lora_r16",
        "LoRA rank 16",
        6,
        7,
        lambda t: everywhere(t, 16, "lora_r16"),
        (0.001, 0.003, 0.0003),
        spends="nothing",
    ),
    Kind("lora_r1_local", "LoRA rank 1, one matrix", 4, 2, _at_the_part, (0.01, 0.003, 0.03)),
)
