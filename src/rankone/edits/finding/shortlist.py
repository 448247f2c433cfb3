"""Which parts are worth measuring, read off the moments of their sites: no forward beyond the one pass over text.

An edit adds (α − 1)(v·x) u wherever the site runs. What keeps it off other text is that v·x is small there; what makes it
work on the target is that v·x is there at most positions, with one sign. So a part is scored by its separation, the size
of the mean of v·x on the target over the largest root mean square of v·x on any other text. Damage grows as the square of
v·x, so text with a tolerance t times that of the tightest counts 1/√t of its root mean square.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.models.anatomy import reads_hidden
from rankone.models.sites import Site
from rankone.parts.moments import Moments, SiteMoments
from rankone.parts.parts import Parts

# Of a separation; what no other text activates at all is not infinitely good.
MOST = 1000.0


@dataclass(frozen=True)
class TextMoments:
    """Moments of the target and, by name, of all other text.

    weights: how much the mean square of v·x on another text counts; 1 where nothing is said.
    """

    target: Moments
    others: Mapping[str, Moments]
    weights: Mapping[str, float] = field(default_factory=dict)

    def separation(
        self, site: str, mean: Float[Tensor, " c"], mean_square: Callable[[SiteMoments], Float[Tensor, " c"]]
    ) -> Float[Tensor, " c"]:
        """The separation of several v·x at a site. mean: |E v·x| on the target. mean_square: gives E[(v·x)²] on a text."""
        squares = [self.weights.get(d, 1.0) * mean_square(m[site]) for d, m in self.others.items()]
        most = torch.stack(squares).amax(0).sqrt()
        return mean / most.clamp_min(1e-12).maximum(mean / MOST).clamp_min(1e-30)


@dataclass(frozen=True)
class Candidate:
    """A part worth measuring. separation: its score; coverage: (E v·x)² / E (v·x)² on the target, 1 where it is constant."""

    name: str
    source: str
    site: str
    separation: float
    coverage: float


def energies(read: Float[Tensor, "d_in c"], moments: SiteMoments) -> Float[Tensor, " c"]:
    """E[(v·x)²] of the columns v of V; of a site whose output's moment was kept, for v = Wᵀ w alone."""
    if moments.of_output:
        # The w of least squares; exact for directions of the output.
        read = torch.linalg.lstsq(moments.weight.T, read).solution
    return ((moments.second @ read) * read).sum(0).clamp_min(0)


def separations(parts: Parts, texts: TextMoments) -> tuple[Float[Tensor, " parts"], Float[Tensor, " parts"]]:
    """(separation, coverage) of all parts, in their order."""
    separations, covered = [], []
    for site in parts.sites:
        read = parts.factors(site)[0].detach().float()
        on_target = texts.target[site]
        mean = (read.T @ on_target.mean).abs()
        separations.append(texts.separation(site, mean, partial(energies, read)))
        covered.append(mean.square() / energies(read, on_target).clamp_min(1e-20))
    return torch.cat(separations).cpu(), torch.cat(covered).cpu()


def apart_coordinates(sites: Sequence[Site], texts: TextMoments, count: int) -> dict[str, list[int]]:
    """Site → numbers of its `count` hidden coordinates (neurons, channels) that are most apart; no part is formed."""
    chosen = {}
    for site in sites:
        mean, _ = _hidden(site, texts.target[site.name])
        score = texts.separation(site.name, mean.abs(), lambda m, s=site: _hidden(s, m)[1])
        chosen[site.name] = score.topk(min(count, len(score))).indices.tolist()
    return chosen


def _hidden(site: Site, moments: SiteMoments) -> tuple[Tensor, Tensor]:
    """Mean and mean square of the hidden coordinates of a site."""
    if reads_hidden(site.name, site.d_out, site.d_in):
        return moments.mean, moments.mean_square
    weight, second = moments.weight, moments.second
    square = second.diagonal() if moments.of_output else ((weight @ second) * weight).sum(1)
    return moments.output_mean(), square.clamp_min(0)


def shortlist(parts: Parts, source: str, texts: TextMoments, count: int) -> list[Candidate]:
    """The `count` parts of one set that are most apart, the best first."""
    score, covered = separations(parts, texts)
    names = parts.names()
    sites = [site for site, n in zip(parts.sites, parts.counts, strict=True) for _ in range(n)]
    best = score.topk(min(count, len(score))).indices.tolist()
    return [Candidate(names[i], source, sites[i], float(score[i]), float(covered[i])) for i in best]
