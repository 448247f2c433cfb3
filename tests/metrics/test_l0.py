"""L0 by hand."""

from __future__ import annotations

import pytest
import torch

from rankone.metrics.l0 import firing_shares, l0

G = torch.tensor([[[0.0, 0.5, 1.0], [0.0, 0.1, 0.2]], [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]])


def test_by_hand():
    """Of four positions two, one, two … have an importance above 0; zero itself is none."""
    assert firing_shares(G).tolist() == [0.0, 0.5, 0.75]
    assert l0(G) == 1.25
    assert firing_shares(G, 0.1).tolist() == pytest.approx([0.0, 0.25, 0.75])
    assert l0(G, 0.2) == pytest.approx(0.75)
