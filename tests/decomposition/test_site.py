"""One masked site against the explicit formula in float64, and the wrap that must leave no trace."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tests.helpers import gpt2, llama, probe, same, simple_mlp, snapshot
from torch import nn
from transformers.pytorch_utils import Conv1D

from rankone.decomposition.masking.masking import Masking, MaskingInForce, SiteMask
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
GRID = (B, T)
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
    return DecomposedSite(base, site, (read, write), MaskingInForce())


def run(site, x, *mask, **keep):
    """The site's output under a mask (none: the untouched layer)."""
    masks = {site.name: SiteMask(*mask)} if mask else {}
    with site._in_force.put(Masking(GRID, masks, **keep)):
        return site(x)


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
    found = run(site, x, mask, delta if with_delta else None, route if with_route else None)
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
    torch.testing.assert_close(run(site, x, mask, delta), explicit(site, x, mask, delta, torch.ones(())))


def test_gate_by_hand():
    # Route 1: 3 · (0.9 − 0.4) = 1.5; route 0: nothing.
    activation, mask = torch.tensor([[[3.0], [3.0]]]), torch.tensor([[[0.9], [0.9]]])
    delta, route = torch.tensor([[[0.4], [0.4]]]), torch.tensor([[[1.0], [0.0]]])
    torch.testing.assert_close(gate(activation, mask, delta, route), torch.tensor([[[1.5], [0.0]]]))


@pytest.mark.parametrize("build", [linear, conv1d])
def test_a_site_without_a_mask_is_the_layer_itself(build):
    site, x = random_site(build), torch.randn(B, T, D_IN, dtype=torch.float64)
    assert not torch.equal(run(site, x, torch.zeros(C)), site.base(x))
    assert torch.equal(site(x), site.base(x))
    assert torch.equal(run(site, x), site.base(x))
    assert site.matrix().shape == (D_OUT, D_IN)
    assert site.weight is site.base.weight


def test_a_forward_leaves_inputs_and_outputs_where_it_is_told():
    site, x = random_site(linear), torch.randn(B, T, D_IN, dtype=torch.float64)
    inputs, outputs = {}, {}
    run(site, x, inputs=inputs, outputs=outputs)
    assert inputs[site.name] is x
    assert outputs == {}  # of an unmasked site
    out = run(site, x, torch.zeros(C), None, None, outputs=outputs)
    assert outputs[site.name] is out


def test_positions_in_one_row_are_laid_on_the_grid():
    site, x = random_site(linear), torch.randn(B, T, D_IN, dtype=torch.float64)
    mask, inputs, outputs = torch.rand(B, T, C).double(), {}, {}
    out = run(site, x.flatten(0, 1), mask, inputs=inputs, outputs=outputs)
    assert out.shape == (B * T, D_OUT)
    assert torch.equal(out.view(B, T, -1), run(site, x, mask))
    assert torch.equal(inputs[site.name], x)
    assert outputs[site.name].shape == (B, T, D_OUT)


def test_a_masking_cannot_be_changed_and_what_was_before_comes_back():
    in_force, outer, inner = MaskingInForce(), Masking(GRID), Masking(GRID)
    with pytest.raises(dataclasses.FrozenInstanceError):
        outer.grid = (1, 1)
    with in_force.put(outer):
        with in_force.put(inner):
            assert in_force.now is inner
        assert in_force.now is outer
        with pytest.raises(ZeroDivisionError), in_force.put(inner):
            raise ZeroDivisionError
        assert in_force.now is outer
    assert in_force.now is None


def test_a_forward_changes_no_attribute_of_a_site():
    site, x = random_site(linear), torch.randn(B, T, D_IN, dtype=torch.float64)
    before = dict(vars(site))
    run(site, x, torch.rand(C).double(), inputs={}, outputs={})
    assert vars(site) == before


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
    in_force = MaskingInForce()
    with installed(model, all_factors(model), in_force) as placed:
        assert list(placed) == [s for s in placed if isinstance(model.get_submodule(s), DecomposedSite)]
        assert torch.equal(model(input_ids=ids).logits, clean)
        with in_force.put(Masking(tuple(ids.shape), {next(iter(placed)): SiteMask(torch.zeros(3))})):
            assert not torch.equal(model(input_ids=ids).logits, clean)
    assert dict(model.named_modules()) == modules
    assert same(model, before)
    assert torch.equal(model(input_ids=ids).logits, clean)


def test_modules_are_put_back_after_an_exception():
    model = gpt2()
    modules = dict(model.named_modules())
    with pytest.raises(ZeroDivisionError), installed(model, all_factors(model), MaskingInForce()):
        raise ZeroDivisionError
    assert dict(model.named_modules()) == modules


def test_an_unknown_site_replaces_nothing():
    model = gpt2()
    modules = dict(model.named_modules())
    factors = all_factors(model) | {"h.9.nowhere": (nn.Parameter(), nn.Parameter())}
    with pytest.raises(KeyError), installed(model, factors, MaskingInForce()):
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
