"""CE and KL under the standard maskings, each with delta off and on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rankone.decomposition.evidence.kinds import Masking
from rankone.decomposition.evidence.text import EvidenceText
from rankone.metrics.cross_entropy import next_token_losses

ROUNDINGS = (0.0, 0.1, 0.5)


def masking_rows(text: EvidenceText, seed: int = 0) -> list[dict[str, Any]]:
    """Unmasked, stochastic, CI-as-mask, random, rounded and zero masks; first without delta, then with.

    On, delta has weight 1, and weight U[0, 1] beside stochastic and random masks.
    """
    generator = torch.Generator().manual_seed(seed)
    g, sites = text.importance, len(text.model.decomposition.sites)

    def noise(rows: slice, channels: int = g.shape[-1]) -> Tensor:
        return torch.rand((*text.ids[rows].shape, channels), generator=generator).to(text.device)

    kinds: list[tuple[dict[str, Any], Callable[[slice], Tensor]]] = [
        ({"masking": Masking.UNMASKED}, lambda rows: torch.ones_like(g[rows])),
        ({"masking": Masking.STOCHASTIC}, lambda rows: g[rows] + (1 - g[rows]) * noise(rows)),
        ({"masking": Masking.CI}, lambda rows: g[rows]),
        ({"masking": Masking.RANDOM}, noise),
        *(
            ({"masking": Masking.ROUNDED, "threshold": t}, lambda rows, t=t: (g[rows] > t).float())
            for t in ROUNDINGS
        ),
        ({"masking": Masking.ZERO}, lambda rows: torch.zeros_like(g[rows])),
    ]
    table = [{"masking": Masking.TARGET, "delta": None, **_target(text)}]
    for delta in (False, True):
        for about, mask in kinds:
            drawn = about["masking"] in (Masking.STOCHASTIC, Masking.RANDOM)

            def masks(rows: slice, mask: Any = mask, on: bool = delta, drawn: bool = drawn) -> Any:
                own = mask(rows)
                if not on:
                    return own, None
                return own, noise(rows, sites) if drawn else torch.ones(1, 1, sites, device=text.device)

            table.append({**about, "delta": delta, **text.measure(masks)})
    return table


def _target(text: EvidenceText) -> dict[str, float]:
    valid = text.blocks.valid
    losses = [next_token_losses(text.clean[rows], text.ids[rows], valid[rows]).sum() for rows in text.parts()]
    return {"ce": float(torch.stack(losses).sum()) / int(valid[:, 1:].sum()), "kl": 0.0}


def with_unrecovered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `ce_unrecovered` = (CE − CE_target) / (CE_zero − CE_target): 0 is the target, 1 is zero ablation.

    Zero ablation is all masks 0 and delta off. Where that does no harm the share has no meaning and is None.
    """
    by_name = {(row["masking"], row["delta"]): row["ce"] for row in rows}
    target = by_name[Masking.TARGET, None]
    whole = by_name[Masking.ZERO, False] - target
    return [{**r, "ce_unrecovered": (r["ce"] - target) / whole if whole > 0 else None} for r in rows]
