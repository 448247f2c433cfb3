"""Losses under many settings equal those of models with the edit in the weights; shares, tokens and contexts by hand."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import probe, simple_mlp, workspace

from rankone.edits.scales import scale_edit
from rankone.experiments.investigation import effects
from rankone.experiments.investigation.effects import (
    Where,
    lost_tokens,
    token_losses,
    whereabouts,
    worst_contexts,
)
from rankone.metrics.cross_entropy import cross_entropy
from rankone.text.blocks import Blocks
from rankone.text.openers import opener_id

SETTINGS = [
    {},
    {"h.0.mlp.c_fc:3": -2.0},
    {"h.1.attn.v_proj:0": 5.0},
    {"h.0.mlp.c_fc:3": 0.0, "h.0.mlp.c_fc:1": 3.0},
]


@pytest.mark.parametrize("at_once", [1, 300 * 12 * 6, 1 << 25])
def test_losses_are_those_of_edited_models(monkeypatch, at_once):
    """Whether one row and setting goes at a time, some of both, or all together."""
    monkeypatch.setattr(effects, "LOGITS_AT_ONCE", at_once)
    model = simple_mlp()
    decomposition = decomposed(model, "random")
    ids = probe(rows=3, length=12)
    valid = torch.arange(12).expand(3, 12) > 0
    valid[2, 5:] = False
    blocks, seen = Blocks(ids, valid), []
    found = token_losses(workspace(model, decomposition), SETTINGS, blocks, seen.append)
    assert found.shape == (4, 3, 12)
    assert (found[:, ~valid] == 0).all()
    assert sum(seen) == 4 * blocks.tokens
    for losses, setting in zip(found, SETTINGS, strict=True):
        with scale_edit(decomposition, setting).applied(model):
            assert float(losses.sum()) / blocks.tokens == pytest.approx(
                cross_entropy(model, blocks), rel=1e-4
            )
    assert (found[1:] - found[0]).abs().amax((1, 2)).min() > 1e-3


def test_where_damage_falls():
    """Active at position 1 only: token 2 is predicted there, 3 to 7 soon after, 8 and 9 far from it."""
    rise = torch.tensor([[7.0, 1.0, 4.0, 1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0]])
    strong = torch.zeros(1, 10, dtype=torch.bool)
    strong[0, 1] = True
    valid = torch.arange(10).expand(1, 10) > 0
    assert whereabouts(rise, strong, valid) == Where(0.4, 0.2, pytest.approx(0.4))
    assert whereabouts(-rise, strong, valid) is None


def test_lost_tokens(tokenizer):
    the, end, cat = (
        tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in (" the", " en", "c")
    )
    ids = torch.tensor([[opener_id(tokenizer), the, end, the], [opener_id(tokenizer), cat, the, the]])
    valid = torch.tensor([[False, True, True, True], [False, True, True, False]])
    rise = torch.tensor([[9.0, 1.0, 3.0, -0.5], [9.0, -1.0, 0.5, 9.0]])
    first, second = lost_tokens(rise, Blocks(ids, valid), tokenizer, 5)
    assert (first.token, first.count, first.share, first.mean) == (tokenizer.decode([end]), 1, 0.75, 3.0)
    assert (second.count, second.share) == (3, 0.25)
    assert second.mean == pytest.approx(1 / 3)


def test_worst_contexts(tokenizer):
    ids = torch.tensor(
        [[opener_id(tokenizer), *tokenizer("the cat sat on", add_special_tokens=False)["input_ids"]]]
    )
    valid = torch.arange(ids.shape[1]).unsqueeze(0) > 0
    valid[0, -1] = False
    base = torch.ones(ids.shape)
    edited = base.clone()
    edited[0, 0] = edited[0, -1] = 50.0
    edited[0, 3], edited[0, 1], edited[0, 2] = 5.0, 2.0, 0.5
    strong = torch.zeros_like(valid)
    strong[0, 2] = True
    first, second = worst_contexts(base, edited, strong, Blocks(ids, valid), tokenizer, top=4, length=2)
    words = [tokenizer.decode([i]) for i in ids[0].tolist()]
    assert (first.before, first.active) == (words[1:3], [False, True])
    assert (first.token, first.ce_base, first.ce) == (words[3], 1.0, 5.0)
    assert (second.before, second.token) == ([], words[1])


def test_pieces_of_characters_are_readable(tokenizer):
    """A character of several tokens stands whole before a token, and by its bytes alone."""
    pieces = tokenizer("\u0416", add_special_tokens=False).input_ids
    assert len(pieces) > 1
    ids = torch.tensor([[tokenizer.bos_token_id, *pieces, pieces[0]]])
    valid = torch.ones_like(ids, dtype=torch.bool)
    base, edited = torch.zeros(ids.shape), torch.zeros(ids.shape)
    edited[0, -1] = 2.0
    (found,) = worst_contexts(base, edited, valid, Blocks(ids, valid), tokenizer, top=1)
    assert found.before == ["\u0416", *[""] * (len(pieces) - 1)]
    assert found.token == "<0xD0>"
    (lost,) = lost_tokens(edited - base, Blocks(ids, valid), tokenizer, 1)
    assert lost.token == "<0xD0>"
