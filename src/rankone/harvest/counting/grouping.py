"""Components in place of their members: how what is known of subcomponents at a position becomes that of their component.

A component fires where any member does, as in the clustering: its importance is the largest of its members'. Its
activation is the size of all that its members write, as if at right angles: the root of the sum of squares of their
‖u‖ v·x. It has no sign (the sign of each member's is its own). The gradient of one α for all members is the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankone.decomposition.model import Decomposition
from rankone.harvest.counting.firings import Firings


@dataclass(frozen=True)
class Grouping:
    """Components by number.

    members: names of the subcomponents of each. columns: [subcomponents], the component of each, −1 for none. clusters:
    fingerprint of the clustering.
    """

    names: list[str]
    members: list[list[str]]
    columns: Int[Tensor, " subcomponents"]
    clusters: str

    @classmethod
    def of(
        cls, members: Mapping[str, Sequence[str]], decomposition: Decomposition, clusters: str
    ) -> Grouping:
        """From names to members; a member that the decomposition lacks is an error."""
        place = {name: i for i, name in enumerate(decomposition.names())}
        columns = torch.full((decomposition.total,), -1)
        for number, names in enumerate(members.values()):
            for name in names:
                columns[place[name] if name in place else decomposition.column(name)] = number
        return cls(list(members), [list(names) for names in members.values()], columns, clusters)

    def joined(self, fired: Firings) -> Firings:
        """Firings of components; those of subcomponents that belong to none are left out."""
        columns = self.columns.to(fired.part.device)
        fired = fired[columns[fired.part] >= 0]
        keys = fired.cell * len(self.names) + columns[fired.part]
        cells, index = keys.unique(return_inverse=True)
        position = torch.empty_like(cells)
        position[index] = fired.position
        importance = fired.importance.new_zeros(len(cells)).scatter_reduce_(
            0, index, fired.importance, "amax"
        )
        cell = cells.div(len(self.names), rounding_mode="floor")
        return Firings(cell, position, cells % len(self.names), importance)

    def summed(self, values: Float[Tensor, " subcomponents"]) -> Float[Tensor, " components"]:
        """The sum over the members of each."""
        kept = self.columns >= 0
        return values.new_zeros(len(self.names)).index_add_(0, self.columns[kept], values[kept])

    def largest(
        self, values: Float[Tensor, " subcomponents"]
    ) -> tuple[Float[Tensor, " components"], Int[Tensor, " components"]]:
        """(largest value of any member, the subcomponent that has it) of each; NaN counts as less than any number."""
        order = values.nan_to_num(-torch.inf).argsort(descending=True, stable=True)
        order = order[self.columns[order] >= 0]
        _, first = np.unique(self.columns[order].numpy(), return_index=True)
        best = order[torch.from_numpy(first)]
        return values[best], best

    def sizes(self, activations: Sequence[Float[Tensor, "n c"]]) -> Float[Tensor, "n components"]:
        """Activations of components from those of all subcomponents, site by site in the decomposition's order."""
        total = activations[0].new_zeros(len(activations[0]), len(self.names))
        for site, columns in zip(
            activations, self.columns.to(total.device).split([a.shape[1] for a in activations]), strict=True
        ):
            kept = columns >= 0
            total.index_add_(1, columns[kept], site[:, kept].square())
        return total.sqrt()
