"""Tensors as files and as hashes."""

from __future__ import annotations

import pytest
import torch

from rankone.core.errors import RankOneError
from rankone.core.tensors import read_tensors, tensor_hash


def test_damaged_tensors_are_named(tmp_path):
    (tmp_path / "t.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RankOneError, match=r"cannot read tensors from '.*t\.safetensors'"):
        read_tensors(tmp_path / "t.safetensors")
    with pytest.raises(RankOneError, match=r"cannot read tensors from '.*none\.safetensors'"):
        read_tensors(tmp_path / "none.safetensors")


def test_tensor_hash_sees_dtype_shape_and_values_but_not_strides():
    base = torch.arange(6.0).view(2, 3)
    assert tensor_hash(base) == tensor_hash(base.T.contiguous().T)
    others = [base.view(3, 2), base.double(), base.bfloat16(), base + 1, torch.tensor(1.0), torch.empty(0)]
    hashes = [tensor_hash(t) for t in [base, *others]]
    assert len(set(hashes)) == len(hashes)
