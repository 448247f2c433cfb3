"""Workers on a Ray cluster: every stack is a task, done again elsewhere where its machine is lost.

Each machine needs this version of RankOne and, under the same names, what the recipe names.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, redirect_stdout
from typing import Any

from rankone.core.errors import RankOneError
from rankone.core.optional import optional
from rankone.experiments.bench.work import Made, Setup, Work
from rankone.experiments.workers.doing import Answer, answered
from rankone.runtime.progress import log

_PATIENCE = 5.0  # seconds


class OnRay:
    """All that a cluster has: a task a core, or a GPU where it has those and none but the CPU was asked for.

    name: `ray`, the cluster that this machine belongs to or that RAY_ADDRESS names; or `ray://HOST:PORT`, a client port.
    """

    def __init__(self, name: str) -> None:
        self._ray: Any = optional("ray", "ray", "workers on a Ray cluster")
        self._announced = False
        address = os.environ.get("RAY_ADDRESS", "auto") if name == "ray" else name
        _require_answer(address)
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level="error")
        except Exception as error:  # gRPC's and Ray's own, of many classes
            raise _no_cluster(address, error) from error
        self._leaving = ExitStack()
        # Ray prints what it says of lost machines to where a command's reply goes.
        self._leaving.enter_context(redirect_stdout(sys.stderr))
        self._leaving.callback(self._ray.shutdown)

    def results(self, setup: Setup, works: Sequence[Work]) -> Iterator[tuple[Work, Made]]:
        """Every stack with what came of it, as they end. RankOneError where one cannot be done, or nothing can do it."""
        ray = self._ray
        resources = ray.cluster_resources()
        gpus = bool(resources.get("GPU")) and setup.options.device != "cpu"
        if gpus and setup.options.device is None:
            setup = setup.model_copy(update={"options": setup.options.model_copy(update={"device": "cuda"})})
        unit = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_gpus": 0, "num_cpus": 1}
        if not self._announced:
            log.info(
                f"Ray cluster, {'GPUs' if gpus else 'cores'}: {resources.get('GPU' if gpus else 'CPU', 0):.0f}"
            )
            self._announced = True
        # A worker that runs out of memory or whose machine is lost is no fault of the stack's.
        task = ray.remote(max_retries=-1, **unit)(answered)
        shared = ray.put(setup.model_dump_json())
        waiting = {task.remote(shared, work.model_dump_json()): work for work in works}
        try:
            while waiting:
                (ended, *_), _ = ray.wait(list(waiting), num_returns=1)
                yield waiting.pop(ended), self._made(ended)
        finally:
            for one in waiting:
                ray.cancel(one, force=True)

    def close(self) -> None:
        """Leave the cluster as it is."""
        self._leaving.close()

    def _made(self, ended: Any) -> Made:
        try:
            return Answer.model_validate_json(self._ray.get(ended)).made()
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, RankOneError):
                raise RankOneError(str(cause)) from error
            raise RankOneError(
                f"a worker on the Ray cluster failed: {type(cause).__name__}: {cause}"
            ) from error


def _require_answer(address: str) -> None:
    """RankOneError where nobody listens: Ray itself tries again for minutes, then ends the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():  # auto: a cluster of this machine, which Ray finds by its files
        return
    try:
        with socket.create_connection((host, int(port)), timeout=_PATIENCE):
            return
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> RankOneError:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RankOneError(
        f"no Ray cluster at '{address}' ({said}). Start one (`ray start --head`), or give a number of processes."
    )
