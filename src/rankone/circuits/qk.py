"""Which pairs of parts make attention look where: query and key parts through the scores of every head.

What a query or key site writes reaches the scores by a linear map J_t of its own at every position (rotation, head layout,
gains and held scales of q/k norms), which is read off the model by backward passes; nothing here knows an architecture.

On a prompt: a_q(t) a_k(t′) (J_t u_q)ʰ · (J_t′ u_k)ʰ, and with all other parts these sum to the score before its
factor 1/√d. In general, over text: sgn E[a_q] ‖v_q‖ (J_τ u_q)ʰ · (J_0 u_k)ʰ ‖v_k‖ sgn E[a_k] at a distance of τ positions
("Interpreting Language Model Parameters", 2026, where it is standardised), in units of the root mean square over all pairs
of parts and all distances of the head, whatever the text: a pair has the same size however much is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankone.circuits.attribution.cut import Cut
from rankone.circuits.attribution.edges import gradients
from rankone.core.errors import RankOneError
from rankone.parts.parts import Parts

# How far a site's map may be from linear, of the largest query or key.
LINEAR = 1e-5
ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class Attended:
    """Where one layer's queries and keys come from. query, key: sites (one and the same where they are fused);
    query_map, key_map: [T, heads, d, d_out], so that queries [T, heads, d] are map · what the site writes; of keys there may
    be fewer heads, each for `groups` heads of queries."""

    query: str
    key: str
    query_map: Float[Tensor, "t heads d out"]
    key_map: Float[Tensor, "t kv d out"]

    @property
    def heads(self) -> int:
        """Number of heads of queries."""
        return self.query_map.shape[1]

    @property
    def groups(self) -> int:
        """Heads of queries for one of keys."""
        return self.heads // self.key_map.shape[1]


def attended(cut: Cut, layer: int) -> Attended:
    """The maps of one layer, read off a cut by the frozen rule; RankOneError for a layer that is not there, or where
    queries are not a linear function of what one site writes."""
    if not 0 <= layer < len(cut.attended):
        raise RankOneError(
            f"there is no attention in layer {layer}: the model has layers 0 to {len(cut.attended) - 1}."
        )
    (query, query_map), (key, key_map) = (map_of(cut, side) for side in cut.attended[layer])
    return Attended(query, key, query_map, key_map)


def behind_scores(cut: Cut, layer: int) -> set[str]:
    """The sites that a layer's queries and keys come from; none where it has no attention."""
    sides = cut.attended[layer] if 0 <= layer < len(cut.attended) else ()
    return {site for side in sides for site in _behind(cut, side)}


def _behind(cut: Cut, side: Tensor) -> list[str]:
    sites = [name for name in cut.inputs]
    (given,) = (
        torch.autograd.grad(side.sum(), [cut.leaves[s] for s in sites], retain_graph=True, allow_unused=True),
    )
    return [s for s, g in zip(sites, given, strict=True) if g is not None and bool(g.ne(0).any())]


def map_of(cut: Cut, side: Tensor) -> tuple[str, Float[Tensor, "t heads d out"]]:
    """The site behind queries or keys [1, heads, T, d], and its map."""
    behind = _behind(cut, side)
    if len(behind) != 1:
        raise RankOneError(
            f"queries and keys must come from one site each, here from {', '.join(behind) or 'none'}."
        )
    site, (_, heads, length, width) = behind[0], side.shape
    # Positions do not mix here: one seed at all of them gives the row of every position's map.
    basis = torch.eye(heads * width, device=side.device, dtype=side.dtype).view(-1, 1, heads, 1, width)
    rows = []
    for seeds in basis.split(ROWS_AT_ONCE):
        (row,) = gradients(side, seeds.expand(-1, -1, -1, length, -1), [cut.leaves[site]])
        assert row is not None
        rows.append(row.reshape(len(seeds), length, -1))
    made = torch.cat(rows).transpose(0, 1).reshape(length, heads, width, -1)
    _require_linear(side.detach(), made, cut.written(site), site)
    return site, made


def _require_linear(side: Tensor, made: Tensor, written: Tensor, site: str) -> None:
    again = torch.einsum("thdo,to->thd", made, written)
    there = side[0].transpose(0, 1)
    if float((again - there).abs().max()) > LINEAR * max(float(there.abs().max()), 1e-30):
        raise RankOneError(
            f"what '{site}' writes does not reach the scores by a linear map: no QK table can be made of it."
        )


def static_table(
    maps: Attended, parts: Parts, signs: tuple[Float[Tensor, " cq"], Float[Tensor, " ck"]], distances: int
) -> Float[Tensor, "heads distances cq ck"]:
    """Every pair at distances 0 … distances − 1, over the root mean square of all that the head has. signs: of the mean
    activation of each part where it is important, 0 for a part that never is (its pairs are 0)."""
    query_read, query_write = _factors(parts, maps.query, maps.query_map)
    key_read, key_write = _factors(parts, maps.key, maps.key_map)
    queries = torch.einsum("thdo,co->thcd", maps.query_map, query_write) * query_read
    keys = torch.einsum("hdo,co->hcd", maps.key_map[0], key_write) * key_read
    keys = keys.repeat_interleave(maps.groups, dim=0)
    table = torch.einsum("thcd,hed->htce", queries[:distances], keys)
    size = table.square().mean((1, 2, 3), keepdim=True).sqrt()
    both = signs[0].to(table).view(-1, 1) * signs[1].to(table)
    return both * table / size.clamp_min(1e-30)


def _factors(parts: Parts, site: str, like: Tensor) -> tuple[Float[Tensor, "c 1"], Float[Tensor, "c out"]]:
    """‖v‖ of every part of a site, and u."""
    read, write = (f.detach().to(like) for f in parts.factors(site))
    return read.norm(dim=0).unsqueeze(1), write


@dataclass(frozen=True)
class Scored:
    """Scores of the last position of a prompt, pair by pair, before the factor 1/√d. pairs: [heads, T, Cq, Ck] of key
    position; whole: [heads, T] the scores; left: what no pair of parts makes."""

    pairs: Float[Tensor, "heads t cq ck"]
    whole: Float[Tensor, "heads t"]

    @property
    def left(self) -> Float[Tensor, "heads t"]:
        """What biases, remainders and their products with parts add."""
        return self.whole - self.pairs.sum((2, 3))


def scored(cut: Cut, maps: Attended, parts: Parts) -> Scored:
    """Every pair of parts of the layer at the last position of a prompt."""
    query = _parts_at(cut, parts, maps.query, maps.query_map)[-1]
    key = _parts_at(cut, parts, maps.key, maps.key_map).repeat_interleave(maps.groups, dim=1)
    pairs = torch.einsum("hcd,thed->htce", query, key)
    whole_query = torch.einsum("hdo,o->hd", maps.query_map[-1], cut.written(maps.query)[-1])
    whole_key = torch.einsum("thdo,to->thd", maps.key_map, cut.written(maps.key)).repeat_interleave(
        maps.groups, dim=1
    )
    return Scored(pairs, torch.einsum("hd,thd->ht", whole_query, whole_key))


def _parts_at(cut: Cut, parts: Parts, site: str, maps: Tensor) -> Float[Tensor, "t heads c d"]:
    read, write = (f.detach().to(maps) for f in parts.factors(site))
    sizes = cut.read(site).to(maps) @ read
    return torch.einsum("thdo,co->thcd", maps, write) * sizes[:, None, :, None]


def contrasted(pairs: Float[Tensor, "heads t cq ck"]) -> Float[Tensor, "heads t cq ck"]:
    """Less the mean over key positions: softmax does not see what all keys have."""
    return pairs - pairs.mean(1, keepdim=True)


def strongest_pairs(values: Tensor, count: int) -> list[tuple[int, ...]]:
    """Indices of the largest absolute values, largest first."""
    best: Int[Tensor, " n"] = values.abs().flatten().topk(min(count, values.numel())).indices
    return [tuple(int(i) for i in torch.unravel_index(one, values.shape)) for one in best]
