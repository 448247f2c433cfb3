"""The importance transformer: what it sees (all sites, both directions) and what it must not see (padding)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from rankone.decomposition.importance.config import SharedTransformerConfig
from rankone.decomposition.importance.shared_transformer import SharedTransformer

WIDTHS = [4, 6]
CONFIG = SharedTransformerConfig(width=8, blocks=2, heads=2, hidden=12)


def site_inputs(rows=2, length=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, length, width, generator=generator) for width in WIDTHS]


def transformer(blocks=2):
    torch.manual_seed(1)
    return SharedTransformer(CONFIG.model_copy(update={"blocks": blocks}), WIDTHS, [3, 4])


def changed(inputs, where):
    """The same inputs with other values at the positions `where` [T]."""
    return [torch.where(where.view(1, -1, 1), 3 * torch.randn_like(x), x) for x in inputs]


def test_shape():
    assert transformer()(site_inputs(3, 4)).shape == (3, 4, 7)


def test_without_blocks_it_is_two_linear_maps_of_the_normalised_inputs():
    gamma, inputs = transformer(blocks=0), site_inputs()
    scaled = [x / x.square().mean(-1, keepdim=True).sqrt() for x in inputs]
    x = torch.cat(scaled, -1) @ gamma.project.weight.T + gamma.project.bias
    torch.testing.assert_close(gamma(inputs), F.linear(x, gamma.head.weight, gamma.head.bias))


def test_each_site_is_normalised_on_its_own():
    gamma, (first, second) = transformer(), site_inputs()
    torch.testing.assert_close(gamma([100 * first, second]), gamma([first, second]), rtol=1e-3, atol=1e-4)


def test_a_later_token_changes_earlier_logits():
    gamma, inputs = transformer(), site_inputs()
    last = torch.arange(5) == 4
    difference = (gamma(changed(inputs, last)) - gamma(inputs)).abs().amax((0, 2))
    assert (difference > 1e-4).all()


def test_order_matters():
    """Rotary positions: the same tokens in another order are not the same logits in that order."""
    gamma, inputs = transformer(), site_inputs()
    order = torch.tensor([4, 1, 0, 3, 2])
    moved = gamma([x[:, order] for x in inputs])
    assert (moved - gamma(inputs)[:, order]).abs().max() > 1e-3


def test_real_positions_do_not_see_padding():
    gamma, inputs = transformer(), site_inputs()
    present = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    other = changed(inputs, torch.arange(5) >= 3)
    padded, repadded = gamma(inputs, present), gamma(other, present)
    torch.testing.assert_close(padded[0, :3], repadded[0, :3])
    assert not torch.allclose(padded[1, :3], repadded[1, :3])
    alone = gamma([x[:1, :3] for x in inputs])
    torch.testing.assert_close(padded[0, :3], alone[0])


def test_no_padding_is_no_mask():
    gamma, inputs = transformer(), site_inputs()
    torch.testing.assert_close(gamma(inputs, torch.ones(2, 5, dtype=torch.bool)), gamma(inputs))


def test_initial_spread():
    torch.manual_seed(0)
    wide = SharedTransformer(SharedTransformerConfig(width=64, blocks=1, heads=2, hidden=128), [100], [200])
    block = wide.blocks[0]
    assert wide.project.weight.std().item() == pytest.approx((2 / 100) ** 0.5, rel=0.05)
    assert wide.head.weight.std().item() == pytest.approx(64**-0.5, rel=0.05)
    assert block.up.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert block.down.weight.std().item() == pytest.approx(128**-0.5, rel=0.05)
    assert not wide.head.bias.any()


@pytest.mark.parametrize(("width", "heads"), [(8, 3), (6, 2)])
def test_a_width_that_does_not_split_into_even_heads_is_refused(width, heads):
    with pytest.raises(ValidationError, match="heads"):
        SharedTransformerConfig(width=width, heads=heads)
