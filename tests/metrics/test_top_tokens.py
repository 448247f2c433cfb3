"""The KL of the tokens kept and one remainder, against the dense KL."""

from __future__ import annotations

import pytest
import torch

from rankone.metrics.kl import kl_per_position
from rankone.metrics.top_tokens import top_kl, top_tokens


def logits(seed: int, size: int = 50, spread: float = 2.0):
    return torch.randn(3, 4, size, generator=torch.Generator().manual_seed(seed)) * spread


def test_a_vocabulary_that_is_kept_whole_gives_the_dense_kl_and_its_gradient():
    base, edited = logits(0), logits(1).requires_grad_()
    kept = top_tokens(base, 50)
    assert kept.rest.eq(-torch.inf).all()
    found = top_kl(kept, edited)
    torch.testing.assert_close(found, kl_per_position(base, edited))
    expected = torch.autograd.grad(kl_per_position(base, edited).sum(), edited)[0]
    torch.testing.assert_close(torch.autograd.grad(found.sum(), edited)[0], expected)


def test_of_a_large_vocabulary_512_tokens_are_kept():
    assert top_tokens(logits(0, size=600)).ids.shape == (3, 4, 512)


@pytest.mark.parametrize("top", [1, 7, 49])
def test_what_is_left_out_is_the_kl_within_the_remainder(top):
    base, edited = logits(0), logits(1)
    found = top_kl(top_tokens(base, top), edited)
    p, q = base.softmax(-1), edited.softmax(-1)
    others = torch.ones_like(p).scatter(-1, base.topk(top).indices, 0.0)
    mass, p_rest = (p * others).sum(-1), (q * others).sum(-1)
    within = (p * others * ((p / mass[..., None]).log() - (q / p_rest[..., None]).log())).sum(-1)
    torch.testing.assert_close(found + within, kl_per_position(base, edited), rtol=1e-4, atol=1e-5)
    assert (within >= -1e-6).all()


def test_an_unchanged_model_has_no_kl_and_no_gradient():
    edited = logits(0).requires_grad_()
    found = top_kl(top_tokens(logits(0), 7), edited)
    assert found.abs().max() < 1e-6
    assert torch.autograd.grad(found.sum(), edited)[0].abs().max() < 1e-6


def test_a_remainder_without_mass_is_finite():
    base = torch.tensor([[0.0, -200.0, -200.0, -300.0]])
    edited = base.clone().requires_grad_()
    found = top_kl(top_tokens(base, 1), edited + torch.tensor([0.0, 5.0, 0.0, 0.0]))
    assert found.isfinite().all()
    assert torch.autograd.grad(found.sum(), edited)[0].isfinite().all()
