"""Sources of parts: one per name, made by the same call, for the sites of any model.

A new source is a file in this folder and a line in SOURCES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from rankone.core.errors import RankOneError, nearest
from rankone.models.sites import Site
from rankone.parts.moments import Moments
from rankone.parts.parts import FactorPair, Parts
from rankone.parts.sources.contrast import contrast
from rankone.parts.sources.coordinates import coordinates, in_heads, in_mlp
from rankone.parts.sources.discriminant import discriminant
from rankone.parts.sources.material import CONTRAST, RIDGE, Made, Material
from rankone.parts.sources.means import means
from rankone.parts.sources.random import random
from rankone.parts.sources.singular import singular

__all__ = ["SOURCES", "Material", "Source", "make_parts", "origin_of", "source_named"]


@dataclass(frozen=True)
class Source:
    """How the parts of a site are made, whether moments of text are needed, and which sites have such parts.

    counted: whether it makes as many parts as are asked for; otherwise it has a number of its own.
    """

    make: Callable[[Material], Made]
    reads_text: bool
    counted: bool
    about: str
    fits: Callable[[Site], bool] = lambda _: True


SOURCES = {
    "neuron": Source(coordinates, False, False, "the neurons of MLPs, one part each", in_mlp),
    "channel": Source(coordinates, False, False, "the channels of attention heads, one part each", in_heads),
    "singular": Source(singular, False, True, "the largest singular directions of the weight"),
    "random": Source(random, False, True, "random output directions"),
    "contrast": Source(
        contrast, True, True, "output directions with more energy on wanted than on other text"
    ),
    "discriminant": Source(discriminant, True, True, "what tells wanted text from other text best"),
    "means": Source(means, True, False, "the difference of the mean outputs on wanted and other text"),
}


def source_named(name: str) -> Source:
    """A source of the registry; RankOneError for an unknown name."""
    if name not in SOURCES:
        raise RankOneError(
            f"unknown source of parts '{name}'; there are {', '.join(SOURCES)}.{nearest(name, list(SOURCES))}"
        )
    return SOURCES[name]


def origin_of(source: str, of: str = "") -> str:
    """What stands before the slash in the names of a source's parts: `neuron`, `contrast-fr`."""
    return f"{source}-{of}" if source_named(source).reads_text else source


def make_parts(
    source: str,
    sites: Sequence[Site],
    of: str = "",
    wanted: Moments | None = None,
    others: Moments | None = None,
    count: int = 1,
    seed: int = 0,
    contrast: float = CONTRAST,
    ridge: float = RIDGE,
    numbers: Mapping[str, Sequence[int]] | None = None,
) -> Parts:
    """Parts of one source at all of the sites that have any, named `ORIGIN/SITE:NUMBER`, frozen.

    of: the wanted text, with `wanted` its moments and `others` the mean of those of other text, for sources that read text.
    count: parts per site where the source has no number of its own. numbers: of coordinates, those wanted of each site
    (None: all). Raises RankOneError for an unknown source, for missing moments, and where no site has such parts.
    """
    asked = source_named(source)
    factors: dict[str, FactorPair] = {}
    indices: dict[str, Int[Tensor, " c"]] = {}
    for site in filter(asked.fits, sites):
        moments = (
            (wanted[site.name], others[site.name])
            if wanted is not None and others is not None
            else (None, None)
        )
        at_most = min(count, site.d_in, site.d_out)
        with torch.no_grad():
            chosen = None if numbers is None else numbers.get(site.name, ())
            made = asked.make(Material(site, *moments, at_most, chosen, seed, contrast, ridge))
        factors[site.name], indices[site.name] = made.factors, made.numbers
    if not factors:
        raise RankOneError(f"none of the {len(sites)} sites has {source} parts ({asked.about}).")
    settings = {
        "source": source,
        "of": of,
        "count": count,
        "seed": seed,
        "contrast": contrast,
        "ridge": ridge,
    }
    return Parts(factors, origin_of(source, of), indices, settings).frozen()
