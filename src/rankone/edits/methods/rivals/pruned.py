"""Selective pruning: MLP neurons that are far more active on the text to forget than on other text are taken out.

A neuron's importance is the root mean square of its activation (Pochinkov and Schoots 2024, their `rms` rule); those of the
largest ratio forget : other go. Nothing is trained.
"""

from __future__ import annotations

import torch

from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.scales import Scales
from rankone.parts.book import Book

SHARE = 0.02
"""Of all MLP neurons, those taken out."""


def selective(target: Target) -> list[str]:
    """Names of the neurons with the largest ratio of activation, in all MLPs, the largest first."""
    sites = target.outputs(attention=False)
    wanted, others = target.require_moments(sites, "pruned")
    ratios = torch.cat(
        [
            wanted[s.name].mean_square.double() / others[s.name].mean_square.double().clamp_min(1e-12)
            for s in sites
        ]
    )
    names = [f"neuron/{s.name}:{i}" for s in sites for i in range(s.d_in)]
    return [names[i] for i in ratios.topk(max(1, round(SHARE * len(names)))).indices.tolist()]


def _starts(target: Target) -> list[Method]:
    return [Scales(Book([], target.model), selective(target), "pruned", 0.0)]


KINDS = (
    Kind("pruned", "2% of neurons taken out", 11, 6, _starts, (1.0,), (1.0,), trained=False, spends="text"),
)
