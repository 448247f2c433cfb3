"""Number formats of a stored decomposition: round trips and their error bounds."""

import pytest
import torch

from rankone.core.errors import RankOneError
from rankone.decomposition.storage import SCALE, quantise, restored, stored


def test_quantise_is_within_half_a_scale_of_each_row():
    matrix = torch.randn(7, 11) * torch.logspace(-6, 3, 7).unsqueeze(1)
    q, scale = quantise(matrix)
    assert q.dtype == torch.int8
    assert ((q * scale - matrix).abs() <= scale / 2 + 1e-12).all()
    assert torch.equal(q.abs().amax(1), torch.full((7,), 127, dtype=torch.int8))


def test_a_zero_row_stays_zero():
    assert quantise(torch.zeros(2, 3))[0].eq(0).all()


def test_int8_keeps_one_scale_per_subcomponent_of_v():
    # One subcomponent (column of V) a million times larger must not cost the other its digits.
    v = torch.tensor([[1.0, 1e6], [0.5, -1e6]])
    values = stored({"V.a": v}, "int8")
    assert values["V.a" + SCALE].shape == (2, 1)
    torch.testing.assert_close(restored(values)["V.a"], v, rtol=0.01, atol=0)


def test_vectors_stay_exact_in_int8_and_shapes_come_back():
    tensors = {"V.a": torch.randn(3, 5), "U.a": torch.randn(5, 4), "importance.head.bias": torch.randn(5)}
    back = restored(stored(tensors, "int8"))
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in tensors.items()}
    assert torch.equal(back["importance.head.bias"], tensors["importance.head.bias"])


@pytest.mark.parametrize(("storage", "exact"), [("float32", True), ("bfloat16", False)])
def test_plain_formats(storage, exact):
    tensors = {"U.a": torch.randn(5, 4)}
    written = stored(tensors, storage)
    assert written["U.a"].dtype == getattr(torch, storage)
    assert torch.equal(restored(written)["U.a"], tensors["U.a"]) is exact


def test_unknown_format_is_refused():
    with pytest.raises(RankOneError, match="unknown storage 'int4'; choose one of float32, bfloat16, int8"):
        stored({}, "int4")
