"""Where masks come from: noise, and the sources made of it."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.masking.masks import draw_noise, sources


def chi_square(counts):
    expected = counts.sum() / len(counts)
    return ((counts - expected) ** 2 / expected).sum().item()


def test_noise_is_uniform_in_every_byte_of_a_draw():
    noise = draw_noise((280, 1000), torch.Generator().manual_seed(0))
    assert noise.dtype == torch.uint8
    # 255 degrees of freedom: mean 255, standard deviation 22.6.
    for lane in noise.flatten().view(-1, 7).T:
        assert 160 < chi_square(torch.bincount(lane.long(), minlength=256).double()) < 360
    pairs = noise.flatten()[:-1].long() // 16 * 16 + noise.flatten()[1:].long() // 16
    assert 160 < chi_square(torch.bincount(pairs, minlength=256).double()) < 360


@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 1, 1), (7,), (4, 2)])
def test_noise_follows_from_its_generator(shape):
    first, again = (draw_noise(shape, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first.shape == shape
    assert torch.equal(first, again)


def test_two_draws_from_one_generator_differ():
    generator = torch.Generator().manual_seed(5)
    assert not torch.equal(draw_noise((50,), generator), draw_noise((50,), generator))


def test_sources_come_from_the_adversary_where_a_slot_is_adversarial():
    noise = draw_noise((3, 5, 6), torch.Generator().manual_seed(0))
    source = torch.rand(3, 1, 6)
    adversarial = torch.tensor([True, False, True]).view(3, 1, 1)
    found = sources(noise, source, adversarial, None)
    assert torch.equal(found[0], source[0].expand(5, 6))
    assert torch.equal(found[1], (noise[1].float() + 0.5) / 256)
    assert torch.equal(sources(None, source, adversarial, None), source)
    assert torch.equal(sources(noise, None, adversarial, None), (noise.float() + 0.5) / 256)


def test_with_levels_sources_are_zero_or_one_with_that_probability():
    noise = draw_noise((3, 50, 400), torch.Generator().manual_seed(1))
    level = torch.tensor([0.0, 0.3, 1.0]).view(3, 1, 1)
    found = sources(noise, None, torch.zeros(3, 1, 1, dtype=torch.bool), level)
    assert not found[0].any()
    assert (found[2] == 1).all()
    assert set(found[1].unique().tolist()) == {0.0, 1.0}
    assert found[1].mean().item() == pytest.approx(0.3, abs=0.02)
