"""Tensors as files and as hashes: the part of artefacts that needs PyTorch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rankone.core.errors import RankOneError


def tensor_hash(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's dtype, shape and bytes, in hex."""
    flat = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{flat.dtype}{tuple(flat.shape)}".encode())
    digest.update(flat.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors as safetensors; views are made contiguous first."""
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Load a safetensors file; a damaged one is a RankOneError that names it."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise RankOneError(f"cannot read tensors from '{path}': {error}.") from error
