"""The nodes of a graph: chosen subcomponents by site and position, what else every site writes there, and outputs.

At every site and position y = b + Σ_chosen a_c u_c + unselected + Δ to rounding: `bias`, `unselected` (the sum over parts
not chosen) and `delta` are nodes of their own, so that nothing is hidden. A site without parts is one node `undecomposed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.attribution.cut import Cut
from rankone.circuits.records import Kind
from rankone.core.errors import RankOneError
from rankone.parts.parts import Parts

Selection = Mapping[str, Bool[Tensor, "t c"]]
"""Which parts of a site are nodes at which position."""


@dataclass(frozen=True)
class Node:
    """One node. place: the site, embedding, or parameter that writes it; number: of a part, of an output its token id
    (−1: none). value: a = v·x, of an output its centred logit, of others the norm of what they write."""

    kind: Kind
    place: str
    position: int
    number: int = -1
    value: float = 0.0
    importance: float | None = None
    probability: float | None = None


@dataclass(frozen=True)
class Source:
    """What one leaf writes, node by node. writes: [C', d]; entry i of place, column, size and node is one chosen
    subcomponent: size[i] · writes[column[i]] at position place[i]. rests: vectors [T, d] and nodes [T] of the others."""

    leaf: str
    writes: Float[Tensor, "c d"]
    place: Int[Tensor, " n"]
    column: Int[Tensor, " n"]
    size: Float[Tensor, " n"]
    node: Int[Tensor, " n"]
    rests: tuple[tuple[Float[Tensor, "t d"], Int[Tensor, " t"]], ...]


@dataclass(frozen=True)
class Target:
    """What reads at one site: reads [d_in, C'] of the chosen subcomponents; node [T, C'], −1 where not chosen."""

    site: str
    reads: Float[Tensor, "d_in c"]
    node: Int[Tensor, "t c"]


@dataclass(frozen=True)
class Nodes:
    """All nodes but outputs, as edges need them: by leaf as sources, by site as targets."""

    table: tuple[Node, ...]
    sources: dict[str, Source]
    targets: dict[str, Target]


def everything(parts: Parts, length: int) -> Selection:
    """All parts at all positions."""
    return {
        s: torch.ones(length, c, dtype=torch.bool) for s, c in zip(parts.sites, parts.counts, strict=True)
    }


def by_importance(parts: Parts, importance: Float[Tensor, "t c"], above: float = 0.0) -> Selection:
    """Parts whose causal importance is above a threshold; columns in the parts' order of sites."""
    return dict(zip(parts.sites, (importance > above).cpu().split(parts.counts, dim=1), strict=True))


def strongest(parts: Parts, cut: Cut, count: int) -> Selection:
    """At every position the `count` parts of each site that write most, |v·x| ‖u‖; for parts without importance."""
    chosen = {}
    for site in parts.sites:
        read, write = (f.detach() for f in parts.factors(site))
        size = (cut.read(site).to(read.dtype) @ read).abs() * write.norm(dim=1)
        best = size.topk(min(count, size.shape[1]), dim=1).indices
        chosen[site] = torch.zeros_like(size, dtype=torch.bool).scatter_(1, best, True).cpu()
    return chosen


def named(parts: Parts, names: Iterable[str], length: int) -> Selection:
    """The parts of these names at all positions."""
    chosen = {
        s: torch.zeros(length, c, dtype=torch.bool) for s, c in zip(parts.sites, parts.counts, strict=True)
    }
    for name in names:
        site, column = parts.locate(name)
        chosen[site][:, column] = True
    return chosen


def nodes_of(
    model: PreTrainedModel,
    parts: Parts,
    cut: Cut,
    selection: Selection,
    importance: Float[Tensor, "t c"] | None = None,
) -> Nodes:
    """Nodes for a selection of parts on the cut prompt; RankOneError where nothing is selected."""
    if not any(bool(chosen.any()) for chosen in selection.values()):
        raise RankOneError("no part is chosen at any position: lower the threshold, or choose other nodes.")
    builder = _Builder(model, parts, cut, importance)
    for leaf in cut.leaves:
        builder.add(leaf, selection)
    return Nodes(tuple(builder.table), builder.sources, builder.targets)


class _Builder:
    """Adds leaf after leaf, in the order of the forward."""

    def __init__(
        self, model: PreTrainedModel, parts: Parts, cut: Cut, importance: Float[Tensor, "t c"] | None
    ) -> None:
        self.model, self.parts, self.cut = model, parts, cut
        split = [None] * len(parts.sites) if importance is None else importance.split(parts.counts, dim=1)
        self.importance = dict(zip(parts.sites, split, strict=True))
        self.table: list[Node] = []
        self.sources: dict[str, Source] = {}
        self.targets: dict[str, Target] = {}

    def add(self, leaf: str, selection: Selection) -> None:
        written = self.cut.written(leaf)
        if leaf in selection:
            self._decomposed(leaf, written, selection[leaf].to(written.device))
        elif leaf in self.cut.embeddings:
            tokens = self.model.get_submodule(leaf) is self.model.get_input_embeddings()
            self._whole(leaf, written, "embedding" if tokens else "position")
        else:
            self._whole(leaf, written, "operation bias" if leaf in self.cut.biases else "undecomposed")

    def _whole(self, leaf: str, written: Tensor, kind: Kind) -> None:
        none = torch.empty(0, dtype=torch.long, device=written.device)
        empty = written.new_zeros(0, written.shape[1])
        rests = (self._rest(leaf, kind, written),)
        self.sources[leaf] = Source(leaf, empty, none, none, written.new_zeros(0), none, rests)

    def _decomposed(self, site: str, written: Tensor, chosen: Bool[Tensor, "t c"]) -> None:
        read, write = (f.detach().to(written.dtype) for f in self.parts.factors(site))
        activation = self.cut.read(site).to(written.dtype) @ read
        columns = chosen.any(0).nonzero()[:, 0]
        kept = chosen[:, columns]
        place, column = kept.nonzero(as_tuple=True)
        size = activation[:, columns][place, column]
        node = torch.arange(len(self.table), len(self.table) + len(place), device=written.device)
        self._append(site, place, columns[column], size)
        module = self.model.get_submodule(site)
        bias = getattr(module, "bias", None)
        bias = torch.zeros_like(written) if bias is None else bias.detach().to(written).expand_as(written)
        shown = (activation * chosen) @ write
        others = activation @ write - shown
        rests = [self._rest(site, "bias", bias)] if bias.any() else []
        rests += [
            self._rest(site, "unselected", others),
            self._rest(site, "delta", written - bias - shown - others),
        ]
        self.sources[site] = Source(site, write[columns], place, column, size, node, tuple(rests))
        ids = torch.full(kept.shape, -1, device=written.device)
        ids[place, column] = node
        self.targets[site] = Target(site, read[:, columns], ids)

    def _append(self, site: str, place: Tensor, columns: Tensor, size: Tensor) -> None:
        numbers = self.parts.indices[site].to(columns.device)[columns].tolist()
        importance = self.importance[site]
        given = (
            [None] * len(numbers)
            if importance is None
            else importance.to(place.device)[place, columns].tolist()
        )
        for t, number, value, g in zip(place.tolist(), numbers, size.tolist(), given, strict=True):
            self.table.append(Node("subcomponent", site, t, number, value, g))

    def _rest(self, leaf: str, kind: Kind, vectors: Tensor) -> tuple[Tensor, Tensor]:
        first = len(self.table)
        self.table += [Node(kind, leaf, t, value=size) for t, size in enumerate(vectors.norm(dim=1).tolist())]
        return vectors, torch.arange(first, len(self.table), device=vectors.device)
