"""Parts: rank-one terms u vᵀ of the weights of some sites, with the origin that their names state.

A part is a subcomponent of a decomposition, a raw neuron, a head channel, a singular direction, a closed-form contrast
direction, a random direction: whatever can be ranked, scaled, fitted and exported in the same way. Scaling a part by α
changes its site's weight W [d_out, d_in] to W + (α − 1) u vᵀ.
"""

# Tensor.tolist has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError, nearest
from rankone.core.reading import reading
from rankone.parts.naming import located, site_key
from rankone.parts.storage import KIND, read_parts, save_parts
from rankone.sharing.fetching import local
from rankone.sharing.requests import PushReply

FactorPair = tuple[Float[Tensor, "d_in c"], Float[Tensor, "c d_out"]]


class PartVectors(NamedTuple):
    """Read and write direction of one part: it adds u (v · x) to the output of its site."""

    v: Float[Tensor, " d_in"]
    u: Float[Tensor, " d_out"]


class Parts(nn.Module):
    """V [d_in, C] and U [C, d_out] per site, in a fixed order of sites.

    origin: what the parts are; '' for subcomponents of a decomposition, otherwise the word before the slash in their names
    (`neuron/h.3.mlp.down_proj:270`). indices[site]: the number of each column in its name; 0 … C − 1 unless given.
    made: how they were made, for provenance: plain values.

    Raises RankOneError where V and U of a site do not fit together.
    """

    def __init__(
        self,
        factors: Mapping[str, FactorPair],
        origin: str = "",
        indices: Mapping[str, Int[Tensor, " c"]] | None = None,
        made: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        for site, (read, write) in factors.items():
            if read.ndim != 2 or write.ndim != 2 or read.shape[1] != write.shape[0]:
                raise RankOneError(
                    f"the parts of '{site}' do not fit: V is {list(read.shape)}, U {list(write.shape)}; "
                    "expected [d_in, C] and [C, d_out]."
                )
        self.sites = list(factors)
        self.origin, self.made = origin, dict(made or {})
        self.V = nn.ParameterDict({site_key(s): nn.Parameter(factors[s][0]) for s in self.sites})
        self.U = nn.ParameterDict({site_key(s): nn.Parameter(factors[s][1]) for s in self.sites})
        self.counts = [factors[s][0].shape[1] for s in self.sites]
        self.indices = dict(
            indices or {s: torch.arange(c) for s, c in zip(self.sites, self.counts, strict=True)}
        )

    @property
    def total(self) -> int:
        """Number of parts of all sites."""
        return sum(self.counts)

    @property
    def prefix(self) -> str:
        """What stands before the site in a part's name: `neuron/`, or nothing."""
        return f"{self.origin}/" if self.origin else ""

    def factors(self, site: str) -> tuple[nn.Parameter, nn.Parameter]:
        """(V [d_in, C], U [C, d_out]) of a site."""
        return self.V[site_key(site)], self.U[site_key(site)]

    def names(self) -> list[str]:
        """Names in the order of the sites and their columns."""
        return [f"{self.prefix}{s}:{int(i)}" for s in self.sites for i in self.indices[s]]

    def locate(self, name: str) -> tuple[str, int]:
        """(site, column) of a part named `site:number` (with its origin before it); an unknown name is an error that
        offers others."""
        return located(name, self.origin, self.sites, lambda s: cast("list[int]", self.indices[s].tolist()))

    def vectors(self, name: str) -> PartVectors:
        """(v, u) of one part."""
        site, column = self.locate(name)
        read, write = self.factors(site)
        return PartVectors(read[:, column].detach(), write[column].detach())

    def column(self, name: str) -> int:
        """Position of a part in the concatenated order of `names`."""
        site, column = self.locate(name)
        return sum(self.counts[: self.sites.index(site)]) + column

    def chosen(self, names: Sequence[str]) -> Parts:
        """The named parts alone, under the same names, sites in this order; RankOneError for an unknown one."""
        columns: dict[str, list[int]] = {}
        for name in names:
            site, column = self.locate(name)
            if column not in columns.setdefault(site, []):
                columns[site].append(column)
        kept = {s: torch.tensor(sorted(columns[s])) for s in self.sites if s in columns}
        factors: dict[str, FactorPair] = {}
        for site, numbers in kept.items():
            read, write = (f.detach() for f in self.factors(site))
            factors[site] = (read[:, numbers.to(read.device)], write[numbers.to(write.device)])
        return Parts(
            factors, self.origin, {s: self.indices[s][numbers] for s, numbers in kept.items()}, self.made
        )

    def frozen(self) -> Self:
        """Itself, in eval mode and without gradients."""
        return self.eval().requires_grad_(False)

    def save_pretrained(self, path: Path | str, target: PreTrainedModel) -> Path:
        """Write the set as an artefact of kind 'parts', tied to the target's weights; RankOneError where something stands
        at `path`."""
        return save_parts([self], target, path)

    def push_to_hub(
        self,
        repo: str,
        target: PreTrainedModel,
        public: bool = False,
        message: str | None = None,
        folder: str | None = None,
    ) -> PushReply:
        """Save the set and send it to a repository of the Hub, with a card; errors as `save_pretrained`, and the Hub's.

        folder: of a repository that holds several artefacts.
        """
        from rankone.sharing.pushing import push_made

        return push_made(lambda path: self.save_pretrained(path, target), repo, public, message, folder)

    @classmethod
    def from_pretrained(cls, name: Path | str, target: PreTrainedModel, origin: str | None = None) -> Parts:
        """A saved set: a folder, Hub id (OWNER/NAME, or with @REVISION) or address.

        origin: which set, of an artefact that holds several. RankOneError where that is not said, where there is none of it,
        and for another model's parts.
        """
        sets = {one.origin: one for one in load_parts(local(name, KIND), target)}
        there = ", ".join(sets)
        if origin is None and len(sets) > 1:
            raise RankOneError(
                f"'{name}' holds parts of several origins ({there}). Name one: origin='{next(iter(sets))}'."
            )
        if origin is not None and origin not in sets:
            raise RankOneError(
                f"'{name}' holds no parts of origin '{origin}'; it has {there}.{nearest(origin, list(sets))}"
            )
        return sets[origin] if origin is not None else next(iter(sets.values()))


def load_parts(path: Path | str, target: PreTrainedModel) -> list[Parts]:
    """All sets of a saved artefact on the target's device; RankOneError where it was altered or is another model's."""
    with reading(Path(path)):
        return [Parts(*one).frozen() for one in read_parts(path, target)]


def united(sets: Sequence[Parts]) -> Parts:
    """Sets of one origin as one, each part once (as the first that holds it has it), numbers of a site in order."""
    sites = list(dict.fromkeys(site for one in sets for site in one.sites))
    factors: dict[str, FactorPair] = {}
    indices: dict[str, Int[Tensor, " c"]] = {}
    for site in sites:
        holding = [one for one in sets if site in one.sites]
        numbers = torch.cat([one.indices[site] for one in holding])
        pairs = [one.factors(site) for one in holding]
        listed = cast("list[int]", numbers.tolist())
        first = {number: i for i, number in reversed(list(enumerate(listed)))}
        chosen = torch.tensor([first[number] for number in sorted(first)], device=pairs[0][0].device)
        read = torch.cat([v.detach() for v, _ in pairs], dim=1)[:, chosen]
        write = torch.cat([u.detach() for _, u in pairs])[chosen]
        factors[site], indices[site] = (read, write), numbers[chosen.to(numbers.device)]
    return Parts(factors, sets[0].origin, indices, sets[0].made)


def holds_all(whole: Parts, some: Parts) -> bool:
    """Whether `whole` holds every part of `some` under its name, with the same vectors as storage rounds them."""
    if not set(some.names()) <= set(whole.names()):
        return False
    pairs = (zip(some.vectors(name), whole.vectors(name), strict=True) for name in some.names())
    return all(torch.allclose(a.float(), b.float(), rtol=1e-2, atol=1e-6) for pair in pairs for a, b in pair)
