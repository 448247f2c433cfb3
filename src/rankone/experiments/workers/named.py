"""Who does the runs, by the name on the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rankone.core.errors import RankOneError

if TYPE_CHECKING:
    from rankone.experiments.bench.work import Workers

_MOST = 1024


def require_workers(name: str) -> None:
    """RankOneError for what names no workers: a number of processes, or the address of a Ray cluster."""
    whole = re.fullmatch(r"[0-9]{1,9}", name)
    if not (whole and 0 < int(name) <= _MOST) and not re.fullmatch(r"ray(://[^\s/]+:[0-9]+)?", name):
        raise RankOneError(
            f"--workers '{name}': give a number of processes (1 to {_MOST}), ray for the cluster that this machine "
            "belongs to, or ray://HOST:PORT."
        )


def workers_named(name: str) -> Workers | None:
    """The workers of that name; None for 1: this process does the runs itself."""
    require_workers(name)
    if name == "1":
        return None
    if name.startswith("ray"):
        from rankone.experiments.workers.on_ray import OnRay

        return OnRay(name)
    from rankone.experiments.workers.processes import Processes

    return Processes(int(name))
