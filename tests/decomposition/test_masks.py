"""The fused mask and penalty kernel against a plain float64 oracle that autograd differentiates."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.masks import draw_noise, masks_and_penalty
from rankone.decomposition.squash import lower, upper

B, T, C = 3, 5, 6
SCOPES = {"bsc": (B, T, C), "sc": (1, T, C), "bc": (B, 1, C), "c": (1, 1, C)}
ADVERSARIAL = torch.tensor([True, False, True]).view(B, 1, 1)
SHARPNESS = {"smooth_l0": 0.3, "lp": 0.7}


def inputs(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(B, T, C, generator=generator) + 0.3
    logits[:, :, 0] = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])
    noise = draw_noise((B, T, C), generator)
    source = torch.rand(shape, generator=generator)
    to_mask = torch.randn(B, T, C, generator=generator)
    to_penalty = torch.randn(C, generator=generator)
    return logits, noise, source, to_mask, to_penalty


def oracle(logits, noise, source, adversarial, sharpness, kind):
    """m = g + (1 − g) r and f_c as written in the method."""
    r = torch.where(adversarial, source, (noise.double() + 0.5) / 256)
    g = lower(logits)
    mask = g + (1 - g) * r
    # ψ′(0) of L_p is infinite: differentiate only where the importance is positive.
    active = logits > 0
    up = upper(torch.where(active, logits, torch.ones_like(logits)))
    psi = up**2 / (up**2 + sharpness**2) if kind == "smooth_l0" else (up + 1e-12) ** sharpness
    at_zero = 0.0 if kind == "smooth_l0" else 1e-12**sharpness
    return mask, torch.where(active, psi, at_zero).mean((0, 1)), active.double().mean((0, 1))


def both(scope, kind, adversarial=ADVERSARIAL, compiled=False):
    """(outputs, gradients) of the kernel and of the oracle."""
    logits, noise, source, to_mask, to_penalty = inputs(SCOPES[scope])
    results = []
    for exact in (False, True):
        dtype = torch.float64 if exact else torch.float32
        leaves = [t.to(dtype).requires_grad_() for t in (logits, source)]
        if exact:
            out = oracle(leaves[0], noise, leaves[1], adversarial, SHARPNESS[kind], kind)
        else:
            sharpness = torch.tensor(SHARPNESS[kind])
            out = masks_and_penalty(leaves[0], noise, leaves[1], adversarial, sharpness, kind, compiled)
        loss = (out[0] * to_mask.to(dtype)).sum() + (out[1] * to_penalty.to(dtype)).sum()
        results.append((out, torch.autograd.grad(loss, leaves)))
    return results


def check_same(found, expected):
    for ours, theirs in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scope", list(SCOPES))
@pytest.mark.parametrize("kind", list(SHARPNESS))
def test_values_and_gradients_are_those_of_the_formula(scope, kind):
    found, expected = both(scope, kind)
    assert found[1][1].shape == SCOPES[scope]
    assert found[1][0].isfinite().all()
    check_same(found, expected)


@pytest.mark.parametrize("scope", ["bsc", "c"])
@pytest.mark.parametrize("value", [True, False])
def test_rows_all_of_one_kind(scope, value):
    found, expected = both(scope, "smooth_l0", torch.full((B, 1, 1), value))
    check_same(found, expected)
    assert bool(found[1][1].any()) is value


def test_each_output_has_its_own_gradient():
    """A penalty alone leaves the source be; masks alone do not see the sharpness."""
    logits, noise, source, *_ = inputs(SCOPES["bc"])
    logits.requires_grad_()
    source.requires_grad_()

    def run(sharpness):
        return masks_and_penalty(logits, noise, source, ADVERSARIAL, torch.tensor(sharpness), "smooth_l0")

    by_logits, by_source = torch.autograd.grad(run(0.3)[1].sum(), [logits, source])
    assert by_logits.any()
    assert not by_source.any()
    soft, sharp = (torch.autograd.grad(run(s)[0].sum(), [logits])[0] for s in (1.0, 0.1))
    assert torch.equal(soft, sharp)


def test_firing_counts_positive_logits_and_carries_no_gradient():
    logits, noise, source, *_ = inputs(SCOPES["c"])
    firing = masks_and_penalty(
        logits.requires_grad_(), noise, source, ADVERSARIAL, torch.tensor(0.5), "smooth_l0"
    )[2]
    assert firing[0].item() == pytest.approx(3 / 5)  # −1, 0, ½, 1, 2 in every row
    assert not firing.requires_grad


def test_adversarial_rows_ignore_noise_and_the_others_the_source():
    logits, noise, source, *_ = inputs(SCOPES["bsc"])
    args = (ADVERSARIAL, torch.tensor(0.5), "smooth_l0")
    mask = masks_and_penalty(logits, noise, source, *args)[0]
    other_noise = masks_and_penalty(logits, 255 - noise, source, *args)[0]
    other_source = masks_and_penalty(logits, noise, 1 - source, *args)[0]
    rows = ADVERSARIAL.flatten()
    assert torch.equal(mask[rows], other_noise[rows])
    assert torch.equal(mask[~rows], other_source[~rows])
    assert not torch.equal(mask[~rows], other_noise[~rows])
    assert not torch.equal(mask[rows], other_source[rows])


def test_masks_keep_the_dtype_of_the_logits_and_the_source_its_own():
    logits, noise, source, to_mask, _ = inputs(SCOPES["bc"])
    half, source = logits.bfloat16().requires_grad_(), source.requires_grad_()
    mask, penalty, firing = masks_and_penalty(
        half, noise, source, ADVERSARIAL, torch.tensor(0.5), "smooth_l0"
    )
    assert (mask.dtype, penalty.dtype, firing.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    by_logits, by_source = torch.autograd.grad((mask.float() * to_mask).sum(), [half, source])
    assert (by_logits.dtype, by_source.dtype) == (torch.bfloat16, torch.float32)


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(SHARPNESS))
def test_compiled_kernel_is_the_eager_one(kind):
    found, expected = both("bc", kind, compiled=True)
    check_same(found, expected)


def test_with_levels_sources_are_zero_or_one_with_that_probability():
    generator = torch.Generator().manual_seed(1)
    noise = draw_noise((3, 50, 400), generator)
    logits = torch.full((3, 50, 400), -1.0)
    level = torch.tensor([0.0, 0.3, 1.0]).view(3, 1, 1)
    nobody = torch.zeros(3, 1, 1, dtype=torch.bool)
    args = (torch.zeros(1, 1, 400), nobody, torch.tensor(0.5), "smooth_l0")
    mask = masks_and_penalty(logits, noise, *args, level=level)[0]
    # Importance 0 everywhere: the mask is the source itself.
    assert not mask[0].any()
    assert (mask[2] == 1).all()
    assert set(mask[1].unique().tolist()) == {0.0, 1.0}
    assert mask[1].mean().item() == pytest.approx(0.3, abs=0.02)


def test_levels_send_a_gradient_only_where_the_source_is_zero():
    noise = torch.tensor([[[10, 250]]], dtype=torch.uint8)
    logits = torch.full((1, 1, 2), 0.5, requires_grad=True)
    args = (torch.zeros(1, 1, 2), torch.zeros(1, 1, 1, dtype=torch.bool), torch.tensor(0.5), "smooth_l0")
    mask = masks_and_penalty(logits, noise, *args, level=torch.full((1, 1, 1), 0.5))[0]
    assert mask.flatten().tolist() == [1.0, 0.5]
    mask.sum().backward()
    assert logits.grad.flatten().tolist() == [0.0, 1.0]
