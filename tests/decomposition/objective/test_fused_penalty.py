"""The fused mean penalty against the plain formula in float64, differentiated by autograd."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.masking.squash import upper
from rankone.decomposition.objective.fused_penalty import add_gradient, mean_penalty

B, T, C = 3, 5, 6
SHARPNESS = {"smooth_l0": 0.3, "lp": 0.7}


def logits_of(seed=0):
    logits = torch.randn(B, T, C, generator=torch.Generator().manual_seed(seed)) + 0.3
    logits[:, :, 0] = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])
    return logits


def formula(logits, sharpness, kind):
    """Mean of ψ(upper(logit)); ψ′(0) of L_p is infinite, so it is differentiated only where the logit is positive."""
    active = logits > 0
    up = upper(torch.where(active, logits, torch.ones_like(logits)))
    psi = up**2 / (up**2 + sharpness**2) if kind == "smooth_l0" else (up + 1e-12) ** sharpness
    return torch.where(active, psi, 0.0 if kind == "smooth_l0" else 1e-12**sharpness).mean((0, 1))


def check(kind, compiled):
    ours, exact = logits_of().double(), logits_of().double().requires_grad_()
    weights = torch.linspace(-1, 2, C, dtype=torch.float64)
    sharpness = torch.tensor(SHARPNESS[kind], dtype=torch.float64)
    found, _ = mean_penalty(ours, sharpness, kind, compiled)
    expected = formula(exact, SHARPNESS[kind], kind)
    torch.testing.assert_close(found, expected)
    total = torch.full_like(ours, 7.0)
    add_gradient(total, ours, sharpness, weights, kind, compiled)
    (gradient,) = torch.autograd.grad((expected * weights).sum(), exact)
    assert total.isfinite().all()
    torch.testing.assert_close(total - 7, gradient)


@pytest.mark.parametrize("kind", SHARPNESS)
def test_values_and_gradients_are_those_of_the_formula(kind):
    check(kind, compiled=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHARPNESS)
def test_compiled_kernels_are_the_eager_ones(kind):
    check(kind, compiled=True)


def test_firing_counts_positive_logits_and_carries_no_gradient():
    _, firing = mean_penalty(logits_of().requires_grad_(), torch.tensor(0.5), "smooth_l0")
    assert firing[0].item() == pytest.approx(3 / 5)  # −1, 0, ½, 1, 2 in every row
    assert not firing.requires_grad


def test_half_precision_logits_have_a_penalty_in_fp32():
    half = logits_of().bfloat16().requires_grad_()
    found, _ = mean_penalty(half, torch.tensor(0.5), "smooth_l0")
    assert found.dtype == torch.float32
    total = torch.zeros_like(half)
    add_gradient(total, half, torch.tensor(0.5), torch.ones(C), "smooth_l0")
    assert total.dtype == torch.bfloat16
    assert total.any()
