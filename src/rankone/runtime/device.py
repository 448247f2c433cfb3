"""Where a run computes: the GPU that belongs to this process, or the CPU."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rankone.core.errors import RankOneError
from rankone.runtime.build import build, no_gpu

if TYPE_CHECKING:
    import torch


def run_device(gpus: int | None = None, environment: Mapping[str, str] = os.environ) -> torch.device:
    """`cuda:LOCAL_RANK` where CUDA is present, else the CPU; RankOneError with more processes than GPUs.

    `gpus` and `environment` are read from the machine unless given.
    """
    import torch

    gpus = torch.cuda.device_count() if gpus is None else gpus
    if gpus == 0:
        return torch.device("cpu")
    local = int(environment.get("LOCAL_RANK", "0"))
    if local >= gpus:
        raise RankOneError(
            f"process {local} of this machine has no GPU: it has {gpus}. Start at most {gpus} processes "
            f"(torchrun --nproc-per-node {gpus})."
        )
    return torch.device("cuda", local)


def require_device(name: str) -> None:
    """RankOneError for what names no device to compute on, and for one that this machine lacks, as far as can be seen
    without PyTorch."""
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise RankOneError(f"unknown device '{name}'; give cpu, cuda, cuda:N or mps.")
    why = no_gpu(build()) if name.startswith("cuda") else ""
    if name == "mps" and sys.platform != "darwin":
        why = "mps is for Apple's processors"
    if why:
        raise RankOneError(f"no device '{name}': {why}. Give cpu.")


def chosen_device(name: str | None = None) -> torch.device:
    """The device of that name, or `run_device()` where none is given; RankOneError where this machine lacks it."""
    if name is None:
        return run_device()
    require_device(name)
    import torch

    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise RankOneError(f"no device '{name}': this machine has {count} GPU{'s' * (count != 1)}. Give cpu.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RankOneError(f"no device '{name}' on this machine. Give cpu.")
    return device
