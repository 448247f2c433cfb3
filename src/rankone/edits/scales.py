"""Scales: the edit that re-weights parts of any origin, W' = W + Σ_c (α_c − 1) u_c v_cᵀ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.lowrank import LowRankEdit
from rankone.parts.book import Named
from rankone.parts.origins import origin_in


def scale_edit(parts: Named, scales: Mapping[str, float], description: str = "") -> LowRankEdit:
    """The edit that multiplies each named part by its scale α (1 leaves it, 0 deletes it, < 0 inverts it).

    parts: a decomposition, another set of parts, or a book of several.
    """
    grouped: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for name, alpha in scales.items():
        site, _ = parts.locate(name)
        read, write = parts.vectors(name)
        grouped[site].append(((alpha - 1.0) * write, read))
    factors = {
        site: (torch.stack([w for w, _ in pairs], dim=1), torch.stack([r for _, r in pairs]))
        for site, pairs in grouped.items()
    }
    return LowRankEdit(factors, description=description or _describe(scales), method="scales")


def _describe(scales: Mapping[str, float]) -> str:
    shown = [f"{name} × {alpha:.3g}" for name, alpha in list(scales.items())[:3]]
    more = f" and {len(scales) - 3} more" if len(scales) > 3 else ""
    return ", ".join(shown) + more


# From α = 1 to where a single scale starts; several share it as one step of the same length.
FIRST_STEP = 3.0


class Scales:
    """One learned scale per chosen component (the fitting `Method`), starting at `start` (one number, or one each).

    A component is a part, or a label with the parts that share its scale. `parts` may hold several origins.
    """

    def __init__(
        self,
        parts: Named,
        components: Sequence[str] | Mapping[str, Sequence[str]],
        name: str = "scalar",
        start: float | Sequence[float] = 1.0,
    ) -> None:
        self.name, self.parts, self.components = name, parts, list(components)
        self._start = torch.as_tensor(start, dtype=torch.float32).expand(len(self.components))
        members = components.values() if isinstance(components, Mapping) else [[c] for c in components]
        self._members = [list(group) for group in members]
        self._refuse_twice()
        # Of each site: the parts, and the number of the scale of each.
        self._by_site: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for index, members in enumerate(self._members):
            for member in members:
                self._by_site[parts.locate(member)[0]].append((member, index))
        self._owners = {site: [index for _, index in grouped] for site, grouped in self._by_site.items()}
        self._factors = {
            site: self._vectors([m for m, _ in grouped]) for site, grouped in self._by_site.items()
        }

    def _refuse_twice(self) -> None:
        owners: dict[tuple[str, str, int], str] = {}
        for label, members in zip(self.components, self._members, strict=True):
            for member in members:
                site, _ = self.parts.locate(member)
                place = (origin_in(member), site, int(member.rpartition(":")[2]))
                if place in owners:
                    raise RankOneError(
                        f"'{member}' is given twice (by {owners[place]} and {label}): one scale each."
                    )
                owners[place] = label

    def _vectors(self, names: list[str]) -> tuple[Float[Tensor, "d_in k"], Float[Tensor, "k d_out"]]:
        pairs = [self.parts.vectors(name) for name in names]
        return torch.stack([v for v, _ in pairs], dim=1), torch.stack([u for _, u in pairs])

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """α at its start everywhere: [runs, components]."""
        return {"alpha": nn.Parameter(self._start.repeat(runs, 1))}

    def alphas(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, "runs components"]:
        """α of every component."""
        return parameters["alpha"]

    def sites(self) -> list[str]:
        """Sites that hold chosen parts."""
        return list(self._factors)

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        """((x V) ⊙ (α − 1)) U over the chosen parts of the site."""
        return self.inner(site, parameters, x) @ self._factors[site][1].to(x)

    def inner(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "own n d_in"]
    ) -> Float[Tensor, "runs n k"]:
        """(x V) ⊙ (α − 1); inputs of one run are read for all."""
        return self.scaled(site, parameters, x @ self.reads(site).to(x))

    def reads(self, site: str) -> Float[Tensor, "d_in k"]:
        """V of a site: what every run reads, whatever its scales."""
        return self._factors[site][0]

    def scaled(
        self, site: str, parameters: Mapping[str, Tensor], read: Float[Tensor, "own n k"]
    ) -> Float[Tensor, "runs n k"]:
        """(α − 1) times what the site's parts have read."""
        alpha = self.alphas(parameters)[:, self._owners[site]].unsqueeze(1)
        return read * (alpha - 1).to(read)

    def outer(self, site: str, parameters: Mapping[str, Tensor]) -> Float[Tensor, "1 k d_out"]:  # noqa: ARG002
        """U, the same for all runs."""
        return self._factors[site][1].unsqueeze(0)

    def edit(self, parameters: Mapping[str, Tensor], run: int) -> LowRankEdit:
        """The scales of one run as an edit."""
        scales = self.scales(parameters, run)
        each = {
            member: alpha
            for members, alpha in zip(self._members, scales.values(), strict=True)
            for member in members
        }
        return scale_edit(self.parts, each, _describe(scales))

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """The parameters whose change is `size` times that of these: 1 + size · (α − 1)."""
        return {"alpha": 1 + size * (parameters["alpha"] - 1)}

    @property
    def fixed(self) -> bool:
        """One scale has two directions and nothing to fit but its size."""
        return len(self.components) == 1

    def scales(self, parameters: Mapping[str, Tensor], run: int) -> dict[str, float]:
        """Component name → fitted α of one run."""
        return dict(zip(self.components, self.alphas(parameters)[run].tolist(), strict=True))


def both_signs(
    parts: Named, components: Sequence[str] | Mapping[str, Sequence[str]], name: str = "scales"
) -> list[Method]:
    """Scales started below and above 1: all k of them at 1 − 3/√k, and at 1 + 3/√k.

    Fits of few scales fall on two lines, inverting and amplifying, and the first gradient of a few tokens decides which.
    """
    step = FIRST_STEP / max(1, len(components)) ** 0.5
    return [Scales(parts, components, name, 1 + sign * step) for sign in (-1, 1)]


def unscaled(method: Method) -> Method:
    """Scales that start at α = 1, the unchanged model, with nothing else changed; another method as it is."""
    if not isinstance(method, Scales):
        return method
    moved = copy(method)
    moved._start = torch.ones_like(method._start)
    return moved


def sign_of(scales: Mapping[str, float]) -> Literal["inverting", "suppressing", "amplifying", "mixed"]:
    """What a set of scales does: all below 0, all below 1, all above 1, or of both kinds."""
    values = list(scales.values())
    if all(alpha > 1 for alpha in values):
        return "amplifying"
    if all(alpha < 0 for alpha in values):
        return "inverting"
    return "suppressing" if all(alpha <= 1 for alpha in values) else "mixed"
