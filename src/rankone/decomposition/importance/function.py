"""What every causal importance function is: logits of all subcomponents from what the clean forward left at its taps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.core.config import Config

# Where an importance function reads the clean forward: the input x of every site, the activations v_c · x of every
# site's subcomponents, or the input of every block (the residual stream).
Taps = Literal["sites", "activations", "blocks"]


class ImportanceFunction(nn.Module):
    """Logits [B, T, ΣC]; subclasses are one file each and stand in `registry.IMPORTANCE`.

    `widths` are the last dimensions of what it reads, in order: d_in of the sites, C of the sites, or the width of the
    residual stream once per block. `counts` are the C of the sites, in the order of the logits.
    """

    taps: ClassVar[Taps] = "sites"

    def __init__(self, config: Config, widths: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__()
        self.config, self.widths, self.counts = config, list(widths), list(counts)

    @abstractmethod
    def forward(
        self, inputs: list[Float[Tensor, "b t d"]], present: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t c"]:
        """Logits from the tapped tensors of one clean forward; `present` marks real (not padded) positions."""

    @abstractmethod
    def axis(self, parameter: str) -> int | Literal["all"] | None:
        """Whose subcomponents lie along the first axis of a parameter: those of one site, of all sites, or nobody's."""

    def kept(self, keep: Bool[Tensor, " c"]) -> Self:
        """The same function, on the same device, without the logits of the subcomponents that are not kept."""
        by_site = keep.split(self.counts)
        counts = [int(k.sum()) for k in by_site]
        small = type(self)(self.config, counts if self.taps == "activations" else self.widths, counts)
        state = {}
        for name, value in self.state_dict().items():
            axis = self.axis(name)
            chosen = None if axis is None else keep if axis == "all" else by_site[axis]
            state[name] = value if chosen is None else value[chosen.nonzero().squeeze(1).to(value.device)]
        small.to(next(self.parameters()).device).load_state_dict(state)
        return small


def concatenated(inputs: Sequence[Float[Tensor, "b t _"]]) -> Float[Tensor, "b t d"]:
    """All tapped tensors side by side, in the precision of the products that read them."""
    kind = inputs[0].device.type
    if torch.is_autocast_enabled(kind):
        # The layer would cast them too: all at once, from a joined copy of twice the size.
        inputs = [x.to(torch.get_autocast_dtype(kind)) for x in inputs]
    return torch.cat(list(inputs), dim=-1)
