"""The divergence of a masked output from the clean one."""

from __future__ import annotations

import torch

from rankone.decomposition.objective.reconstruction import hidden_mse, mse_per_position


def test_mse_by_hand():
    clean, masked = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[0.0, 4.0]]])
    torch.testing.assert_close(mse_per_position(clean, masked), torch.tensor([[2.5]]))


def test_hidden_mse_is_a_mean_over_all_outputs_of_all_sites():
    # Sites of width 2 and 1: (1 + 4 + 9) / 3.
    clean = [torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0]]])]
    masked = [torch.zeros(1, 1, 2), torch.zeros(1, 1, 1)]
    torch.testing.assert_close(hidden_mse(clean, masked), torch.tensor([[14 / 3]]))
