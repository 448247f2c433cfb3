"""A part that may turn: its write direction, its read direction, both, or its write direction within the span of others'.

Re-weighting parts can learn nothing new. Here the picked part's own u or v is trained, so that something new can be learned
along one of its sides: ΔW = δu vᵀ, u δvᵀ, or (u + δu)(v + δv)ᵀ − u vᵀ. δu vᵀ with δu from zero is also a localised LoRA
whose read side is tied to the part's, and u δvᵀ one whose write side is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method, gaussian_by_seed
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.kind import Kind, Target

# Size of a random first step against the direction that is trained.
FIRST = 1e-3
Side = Literal["write", "read", "both"]


class Turned:
    """The part's trained sides: `write` [runs, d_out] and `read` [runs, d_in], what is added to u and to v.

    draw: which of several random starts of a seed. `size` [runs], where it is there: of both sides, what the change of the
    weight is multiplied by (one side alone is linear, and is multiplied itself).
    """

    fixed = False

    def __init__(self, target: Target, side: Side, name: str, draw: int = 0) -> None:
        self.name, self.side, self.draw, self.site = name, side, draw, target.site
        self.v, self.u = target.parts.vectors(target.single)

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """A step of a thousandth of the direction's length, another for every seed; at zero both have no gradient."""
        made = {}
        for number, (name, like) in enumerate((("write", self.u), ("read", self.v))):
            if self.side in (name, "both"):
                drawn = gaussian_by_seed([seed * 2003 + 2 * self.draw + number for seed in seeds], len(like))
                made[name] = nn.Parameter(FIRST * like.norm().cpu() * drawn / len(like) ** 0.5)
        return made

    def sites(self) -> list[str]:
        """The part's site."""
        return [self.site]

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        """What the turned part adds beyond the part."""
        return self.inner(site, parameters, x) @ self.outer(site, parameters).to(x)

    def inner(
        self,
        site: str,  # noqa: ARG002
        parameters: Mapping[str, Tensor],
        x: Float[Tensor, "own n d_in"],
    ) -> Float[Tensor, "runs n k"]:
        """v·x, δv·x, or (v + δv)·x and v·x."""
        columns = self._sides(parameters)[1].to(x)
        return x @ columns

    def outer(self, site: str, parameters: Mapping[str, Tensor]) -> Float[Tensor, "runs k d_out"]:  # noqa: ARG002
        """δu, u, or u + δu and −u."""
        return self._sides(parameters)[0]

    def _sides(self, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Rows [runs, k, d_out] that are written, columns [runs, d_in, k] that are read."""
        u, v = self.u, self.v
        if self.side == "write":
            return parameters["write"].unsqueeze(1), v.unsqueeze(1).unsqueeze(0)
        if self.side == "read":
            return u.unsqueeze(0).unsqueeze(0), parameters["read"].unsqueeze(2)
        write, read = u + parameters["write"], v + parameters["read"]
        rows = torch.stack([write, -u.expand_as(write)], dim=1)
        if "size" in parameters:
            rows = rows * parameters["size"].view(-1, 1, 1)
        return rows, torch.stack([read, v.expand_as(read)], dim=2)

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """The trained direction times `size`; with both trained, the change of the weight, by an entry of its own."""
        if self.side == "both":
            write = parameters["write"]
            return {**parameters, "size": parameters.get("size", write.new_ones(write.shape[:-1])) * size}
        return {name: value * size for name, value in parameters.items()}

    def edit(self, parameters: Mapping[str, Tensor], run: int) -> LowRankEdit:
        """The turned part less the part."""
        rows, columns = self._sides({name: value[run : run + 1] for name, value in parameters.items()})
        factors = {self.site: (rows[0].T, columns[0].T)}
        return LowRankEdit(
            factors, description=f"{self.side} side of a part of {self.site}", method=self.name
        )


class Spanned(Turned):
    """The write direction trained within the span of those of the several highest-ranked parts that write to as many
    dimensions: `mix` [runs, parts]."""

    def __init__(self, target: Target, name: str, draw: int = 0) -> None:
        super().__init__(target, "write", name, draw)
        writes = [target.parts.vectors(part)[1] for part in (target.single, *target.several)]
        same = [u for u in writes if u.shape == self.u.shape]
        if len(same) < 2:
            raise RankOneError(f"the method '{name}' needs several ranked parts: run it as a job.")
        self.basis: Float[Tensor, "parts d_out"] = torch.stack(same)

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """A small random mixture for every seed."""
        drawn = gaussian_by_seed([seed * 2003 + self.draw for seed in seeds], len(self.basis))
        return {"mix": nn.Parameter(FIRST * drawn)}

    def _sides(self, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        return super()._sides({"write": parameters["mix"] @ self.basis.to(parameters["mix"])})

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """The mixture times `size`."""
        return {"mix": parameters["mix"] * size}


def _turned(side: Side, name: str, target: Target) -> list[Method]:
    return [Turned(target, side, name, draw) for draw in range(2)]


KINDS = (
    Kind("write", "its write direction trained", 7, 6, lambda t: _turned("write", "write", t), (0.1, 0.03)),
    Kind("read", "its read direction trained", 7, 4, lambda t: _turned("read", "read", t), (0.03, 0.1)),
    Kind(
        "write_read", "both its directions trained", 7, 5, lambda t: _turned("both", "write_read", t), (0.03,)
    ),
    Kind(
        "spanned",
        "its write direction within a span",
        7,
        7,
        lambda t: [Spanned(t, "spanned", draw) for draw in range(2)],
        (0.1, 0.3),
    ),
)
