"""CE and KL under the standard maskings, each with delta off and on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rankone.decomposition.evidence.records import Masking, MaskingRow
from rankone.decomposition.evidence.text import EvidenceText
from rankone.metrics.cross_entropy import next_token_losses

ROUNDINGS = (0.0, 0.1, 0.5)
Mask = Callable[[slice], Tensor]


def masking_rows(text: EvidenceText) -> list[MaskingRow]:
    """Unmasked, stochastic, CI-as-mask, random, rounded and zero masks; first without delta, then with.

    On, delta has weight 1, and weight U[0, 1] beside stochastic and random masks.
    """
    generator = torch.Generator().manual_seed(0)
    g, sites = text.importance, len(text.model.decomposition.sites)

    def noise(rows: slice, channels: int = g.shape[-1]) -> Tensor:
        return torch.rand((*text.ids[rows].shape, channels), generator=generator).to(text.device)

    kinds: list[tuple[Masking, float | None, Mask]] = [
        (Masking.UNMASKED, None, lambda rows: torch.ones_like(g[rows])),
        (Masking.STOCHASTIC, None, lambda rows: g[rows] + (1 - g[rows]) * noise(rows)),
        (Masking.CI, None, lambda rows: g[rows]),
        (Masking.RANDOM, None, noise),
        *((Masking.ROUNDED, t, lambda rows, t=t: (g[rows] > t).float()) for t in ROUNDINGS),
        (Masking.ZERO, None, lambda rows: torch.zeros_like(g[rows])),
    ]
    table = [MaskingRow(masking=Masking.TARGET, ce=_target_ce(text), kl=0.0)]
    for delta in (False, True):
        for masking, threshold, mask in kinds:
            drawn = masking in (Masking.STOCHASTIC, Masking.RANDOM)

            def masks(
                rows: slice, mask: Mask = mask, on: bool = delta, drawn: bool = drawn
            ) -> tuple[Tensor, Tensor | None]:
                # The mask first: both draw from one generator.
                m = mask(rows)
                if not on:
                    return m, None
                return m, noise(rows, sites) if drawn else torch.ones(1, 1, sites, device=text.device)

            score = text.measure(masks)
            table.append(MaskingRow(masking=masking, threshold=threshold, delta=delta, **dict(score)))
    return table


def _target_ce(text: EvidenceText) -> float:
    valid = text.blocks.valid
    losses = [next_token_losses(text.clean[rows], text.ids[rows], valid[rows]).sum() for rows in text.parts()]
    return float(torch.stack(losses).sum()) / int(valid[:, 1:].sum())


def with_unrecovered(rows: list[MaskingRow]) -> tuple[MaskingRow, ...]:
    """The rows with `ce_unrecovered` = (CE − CE_target) / (CE_zero − CE_target): 0 is the target, 1 is zero ablation.

    Zero ablation is all masks 0 and delta off. Where that does no harm the share has no meaning and is None.
    """
    by_name = {(row.masking, row.delta): row.ce for row in rows}
    target = by_name[Masking.TARGET, None]
    whole = by_name[Masking.ZERO, False] - target
    shares = [(row.ce - target) / whole if whole > 0 else None for row in rows]
    return tuple(
        row.model_copy(update={"ce_unrecovered": share}) for row, share in zip(rows, shares, strict=True)
    )
