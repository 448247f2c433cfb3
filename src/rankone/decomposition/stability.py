"""How alike two decompositions of one model are: the mean over subcomponents of the best match in the other.

For a subcomponent of A the match is max over those of B, at the same site, of |cos(u, u′)|, |cos(v, v′)| and, for the
rank-1 matrices, cos(u, u′) · cos(v, v′) (whose sign means something: −u vᵀ is another matrix). Each maximum is on its own,
as in "Adversarial Parameter Decomposition". Two controls say what such figures are worth: Gaussian vectors of the same
shapes, and the vectors that B's recipe starts from; an aligned start is the same for every seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import JsonValue
from torch import Tensor, nn

from rankone.core.config import Record
from rankone.core.errors import RankOneError
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.evidence.sparsity import ALIVE_MEAN_IMPORTANCE
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks

BLOCK = 1024
Pair = tuple[Float[Tensor, "d_in c"], Float[Tensor, "c d_out"]]


class Cosines(Record):
    """Means over subcomponents of the best match of u, v and rank-one matrix; None over no subcomponents."""

    u: float | None
    v: float | None
    matrix: float | None


class Matches(Record):
    """One way: the best matches, and the controls with random vectors and with the other's start, where it is known."""

    best: Cosines
    random: Cosines
    start: Cosines | None


class SiteComparison(Record):
    """One site in both; `alive` counts the subcomponents of each."""

    site: str
    alive: tuple[int, int]
    a_to_b: Matches
    b_to_a: Matches


class Comparison(Record):
    """Two decompositions, over the sites that both have; `only_one`: the sites of one alone."""

    sites: int
    only_one: tuple[str, ...]
    alive: tuple[int, int]
    a_to_b: Matches
    b_to_a: Matches
    per_site: tuple[SiteComparison, ...]


def best_matches(one: Pair, other: Pair, block: int = BLOCK) -> Float[Tensor, "3 c"]:
    """For every subcomponent of `one`, its best match in `other` by u, v and matrix; zero where `other` has none.

    Never holds more than block × block cosines at a time.
    """
    v, u = _directions(one)
    other_v, other_u = _directions(other)
    best = v.new_zeros(3, len(v))
    for rows in _blocks(len(v), block):
        best_of_block = [v.new_zeros(3, len(v[rows]))]
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
    device = next(model.target.parameters()).device
    total = torch.zeros(model.decomposition.total, device=device)
    for piece in blocks.split(rows, device):
        total += model.importance(piece.ids, piece.present)[piece.present].sum(0)
    return total / int(blocks.present.sum()) > ALIVE_MEAN_IMPORTANCE


def initial_pairs(target: nn.Module, recipe: JsonValue) -> dict[str, Pair] | None:
    """The (V, U) a recipe starts from; None where there is no recipe, or it starts from another run."""
    if not isinstance(recipe, dict) or recipe.get("continue_from") is not None:
        return None
    fresh = new_decomposition(target, DecomposeConfig.checked(recipe, "the recipe in the manifest"))
    fresh.to(next(target.parameters()).device)
    return {s: (fresh.factors(s)[0].detach(), fresh.factors(s)[1].detach()) for s in fresh.sites}


def compare(
    one: dict[str, Pair],
    other: dict[str, Pair],
    starts: tuple[dict[str, Pair] | None, dict[str, Pair] | None] = (None, None),
    seed: int = 0,
    bar: Meter | None = None,
) -> Comparison:
    """Mean best match of u, v and matrices, per site and over all, both ways, with both controls.

    one, other: alive (V, U) by site; at least one site in common. starts: the initial (V, U) of both, where known.
    Controls compare the same subcomponents with, or count for count, random vectors and the other's start.
    """
    shared = [site for site in one if site in other]
    if not shared:
        raise RankOneError(
            f"the two decompositions have no site in common: one has '{next(iter(one))}', the other "
            f"'{next(iter(other))}'. Compare two of the same sites."
        )
    generator = torch.Generator().manual_seed(seed)
    forth, back = [], []
    for site in shared:
        forth.append(_Best.of(one[site], other[site], _at(starts[1], site), generator))
        back.append(_Best.of(other[site], one[site], _at(starts[0], site), generator))
        if bar is not None:
            bar.advance(1)
    counts = [(one[site][0].shape[1], other[site][0].shape[1]) for site in shared]
    return Comparison(
        sites=len(shared),
        only_one=tuple(sorted(set(one) ^ set(other))),
        alive=(sum(a for a, _ in counts), sum(b for _, b in counts)),
        a_to_b=_means(forth),
        b_to_a=_means(back),
        per_site=tuple(
            SiteComparison(site=site, alive=alive, a_to_b=_means([a]), b_to_a=_means([b]))
            for site, alive, a, b in zip(shared, counts, forth, back, strict=True)
        ),
    )


def _at(start: dict[str, Pair] | None, site: str) -> Pair | None:
    return None if start is None else start[site]


class _Best(NamedTuple):
    """Best matches of every subcomponent of a site [3, c], and those of the controls."""

    best: Tensor
    random: Tensor
    start: Tensor | None

    @classmethod
    def of(cls, one: Pair, other: Pair, start: Pair | None, generator: torch.Generator) -> _Best:
        random = best_matches(_noise(one, generator), _noise(other, generator))
        return cls(best_matches(one, other), random, None if start is None else best_matches(one, start))


def _noise(like: Pair, generator: torch.Generator) -> Pair:
    return tuple(torch.randn(m.shape, generator=generator).to(m.device) for m in like)  # pyright: ignore[reportReturnType]


def _means(per_site: list[_Best]) -> Matches:
    """Means over the subcomponents of all given sites."""
    starts = [site.start for site in per_site if site.start is not None]
    return Matches(
        best=_mean([site.best for site in per_site]),
        random=_mean([site.random for site in per_site]),
        start=_mean(starts) if starts else None,
    )


def _mean(matches: list[Tensor]) -> Cosines:
    joined = torch.cat(matches, 1)
    u, v, matrix = joined.mean(1).tolist() if joined.shape[1] else (None, None, None)
    return Cosines(u=u, v=v, matrix=matrix)
