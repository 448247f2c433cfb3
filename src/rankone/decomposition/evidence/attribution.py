"""Where error arises: each layer and site masked alone, the adversary held to one group, the outputs of every site."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rankone.decomposition.evidence.attack import restricted_attack
from rankone.decomposition.evidence.groups import channels_of, groups, kind_of_site, layer_of
from rankone.decomposition.evidence.text import EvidenceText
from rankone.runtime.progress import Meter

ATTACK_STEPS = 20
ATTACK_TOKENS = 512


def masked_alone(text: EvidenceText, bar: Meter | None = None) -> dict[str, list[dict[str, Any]]]:
    """CE and KL with only one layer's, one kind's or one site's importances as masks; the others run plain W.

    Delta is off in what is masked. Errors made together need not add up to those made alone.
    """
    sites = text.model.decomposition.sites
    found: dict[str, list[dict[str, Any]]] = {"layer": [], "kind": [], "site": []}
    for by, name, own in [*groups(sites), *(("site", s, [s]) for s in sites)]:
        route = torch.tensor([site in own for site in sites], device=text.device)
        found[by].append({by: name, **text.measure(lambda rows: (text.importance[rows], None), route)})
        if bar is not None:
            bar.advance(1)
    return {"per_layer": found["layer"], "per_kind": found["kind"], "per_site": found["site"]}


def adversary_by_group(text: EvidenceText, steps: int, bar: Meter | None = None) -> dict[str, Any]:
    """KL of an adversary that has only the sources of one layer or one kind of site, by group.

    The other sources are held at 1: those sites are unmasked. `whole` is the same attack with all sources.
    """
    part, decomposition = text.thinned(ATTACK_TOKENS), text.model.decomposition
    sites, counts = decomposition.sites, decomposition.counts
    rows = []
    for by, name, own in groups(sites):
        free = channels_of(sites, counts, own)
        rows.append({"by": by, "group": name, **restricted_attack(part, free, steps, bar=bar)})
    whole = restricted_attack(part, torch.ones(decomposition.total, dtype=torch.bool), steps, bar=bar)
    tokens = int(part.present.sum())
    return {"steps": steps, "tokens": tokens, "others": "held at 1", "whole": whole, "groups": rows}


def attacks(sites: list[str]) -> int:
    """Number of attacks `adversary_by_group` makes."""
    return len(groups(sites)) + 1


def hidden_errors(text: EvidenceText, seed: int = 0) -> list[dict[str, Any]]:
    """Error of every site's output with all sites masked (delta off), by site: mean square, and as a share.

    `ci`, `stochastic`: mean over real positions and outputs of (masked − clean)²; `…_share` divides by the mean of
    clean². Errors of earlier sites reach later ones.
    """
    generator = torch.Generator().manual_seed(seed)
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
    return [
        {
            "site": site,
            "layer": layer_of(site),
            "kind": kind_of_site(site),
            "ci": ci[i],
            "stochastic": stochastic[i],
            "ci_share": ci[i] / size[i] if size[i] else 0.0,
            "stochastic_share": stochastic[i] / size[i] if size[i] else 0.0,
        }
        for i, site in enumerate(decomposition.sites)
    ]


def _site_outputs(text: EvidenceText, ids: Tensor, mask: Tensor) -> list[Tensor]:
    model = text.model
    model.keep_outputs(True)
    try:
        with torch.no_grad():
            model.masked(ids, mask)
        return model.take_outputs()
    finally:
        model.keep_outputs(False)


def _squares(outputs: list[Tensor], present: Tensor) -> Tensor:
    return torch.stack([out[present].float().square().sum().double() for out in outputs]).cpu()
