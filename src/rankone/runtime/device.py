"""Where a run computes: the GPU that belongs to this process, or the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from rankone.core.errors import RankOneError


def run_device(gpus: int | None = None, environment: Mapping[str, str] = os.environ) -> torch.device:
    """`cuda:LOCAL_RANK` where CUDA is present, else the CPU; RankOneError with more processes than GPUs.

    `gpus` and `environment` are read from the machine unless given.
    """
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


def chosen_device(name: str | None = None) -> torch.device:
    """The device of that name, or `run_device()` where none is given; RankOneError where this machine lacks it."""
    if name is None:
        return run_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RankOneError(f"unknown device '{name}'; give cpu, cuda or cuda:N.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RankOneError(
            f"no device '{name}': this machine has {torch.cuda.device_count()} GPUs. Give cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RankOneError(f"no device '{name}' on this machine. Give cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise RankOneError(f"'{name}' is no device to compute on; give cpu, cuda, cuda:N or mps.")
    return device
