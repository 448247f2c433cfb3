"""Reading a foreign checkpoint file: the one place where a pickle is opened, and only its tensors are taken.

`weights_only=True` makes torch refuse every pickled object but plain containers and tensors, so a hostile file
cannot run code. Everything RankOne writes itself is safetensors.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from rankone.core.errors import RankOneError, first_line
from rankone.core.tensors import read_tensors


def read_foreign(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pt`, `.pth` or `.safetensors` state dict on the CPU, by key.

    RankOneError for a file that is damaged, holds objects other than tensors, or is not a mapping of names to tensors.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        # Mapped rather than read where the format allows it: the published decomposition is 3 GB.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))  # noqa: TID251
    except Exception as error:  # an unpickler fails with errors of any type
        raise RankOneError(
            f"cannot read '{path}' as a plain state dict: {first_line(error)} Only tensors are read from a foreign file; "
            "save its `state_dict()` alone, or check that the download is complete."
        ) from error
    return _state_dict(loaded, path)


def _state_dict(loaded: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(loaded, dict) or not loaded:
        raise RankOneError(
            f"'{path}' holds a {type(loaded).__name__}, not a state dict. Save `state_dict()`."
        )
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise RankOneError(
                f"'{path}' holds a {type(value).__name__} under {key!r}, where a state dict has tensors only. "
                "Save the model's `state_dict()` alone."
            )
    return loaded
