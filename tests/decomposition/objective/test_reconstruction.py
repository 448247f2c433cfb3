"""The divergence of a masked output from the clean one."""

from __future__ import annotations

import math

import torch

from rankone.decomposition.objective.reconstruction import hidden_mse, kl_per_position, mse_per_position


def test_by_hand():
    # p = (1/2, 1/2), q = (1/4, 3/4): ½ ln 2 + ½ ln (2/3).
    clean, masked = torch.zeros(1, 1, 2), torch.tensor([[[0.0, math.log(3)]]])
    expected = torch.tensor([[0.5 * math.log(2) + 0.5 * math.log(2 / 3)]])
    torch.testing.assert_close(kl_per_position(clean, masked), expected)


def test_it_is_kl_of_the_clean_distribution_from_the_masked_one():
    clean, masked = torch.randn(2, 3, 9), torch.randn(2, 3, 9)
    p, q = (torch.distributions.Categorical(logits=x.double()) for x in (clean, masked))
    expected = torch.distributions.kl_divergence(p, q).float()
    torch.testing.assert_close(kl_per_position(clean, masked), expected)


def test_shifted_logits_are_the_same_distribution():
    clean = torch.randn(2, 3, 9)
    torch.testing.assert_close(kl_per_position(clean, clean + 5), torch.zeros(2, 3), atol=1e-5, rtol=0)


def test_bf16_logits_are_compared_in_fp32():
    clean, masked = torch.randn(1, 2, 9).bfloat16(), torch.randn(1, 2, 9).bfloat16()
    found = kl_per_position(clean, masked)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, kl_per_position(clean.float(), masked.float()))


def test_mse_by_hand():
    clean, masked = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[0.0, 4.0]]])
    torch.testing.assert_close(mse_per_position(clean, masked), torch.tensor([[2.5]]))


def test_hidden_mse_is_a_mean_over_all_outputs_of_all_sites():
    # Sites of width 2 and 1: (1 + 4 + 9) / 3.
    clean = [torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0]]])]
    masked = [torch.zeros(1, 1, 2), torch.zeros(1, 1, 1)]
    torch.testing.assert_close(hidden_mse(clean, masked), torch.tensor([[14 / 3]]))
