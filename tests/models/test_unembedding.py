"""Token directions against the logits of real models."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import gpt2, llama, simple_mlp
from torch import nn

from rankone.core.errors import RankOneError
from rankone.models.unembedding import unembedding_of


@pytest.mark.parametrize(
    ("model", "norm", "centred"),
    [(simple_mlp(), "ln_f", False), (llama(), "model.norm", False), (gpt2(), "transformer.ln_f", True)],
)
def test_effects_are_those_on_the_logits(model, norm, centred):
    """At a given scale of the norm a write vector moves the logits by rows @ w, up to a constant."""
    layer = model.get_submodule(norm)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2.0)
    write = torch.randn(5, 24)
    moved = write - write.mean(1, keepdim=True) if centred else write
    logits = moved @ (model.get_output_embeddings().weight.detach() * layer.weight.detach()).T
    rise = logits - logits.mean(1, keepdim=True)
    head = unembedding_of(model)
    for token in (0, 7, 299):
        assert torch.allclose(head.effect(write, token), rise[:, token], atol=1e-4)
        sharp = rise[:, token] / rise.std(1, correction=0)
        assert torch.allclose(head.sharpness(write, token), sharp, atol=1e-3)
        assert torch.allclose(head.sharpness(3 * write, token), sharp, atol=1e-3)


def test_a_model_without_an_unembedding_is_refused():
    model = nn.Linear(2, 2)
    model.get_output_embeddings = lambda: None
    with pytest.raises(RankOneError, match="Linear has no linear output layer"):
        unembedding_of(model)
