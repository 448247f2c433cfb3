"""Toy targets: what they compute, and that training makes them what they are meant to be."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from rankone.models.sites import find_sites
from rankone.models.toys.config import ResidMLPConfig, TMSConfig
from rankone.models.toys.targets import TMS, ResidMLP, sparse_features, train_toy

SMALL_TMS = TMSConfig(kind="tms", features=5, hidden=2, steps=800, batch=512, learning_rate=1e-2)
SMALL_RESID = ResidMLPConfig(
    kind="resid_mlp", features=6, width=20, neurons=6, blocks=2, probability=0.1, steps=500, batch=256
)


@pytest.mark.parametrize("identity_layers", [0, 2])
def test_tms_by_hand(identity_layers):
    # One hidden unit that adds x₀ and takes off x₁: out = ReLU(w (w·x) + b).
    target = TMS(torch.tensor([[1.0, -1.0]]), torch.tensor([0.0, 0.25]), identity_layers)
    out = target(torch.tensor([[[0.5, 0.0]], [[0.0, 1.0]]]))
    assert out.tolist() == [[[0.5, 0.0]], [[0.0, 1.25]]]
    assert [s.name for s in find_sites(target)] == [f"layers.{i}" for i in range(identity_layers + 2)]


def test_the_weights_of_tms_are_two_sites_that_share_no_memory():
    target = TMS(torch.tensor([[1.0, -1.0]]), torch.zeros(2), 0)
    target.layers[0].weight.data.zero_()
    assert target.layers[1].weight.tolist() == [[1.0], [-1.0]]


def test_a_residual_mlp_without_its_blocks_gives_features_back_up_to_interference():
    torch.manual_seed(0)
    target = ResidMLP(SMALL_RESID)
    for block in target.blocks:
        torch.nn.init.zeros_(block.mlp_out.weight)
    gram = target.embedding @ target.embedding.T
    torch.testing.assert_close(gram.diagonal(), torch.ones(6))
    torch.testing.assert_close(target(torch.eye(6).unsqueeze(1)).squeeze(1), gram)


def test_no_block_of_a_residual_mlp_reads_or_writes_outside_of_the_embedding():
    target = train_toy(SMALL_RESID, 0)
    outside = torch.randn(3, 20, generator=torch.Generator().manual_seed(1))
    outside -= outside @ torch.linalg.pinv(target.embedding) @ target.embedding
    assert outside.norm() > 1
    for block in target.blocks:
        assert block.mlp_in.weight.norm() > 0.1
        torch.testing.assert_close(outside @ block.mlp_in.weight.T, torch.zeros(3, 3), atol=1e-5, rtol=0)
        torch.testing.assert_close(outside @ block.mlp_out.weight, torch.zeros(3, 3), atol=1e-5, rtol=0)


def test_features_are_sparse_and_in_their_range():
    generator = torch.Generator().manual_seed(0)
    x = sparse_features(SMALL_TMS, (4000,), generator)
    assert x.shape == (4000, 5)
    assert (x > 0).float().mean().item() == pytest.approx(0.05, abs=0.01)
    assert 0 <= x.min() < x.max() <= 1
    y = sparse_features(SMALL_RESID, (40, 100), generator)
    assert y.shape == (40, 100, 6)
    assert (y != 0).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert y.min() < -0.9


def test_tms_puts_five_features_into_two_dimensions():
    target = train_toy(SMALL_TMS, 0)
    columns = target.layers[0].weight.T
    assert (columns.norm(dim=1) > 0.7).all()
    out = target(torch.eye(5).unsqueeze(1)).squeeze(1)
    assert (out.argmax(1) == torch.arange(5)).all()
    assert not any(p.requires_grad for p in target.parameters())


def test_a_residual_mlp_learns_its_function():
    target = train_toy(SMALL_RESID, 0)
    x = sparse_features(SMALL_RESID, (2000,), torch.Generator().manual_seed(9))
    wanted = x.relu() + x
    error = (target(x) - wanted).square().mean()
    # Reading x back alone, as the untrained stream does, misses ReLU(x).
    assert error < 0.5 * x.relu().square().mean()


def test_the_seed_decides():
    first, again, other = (train_toy(SMALL_TMS.model_copy(update={"steps": 3}), s) for s in (0, 0, 1))
    assert torch.equal(first.layers[0].weight, again.layers[0].weight)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_neurons_that_do_not_share_out_are_refused():
    with pytest.raises(ValidationError, match="share out evenly"):
        ResidMLPConfig(kind="resid_mlp", features=4, width=8, neurons=5, blocks=2)


def test_one_block_is_always_alone():
    with pytest.raises(ValidationError, match="but one block is always alone"):
        ResidMLPConfig(kind="resid_mlp", features=4, width=8, neurons=4, alone=0.5)


def test_scales_weigh_what_a_block_adds():
    torch.manual_seed(0)
    target = ResidMLP(SMALL_RESID)
    x = torch.randn(2, 6)
    stream = x @ target.embedding
    added = target.blocks[1](stream) - stream
    expected = (stream + 2 * added) @ target.embedding.T
    torch.testing.assert_close(target(x, torch.tensor([[0.0, 2.0]]).expand(2, 2)), expected)
    torch.testing.assert_close(target(x, torch.ones(2, 2)), target(x))


def test_blocks_that_stood_alone_know_every_feature():
    config = SMALL_RESID.model_copy(update={"alone": 0.5, "neurons": 12, "steps": 300, "learning_rate": 1e-2})
    target = train_toy(config, 0)
    x = 0.75 * torch.eye(6)
    for scales in torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]]):
        own = target(x, scales.expand(6, 2)).diagonal()
        # The residual stream alone gives 0.75; blocks that never stood alone leave a feature to one of them.
        assert (own > 0.75 * 1.2).all(), (scales, own)


VARIATIONS = {
    "tms": {
        "features": 6,
        "hidden": 3,
        "identity_layers": 1,
        "probability": 0.3,
        "steps": 4,
        "batch": 9,
        "learning_rate": 0.02,
    },
    "resid_mlp": {
        "features": 6,
        "width": 9,
        "neurons": 6,
        "blocks": 1,
        "alone": 0.5,
        "probability": 0.3,
        "steps": 4,
        "batch": 9,
        "learning_rate": 0.02,
    },
}
BASES = {
    "tms": TMSConfig(kind="tms", features=5, hidden=2, steps=3, batch=8),
    "resid_mlp": ResidMLPConfig(
        kind="resid_mlp", features=5, width=8, neurons=4, blocks=2, probability=0.5, steps=3, batch=8
    ),
}


@pytest.mark.parametrize(("kind", "field"), [(k, f) for k, fields in VARIATIONS.items() for f in fields])
def test_every_field_changes_the_target(kind, field):
    assert {*VARIATIONS[kind], "kind"} == set(type(BASES[kind]).model_fields)
    usual = train_toy(BASES[kind], 0).state_dict()
    other = train_toy(BASES[kind].model_copy(update={field: VARIATIONS[kind][field]}), 0).state_dict()
    assert usual.keys() != other.keys() or any(
        v.shape != other[k].shape or not torch.equal(v, other[k]) for k, v in usual.items()
    )
