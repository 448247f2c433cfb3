"""Functions run by several processes at once, which meet through a file: no ports, no torchrun."""

from __future__ import annotations

import multiprocessing
import queue
import tempfile
import time
import traceback
from pathlib import Path

import torch
import torch.distributed as dist

from rankone.runtime import distributed as ranks

# One server imports torch and the package; the processes are forked from it.
_PRELOADED = ["rankone.decomposition.run", "tests.processes", "tests.decomposition.tiny"]
SECONDS = 300


def together(size, function, *given):
    """What `function(ranks, *given)` returns on each of `size` processes; an exception of any is one here."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    answers = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "store")
        processes = [
            context.Process(target=_run, args=(file, rank, size, answers, function, given), daemon=True)
            for rank in range(size)
        ]
        for process in processes:
            process.start()
        found, deadline = {}, time.monotonic() + SECONDS
        while len(found) < size and time.monotonic() < deadline:
            alive = any(process.is_alive() for process in processes)
            try:
                rank, answer, error = answers.get(timeout=0.5)
                found[rank] = answer, error
            except queue.Empty:
                if not alive:
                    break
        for process in processes:
            process.join(20 if len(found) == size else 1)
            if process.is_alive():
                process.kill()
    errors = [error for _, error in found.values() if error]
    errors += [f"process {rank} gave no answer" for rank in range(size) if rank not in found]
    if errors:
        raise Failed("\n".join(errors))
    return [found[rank][0] for rank in range(size)]


class Failed(AssertionError):
    """What went wrong on which process."""


def _run(file, rank, size, answers, function, given):
    torch.set_num_threads(1)
    try:
        if size == 1:
            answers.put((rank, function(ranks.current(), *given), None))
            return
        with ranks.joined(dist.FileStore(file, size), rank, size) as own:
            answer = function(own, *given)
        answers.put((rank, answer, None))
    except BaseException:
        answers.put((rank, None, f"process {rank}: {traceback.format_exc()}"))
