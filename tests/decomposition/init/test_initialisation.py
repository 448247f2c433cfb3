"""How subcomponents start: aligned ones are W exactly, random ones have the stated spread."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import gpt2, llama, simple_mlp

from rankone.core.errors import RankOneError
from rankone.decomposition.init.initialisation import aligned, initial_factors, random
from rankone.decomposition.site import site_weight
from rankone.models.sites import find_sites

MODELS = {"simple_mlp": simple_mlp, "gpt2": gpt2, "llama": llama}


def seeded():
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("spare", [0, 5])
@pytest.mark.parametrize("name", list(MODELS))
def test_an_aligned_start_is_exactly_faithful_at_every_site(name, spare):
    for site in find_sites(MODELS[name]()):
        weight, count = site_weight(site), max(site.d_in, site.d_out) + spare
        read, write = initial_factors("aligned", site.name, weight, count, seeded())
        assert read.shape == (site.d_in, count)
        assert write.shape == (count, site.d_out)
        assert ((read @ write).T - weight).abs().max() < 1e-6, site.name


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (6, 6)])
def test_factors_are_balanced_and_one_side_is_one_hot(shape):
    weight = torch.randn(shape)
    read, write = aligned(weight, max(shape), seeded())
    torch.testing.assert_close(read.norm(dim=0), write.norm(dim=1))
    one_hot = write if shape[0] >= shape[1] else read.T
    assert ((one_hot != 0).sum(1) == 1).all()


def test_square_matrices_align_to_outputs_unless_they_write_the_residual_stream():
    weight = torch.randn(6, 6)
    by_output = initial_factors("aligned", "h.0.attn.q_proj", weight, 6, seeded())
    by_input = initial_factors("aligned", "h.0.attn.o_proj", weight, 6, seeded())
    assert ((by_output[1] != 0).sum(1) == 1).all()
    assert ((by_input[0] != 0).sum(0) == 1).all()
    assert (by_output[0] != 0).all()
    assert (by_input[1] != 0).all()


def test_a_zero_row_stays_faithful():
    weight = torch.randn(5, 3)
    weight[2] = 0
    read, write = aligned(weight, 5, seeded())
    assert read.isfinite().all()
    assert ((read @ write).T - weight).abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_spare_subcomponents_are_small_but_can_learn(shape):
    """One factor is 0 (nothing is added), the other is not (its gradient is alive)."""
    weight = torch.randn(shape)
    read, write = aligned(weight, 12, seeded())
    by_output = shape[0] >= shape[1]
    used, unused = (read[:, 9:].T, write[9:]) if by_output else (write[9:], read[:, 9:].T)
    assert not unused.any()
    assert (used.norm(dim=1) > 0).all()
    assert used.abs().max() < 0.01 * weight.abs().max()


@pytest.mark.parametrize(("shape", "needed"), [((9, 4), 9), ((4, 9), 9), ((6, 6), 6)])
def test_too_few_subcomponents_are_refused(shape, needed):
    with pytest.raises(RankOneError, match=rf"needs C ≥ {needed} .*C = {needed - 1}.*initialisation: random"):
        aligned(torch.randn(shape), needed - 1, seeded())


def test_random_factors_have_the_stated_spread():
    read, write = random(torch.zeros(300, 200), 500, seeded())
    assert read.shape == (200, 500)
    assert write.shape == (500, 300)
    assert read.std().item() == pytest.approx(200**-0.5, rel=0.01)
    assert write.std().item() == pytest.approx(500**-0.5, rel=0.01)
    assert abs(read.mean().item()) < 0.001
    assert abs(write.mean().item()) < 0.001


@pytest.mark.parametrize("kind", ["aligned", "random"])
def test_the_generator_decides_everything(kind):
    weight = torch.randn(6, 6)
    first, again = (initial_factors(kind, "h.0.attn.q_proj", weight, 9, seeded()) for _ in range(2))
    other = initial_factors(kind, "h.0.attn.q_proj", weight, 9, torch.Generator().manual_seed(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
