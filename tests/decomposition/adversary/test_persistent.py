"""The persistent adversary: Adam ascent by hand, slot by slot."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.adversary.config import PersistentConfig
from rankone.decomposition.adversary.persistent import PersistentAdversary
from rankone.decomposition.masking.draws import RowDraws

ROWS, LENGTH, CHANNELS = 3, 4, 2
ALL = torch.ones(ROWS, 1, 1, dtype=torch.bool)
SHAPES = {
    "bsc": (ROWS, LENGTH, CHANNELS),
    "sc": (1, LENGTH, CHANNELS),
    "bc": (ROWS, 1, CHANNELS),
    "c": (1, 1, CHANNELS),
}


def adversary(scope="bc", start=None, **changes):
    built = PersistentAdversary(
        PersistentConfig(scope=scope, **changes), ROWS, LENGTH, CHANNELS, RowDraws(0, torch.device("cpu"))
    )
    if start is not None:
        built.source = torch.full_like(built.source, start)
    return built


@pytest.mark.parametrize("scope", list(SHAPES))
def test_a_source_per_slot_of_its_scope_starts_uniform(scope):
    source = adversary(scope).source
    assert source.shape == SHAPES[scope]
    assert ((source >= 0) & (source < 1)).all()
    assert len(source.unique()) == source.numel()


def test_two_steps_by_hand():
    # Gradients 2 then 1 at rate .1 with β = (.5, .99). First: m̂ = 2, v̂ = 4, step 2/2 = 1.
    # Second: m = .5·1 + .5·1 = 1, m̂ = 1/.75; v = .99·.04 + .01 = .0496, v̂ = .0496/.0199; step .844548.
    found = adversary("c", start=0.3)
    anyone = torch.tensor([True, False, False]).view(ROWS, 1, 1)
    found.ascend(torch.tensor([[[2.0, -2.0]]]), 0.1, anyone)
    torch.testing.assert_close(found.source, torch.tensor([[[0.4, 0.2]]]))
    found.ascend(torch.tensor([[[1.0, -1.0]]]), 0.1, anyone)
    torch.testing.assert_close(found.source, torch.tensor([[[0.4844548, 0.1155452]]]))


@pytest.mark.parametrize("scope", list(SHAPES))
def test_it_is_adam_with_maximize(scope):
    found = adversary(scope, start=0.5, beta1=0.3, beta2=0.9)
    leaf = found.source.clone().requires_grad_()
    reference = torch.optim.Adam([leaf], lr=0.01, betas=(0.3, 0.9), maximize=True)
    for _ in range(6):
        leaf.grad = torch.randn_like(leaf)
        found.ascend(leaf.grad, 0.01, ALL)
        reference.step()
    torch.testing.assert_close(found.source, leaf.detach())


@pytest.mark.parametrize("scope", ["bsc", "bc"])
def test_only_adversarial_slots_move(scope):
    found = adversary(scope, start=0.5)
    rows = torch.tensor([True, False, True]).view(ROWS, 1, 1)
    found.ascend(torch.ones_like(found.source), 0.1, rows)
    assert (found.source[rows.flatten()] > 0.5).all()
    assert (found.source[1] == 0.5).all()
    assert not found.first[1].any()
    assert not found.second[1].any()
    assert found.ascents.flatten().tolist() == [1, 0, 1]


def test_a_slot_that_moves_for_the_first_time_is_corrected_for_its_own_count():
    found = adversary("bc", start=0.5)
    first = torch.tensor([True, False, False]).view(ROWS, 1, 1)
    for _ in range(3):
        found.ascend(torch.ones_like(found.source), 0.01, first)
    found.ascend(torch.full_like(found.source, 7.0), 0.01, ALL)
    torch.testing.assert_close(found.source[1:], torch.full_like(found.source[1:], 0.51))


@pytest.mark.parametrize("scope", ["sc", "c"])
def test_a_shared_source_moves_when_any_row_is_adversarial(scope):
    found = adversary(scope, start=0.5)
    found.ascend(torch.ones_like(found.source), 0.1, ~ALL)
    assert (found.source == 0.5).all()
    found.ascend(torch.ones_like(found.source), 0.1, torch.tensor([False, True, False]).view(ROWS, 1, 1))
    assert (found.source > 0.5).all()


@pytest.mark.parametrize("scope", ["bsc", "bc"])
def test_fewer_sources_than_slots_take_turns(scope):
    found = adversary(scope, start=0.5, sources=2)
    assert found.source.shape == (2, *SHAPES[scope][1:])
    found.source[1] = 0.9
    assert [row.unique().item() for row in found.source[found.place()]] == pytest.approx([0.5, 0.9, 0.5])
    # Slot 2 alone is adversarial: it uses source 0.
    found.ascend(torch.ones_like(found.source), 0.1, torch.tensor([False, False, True]).view(ROWS, 1, 1))
    assert found.ascents.flatten().tolist() == [1, 0]
    assert (found.source[0] > 0.5).all()
    torch.testing.assert_close(found.source[1], torch.full_like(found.source[1], 0.9))


@pytest.mark.parametrize("sources", [None, ROWS, 100])
def test_never_more_sources_than_slots(sources):
    found = adversary("bc", sources=sources)
    assert found.source.shape == SHAPES["bc"]
    assert found.place() == slice(0, ROWS)


def test_sources_stay_between_zero_and_one():
    found = adversary("bc", start=0.95)
    gradient = torch.ones_like(found.source)
    gradient[..., 1] = -1
    for _ in range(40):
        found.ascend(gradient, 0.1, ALL)
    assert (found.source[..., 0] == 1).all()
    assert (found.source[..., 1] == 0).all()


def test_it_ascends_a_fixed_loss():
    found, losses = adversary("bsc"), []
    peak = 1 - found.source
    for _ in range(50):
        leaf = found.source.clone().requires_grad_()
        loss = -(leaf - peak).square().sum()
        losses.append(loss.item())
        found.ascend(torch.autograd.grad(loss, leaf)[0], 0.02, ALL)
    assert losses[-1] > losses[10] > losses[0]
    assert losses[-1] > 0.25 * losses[0]


def test_saved_and_loaded_it_goes_on_as_if_nothing_had_happened():
    first = adversary("bc")
    for _ in range(3):
        first.ascend(torch.randn_like(first.source), 0.05, torch.rand(ROWS, 1, 1) < 0.7)
    saved = {k: v.clone() for k, v in first.tensors().items()}
    second = adversary("bc", start=0.0)
    second.load(saved)
    gradient, rows = torch.randn_like(first.source), torch.tensor([True, True, False]).view(ROWS, 1, 1)
    first.ascend(gradient, 0.05, rows)
    second.ascend(gradient, 0.05, rows)
    for name, value in first.tensors().items():
        assert torch.equal(value, second.tensors()[name]), name


def test_sources_that_have_lived_are_drawn_anew():
    found = adversary("bc", start=0.5, lifetime=1)
    found.ascend(torch.ones(ROWS, 1, CHANNELS), 0.1, torch.tensor([True, False, True]).view(ROWS, 1, 1))
    # A lifetime of one ascent: every source that moved is new, with no memory; the one that did not is as it was.
    assert (found.source[1] == 0.5).all()
    assert (found.source[[0, 2]] != 0.6).all()
    assert found.ascents.flatten().tolist() == [0, 0, 0]
    assert not found.first.any()
    assert not found.second.any()


def test_a_lifetime_is_a_mean_number_of_ascents():
    found = adversary("bc", lifetime=4)
    renewed = 0
    for _ in range(1000):
        found.ascend(torch.ones(ROWS, 1, CHANNELS), 0.0, ALL)
        renewed += int((found.ascents == 0).sum())
    assert renewed == pytest.approx(ROWS * 1000 / 4, abs=4 * (ROWS * 1000 * 3 / 16) ** 0.5)


def test_without_a_lifetime_sources_are_never_renewed():
    found = adversary("bc")
    for _ in range(50):
        found.ascend(torch.ones(ROWS, 1, CHANNELS), 0.0, ALL)
    assert (found.ascents == 50).all()


@pytest.mark.parametrize(("scope", "owners"), [("bsc", ROWS), ("bc", ROWS), ("sc", 1), ("c", 1)])
def test_every_slot_draws_from_its_own_pool(scope, owners):
    found = adversary(scope, pool=4)
    assert found.source.shape == (4 * owners, *SHAPES[scope][1:])
    seen = set()
    for step in range(60):
        found.begin(found.draws.at(step))
        assert found.source[found.place()].shape == (ROWS, *SHAPES[scope][1:])
        assert torch.equal(found.source[found.place()], found.source[found.slots])
        seen |= {(slot, int(drawn)) for slot, drawn in enumerate(found.slots)}
    expected = {(slot, (slot % owners) * 4 + k) for slot in range(ROWS) for k in range(4)}
    assert seen == expected


def test_only_the_drawn_particle_of_a_pool_moves():
    found = adversary("bc", start=0.5, pool=3)
    found.begin(found.draws)
    found.ascend(torch.ones_like(found.source), 0.1, torch.tensor([True, False, True]).view(ROWS, 1, 1))
    moved = (found.source > 0.5).all(-1).flatten()
    assert moved.nonzero().flatten().tolist() == sorted(int(found.slots[i]) for i in (0, 2))


def test_segments_of_a_row_have_sources_of_their_own():
    found = adversary("bc", start=0.5, segments=2)
    assert found.source.shape == (ROWS * 2, 1, CHANNELS)
    rows = torch.tensor([True, False, True]).view(ROWS, 1, 1)
    assert found.used(rows).flatten().tolist() == [True, True, False, False, True, True]
    found.ascend(torch.ones(ROWS * 2, 1, CHANNELS), 0.1, rows)
    assert found.source[:, 0, 0].tolist() == pytest.approx([0.6, 0.6, 0.5, 0.5, 0.6, 0.6])


def test_segments_go_with_sources_per_row():
    with pytest.raises(ValueError, match="`segments` goes with scope bc alone"):
        PersistentConfig(scope="bsc", segments=2)
