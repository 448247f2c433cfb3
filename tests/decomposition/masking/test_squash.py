"""The two squashings, by hand at every piece and kink, for upstream gradients of both signs."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.masking.squash import lower, lower_gradient, upper, upper_slope

X = [-1.0, 0.0, 0.5, 1.0, 2.0]
LOWER_GRADIENTS = {3.0: [0.0, 0.0, 3.0, 3.0, 0.0], -3.0: [-0.03, -0.03, -3.0, -3.0, 0.0]}
UPPER_SLOPES = [0.0, 0.0, 1.0, 1.0, 0.01]


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def gradient(function, upstream):
    x = double(X).requires_grad_()
    function(x).backward(torch.full_like(x, upstream))
    return x.grad


def test_values():
    assert lower(double(X)).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    torch.testing.assert_close(upper(double(X)), double([0.0, 0.0, 0.5, 1.0, 1.01]))


@pytest.mark.parametrize("upstream", [3.0, -3.0])
def test_lower_leaks_below_zero_only_where_the_loss_wants_the_logit_up(upstream):
    expected = double(LOWER_GRADIENTS[upstream])
    torch.testing.assert_close(gradient(lower, upstream), expected)
    torch.testing.assert_close(lower_gradient(double(X), torch.full((5,), upstream).double()), expected)


@pytest.mark.parametrize("upstream", [3.0, -3.0])
def test_upper_has_its_ordinary_gradient(upstream):
    expected = upstream * double(UPPER_SLOPES)
    torch.testing.assert_close(gradient(upper, upstream), expected)
    torch.testing.assert_close(upstream * upper_slope(double(X)), expected)
