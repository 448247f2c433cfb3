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
