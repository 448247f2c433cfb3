"""What the masked forwards of a step are given, and how their divergences are weighed."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import mask_of, recipe, run_steps, target, trainer

from rankone.decomposition.init.start import new_decomposition


def spy(built):
    """What the masked forwards of a trainer were given: (masks, delta's masks, routes)."""
    calls, masked = [], built.model.masked

    def recorded(ids, parts, delta, route, outputs):
        calls.append((mask_of(parts, delta), delta.detach(), route))
        return masked(ids, parts, delta, route, outputs)

    built.model.masked = recorded
    return calls


def test_merged_rows_are_adversarial_everywhere_or_stochastic_on_subsets():
    built = trainer(recipe(rows=16))
    source, total = built.adversary.source.clone(), built.decomposition.total
    calls = spy(built)
    run_steps(built, 1)
    ((mask, delta, route),) = calls
    sites = len(built.decomposition.sites)
    adversarial = (route == 1).flatten(1).all(1)
    assert 1 <= adversarial.sum() <= 15
    assert torch.equal(delta[adversarial], source[adversarial, :, total:].expand(-1, delta.shape[1], -1))
    with built.model, torch.no_grad():
        fresh = new_decomposition(target(), built.config)
        g = fresh.logits(built.model.clean(built.batch(0))[1]).clamp(0, 1)
    expected = g + (1 - g) * source[..., :total]
    torch.testing.assert_close(mask[adversarial], expected[adversarial])
    others = route[~adversarial]
    assert set(others.unique().tolist()) == {0.0, 1.0}
    assert (others.sum(-1) >= 1).all()
    assert set(others.sum(-1).unique().tolist()) == set(range(1, sites + 1))
    assert len(delta[~adversarial].unique()) == delta[~adversarial].numel()
    assert (mask[~adversarial] >= g[~adversarial]).all()


def test_slots_take_turns_on_the_sources():
    built = trainer(recipe(adversary__sources=3, adversary__fraction=1.0))
    source, total = built.adversary.source.clone(), built.decomposition.total
    assert len(source) == 3
    calls = spy(built)
    run_steps(built, 1)
    assert torch.equal(calls[0][1][:, 0], source[[0, 1, 2, 0], 0, total:])


def test_segments_of_a_row_meet_their_own_sources():
    built = trainer(recipe(adversary__segments=2, adversary__fraction=1.0, context=8))
    source, total = built.adversary.source.clone(), built.decomposition.total
    rows, length = built.config.rows, built.config.context
    assert len(source) == 2 * rows
    calls = spy(built)
    run_steps(built, 1)
    mask, delta, _ = calls[0]
    expected = source.view(rows, 2, -1).repeat_interleave(length // 2, 1)
    assert torch.equal(delta, expected[..., total:])
    with built.model, torch.no_grad():
        fresh = new_decomposition(target(), built.config)
        g = fresh.logits(built.model.clean(built.batch(0))[1]).clamp(0, 1)
    torch.testing.assert_close(mask, g + (1 - g) * expected[..., :total])


def test_segments_must_divide_the_row():
    with pytest.raises(ValueError, match=r"adversary\.segments is 3, which does not divide the context of 8"):
        recipe(adversary__segments=3, context=8)


def test_routing_all_masks_every_site():
    built = trainer(recipe(reconstruction__routing="all"))
    calls = spy(built)
    run_steps(built, 1)
    assert (calls[0][2] == 1).all()


def test_mixed_routing_masks_all_sites_or_a_subset_by_row():
    built = trainer(recipe(rows=64, reconstruction__routing="mixed", adversary__fraction=0.0))
    calls = spy(built)
    run_steps(built, 1)
    whole = (calls[0][2] == 1).flatten(1).all(1)
    assert 16 <= whole.sum() <= 48


def test_sources_from_corners_leave_rows_all_on_and_all_off():
    built = trainer(recipe(rows=64, reconstruction__sources="corners", adversary__fraction=0.0))
    calls = spy(built)
    run_steps(built, 1)
    mask = calls[0][0]
    with built.model, torch.no_grad():
        fresh = new_decomposition(target(), built.config)
        g = fresh.logits(built.model.clean(built.batch(0))[1]).clamp(0, 1)
    ones, own = (mask - 1).abs() < 1e-5, (mask - g).abs() < 1e-5
    assert (ones | own).all()
    on, off = ones.flatten(1).all(1), own.flatten(1).all(1)
    assert 3 <= on.sum() <= 24
    assert 3 <= off.sum() <= 24


@pytest.mark.parametrize("ascents", [0, 1, 2])
def test_separate_passes_are_the_ascents_then_one_of_each_kind(ascents):
    built = trainer(recipe(reconstruction__form="separate", adversary__extra_ascents=ascents))
    total, calls = built.decomposition.total, spy(built)
    run_steps(built, 1)
    kinds = [bool((route == 1).all()) for _, _, route in calls]
    assert kinds == [*[True] * ascents, False, True]
    assert built.adversary.ascents.flatten().tolist() == [ascents + 1] * 4
    # Constant over positions: the source of the delta components, not noise.
    assert all((calls[i][1] == calls[i][1][:, :1]).all() for i in range(ascents + 2) if i != ascents)
    assert calls[ascents][1].unique().numel() == calls[ascents][1].numel()
    assert calls[0][0].shape[-1] == total


@pytest.mark.parametrize(("stochastic", "adversarial"), [(0.5, 0.5), (0.3, 0.9), (1.0, 0.0)])
def test_the_merged_loss_weighs_each_row_by_its_kind(stochastic, adversarial):
    """Twice the mean of coefficient × divergence, so that ½ and ½ is the plain mean."""
    built = trainer(
        recipe(rows=8, reconstruction__stochastic=stochastic, reconstruction__adversarial=adversarial)
    )
    divergence = torch.rand(8, 7)
    built.divergence = lambda clean, masked: divergence + 0 * masked.sum()
    totals = []
    check = built._check
    built._check = lambda losses, step: (totals.append(losses["reconstruction"]), check(losses, step))
    calls = spy(built)
    (row,) = run_steps(built, 1)
    kind = (calls[0][2] == 1).flatten(1).all(1)
    assert 1 <= kind.sum() <= 7
    weight = torch.where(kind, adversarial, stochastic)
    assert totals == [pytest.approx(2 * (weight * divergence.mean(1)).mean().item(), rel=1e-5)]
    assert row["kl_adversarial"] == pytest.approx(divergence[kind].mean().item(), rel=1e-5)
    assert row["kl_stochastic"] == pytest.approx(divergence[~kind].mean().item(), rel=1e-5)
