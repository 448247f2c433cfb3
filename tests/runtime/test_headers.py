"""Headers of safetensors files, read without a library, against what the library wrote."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from rankone.core.errors import RankOneError
from rankone.runtime.headers import read_header, read_numbers


@pytest.fixture
def file(tmp_path):
    tensors = {"w": torch.zeros(3, 5, dtype=torch.bfloat16), "n": torch.tensor([7, -2, 2**40])}
    save_file(tensors, tmp_path / "a.safetensors", {"format": "pt"})
    return tmp_path / "a.safetensors"


def test_names_types_shapes_and_whole_numbers(file):
    header = read_header(file)
    assert {n: (e.dtype, e.shape) for n, e in header.items()} == {"w": ("BF16", (3, 5)), "n": ("I64", (3,))}
    assert read_numbers(file, header["n"]) == [7, -2, 2**40]
    with pytest.raises(RankOneError, match=r"is BF16 \[3, 5\], not a list of int64"):
        read_numbers(file, header["w"])


@pytest.mark.parametrize(
    "written",
    [b"", b"\xff" * 40, b"\x03\0\0\0\0\0\0\0[1]", b"\x02\0\0\0\0\0\0\0{x", b'\x09\0\0\0\0\0\0\0{"a": {}}'],
)
def test_what_is_no_such_file_is_named(tmp_path, written):
    (tmp_path / "b.safetensors").write_bytes(written)
    with pytest.raises(RankOneError, match=r"b.safetensors"):
        read_header(tmp_path / "b.safetensors")
    with pytest.raises(RankOneError, match=r"cannot read tensors from '.*none'"):
        read_header(tmp_path / "none")
