"""Gradients of scales by position against finite differences of edited models; Fisher information drawn and exact."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.decomposition.tiny import TINY_VOCAB, decomposed, target
from tests.helpers import probe, same, simple_mlp, snapshot, workspace

from rankone.core.errors import RankOneError
from rankone.decomposition.model import DecomposedModel
from rankone.edits.scales import scale_edit
from rankone.experiments.investigation.prediction import statistics
from rankone.experiments.investigation.traces import traces
from rankone.text.blocks import Blocks

# Three sites in two blocks, two subcomponents of one site.
NAMES = ["h.1.mlp.down_proj:2", "h.0.attn.q_proj:1", "h.0.mlp.c_fc:3", "h.0.mlp.c_fc:0"]


@pytest.fixture(scope="module")
def case():
    model = simple_mlp()
    ids = probe(rows=5, length=12)
    ids[:, 0] = 0
    valid = torch.ones_like(ids, dtype=torch.bool)
    valid[:, 0] = False
    valid[1, 7:] = False
    return model, decomposed(model, "random"), Blocks(ids, valid)


def loss(model, blocks):
    """Summed cross-entropy of every row, float64."""
    with torch.no_grad():
        logits = model(input_ids=blocks.ids).logits[:, :-1].double()
    each = F.cross_entropy(logits.flatten(0, 1), blocks.ids[:, 1:].flatten(), reduction="none")
    return (each.view(len(logits), -1) * blocks.valid[:, 1:]).sum(1)


def test_gradients_are_finite_differences(case):
    model, decomposition, blocks = case
    before = snapshot(model)
    found = traces(workspace(model, decomposition), NAMES, blocks)
    assert same(model, before)
    step = 0.02
    for i, name in enumerate(NAMES):
        sides = []
        for alpha in (1 + step, 1 - step):
            with scale_edit(decomposition, {name: alpha}).applied(model):
                sides.append(loss(model, blocks))
        expected = (sides[0] - sides[1]) / (2 * step)
        assert expected.abs().max() > 0.01
        assert found.gradient[..., i].sum(1).double() == pytest.approx(expected, rel=0.02, abs=2e-3)


def test_positions_that_no_prediction_needs_have_no_gradient(case):
    model, decomposition, blocks = case
    found = traces(workspace(model, decomposition), NAMES, blocks)
    assert (found.gradient[1, 6:] == 0).all()
    assert (found.gradient[1, :6] != 0).any()
    assert (found.gradient[:, -1] == 0).all()


def test_activations_are_those_of_the_sites(case):
    model, decomposition, blocks = case
    found = traces(workspace(model, decomposition), NAMES, blocks)
    with DecomposedModel(model, decomposition) as wrapped:
        _, inputs = wrapped.clean(blocks.ids)
    for i, name in enumerate(NAMES):
        read, write = decomposition.vectors(name)
        x = inputs[decomposition.sites.index(name.rpartition(":")[0])]
        assert torch.allclose(found.activation[..., i], (x @ read) * write.norm(), atol=1e-4)


def test_drawn_labels_estimate_the_fisher_information():
    """Σ_t Var_p(J_t), J the derivative of the logits in α by finite differences, for a single subcomponent."""
    model = target()
    decomposition = decomposed(model, "random")
    name, step = "h.0.mlp.down_proj:1", 1e-2
    ids = torch.randint(1, TINY_VOCAB, (4, 6), generator=torch.Generator().manual_seed(1))
    blocks = Blocks(ids, torch.arange(6).expand(4, 6) > 0)
    sides = []
    for alpha in (1 + step, 1 - step):
        with scale_edit(decomposition, {name: alpha}).applied(model), torch.no_grad():
            sides.append(model(input_ids=ids).logits[:, :-1].double())
    moved = (sides[0] - sides[1]) / (2 * step)
    with torch.no_grad():
        p = model(input_ids=ids).logits[:, :-1].double().softmax(-1)
    variance = (p * moved.square()).sum(-1) - (p * moved).sum(-1).square()
    expected = float(variance.sum()) / blocks.tokens
    traced = traces(workspace(model, decomposition), [name], blocks, draws=120)
    found = statistics([traced], torch.zeros(1, 1), [torch.zeros(ids.shape)], TINY_VOCAB)
    assert float(found.fisher) == pytest.approx(expected, rel=0.2)


def test_draws_follow_their_seed(case):
    model, decomposition, blocks = case
    one, again, other = (
        traces(workspace(model, decomposition), NAMES, blocks, 2, seed).drawn for seed in (3, 3, 4)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_a_component_is_its_members_scaled_together(case):
    model, decomposition, blocks = case
    each = traces(workspace(model, decomposition), NAMES, blocks, 2)
    one = each.together()
    step = 0.02
    sides = []
    for alpha in (1 + step, 1 - step):
        with scale_edit(decomposition, dict.fromkeys(NAMES, alpha)).applied(model):
            sides.append(loss(model, blocks))
    assert one.gradient.sum((1, 2)).double() == pytest.approx(
        (sides[0] - sides[1]) / (2 * step), rel=0.03, abs=3e-3
    )
    assert torch.allclose(one.activation[..., 0], each.activation.norm(dim=-1))
    assert torch.allclose(one.drawn[..., 0], each.drawn.sum(-1))
    single = traces(workspace(model, decomposition), NAMES[:1], blocks)
    assert single.together() is single


def test_bad_input(case):
    model, decomposition, blocks = case
    with pytest.raises(RankOneError, match="empty"):
        traces(workspace(model, decomposition), NAMES, Blocks(blocks.ids, torch.zeros_like(blocks.valid)))
    with pytest.raises(RankOneError, match="unknown site"):
        traces(workspace(model, decomposition), ["h.0.mlp.up:1"], blocks)
