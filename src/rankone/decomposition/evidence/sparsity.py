"""How many subcomponents matter: L0 and alive ones in all, per layer and per site."""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool
from torch import Tensor

from rankone.decomposition.evidence.groups import layer_of
from rankone.decomposition.evidence.text import EvidenceText
from rankone.metrics.l0 import firing_shares

ALIVE_MEAN_IMPORTANCE = 1e-6


def sparsity(text: EvidenceText, original: dict[str, int] | None = None) -> dict[str, Any]:
    """L0 (mean number with g > 0) and alive (mean g > 1e-6) in all, per layer and per site.

    original: subcomponents per site before dead ones were folded into delta, for the shares.
    """
    decomposition = text.model.decomposition
    present: Bool[Tensor, "b t"] = text.present
    g = text.importance[present]
    firing, mean = firing_shares(g), g.mean(0)
    per_site = []
    for site, part, own in zip(
        decomposition.sites,
        firing.split(decomposition.counts),
        mean.split(decomposition.counts),
        strict=True,
    ):
        per_site.append(
            {
                "site": site,
                "l0": part.sum().item(),
                "alive": int((own > ALIVE_MEAN_IMPORTANCE).sum()),
                "kept": len(part),
                "subcomponents": (original or {}).get(site, len(part)),
            }
        )
    return {
        "l0_total": sum(s["l0"] for s in per_site),
        "alive_total": sum(s["alive"] for s in per_site),
        "subcomponents": sum(s["subcomponents"] for s in per_site),
        "kept": sum(s["kept"] for s in per_site),
        "per_layer": _per_layer(per_site),
        "per_site": per_site,
    }


def _per_layer(per_site: list[dict[str, Any]]) -> list[dict[str, Any]]:
    layers: dict[str, dict[str, Any]] = {}
    for site in per_site:
        row = layers.setdefault(layer_of(site["site"]), {"l0": 0.0, "alive": 0, "subcomponents": 0})
        for key in row:
            row[key] += site[key]
    return [{"layer": layer, **row} for layer, row in layers.items()]
