"""The adversary of the evidence: projected gradient ascent on one source vector shared by all positions.

Random start, signed gradient, step 0.1, clamped to [0, 1]; the figures are those of the last iterate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.decomposition.evidence.records import AdversaryUsed, Masking, MaskingRow, Score
from rankone.decomposition.evidence.text import EvidenceText
from rankone.metrics.kl import kl_per_position
from rankone.runtime.progress import Meter

PGD_STEP = 0.1
FIRST_RUNG = 10


def ladder_to(steps: int) -> tuple[int, ...]:
    """The rungs 10, 20, 40 … below `steps`, and `steps`."""
    if steps < 1:
        raise RankOneError(f"the adversary takes {steps} steps; give it at least 1.")
    rungs = [steps]
    while FIRST_RUNG * 2 ** (len(rungs) - 1) < steps:
        rungs.append(FIRST_RUNG * 2 ** (len(rungs) - 1))
    return tuple(sorted(rungs))


def adversarial_rows(
    text: EvidenceText,
    ladder: Sequence[int],
    delta: bool,
    seed: int = 0,
    bar: Meter | None = None,
    restarts: int = 1,
) -> list[MaskingRow]:
    """CE and KL after each number of PGD steps of the ladder: those of the worst restart, and the KL of every one.

    `delta` lets the adversary also weight each site's delta; else delta is off. Restart i starts from seed + i.
    """
    runs = [_climb(text, ladder, delta, seed + i, bar) for i in range(restarts)]
    table = []
    for rung, scores in zip(sorted(set(ladder)), zip(*runs, strict=True), strict=True):
        every = tuple(score.kl for score in scores)
        table.append(
            MaskingRow(
                masking=Masking.ADVERSARIAL,
                steps=rung,
                delta=delta,
                **dict(max(scores, key=lambda score: score.kl)),
                kl_restarts=every,
                kl_spread=max(every) - min(every),
            )
        )
    return table


def adversary_used(text: EvidenceText, ladder: Sequence[int], restarts: int = 1) -> AdversaryUsed:
    """The budget of `adversarial_rows`."""
    return AdversaryUsed(
        step=PGD_STEP,
        ladder=tuple(ladder),
        restarts=restarts,
        positions=int(text.present.sum()),
        gradients=max(ladder) * restarts,
    )


def _climb(
    text: EvidenceText, ladder: Sequence[int], delta: bool, seed: int, bar: Meter | None
) -> list[Score]:
    decomposition = text.model.decomposition
    channels = decomposition.total + (len(decomposition.sites) if delta else 0)
    source = torch.rand(channels, generator=torch.Generator().manual_seed(seed)).to(text.device)
    scores = []
    for step in range(1, max(ladder) + 1):
        source = ascended(text, source, delta)
        if bar is not None:
            bar.advance(1)
        if step in ladder:
            scores.append(text.measure(partial(_masks, text, source, delta)))
    return scores


def ascended(
    text: EvidenceText,
    source: Float[Tensor, " channels"],
    delta: bool = False,
    free: Bool[Tensor, " channels"] | None = None,
) -> Float[Tensor, " channels"]:
    """The sources after one step; where `free` is false they stay."""
    moved = (source + PGD_STEP * _source_gradient(text, source, delta).sign()).clamp(0, 1)
    return moved if free is None else torch.where(free, moved, source)


def restricted_attack(
    text: EvidenceText, free: Bool[Tensor, " c"], steps: int, bar: Meter | None = None
) -> Score:
    """CE and KL after `steps` steps of the free sources alone, delta off; all others are held at 1."""
    return text.measure(partial(_masks, text, restricted_source(text, free, steps, bar=bar), False))


def restricted_source(
    text: EvidenceText, free: Bool[Tensor, " c"], steps: int, seed: int = 0, bar: Meter | None = None
) -> Float[Tensor, " c"]:
    """The sources after `steps` steps of the free ones alone, delta off; all others are held at 1."""
    drawn = torch.rand(len(free), generator=torch.Generator().manual_seed(seed))
    free, source = free.to(text.device), torch.where(free, drawn, 1.0).to(text.device)
    for _ in range(steps):
        source = ascended(text, source, free=free)
        if bar is not None:
            bar.advance(1)
    return source


def _masks(text: EvidenceText, source: Tensor, delta: bool, rows: slice) -> tuple[Tensor, Tensor | None]:
    total = text.model.decomposition.total
    g = text.importance[rows]
    of_delta = source[total:].expand(*g.shape[:2], -1) if delta else None
    return g + (1 - g) * source[:total], of_delta


def _source_gradient(text: EvidenceText, source: Tensor, delta: bool) -> Tensor:
    leaf = source.clone().requires_grad_(True)
    gradient = torch.zeros_like(source)
    positions = text.present.sum()
    for rows in text.parts():
        mask, of_delta = _masks(text, leaf, delta, rows)
        with torch.autocast(text.ids.device.type, torch.bfloat16):
            logits = text.model.masked(text.ids[rows], mask, of_delta)
        kl = kl_per_position(text.clean[rows], logits)[text.present[rows]]
        # Not backward(): the target's own weights may ask for gradients too.
        gradient += torch.autograd.grad(kl.sum() / positions, leaf)[0]
    return gradient
