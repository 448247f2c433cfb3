"""What a timing needs to be believed: the machine, how busy it was, the versions and the revision."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from rankone.core.artifact import environment as versions_and_revision


def environment() -> dict[str, Any]:
    """Processor, cores, threads, load, GPU, versions, git revision, whether the tree had changes, and the date."""
    found = versions_and_revision()
    revision = str(found["git_revision"] or "")
    return {
        **found,
        "git_revision": revision.removesuffix("+dirty") or None,
        "dirty": revision.endswith("+dirty"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cores_allowed": cores_allowed(),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def cores_allowed() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
