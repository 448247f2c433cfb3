"""The direction of a token is the unembedding's row where the head is a norm and a map, else the model's own derivative."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import VOCAB, gpt2, llama, simple_mlp
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM

from rankone.core.errors import RankOneError
from rankone.edits.rewriting.direction import token_direction

IDS = torch.arange(24).reshape(2, 12) * 7 % VOCAB


def gemma2():
    """Gain less one as the norm's weight, and a soft cap on the logits."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=VOCAB,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=12,
        intermediate_size=40,
        initializer_range=0.3,
        final_logit_softcapping=5.0,
    )
    return Gemma2ForCausalLM(config).eval()


class Transformed(nn.Module):
    """A head that turns the stream over before it reads it."""

    def __init__(self, head):
        super().__init__()
        self.weight, self.turn = head.weight, nn.Linear(24, 24, bias=False)
        generator = torch.Generator().manual_seed(1)
        self.turn.weight.data = torch.linalg.qr(torch.randn(24, 24, generator=generator))[0]

    def forward(self, x):
        return self.turn(x) @ self.weight.T


@pytest.mark.parametrize("make", [llama, gpt2, simple_mlp, gemma2])
def test_a_norm_and_a_cap_leave_the_row(make):
    made = token_direction(make(), 17, IDS)
    assert made.source == "unembedding"
    assert made.cosine > 0.9
    assert made.raised > 0.9
    assert made.vector.norm() == pytest.approx(1.0, abs=1e-5)


def test_a_transform_before_the_unembedding_is_seen():
    model = llama()
    model.lm_head = Transformed(model.lm_head)
    made = token_direction(model, 17, IDS)
    assert (made.source, made.raised) == ("derivative", 1.0)
    assert made.cosine < 0.9


def test_the_model_is_as_before():
    model = llama()
    before = model(IDS).logits
    token_direction(model, 17, IDS)
    assert torch.equal(model(IDS).logits, before)
    assert all(p.grad is None for p in model.parameters())


def test_a_token_that_nothing_raises_is_refused():
    model = llama()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    with pytest.raises(RankOneError, match=r"no direction raises token 17 .*--train N"):
        token_direction(model, 17, IDS)
