"""One masked site against the explicit formula in float64, and the wrap that must leave no trace."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import gpt2, llama, probe, same, simple_mlp, snapshot
from torch import nn
from transformers.pytorch_utils import Conv1D

from rankone.decomposition.site import (
    DecomposedSite,
    delta_of,
    faithfulness,
    gate,
    installed,
    relative_faithfulness,
)
from rankone.models.sites import Site, find_sites

B, T, D_IN, D_OUT, C = 2, 3, 5, 7, 4
MODELS = {"simple_mlp": simple_mlp, "gpt2": gpt2, "llama": llama}


def linear():
    return nn.Linear(D_IN, D_OUT)


def bare_linear():
    return nn.Linear(D_IN, D_OUT, bias=False)


def conv1d():
    layer = Conv1D(D_OUT, D_IN)
    nn.init.normal_(layer.bias)
    return layer


def random_site(build):
    base = build().double().requires_grad_(False)
    read = nn.Parameter(torch.randn(D_IN, C, dtype=torch.float64))
    write = nn.Parameter(torch.randn(C, D_OUT, dtype=torch.float64))
    site = Site("h.0.x", base, D_IN, D_OUT, isinstance(base, Conv1D))
    return DecomposedSite(base, site, read, write)


def explicit(site, x, mask, delta, route):
    """y = ρ (((x V) ⊙ m) U + m_Δ x Δᵀ) + (1 − ρ) x Wᵀ + b, with Δ formed."""
    weight = site.base.weight.T if site.transposed else site.base.weight
    remainder = weight - (site.V @ site.U).T
    masked = ((x @ site.V) * mask) @ site.U + delta * (x @ remainder.T)
    bias = site.base.bias if site.base.bias is not None else 0.0
    return route * masked + (1 - route) * (x @ weight.T) + bias


@pytest.mark.parametrize("build", [linear, bare_linear, conv1d])
@pytest.mark.parametrize("with_delta", [True, False])
@pytest.mark.parametrize("with_route", [True, False])
def test_masked_forward_and_gradients_are_those_of_the_explicit_formula(build, with_delta, with_route):
    site = random_site(build)
    x = torch.randn(B, T, D_IN, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(B, T, C, dtype=torch.float64, requires_grad=True)
    delta = torch.rand(B, T, 1, dtype=torch.float64, requires_grad=True)
    route = torch.tensor([[1, 0, 1], [0, 1, 1]], dtype=torch.float64).unsqueeze(-1)
    site.set_masks(mask, delta if with_delta else None, route if with_route else None)
    found = site(x)
    expected = explicit(
        site, x, mask, delta if with_delta else torch.zeros(()), route if with_route else torch.ones(())
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    leaves = [x, mask, site.V, site.U, *([delta] if with_delta else [])]
    upstream = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, leaves, upstream) for y in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_masks_broadcast_over_rows_and_positions():
    site, x = random_site(linear), torch.randn(B, T, D_IN, dtype=torch.float64)
    mask, delta = torch.rand(1, 1, C).double(), torch.rand(B, 1, 1).double()
    site.set_masks(mask, delta, None)
    torch.testing.assert_close(site(x), explicit(site, x, mask, delta, torch.ones(())))


def test_gate_by_hand():
    # Route 1: 3 · (0.9 − 0.4) = 1.5; route 0: nothing.
    activation, mask = torch.tensor([[[3.0], [3.0]]]), torch.tensor([[[0.9], [0.9]]])
    delta, route = torch.tensor([[[0.4], [0.4]]]), torch.tensor([[[1.0], [0.0]]])
    torch.testing.assert_close(gate(activation, mask, delta, route), torch.tensor([[[1.5], [0.0]]]))


@pytest.mark.parametrize("build", [linear, conv1d])
def test_a_cleared_site_is_the_layer_itself(build):
    site, x = random_site(build), torch.randn(B, T, D_IN, dtype=torch.float64)
    site.set_masks(torch.zeros(C), None, None)
    assert not torch.equal(site(x), site.base(x))
    site.clear()
    assert torch.equal(site(x), site.base(x))
    assert site.matrix().shape == (D_OUT, D_IN)
    assert site.weight is site.base.weight


def test_capture_keeps_the_input_only_when_asked():
    site, x = random_site(linear), torch.randn(B, T, D_IN, dtype=torch.float64)
    site(x)
    assert site.input is None
    site.capture = True
    site(x)
    assert site.input is x


def all_factors(model):
    return {
        s.name: (nn.Parameter(torch.randn(s.d_in, 3)), nn.Parameter(torch.randn(3, s.d_out)))
        for s in find_sites(model)
    }


@pytest.mark.parametrize("name", list(MODELS))
def test_an_untouched_wrap_changes_no_bit_and_leaves_no_trace(name):
    model, ids = MODELS[name](), probe()
    before, modules = snapshot(model), dict(model.named_modules())
    clean = model(input_ids=ids).logits
    with installed(model, all_factors(model)) as placed:
        assert list(placed) == [s for s in placed if isinstance(model.get_submodule(s), DecomposedSite)]
        assert torch.equal(model(input_ids=ids).logits, clean)
        next(iter(placed.values())).set_masks(torch.zeros(3), None, None)
        assert not torch.equal(model(input_ids=ids).logits, clean)
    assert dict(model.named_modules()) == modules
    assert same(model, before)
    assert torch.equal(model(input_ids=ids).logits, clean)


def test_modules_are_put_back_after_an_exception():
    model = gpt2()
    modules = dict(model.named_modules())
    with pytest.raises(ZeroDivisionError), installed(model, all_factors(model)):
        raise ZeroDivisionError
    assert dict(model.named_modules()) == modules


def test_an_unknown_site_replaces_nothing():
    model = gpt2()
    modules = dict(model.named_modules())
    factors = all_factors(model) | {"h.9.nowhere": (nn.Parameter(), nn.Parameter())}
    with pytest.raises(KeyError), installed(model, factors):
        pass
    assert dict(model.named_modules()) == modules


def test_delta_by_hand():
    # (V U)ᵀ for V = (1, 2)ᵀ, U = (3, 4) is ((3, 6), (4, 8)).
    weight = torch.tensor([[3.0, 7.0], [4.0, 8.5]])
    delta = delta_of(weight, torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0]]))
    assert delta.tolist() == [[0.0, 1.0], [0.0, 0.5]]


def test_faithfulness_by_hand():
    # (1 + 4 + 9 + 16 + 1 + 1) / (4 + 2): one mean over all weights, not a mean of means.
    deltas = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, -1.0]])]
    assert faithfulness([d.square().sum() for d in deltas], deltas).item() == pytest.approx(32 / 6)


def test_relative_faithfulness_by_hand():
    # (5 / 10 + 1 / 4) / 2
    deltas = [torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0]])]
    weights = [torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0]])]
    squares = [d.square().sum() for d in deltas]
    assert relative_faithfulness(squares, weights).item() == pytest.approx(0.375)
