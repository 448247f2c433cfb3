"""The attack with one number: the edit's own direction, its size fitted back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankone.edits.lowrank import LowRankEdit


class Knob:
    """Adds `size` [runs] times an edit, 0 at first; at −1 on the edited model the edit is undone (a fitting `Method`)."""

    name, fixed = "knob", False

    def __init__(self, edit: LowRankEdit) -> None:
        self._edit = edit

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """Nothing added."""
        return {"size": nn.Parameter(torch.zeros(runs))}

    def sites(self) -> list[str]:
        """Those of the edit."""
        return list(self._edit.sites)

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        """size · write (read x)."""
        write, read = (f.to(x) for f in self._edit.factors[site])
        return parameters["size"].to(x).view(-1, 1, 1) * ((x @ read.T) @ write.T)

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """The size times `size`."""
        return {"size": parameters["size"] * size}

    def edit(self, parameters: Mapping[str, Tensor], run: int) -> LowRankEdit:
        """The edit at the fitted size."""
        return self._edit.scale(float(parameters["size"][run]))
