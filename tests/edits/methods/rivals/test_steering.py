"""Steering: what is added where, by hand; a stack equals each run alone; there is no edit of weights."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import probe, simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.adapters import adapted
from rankone.edits.methods.rivals.steering import Steered, mean_residual
from rankone.models.sites import site_named
from rankone.text.blocks import Blocks

SITE = "h.0.mlp.down_proj"


@pytest.fixture(scope="module")
def model():
    return simple_mlp()


@pytest.fixture
def site(model):
    return site_named(model, SITE)


def test_the_residual_stream_moves_by_as_much(model, site):
    """Behind the block, the mean residual is the old one and `amount` times the direction."""
    ids = probe(2, 6)
    text = Blocks(ids, torch.ones_like(ids, dtype=torch.bool))
    direction = torch.randn(site.d_out, generator=torch.Generator().manual_seed(0))
    method = Steered(site, direction, "steering", 1.0)
    before = mean_residual(model, site, text)
    with adapted(model, method, {"amount": torch.tensor([[2.5]])}, 1):
        after = mean_residual(model, site, text)
    torch.testing.assert_close(after, before + 2.5 * direction, rtol=1e-4, atol=1e-5)


def test_a_condition_adds_where_it_holds(site):
    reads = torch.zeros(site.d_in)
    reads[3] = 1.0
    method = Steered(site, torch.ones(site.d_out), "steering_conditional", 1.0, reads, 0.5)
    x = torch.zeros(2, 4, site.d_in)
    x[0, 1, 3], x[1, 2, 3] = 0.6, 0.4
    change = method.change(SITE, {"amount": torch.tensor([[2.0], [7.0]])}, x)
    assert change[0].sum(-1).tolist() == [0.0, 2.0 * site.d_out, 0.0, 0.0]
    assert change[1].abs().sum() == 0


def test_a_stack_equals_each_run_alone(model, site):
    ids = probe(2, 6)
    method = Steered(
        site, torch.randn(site.d_out, generator=torch.Generator().manual_seed(0)), "steering", 1.0
    )
    amounts = torch.tensor([[1.0], [-3.0]])
    with torch.no_grad(), adapted(model, method, {"amount": amounts}, 2):
        together = model(ids.repeat(2, 1)).logits.unflatten(0, (2, -1))
    for run in range(2):
        with torch.no_grad(), adapted(model, method, {"amount": amounts[run : run + 1]}, 1):
            torch.testing.assert_close(together[run], model(ids).logits, rtol=1e-4, atol=1e-4)


def test_every_run_starts_with_the_same_amount(site):
    direction = torch.randn(site.d_out, generator=torch.Generator().manual_seed(0))
    method = Steered(site, direction, "steering", 1.5)
    start = {name: value.detach() for name, value in method.start(2, [0, 1]).items()}
    x = torch.randn(2, 3, site.d_in)
    torch.testing.assert_close(method.change(SITE, start, x), (1.5 * direction).expand(2, 3, -1))


def test_a_size_is_so_many_times_as_much(site):
    method = Steered(site, torch.ones(site.d_out), "steering", 1.0)
    assert method.resized({"amount": torch.tensor([2.0])}, 3.0)["amount"].tolist() == [6.0]
    assert method.fixed


def test_there_is_no_edit_of_weights(site):
    method = Steered(site, torch.ones(site.d_out), "steering", 1.0)
    with pytest.raises(RankOneError, match="'steering' adds to activations, and no edit of weights can"):
        method.edit({"amount": torch.tensor([[1.0]])}, 0)
