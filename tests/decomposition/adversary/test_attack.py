"""What a pass takes from an adversary's sources, and where its gradients go."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.adversary.attack import Attack
from rankone.decomposition.adversary.config import PersistentConfig
from rankone.decomposition.adversary.persistent import PersistentAdversary
from rankone.decomposition.masking.draws import RowDraws

ROWS, LENGTH, COUNTS, SITES = 4, 6, [2, 3], 2
CHANNELS = sum(COUNTS) + SITES


def adversary(**changes):
    config = PersistentConfig(**changes)
    found = PersistentAdversary(config, ROWS, LENGTH, CHANNELS, RowDraws(0, torch.device("cpu")))
    found.begin(found.draws)
    found.gradient.zero_()
    return found


LAYOUTS = {
    "own": {"scope": "bsc"},
    "segments": {"scope": "bc", "segments": 2},
    "one for all": {"scope": "sc"},
    "taking turns": {"scope": "bc", "sources": 3},
    "pool": {"scope": "bc", "pool": 3},
    "shared pool": {"scope": "c", "pool": 2},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_are_those_of_indexing_the_sources_by_slot(layout):
    """Two pieces of two rows, each with a weighting of its own, against autograd through the index."""
    found = adversary(**LAYOUTS[layout])
    leaf = found.source.clone().requires_grad_()
    loss = torch.zeros(())
    each = found.segments * (ROWS // 2)
    for piece in range(2):
        attack = Attack(found, slice(2 * piece, 2 * piece + 2), COUNTS, True)
        slots = found.slots[piece * each : (piece + 1) * each]
        expected = leaf[slots]
        weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(piece))
        loss = loss + (expected * weights).sum()
        own = torch.cat([*attack.sources, attack.delta], -1).detach()
        assert torch.equal(own.expand_as(expected), expected)
        *of_sites, of_delta = weights.split([*COUNTS, SITES], -1)
        for total, weight in zip(attack.sums, of_sites, strict=True):
            total += weight if len(total) == each else weight.sum(0, keepdim=True)
        attack.finish(torch.autograd.grad((attack.delta * of_delta).sum(), attack.delta)[0])
    torch.testing.assert_close(found.gradient, torch.autograd.grad(loss, leaf)[0])


def test_sources_of_their_own_are_not_copied():
    found = adversary(scope="bsc")
    attack = Attack(found, slice(1, 3), COUNTS, True)
    assert attack.sources[0].data_ptr() == found.source[1].data_ptr()
    assert attack.sums[0].data_ptr() == found.gradient[1].data_ptr()


def test_where_no_gradient_is_wanted_there_is_none():
    attack = Attack(adversary(scope="bc"), slice(None), COUNTS, False)
    assert attack.sums == [None, None]
    assert not attack.delta.requires_grad
