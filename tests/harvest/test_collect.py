"""Counts above thresholds against brute force."""

from __future__ import annotations

import torch

from rankone.harvest.collect import counts_above
from rankone.harvest.firings import firings


def test_counts_above_thresholds_in_any_order():
    generator = torch.Generator().manual_seed(0)
    importance = (torch.rand(3, 8, 5, generator=generator) * 1.4 - 0.3).mul(10).round().div(10)
    valid = torch.rand(3, 8, generator=generator) < 0.8
    inside = importance.clamp(0, 1)[valid]
    thresholds = (0.5, 0.0, 0.1)
    found = counts_above(firings(importance, valid), thresholds, 5)
    assert found.tolist() == [(inside > t).sum(0).tolist() for t in thresholds]
