"""KL from logits by hand, against torch.distributions, and whatever the chunks."""

from __future__ import annotations

import math

import pytest
import torch

from rankone.metrics import kl as module
from rankone.metrics.kl import kl_in_chunks, kl_per_position


def test_by_hand():
    # p = (1/2, 1/2), q = (1/4, 3/4): ½ ln 2 + ½ ln (2/3).
    p, q = torch.zeros(1, 1, 2), torch.tensor([[[0.0, math.log(3)]]])
    expected = torch.tensor([[0.5 * math.log(2) + 0.5 * math.log(2 / 3)]])
    torch.testing.assert_close(kl_per_position(p, q), expected)
    # The other way: ¼ ln ½ + ¾ ln (3/2).
    other = torch.tensor([[0.25 * math.log(0.5) + 0.75 * math.log(1.5)]])
    torch.testing.assert_close(kl_per_position(q, p), other)


def test_it_is_kl_of_the_first_distribution_from_the_second():
    first, second = torch.randn(2, 3, 9), torch.randn(2, 3, 9)
    p, q = (torch.distributions.Categorical(logits=x.double()) for x in (first, second))
    expected = torch.distributions.kl_divergence(p, q)
    torch.testing.assert_close(kl_per_position(first, second), expected.float())
    torch.testing.assert_close(kl_per_position(first.double(), second.double()), expected)


def test_shifted_logits_are_the_same_distribution():
    logits = torch.randn(2, 3, 9)
    torch.testing.assert_close(kl_per_position(logits, logits + 5), torch.zeros(2, 3), atol=1e-5, rtol=0)


def test_bf16_logits_are_compared_in_fp32():
    p, q = torch.randn(1, 2, 9).bfloat16(), torch.randn(1, 2, 9).bfloat16()
    found = kl_per_position(p, q)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, kl_per_position(p.float(), q.float()))


def test_gradients_flow():
    p, q = torch.randn(1, 2, 5), torch.randn(1, 2, 5, requires_grad=True)
    kl_per_position(p, q).sum().backward()
    torch.testing.assert_close(q.grad, q.detach().softmax(-1) - p.softmax(-1))


@pytest.mark.parametrize("at_once", [1, 9 * 4, 9 * 4 + 8, 1 << 22])
def test_chunks_change_nothing(at_once, monkeypatch):
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", at_once)
    p, q = torch.randn(2, 7, 9), torch.randn(2, 7, 9, requires_grad=True)
    found = kl_in_chunks(p, q)
    assert (found.dtype, found.shape, found.requires_grad) == (torch.float64, (14,), False)
    torch.testing.assert_close(found, kl_per_position(p.double(), q.detach().double()).flatten())


def test_texts_of_different_lengths_are_not_compared_as_far_as_they_go(monkeypatch):
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 9)
    with pytest.raises(ValueError, match="zip"):
        kl_in_chunks(torch.randn(1, 3, 9), torch.randn(1, 2, 9))


def test_a_chunk_is_what_its_comment_says():
    assert module.NUMBERS_AT_ONCE * 8 * 12 == 384 * 2**20


def test_no_more_than_a_chunk_is_in_memory(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 9 * 4)
    monkeypatch.setattr(module, "kl_per_position", lambda p, q: seen.append(len(p)) or p[:, 0])
    kl_in_chunks(torch.randn(2, 7, 9), torch.randn(2, 7, 9))
    assert seen == [4, 4, 4, 2]
