"""Neighbours of a subcomponent by direction: alike at its own site, and what reads it or writes into it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.decomposition.model import Decomposition
from rankone.models.anatomy import feeds

# How the lists of `direction_neighbours` are called, in the order in which they are shown.
MATRIX, READ, WRITE, READERS, WRITERS = "matrix", "read", "write", "readers", "writers"


@dataclass(frozen=True)
class DirectionRow:
    """Another subcomponent and the cosine between its direction and this one's; signed."""

    part: str
    cosine: float


def direction_neighbours(
    decomposition: Decomposition, name: str, width: int, top: int = 10
) -> dict[str, list[DirectionRow]]:
    """The `top` subcomponents of largest |cosine| by list: empty lists are left out.

    matrix: at the same site, of the rank-one matrices u vᵀ (the product of the two cosines). read, write: at the same site,
    of v, of u. readers: this one's u with the v of sites that read what it writes. writers: this one's v with the u of
    sites that write what it reads. width: of the residual stream. Norms between the sites, which rescale dimensions,
    are left out.
    """
    site, column = decomposition.locate(name)
    read, write = (_units(f) for f in _factors(decomposition, site))
    by_read, by_write = read @ read[column], write @ write[column]
    names = _names(decomposition, site)
    lists = {
        MATRIX: _largest(names, by_read * by_write, top, name),
        READ: _largest(names, by_read, top, name),
        WRITE: _largest(names, by_write, top, name),
    }
    shapes = {
        s: (f[0].shape[1], f[1].shape[1]) for s in decomposition.sites for f in [_factors(decomposition, s)]
    }
    for title, direction, side, linked in (
        (READERS, write[column], 0, [s for s in shapes if feeds(site, s, shapes, width)]),
        (WRITERS, read[column], 1, [s for s in shapes if feeds(s, site, shapes, width)]),
    ):
        cosines = [_units(_factors(decomposition, s)[side]) @ direction for s in linked]
        if linked:
            names = [n for s in linked for n in _names(decomposition, s)]
            lists[title] = _largest(names, torch.cat(cosines), top, name)
    return {title: rows for title, rows in lists.items() if rows}


def _factors(
    decomposition: Decomposition, site: str
) -> tuple[Float[Tensor, "c d_in"], Float[Tensor, "c d_out"]]:
    """(Vᵀ, U): one row per subcomponent."""
    read, write = decomposition.factors(site)
    return read.detach().float().T, write.detach().float()


def _units(rows: Float[Tensor, "c d"]) -> Float[Tensor, "c d"]:
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-20)


def _names(decomposition: Decomposition, site: str) -> list[str]:
    return [f"{site}:{int(i)}" for i in decomposition.indices[site]]


def _largest(names: list[str], cosines: Float[Tensor, " n"], top: int, left_out: str) -> list[DirectionRow]:
    best = cosines.abs().topk(min(top + 1, len(names))).indices.tolist()
    return [DirectionRow(names[i], float(cosines[i])) for i in best if names[i] != left_out][:top]
