"""How alike two decompositions of one model are: the mean over subcomponents of the best match in the other.

For a subcomponent of A the match is max over those of B, at the same site, of |cos(u, u′)|, |cos(v, v′)| and, for the
rank-1 matrices, cos(u, u′) · cos(v, v′) (whose sign means something: −u vᵀ is another matrix). Each maximum is on its own,
as in "Adversarial Parameter Decomposition". Two controls say what such figures are worth: Gaussian vectors of the same
shapes, and the vectors that B's recipe starts from; an aligned start is the same for every seed.

A maximum lets many of A take the same one of B, so the best one-to-one matching stands beside it. And of two capacities: a
subcomponent of A is split where several of B lie above a cosine of .5 with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import JsonValue
from scipy.optimize import linear_sum_assignment
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
# Cosine above which two count as the same, in counting splits.
MATCH = 0.5
# The best one-to-one matching takes time by the cube of its size: not asked at sites of more subcomponents.
ONE_TO_ONE = 4096
Pair = tuple[Float[Tensor, "d_in c"], Float[Tensor, "c d_out"]]


class Cosines(Record):
    """Means over subcomponents of the best match of u, v and rank-one matrix, or shares; None over no subcomponents."""

    u: float | None
    v: float | None
    matrix: float | None


class Splits(Record):
    """One way: shares with more than one match above .5, and the same of the controls."""

    trained: Cosines
    random: Cosines
    start: Cosines | None


class Matches(Record):
    """One way: the best matches, and the controls with random vectors and with the other's start, where it is known."""

    best: Cosines
    random: Cosines
    start: Cosines | None
    split: Splits


class OneToOne(Record):
    """Mean cosine of the best one-to-one matching, and of that of random vectors; None at sites that are too large."""

    trained: Cosines
    random: Cosines


class SiteComparison(Record):
    """One site in both; `alive` counts the subcomponents of each."""

    site: str
    alive: tuple[int, int]
    a_to_b: Matches
    b_to_a: Matches
    one_to_one: OneToOne


class Comparison(Record):
    """Two decompositions, over the sites that both have; `only_one`: the sites of one alone."""

    sites: int
    only_one: tuple[str, ...]
    alive: tuple[int, int]
    a_to_b: Matches
    b_to_a: Matches
    one_to_one: OneToOne
    per_site: tuple[SiteComparison, ...]


def matches(one: Pair, other: Pair, block: int = BLOCK) -> tuple[Float[Tensor, "3 c"], Float[Tensor, "3 c"]]:
    """For every subcomponent of `one`, its best match in `other` by u, v and matrix (0 where there is none), and how many
    lie above .5. Never holds more than block × block cosines at a time.
    """
    v, u = _directions(one)
    other_v, other_u = _directions(other)
    best, count = v.new_zeros(3, len(v)), v.new_zeros(3, len(v))
    for rows in _blocks(len(v), block):
        best_of_block = [v.new_zeros(3, len(v[rows]))]
        for columns in _blocks(len(other_v), block):
            cosines = _all_cosines(u[rows], v[rows], other_u[columns], other_v[columns])
            best_of_block.append(cosines.amax(2))
            count[:, rows] += (cosines > MATCH).sum(2)
        best[:, rows] = torch.stack(best_of_block).amax(0)
    return best, count


def _all_cosines(u: Tensor, v: Tensor, other_u: Tensor, other_v: Tensor) -> Float[Tensor, "3 n m"]:
    """By u, v and matrix, of unit rows."""
    cos_u, cos_v = u @ other_u.T, v @ other_v.T
    return torch.stack([cos_u.abs(), cos_v.abs(), cos_u * cos_v])


def one_to_one(cosine: Float[Tensor, "n m"]) -> Float[Tensor, " k"]:
    """The cosines of the best one-to-one matching, k the smaller count."""
    rows, columns = linear_sum_assignment(cosine.cpu().numpy(), maximize=True)
    return cosine[torch.as_tensor(rows), torch.as_tensor(columns)]


def _one_to_one(one: Pair, other: Pair) -> Float[Tensor, "3 k"] | None:
    v, u = _directions(one)
    other_v, other_u = _directions(other)
    if max(len(v), len(other_v)) > ONE_TO_ONE:
        return None
    return torch.stack([one_to_one(cosine) for cosine in _all_cosines(u, v, other_u, other_v)])


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
    forth, back, pairs = [], [], []
    for site in shared:
        forth.append(_Way.of(one[site], other[site], _at(starts[1], site), generator))
        back.append(_Way.of(other[site], one[site], _at(starts[0], site), generator))
        noise = _noise(one[site], generator), _noise(other[site], generator)
        pairs.append((_one_to_one(one[site], other[site]), _one_to_one(*noise)))
        if bar is not None:
            bar.advance(1)
    counts = [(one[site][0].shape[1], other[site][0].shape[1]) for site in shared]
    return Comparison(
        sites=len(shared),
        only_one=tuple(sorted(set(one) ^ set(other))),
        alive=(sum(a for a, _ in counts), sum(b for _, b in counts)),
        a_to_b=_means(forth),
        b_to_a=_means(back),
        one_to_one=_paired(pairs),
        per_site=tuple(
            SiteComparison(
                site=site, alive=alive, a_to_b=_means([a]), b_to_a=_means([b]), one_to_one=_paired([p])
            )
            for site, alive, a, b, p in zip(shared, counts, forth, back, pairs, strict=True)
        ),
    )


def _at(start: dict[str, Pair] | None, site: str) -> Pair | None:
    return None if start is None else start[site]


class _Way(NamedTuple):
    """Best matches of every subcomponent of a site [3, c] and how many lie above .5 [3, c], and those of the controls."""

    trained: tuple[Tensor, Tensor]
    random: tuple[Tensor, Tensor]
    start: tuple[Tensor, Tensor] | None

    @classmethod
    def of(cls, one: Pair, other: Pair, start: Pair | None, generator: torch.Generator) -> _Way:
        random = matches(_noise(one, generator), _noise(other, generator))
        return cls(matches(one, other), random, None if start is None else matches(one, start))


def _noise(like: Pair, generator: torch.Generator) -> Pair:
    return tuple(torch.randn(m.shape, generator=generator).to(m.device) for m in like)  # pyright: ignore[reportReturnType]


def _means(per_site: list[_Way]) -> Matches:
    """Means over the subcomponents of all given sites."""
    trained, random = [site.trained for site in per_site], [site.random for site in per_site]
    starts = [site.start for site in per_site if site.start is not None]
    return Matches(
        best=_mean([best for best, _ in trained]),
        random=_mean([best for best, _ in random]),
        start=_mean([best for best, _ in starts]) if starts else None,
        split=Splits(
            trained=_split(trained), random=_split(random), start=_split(starts) if starts else None
        ),
    )


def _split(per_site: list[tuple[Tensor, Tensor]]) -> Cosines:
    return _mean([(count > 1).float() for _, count in per_site])


def _paired(per_site: list[tuple[Tensor | None, Tensor | None]]) -> OneToOne:
    """Means over all pairs of the sites that are small enough."""
    trained, random = (
        _mean([matched for matched in side if matched is not None]) for side in zip(*per_site, strict=True)
    )
    return OneToOne(trained=trained, random=random)


def _mean(matches: list[Tensor]) -> Cosines:
    joined = torch.cat(matches, 1) if matches else torch.zeros(3, 0)
    u, v, matrix = joined.mean(1).tolist() if joined.shape[1] else (None, None, None)
    return Cosines(u=u, v=v, matrix=matrix)
