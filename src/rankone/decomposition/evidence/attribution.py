"""Where error arises: each layer and site masked alone, the adversary held to one group, the outputs of every site."""

from __future__ import annotations

import torch
from torch import Tensor

from rankone.decomposition.evidence.attack import restricted_attack
from rankone.decomposition.evidence.groups import channels_of, groups, kind_of_site, layer_of
from rankone.decomposition.evidence.records import GroupAttack, Grouping, GroupScore, HiddenError
from rankone.decomposition.evidence.text import EvidenceText
from rankone.runtime.progress import Meter

ATTACK_STEPS = 20
ATTACK_TOKENS = 512


def masked_alone(text: EvidenceText, bar: Meter | None = None) -> tuple[GroupScore, ...]:
    """CE and KL with only one layer's, one kind's or one site's importances as masks; the others run plain W.

    Delta is off in what is masked. Errors made together need not add up to those made alone.
    """
    sites = text.model.decomposition.sites
    rows = []
    for by, name, group in [*groups(sites), *((Grouping.SITE, s, [s]) for s in sites)]:
        route = torch.tensor([site in group for site in sites], device=text.device)
        score = text.measure(lambda rows: (text.importance[rows], None), route)
        rows.append(GroupScore(by=by, group=name, **dict(score)))
        if bar is not None:
            bar.advance(1)
    return tuple(rows)


def adversary_by_group(text: EvidenceText, steps: int, bar: Meter | None = None) -> GroupAttack:
    """KL of an adversary that has only the sources of one layer or one kind of site, by group.

    The other sources are held at 1: those sites are unmasked. `whole` is the same attack with all sources.
    """
    part, decomposition = text.thinned(ATTACK_TOKENS), text.model.decomposition
    sites, counts = decomposition.sites, decomposition.counts
    rows = []
    for by, name, group in groups(sites):
        score = restricted_attack(part, channels_of(sites, counts, group), steps, bar=bar)
        rows.append(GroupScore(by=by, group=name, **dict(score)))
    whole = restricted_attack(part, torch.ones(decomposition.total, dtype=torch.bool), steps, bar=bar)
    return GroupAttack(steps=steps, tokens=int(part.present.sum()), whole=whole, groups=tuple(rows))


def attacks(sites: list[str]) -> int:
    """Number of attacks `adversary_by_group` makes."""
    return len(groups(sites)) + 1


def hidden_errors(text: EvidenceText) -> tuple[HiddenError, ...]:
    """Error of every site's output with all sites masked (delta off), by site: mean square, and as a share.

    `ci`, `stochastic`: mean over real positions and outputs of (masked − clean)²; `…_share` divides by the mean of
    clean². Errors of earlier sites reach later ones.
    """
    generator = torch.Generator().manual_seed(0)
    model, decomposition = text.model, text.model.decomposition
    sums = torch.zeros(3, len(decomposition.sites), dtype=torch.float64)
    for rows in text.parts():
        ids, present, g = text.ids[rows], text.present[rows], text.importance[rows]
        clean = model.outputs(model.clean(ids)[1])
        sums[0] += _squares(clean, present)
        noise = torch.rand(g.shape, generator=generator).to(text.device)
        for i, mask in enumerate((g, g + (1 - g) * noise), 1):
            masked = _site_outputs(text, ids, mask)
            sums[i] += _squares([m - c for m, c in zip(masked, clean, strict=True)], present)
    widths = torch.tensor([decomposition.factors(s)[1].shape[1] for s in decomposition.sites])
    size, ci, stochastic = (sums / (widths * int(text.present.sum()))).tolist()
    return tuple(
        HiddenError(
            site=site,
            layer=layer_of(site),
            kind=kind_of_site(site),
            ci=ci[i],
            stochastic=stochastic[i],
            ci_share=ci[i] / size[i] if size[i] else 0.0,
            stochastic_share=stochastic[i] / size[i] if size[i] else 0.0,
        )
        for i, site in enumerate(decomposition.sites)
    )


def _site_outputs(text: EvidenceText, ids: Tensor, mask: Tensor) -> list[Tensor]:
    outputs: dict[str, Tensor] = {}
    with torch.no_grad():
        text.model.masked(ids, mask, outputs=outputs)
    return [outputs[site] for site in text.model.decomposition.sites]


def _squares(outputs: list[Tensor], present: Tensor) -> Tensor:
    return torch.stack([out[present].float().square().sum().double() for out in outputs]).cpu()
