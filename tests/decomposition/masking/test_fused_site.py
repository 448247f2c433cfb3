"""The fused site against the plain formula in float64, differentiated by autograd: values and every gradient."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.masking.fused_site import CastFactors, Factors, masked_site
from rankone.decomposition.masking.masks import MaskParts, draw_noise
from rankone.decomposition.masking.squash import lower

B, T, D, C, OUT = 3, 4, 5, 6, 7
SCOPES = {"bsc": (B, T, C), "sc": (1, T, C), "bc": (B, 1, C), "c": (1, 1, C)}
MIXED = torch.tensor([True, False, True]).view(B, 1, 1)
ALL, NONE = torch.ones_like(MIXED), torch.zeros_like(MIXED)
NAMES = ("x", "read", "write", "logits", "source", "delta")


def leaves(shape=(B, 1, C), dtype=torch.float64, seed=0):
    """x, V, U, logits, source and m_Δ that ask for gradients."""
    generator = torch.Generator().manual_seed(seed)
    sizes = ((B, T, D), (D, C), (C, OUT), (B, T, C))
    found = [torch.randn(size, generator=generator) for size in sizes]
    found[3][:, :, 0] = torch.tensor([-1.0, 0.0, 1.0, 2.0])  # on both edges of the squashing, and beyond them
    found += [torch.rand(shape, generator=generator), torch.rand(B, T, 1, generator=generator)]
    return [value.to(dtype).requires_grad_() for value in found]


def rest(seed=1):
    """W, noise and a routing of which a third is off."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(OUT, D, generator=generator)
    route = (torch.rand(B, T, 1, generator=generator) > 0.3).float()
    return weight, draw_noise((B, T, C), generator), route


def formula(given, weight, noise, route, adversarial, level=None):
    """((x V) ⊙ m) U + m_Δ · x (W − (V U)ᵀ)ᵀ where routed, x Wᵀ elsewhere."""
    x, read, write, logits, source, delta = given
    byte = noise.double() + 0.5
    drawn = byte / 256 if level is None else (byte < 256 * level).double()
    r = torch.where(adversarial, source, drawn)
    g = lower(logits)
    mask = g + (1 - g) * r
    remainder = weight.double() - (read @ write).T
    out = ((x @ read) * mask) @ write + delta * (x @ remainder.T)
    return torch.where(route > 0.5, out, x @ weight.double().T)


def asked(logits, noise, source, adversarial, level=None, search=False):
    """Parts that ask for the gradients of logits and source, to be added to 1."""
    given = [None if value is None else value.detach() for value in (logits, source)]
    sums = [None if value is None else torch.ones_like(value) for value in given]
    return MaskParts(given[0], noise, given[1], adversarial, level, search, *sums)


def fused(given, weight, parts, route, compiled=False):
    """The site's output; logits and source of `given` are in `parts`."""
    x, read, write, *_, delta = given
    factors = Factors(*(t.detach().to(x.dtype) for t in (read, write, weight)))
    return masked_site(x, read, write, parts, delta, route.to(x.dtype), factors, compiled)


def all_gradients(out, given, parts, seed=2):
    """By name: autograd's, and what the backward has added for logits and source."""
    own = {n: v for n, v in zip(NAMES, given, strict=True) if n not in ("logits", "source")}
    found = dict(zip(own, gradients(out, list(own.values()), seed), strict=True))
    sums = {"logits": parts.to_logits, "source": parts.to_source}
    return found | {n: s - 1 for n, s in sums.items() if s is not None}


def gradients(out, given, seed=2):
    """Of a random weighting of the output; None becomes zeros."""
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed)).to(out.dtype)
    found = torch.autograd.grad((out * upstream).sum(), given, allow_unused=True)
    return [torch.zeros_like(v) if g is None else g for v, g in zip(given, found, strict=True)]


def check(adversarial, shape=(B, 1, C), level=None, without=(), dtype=torch.float64, compiled=False):
    """Same output and gradients; `without` names what the fused one is not given at all."""
    weight, noise, route = rest()
    exact = leaves(shape)
    expected = formula(exact, weight, noise, route, adversarial, level)
    ours = leaves(shape, dtype)
    given = [None if name in without else value for name, value in zip(NAMES, ours, strict=True)]
    parts = asked(given[3], None if "noise" in without else noise, given[4], adversarial, level)
    found = fused(ours, weight, parts, route, compiled)
    torch.testing.assert_close(found, expected)
    own = all_gradients(found, ours, parts)
    assert set(own) == set(NAMES) - set(without)
    for name, b in zip(NAMES, gradients(expected, exact), strict=True):
        if name in own:
            assert own[name].shape == b.shape, name
            torch.testing.assert_close(own[name], b, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("scope", SCOPES)
def test_output_and_gradients_are_those_of_the_formula(scope):
    check(MIXED, SCOPES[scope])


@pytest.mark.parametrize("scope", ["bsc", "c"])
def test_a_pass_of_adversarial_rows_needs_no_noise(scope):
    check(ALL, SCOPES[scope], without=("noise",))


def test_a_pass_of_stochastic_rows_needs_no_source():
    check(NONE, without=("source",))


def test_levels_are_sources_of_zero_and_one():
    check(MIXED, level=torch.tensor([0.0, 0.3, 1.0]).view(B, 1, 1))


def test_slots_that_are_parts_of_rows():
    """Two slots of two positions in each row: the same as rows of half the length."""
    weight, noise, route = rest()
    source = torch.rand(2 * B, 1, C, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    x, read, write, logits, _, delta = leaves()
    adversarial = ALL.repeat_interleave(2, 0)
    parts = MaskParts(logits.view(2 * B, 2, C), noise.view(2 * B, 2, C), source, adversarial)
    factors = Factors(*(t.detach().double() for t in (read, write, weight)))
    found = masked_site(x, read, write, parts, delta, route.double(), factors)
    spread = source.repeat_interleave(2, 1).view(B, T, C)
    expected = formula((x, read, write, logits, spread, delta), weight, noise, route, ALL)
    torch.testing.assert_close(found, expected)
    for a, b in zip(gradients(found, [x, delta]), gradients(expected, [x, delta]), strict=True):
        torch.testing.assert_close(a, b)


def test_a_search_asks_nothing_of_the_factors_and_the_same_of_the_rest():
    weight, _, route = rest()
    given = leaves()
    kinds = [asked(given[3], None, given[4], ALL, search=own) for own in (False, True)]
    usual, search = (all_gradients(fused(given, weight, p, route), given, p) for p in kinds)
    assert usual["logits"].any()
    for name in NAMES:
        if name in ("read", "write"):
            assert usual[name].any()
            assert not search[name].any()
        else:
            assert torch.equal(usual[name], search[name]), name


def test_nobody_asks_for_the_gradients_of_logits_and_source():
    """As in a pass of stochastic rows in a search: the others are what they were."""
    weight, noise, route = rest()
    given = leaves()
    parts = asked(given[3], noise, given[4], MIXED)
    usual = all_gradients(fused(given, weight, parts, route), given, parts)
    silent = parts._replace(to_logits=None, to_source=None)
    found = all_gradients(fused(given, weight, silent, route), given, silent)
    assert set(found) == {"x", "read", "write", "delta"}
    for name, value in found.items():
        assert torch.equal(value, usual[name]), name


def test_half_precision_goes_in_and_comes_out():
    """bf16 products and logits; gradients in the dtype of what they are for; within rounding of the formula."""
    weight, noise, route = rest()
    given = leaves(dtype=torch.float32)
    given[3] = given[3].detach().bfloat16().requires_grad_()
    x, read, write, logits, source, delta = given
    parts = asked(logits, noise, source, MIXED)
    # From 0: beside a 1 the small ones would be lost.
    parts = parts._replace(to_logits=torch.zeros_like(logits), to_source=torch.zeros_like(source))
    factors = Factors(*(t.detach().bfloat16() for t in (read, write, weight)))
    out = masked_site(x, read, write, parts, delta, route, factors)
    assert out.dtype == torch.bfloat16
    exact = leaves()
    expected = formula(exact, weight, noise, route, MIXED)
    assert (out.double() - expected).abs().max() < 0.03 * expected.abs().max()
    own = dict(zip(("x", "read", "write", "delta"), gradients(out, [x, read, write, delta]), strict=True))
    own |= {"logits": parts.to_logits, "source": parts.to_source}
    for name, value, b in zip(NAMES, given, gradients(expected, exact), strict=True):
        a = own[name]
        assert a.dtype == value.dtype
        assert (a.double() - b).norm() < 0.03 * b.norm()


def test_copies_are_made_anew_when_a_factor_has_changed():
    cast, (_, read, write, *_), (weight, *_) = CastFactors(), leaves(), rest()
    first = cast(read, write, weight, torch.bfloat16)
    assert cast(read, write, weight, torch.bfloat16) is first
    with torch.no_grad():
        read.mul_(2)
    second = cast(read, write, weight, torch.bfloat16)
    assert torch.equal(second.read, 2 * first.read)
    assert cast(read, write, weight, torch.float32).read.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("adversarial", [MIXED, ALL])
def test_compiled_kernels_are_the_eager_ones(adversarial):
    check(adversarial, compiled=True)
