"""How many subcomponents matter: L0 and alive ones in all, per layer and per site."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor

from rankone.decomposition.evidence.groups import layer_of
from rankone.decomposition.evidence.records import LayerSparsity, SiteSparsity, SparsityBySite
from rankone.decomposition.evidence.text import EvidenceText
from rankone.metrics.l0 import firing_shares

ALIVE_MEAN_IMPORTANCE = 1e-6


def sparsity(text: EvidenceText, original: dict[str, int] | None = None) -> SparsityBySite:
    """L0 (mean number with g > 0) and alive (mean g > 1e-6) in all, per layer and per site.

    original: subcomponents per site before dead ones were folded into delta, for the shares.
    """
    decomposition = text.model.decomposition
    present: Bool[Tensor, "b t"] = text.present
    g = text.importance[present]
    firing, mean = firing_shares(g), g.mean(0)
    per_site = []
    for site, fires, mean_importance in zip(
        decomposition.sites,
        firing.split(decomposition.counts),
        mean.split(decomposition.counts),
        strict=True,
    ):
        per_site.append(
            SiteSparsity(
                site=site,
                l0=fires.sum().item(),
                alive=int((mean_importance > ALIVE_MEAN_IMPORTANCE).sum()),
                kept=len(fires),
                subcomponents=(original or {}).get(site, len(fires)),
            )
        )
    return SparsityBySite(
        l0_total=sum(s.l0 for s in per_site),
        alive_total=sum(s.alive for s in per_site),
        subcomponents=sum(s.subcomponents for s in per_site),
        kept=sum(s.kept for s in per_site),
        per_layer=_per_layer(per_site),
        per_site=tuple(per_site),
    )


def _per_layer(per_site: list[SiteSparsity]) -> tuple[LayerSparsity, ...]:
    layers: dict[str, list[SiteSparsity]] = {}
    for site in per_site:
        layers.setdefault(layer_of(site.site), []).append(site)
    return tuple(
        LayerSparsity(
            layer=layer,
            l0=sum(s.l0 for s in sites),
            alive=sum(s.alive for s in sites),
            subcomponents=sum(s.subcomponents for s in sites),
        )
        for layer, sites in layers.items()
    )
