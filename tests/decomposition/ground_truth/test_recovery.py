"""The metrics against truth, on decompositions made by hand: the truth itself, and the truth with one thing wrong."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.ground_truth.recovery import (
    SiteTruth,
    dense_errors,
    identity_errors,
    matched,
    site_score,
    truth_of,
)
from rankone.models.toys.config import ResidMLPConfig
from rankone.models.toys.targets import TMS, ResidMLP

PERMUTED = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.95], [1.0, 0.05, 0.0, 0.0]])


def test_every_row_gets_a_column_of_its_own():
    assert matched(PERMUTED).tolist() == [1, 3, 0]
    # Row 1 likes column 1 too, but less.
    assert matched(torch.tensor([[0.0, 0.9, 0.0], [0.3, 0.8, 0.0]])).tolist() == [1, 0]


def test_no_errors_in_a_permutation_within_the_tolerance():
    assert identity_errors(PERMUTED, matched(PERMUTED)) == 0


@pytest.mark.parametrize(
    ("row", "column", "value", "errors"), [(0, 2, 0.5, 1), (1, 3, 0.7, 1), (1, 3, 0.0, 1), (0, 0, 0.11, 1)]
)
def test_every_entry_off_the_pattern_is_an_error(row, column, value, errors):
    pattern = PERMUTED.clone()
    pattern[row, column] = value
    assert identity_errors(pattern, matched(pattern)) == errors


def test_two_features_on_one_subcomponent_are_errors():
    # The second row's match is a column that is 0: one entry too many, one missing.
    assert identity_errors(*(lambda g: (g, matched(g)))(torch.tensor([[1.0, 0.0], [0.9, 0.0]]))) == 2


def test_dense_errors_by_hand():
    pattern = torch.tensor([[1.0, 0.4, 0.0, 0.0], [0.3, 1.0, 0.0, 0.05]])
    assert dense_errors(pattern, 2) == 0
    assert dense_errors(pattern, 1) == 2  # the second column is one too many, used by both rows
    assert dense_errors(pattern, 3) == 1  # a third dimension that nothing carries


def test_the_truth_of_tms_and_its_score():
    weight = torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]])
    target = TMS(weight, torch.zeros(3), 1)
    truths = truth_of(target)
    assert list(truths) == ["layers.0", "layers.1", "layers.2"]
    assert truths["layers.1"] == SiteTruth(dense=2)
    # Subcomponents in another order, one more that does nothing, signs turned in pairs.
    order = [2, 0, 1]
    read = torch.cat((-truths["layers.0"].read[order].T, torch.zeros(3, 1)), 1)
    write = torch.cat((-truths["layers.0"].write[order], torch.ones(1, 2)))
    importance = torch.zeros(3, 4)
    importance[order, [0, 1, 2]] = 1.0
    found = site_score("layers.0", truths["layers.0"], importance, (read, write), weight)
    assert (found.errors, found.per_feature, found.alive) == (0, 1.0, 3)
    assert found.read == pytest.approx(1.0)
    assert found.write == pytest.approx(1.0)
    assert found.remainder == pytest.approx(0.0)
    turned = read.clone()
    turned[:, 0] = torch.tensor([1.0, 0.0, -1.0])  # 45° off its true direction
    found = site_score("layers.0", truths["layers.0"], importance, (turned, write), weight)
    assert found.read == pytest.approx((2 + 0.5**0.5) / 3)
    assert found.remainder > 0.1


def test_the_truth_of_a_residual_mlp():
    torch.manual_seed(0)
    target = ResidMLP(ResidMLPConfig(kind="resid_mlp", features=4, width=9, neurons=6, blocks=2))
    truths = truth_of(target)
    assert sorted(truths) == [f"blocks.{i}.mlp_{side}" for i in (0, 1) for side in ("in", "out")]
    for i, block in enumerate(target.blocks):
        assert truths[f"blocks.{i}.mlp_out"].dense == 3
        own = truths[f"blocks.{i}.mlp_in"]
        assert torch.equal(own.read, torch.eye(4))
        assert torch.equal(own.inputs, target.embedding)
        # What feature k alone does to the neurons.
        seen = block.mlp_in((torch.eye(4) @ target.embedding).unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(own.write, seen)


def test_a_read_direction_counts_by_what_it_reads_of_the_inputs():
    """Inputs along two directions at 60° in three dimensions: v is right if it reads one and not the other."""
    inputs = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.75**0.5, 0.0]])
    truth = SiteTruth(read=torch.eye(2), write=torch.eye(2), inputs=inputs)
    # v_0 · inputs = (1, 0), v_1 · inputs = (0, √¾), each with something that no input shows.
    read = torch.tensor([[1.0, 0.0], [-(3**-0.5), 1.0], [5.0, -7.0]])
    importance, weight = torch.eye(2), torch.ones(2, 3)
    found = site_score("s", truth, importance, (read, torch.eye(2)), weight)
    assert found.read == pytest.approx(1.0)
    # The first input direction itself also reads half of the second.
    read[:, 0] = inputs[0]
    found = site_score("s", truth, importance, (read, torch.eye(2)), weight)
    assert found.read == pytest.approx((1 + 1 / 1.25**0.5) / 2)
