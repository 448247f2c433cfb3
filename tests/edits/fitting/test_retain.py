"""Retain text: the KL of the tokens kept and one remainder, against the dense KL; domains that take turns."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import VOCAB, probe, simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.fitting.retain import RetainText, top_kl, top_tokens
from rankone.text.blocks import Blocks


def logits(seed: int, size: int = 50, spread: float = 2.0):
    return torch.randn(3, 4, size, generator=torch.Generator().manual_seed(seed)) * spread


def dense_kl(base, edited):
    p, q = base.log_softmax(-1), edited.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def test_a_vocabulary_that_is_kept_whole_gives_the_dense_kl_and_its_gradient():
    base, edited = logits(0), logits(1).requires_grad_()
    kept = top_tokens(base, 50)
    assert torch.isinf(kept.rest).all()
    found = top_kl(kept, edited)
    torch.testing.assert_close(found, dense_kl(base, edited))
    expected = torch.autograd.grad(dense_kl(base, edited).sum(), edited)[0]
    torch.testing.assert_close(torch.autograd.grad(found.sum(), edited)[0], expected)


@pytest.mark.parametrize("top", [1, 7, 49])
def test_what_is_left_out_is_the_kl_within_the_remainder(top):
    base, edited = logits(0), logits(1)
    found = top_kl(top_tokens(base, top), edited)
    p, q = base.softmax(-1), edited.softmax(-1)
    others = torch.ones_like(p).scatter(-1, base.topk(top).indices, 0.0)
    mass, p_rest = (p * others).sum(-1), (q * others).sum(-1)
    within = (p * others * ((p / mass[..., None]).log() - (q / p_rest[..., None]).log())).sum(-1)
    torch.testing.assert_close(found + within, dense_kl(base, edited), rtol=1e-4, atol=1e-5)
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


def test_the_remainder_is_the_base_mass_outside_the_tokens_kept():
    model = simple_mlp()
    blocks = Blocks(probe(2, 6), torch.tensor([[0, 1, 1, 1, 1, 1], [0, 1, 1, 0, 0, 0]], dtype=torch.bool))
    text = RetainText(model, blocks, top=10)
    odds = model(blocks.ids).logits.softmax(-1).detach()
    outside = (1 - odds.topk(10).values.sum(-1))[blocks.present]
    assert text.remainder == pytest.approx(float(outside.mean()), abs=1e-5)
    assert text.base.ids.shape == (2, 6, 10)
    assert RetainText(model, blocks).base.ids.shape == (2, 6, VOCAB)


def test_domains_take_turns_row_by_row():
    def rows(*first: int, width: int = 3) -> Blocks:
        ids = torch.tensor([[0] + [n] * (width - 1) for n in first])
        return Blocks(ids, ids > 0)

    text = RetainText(simple_mlp(), {"en": rows(1, 2, 3), "fr": rows(7, width=2), "it": rows(8, 9)})
    assert text.ids.tolist() == [[0, 1, 1], [0, 7, 0], [0, 8, 8], [0, 2, 2], [0, 9, 9], [0, 3, 3]]
    assert text.present[1].tolist() == [True, True, False]
    assert text.rows(1, 4).tolist() == [4, 5, 0, 1]


def test_an_empty_text_is_named():
    nothing = Blocks(torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 2, dtype=torch.bool))
    with pytest.raises(RankOneError, match="the retain text of 'fr' is empty"):
        RetainText(simple_mlp(), {"fr": nothing})
    with pytest.raises(RankOneError, match="no retain text is given"):
        RetainText(simple_mlp(), {})
