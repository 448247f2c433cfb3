"""How alike two decompositions of one model are: the mean over subcomponents of the best match in the other.

For a subcomponent of A the match is max over those of B, at the same site, of |cos(u, u′)|, |cos(v, v′)| and, for the
rank-1 matrices, cos(u, u′) · cos(v, v′) (whose sign means something: −u vᵀ is another matrix). Each maximum is on its own,
as in "Adversarial Parameter Decomposition". Two controls say what such figures are worth: Gaussian vectors of the same
shapes, and the vectors that B's recipe starts from; an aligned start is the same for every seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.evidence.sparsity import ALIVE_MEAN_IMPORTANCE
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks

BLOCK = 1024
MEASURES = ("u", "v", "matrix")
Pair = tuple[Float[Tensor, "d_in c"], Float[Tensor, "c d_out"]]


def best_matches(one: Pair, other: Pair, block: int = BLOCK) -> Float[Tensor, "3 c"]:
    """For every subcomponent of `one`, its best match in `other` by u, v and matrix; zero where `other` has none.

    Never holds more than block × block cosines at a time.
    """
    v, u = _directions(one)
    other_v, other_u = _directions(other)
    best = torch.zeros(3, len(v))
    for rows in _blocks(len(v), block):
        best_of_block = [torch.zeros(3, len(v[rows]))]
        for columns in _blocks(len(other_v), block):
            cos_v, cos_u = v[rows] @ other_v[columns].T, u[rows] @ other_u[columns].T
            best_of_block.append(
                torch.stack([cos_u.abs().amax(1), cos_v.abs().amax(1), (cos_u * cos_v).amax(1)])
            )
        best[:, rows] = torch.stack(best_of_block).amax(0)
    return best


def _directions(pair: Pair) -> tuple[Tensor, Tensor]:
    """Unit v and u as rows; a zero vector stays zero and matches nothing."""
    return tuple(torch.nn.functional.normalize(m.float(), dim=1) for m in (pair[0].T, pair[1]))  # pyright: ignore[reportReturnType]


def _blocks(count: int, block: int) -> Iterator[slice]:
    return (slice(i, min(i + block, count)) for i in range(0, count, block))


def alive_pairs(decomposition: Decomposition, alive: Bool[Tensor, " c"]) -> dict[str, Pair]:
    """(V, U) of the alive subcomponents of every site."""
    pairs = {}
    for site, kept in zip(decomposition.sites, alive.split(decomposition.counts), strict=True):
        read, write = decomposition.factors(site)
        pairs[site] = (read[:, kept].detach(), write[kept].detach())
    return pairs


def alive_on(model: DecomposedModel, blocks: Blocks, rows: int = 8) -> Bool[Tensor, " c"]:
    """Which subcomponents have a mean importance over 1e-6 on some text."""
    total = torch.zeros(model.decomposition.total)
    for ids, present in zip(blocks.ids.split(rows), blocks.present.split(rows), strict=True):
        total += model.importance(ids, present)[present].sum(0)
    return total / int(blocks.present.sum()) > ALIVE_MEAN_IMPORTANCE


def initial_pairs(target: nn.Module, recipe: dict[str, Any] | None) -> dict[str, Pair] | None:
    """The (V, U) a recipe starts from; None where there is no recipe, or it starts from another run."""
    if recipe is None or recipe.get("continue_from") is not None:
        return None
    fresh = new_decomposition(target, DecomposeConfig.checked(recipe, "the recipe in the manifest"))
    return {s: (fresh.factors(s)[0].detach(), fresh.factors(s)[1].detach()) for s in fresh.sites}


def compare(
    one: dict[str, Pair],
    other: dict[str, Pair],
    starts: tuple[dict[str, Pair] | None, dict[str, Pair] | None] = (None, None),
    seed: int = 0,
    bar: Meter | None = None,
) -> dict[str, Any]:
    """Mean best match of u, v and matrices, per site and over all, both ways, with both controls.

    one, other: alive (V, U) by site; at least one site in common. starts: the initial (V, U) of both, where known.
    Directions are `a_to_b` and `b_to_a`; controls of a direction compare the same subcomponents with, or count for
    count, random vectors (`random`) and the other's start (`start`). A mean over no subcomponents is None.
    """
    shared = [site for site in one if site in other]
    if not shared:
        raise RankOneError(
            f"the two decompositions have no site in common: one has '{next(iter(one))}', the other "
            f"'{next(iter(other))}'. Compare two of the same sites."
        )
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[dict[str, Tensor]]] = {"a_to_b": [], "b_to_a": []}
    for site in shared:
        for way, (x, y), start in (
            ("a_to_b", (one[site], other[site]), starts[1]),
            ("b_to_a", (other[site], one[site]), starts[0]),
        ):
            matches = {
                "found": best_matches(x, y),
                "random": best_matches(_noise(x, generator), _noise(y, generator)),
            }
            if start is not None:
                matches["start"] = best_matches(x, start[site])
            found[way].append(matches)
        if bar is not None:
            bar.advance(1)
    return {
        "sites": len(shared),
        "only_one": sorted(set(one) ^ set(other)),
        "alive": [sum(p[0].shape[1] for s, p in pairs.items() if s in shared) for pairs in (one, other)],
        **{way: _mean(per_site) for way, per_site in found.items()},
        "per_site": [
            {
                "site": site,
                "alive": [one[site][0].shape[1], other[site][0].shape[1]],
                **{way: _mean([per_site[i]]) for way, per_site in found.items()},
            }
            for i, site in enumerate(shared)
        ],
    }


def _noise(like: Pair, generator: torch.Generator) -> Pair:
    return tuple(torch.randn(m.shape, generator=generator) for m in like)  # pyright: ignore[reportReturnType]


def _mean(per_site: list[dict[str, Tensor]]) -> dict[str, dict[str, float | None]]:
    """Mean over the subcomponents of all given sites, by kind of match and measure."""
    means = {}
    for kind in per_site[0]:
        joined = torch.cat([matches[kind] for matches in per_site], 1)
        values = joined.mean(1).tolist() if joined.shape[1] else [None] * len(MEASURES)
        means[kind] = dict(zip(MEASURES, values, strict=True))
    return means
