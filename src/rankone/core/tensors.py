"""Tensors as files and as hashes: the part of artefacts that needs PyTorch."""

# safetensors' functions leave the kind of their path open.
# pyright: reportUnknownVariableType=false
from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rankone.core.errors import RankOneError
from rankone.core.files import require_regular


def tensor_hash(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's dtype, shape and bytes, in hex."""
    flat = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{flat.dtype}{tuple(flat.shape)}".encode())
    digest.update(flat.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors as safetensors; views are made contiguous first. A full disk is a RankOneError."""
    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)
    except (SafetensorError, OSError) as error:
        raise RankOneError(f"cannot write '{path}': {error}. Make room, or choose another place.") from error


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Load a safetensors file; RankOneError names a damaged one, and a tensor that holds NaN or infinity."""
    try:
        require_regular(path)
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise RankOneError(f"cannot read tensors from '{path}': {error}.") from error
    for name, tensor in tensors.items():
        require_finite(name, tensor, str(path))
    return tensors


def unmapped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that were read, in memory of their own: before they are the file's, and Windows neither removes nor replaces a
    file that is mapped."""
    return {name: tensor.clone() for name, tensor in tensors.items()}


def require_finite(name: str, tensor: torch.Tensor, where: str) -> None:
    """Raise if a tensor holds NaN or infinity, naming it."""
    if not tensor.is_floating_point():
        return
    finite = widened(tensor).isfinite()
    if not finite.all():
        bad = tensor.numel() - int(finite.sum())
        raise RankOneError(
            f"the tensor '{name}' of '{where}' holds NaN or infinity ({bad} of {tensor.numel()} values). "
            "Restore the file from its source."
        )


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """Numbers of eight bits as float32, others as they are: PyTorch neither tests nor multiplies floats of eight bits."""
    return tensor.float() if tensor.element_size() == 1 else tensor


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether it holds real numbers as they are: a quantised one may say that it is float32 and is a kind of its own."""
    return tensor.is_floating_point() and type(tensor.data) is torch.Tensor
