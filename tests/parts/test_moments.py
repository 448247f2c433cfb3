"""Moments: against outputs kept whole; what is padded does not count; what three sites read is summed once."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import gpt2, llama, probe, simple_mlp

from rankone.core.errors import RankOneError
from rankone.models.sites import find_sites, weight_of
from rankone.parts import moments as module
from rankone.parts.moments import collect_moments, combined


def inputs(model, ids, sites):
    """What each site reads, by a plain forward."""
    seen = {}
    hooks = [s.module.register_forward_hook(lambda m, x, y, n=s.name: seen.update({n: x[0]})) for s in sites]
    with torch.no_grad():
        model(input_ids=ids)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama])
@pytest.mark.parametrize("side", ["smaller", "input"])
def test_moments_are_those_of_what_was_read(build, side, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 2)
    model, ids = build(), probe(5, 7)
    sites = find_sites(model, None)
    counted = torch.arange(7).expand(5, 7) < torch.tensor([[7], [3], [5], [1], [6]])
    found = collect_moments(model, sites, ids, counted, side)
    seen = inputs(model, ids, sites)
    for site in sites:
        x, own = seen[site.name][counted], found[site.name]
        y = x @ weight_of(site).T
        assert own.of_output == (side == "smaller" and site.d_out < site.d_in)
        read = y if own.of_output else x
        torch.testing.assert_close(own.mean, x.mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(own.mean_square, x.square().mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(own.second, read.T @ read / len(read), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(own.output_mean(), y.mean(0), rtol=1e-3, atol=1e-4)
        if own.of_output:
            with pytest.raises(RankOneError, match="collect with side='input'"):
                own.input_second()
        else:
            torch.testing.assert_close(own.input_second(), x.T @ x / len(x), rtol=1e-3, atol=1e-4)


def test_sites_that_read_one_tensor_share_its_moment():
    model = llama()
    found = collect_moments(model, find_sites(model, None), probe(), side="input")
    names = [f"model.layers.0.self_attn.{p}_proj" for p in "qkv"]
    firsts = [
        collect_moments(model, find_sites(model, [name]), probe(), side="input")[name].input_second()
        for name in names
    ]
    for name, alone in zip(names, firsts, strict=True):
        torch.testing.assert_close(found[name].input_second(), alone)


def test_a_combination_is_the_weighted_mean():
    model = simple_mlp()
    sites = find_sites(model, ["*down_proj"])
    one, two = (collect_moments(model, sites, probe(seed=s)) for s in (0, 1))
    found, name = combined([one, two], [3.0, 1.0]), sites[0].name
    torch.testing.assert_close(found[name].second, 0.75 * one[name].second + 0.25 * two[name].second)
    torch.testing.assert_close(found[name].mean, 0.75 * one[name].mean + 0.25 * two[name].mean)
    with pytest.raises(RankOneError, match="one positive weight each"):
        combined([one, two], [1.0])


def test_no_text_and_values_that_are_not_finite_are_refused():
    model = simple_mlp()
    sites = find_sites(model, ["h.1.mlp.down_proj"])
    with pytest.raises(RankOneError, match="no text"):
        collect_moments(model, sites, probe(), torch.zeros(2, 12, dtype=torch.bool))
    model.get_parameter("h.0.mlp.c_fc.weight").data.fill_(float("inf"))
    with pytest.raises(RankOneError, match="is not finite"):
        collect_moments(model, sites, probe())
