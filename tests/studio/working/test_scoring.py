"""One pass over the vocabulary gives what the definitions of the metrics give, with the unembedding held back or not."""

from __future__ import annotations

import pytest
import torch

from rankone import open as open_session
from rankone.metrics.cross_entropy import next_token_losses
from rankone.metrics.kl import kl_per_position
from rankone.models.output import output_of
from rankone.studio.working import scoring
from rankone.studio.working.scoring import Scorer, holding
from rankone.text.blocks import Blocks


@pytest.fixture(scope="module")
def model():
    """The built-in model."""
    return open_session("mini").model


def _blocks() -> Blocks:
    ids = torch.randint(4096, (3, 20), generator=torch.Generator().manual_seed(0))
    valid = torch.ones_like(ids, dtype=torch.bool)
    valid[:, 0], valid[1, 7:] = False, False
    return Blocks(ids, valid)


def test_losses_and_divergence_are_those_of_whole_logits(model, monkeypatch):
    monkeypatch.setattr(scoring, "logits_at_once", lambda *_: 7)  # several pieces, the last one short
    blocks = _blocks()
    with torch.no_grad():
        logits = output_of(model, blocks.ids)
    other = logits + torch.linspace(0, 1, logits.shape[-1])
    scored = blocks.valid[:, 1:]
    told = kl_per_position(other[:, :-1][scored], logits[:, :-1][scored])
    base = Scorer(model, None).score(other, blocks, keep=True).logs
    with holding(model, (), blocks) as scorer:
        held = output_of(model, blocks.ids)
        assert held.shape[-1] == 192  # hidden states: no logits were formed
        one = scorer.score(held, blocks, base)
    for score in (one, Scorer(model, None).score(logits, blocks, base)):
        torch.testing.assert_close(score.losses, next_token_losses(logits, blocks.ids, blocks.valid))
        torch.testing.assert_close(score.kl, told, atol=1e-5, rtol=1e-4)
        assert score.logs is None


def test_rows_without_a_scored_token_have_no_loss(model):
    blocks = _blocks()
    nothing = Blocks(blocks.ids, torch.zeros_like(blocks.valid))
    with torch.no_grad():
        assert not Scorer(model, None).score(output_of(model, blocks.ids), nothing).losses.any()
