"""The fused KL against the plain one in float64, differentiated by autograd."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.fused_kl import fused_kl


def logits_of(seed, dtype=torch.float64):
    return (3 * torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(seed))).to(dtype)


def formula(clean, masked):
    log_p, log_q = clean.log_softmax(-1), masked.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def check(compiled):
    clean, ours, exact = logits_of(0), logits_of(1).requires_grad_(), logits_of(1).requires_grad_()
    weights = torch.linspace(-1, 2, 6, dtype=torch.float64).view(2, 3)
    found, expected = fused_kl(clean, ours, compiled), formula(clean, exact)
    torch.testing.assert_close(found, expected)
    (a,) = torch.autograd.grad((found * weights).sum(), ours)
    (b,) = torch.autograd.grad((expected * weights).sum(), exact)
    torch.testing.assert_close(a, b)
    (mean,) = torch.autograd.grad(fused_kl(clean, ours, compiled).mean(), ours)
    (other,) = torch.autograd.grad(formula(clean, exact).mean(), exact)
    torch.testing.assert_close(mean, other)


def test_values_and_gradients_are_those_of_the_formula():
    check(compiled=False)


@pytest.mark.slow
def test_compiled_kernels_are_the_eager_ones():
    check(compiled=True)


def test_half_precision_logits_have_a_divergence_in_fp32():
    clean, masked = logits_of(0, torch.bfloat16), logits_of(1, torch.bfloat16).requires_grad_()
    found = fused_kl(clean, masked)
    assert found.dtype == torch.float32
    (gradient,) = torch.autograd.grad(found.sum(), masked)
    assert gradient.dtype == torch.bfloat16


def test_what_a_backward_keeps_is_no_larger_than_the_logits():
    clean, masked = logits_of(0, torch.bfloat16), logits_of(1, torch.bfloat16).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        fused_kl(clean, masked)
    assert max(t.nbytes for t in kept) == masked.nbytes
