"""The number formats a decomposition is stored in: fp32, bf16, or int8 with one scale per row.

What a format costs is not assumed: the evidence of an artefact is measured on the rounded values it holds.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from rankone.core.errors import RankOneError

Storage = Literal["float32", "bfloat16", "int8"]
SCALE = ".scale"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def quantise(
    matrix: Float[Tensor, "rows columns"],
) -> tuple[Int8[Tensor, "rows columns"], Float[Tensor, "rows 1"]]:
    """Nearest multiples of a per-row scale: matrix ≈ q · scale, |error| ≤ scale / 2; a zero row stays zero."""
    scale = (matrix.abs().amax(1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    return (matrix / scale).round().to(torch.int8), scale


def stored(tensors: dict[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """Tensors as they are written; with int8, matrices become `name` [rows, columns] and `name.scale` [rows, 1].

    Rows of V are taken over subcomponents (it is stored transposed), so each u_c and v_c has a scale of its own.
    """
    if storage not in get_args(Storage):
        raise RankOneError(f"unknown storage '{storage}'; choose one of {', '.join(get_args(Storage))}.")
    if storage != "int8":
        return {name: tensor.to(_DTYPES[storage]) for name, tensor in tensors.items()}
    written = {}
    for name, tensor in tensors.items():
        if tensor.ndim != 2:
            written[name] = tensor.float()
            continue
        rows = tensor.T if name.startswith("V.") else tensor
        written[name], written[name + SCALE] = quantise(rows.float())
    return written


def restored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The fp32 tensors that `stored` rounded."""
    values = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in tensors:
            continue
        if tensor.dtype == torch.int8:
            wide = tensor.float() * tensors[name + SCALE]
            values[name] = wide.T.contiguous() if name.startswith("V.") else wide
        else:
            values[name] = tensor.float()
    return values
