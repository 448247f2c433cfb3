"""The processes of one run under torchrun: which one this is, sums over all of them, and failing together.

Tensors are summed by collectives (NCCL on GPUs, gloo on CPUs). Everything else (waiting for the first process, errors,
paths) goes through torchrun's key-value store, which waits as long as it has to: the first process may tokenise text for an
hour while the others stand by.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from rankone.core.errors import PeerError, RankOneError
from rankone.runtime.device import run_device
from rankone.runtime.progress import silenced

T = TypeVar("T")
# After which a collective that a process never joins is an error on the others.
COLLECTIVE_TIMEOUT = timedelta(minutes=20)
LONGEST_PAUSE = 1.0  # seconds
_FAILED, _COUNT = "failed", "failures"


@dataclass
class Ranks:
    """This process among `size`; alone, every method is a plain answer and no process group is needed."""

    rank: int = 0
    size: int = 1
    store: dist.Store | None = None
    _calls: dict[str, int] = field(default_factory=dict)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def max_(self, tensor: Tensor) -> Tensor:
        """The elementwise maximum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor

    def any(self, value: Tensor) -> bool:
        """Whether a boolean holds on some process."""
        return bool(self.max_(value.any().float()).item())

    def broadcast_(self, tensor: Tensor) -> Tensor:
        """The first process's values on all, in place."""
        if self.size > 1:
            dist.broadcast(tensor, 0)
        return tensor

    def share(self, count: int) -> slice:
        """This process's contiguous part of `count` things; parts differ by one at most."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def on_first(self, work: Callable[[], T]) -> T:
        """What `work` gives on the first process (a JSON value), on all of them, once it is done there."""
        if self.size == 1:
            return work()
        key = self._key("first")
        if self.first:
            value = work()
            self._set(key, json.dumps(value))
            return value
        return json.loads(self._wait(key))

    def barrier(self) -> None:
        """Wait for all processes, however long."""
        key = self._key("barrier")
        for rank in range(self.size if self.size > 1 else 0):
            if rank == self.rank:
                self._set(f"{key}/{rank}", "")
            else:
                self._wait(f"{key}/{rank}")

    def _key(self, name: str) -> str:
        """A key of its own for every call: all processes make the same calls in the same order."""
        self._calls[name] = self._calls.get(name, 0) + 1
        return f"{name}/{self._calls[name]}"

    def _set(self, key: str, value: str) -> None:
        assert self.store is not None
        self.store.set(key, value)

    def _wait(self, key: str) -> str:
        """The value of a key once it is there. Asked for again and again: a store's own wait complains when it ends."""
        assert self.store is not None
        pause = 0.002
        while not self.store.check([key]):
            self.raise_reported()
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return self.store.get(key).decode()

    def raise_reported(self) -> None:
        """Raise the error that another process has reported, if one has."""
        if self.store is not None and self.store.check([_FAILED]):
            raise PeerError(self.store.get(_FAILED).decode())

    def report(self, error: BaseException) -> bool:
        """Leave an error for the others; False if another process was first."""
        if self.store is None:
            return True
        if self.store.add(_COUNT, 1) > 1:
            return False
        words = str(error) if isinstance(error, RankOneError) else f"{type(error).__name__}: {error}"
        self._set(_FAILED, words)
        return True


_current = Ranks()


def current() -> Ranks:
    """The processes of this run; one alone unless `joined` has begun."""
    return _current


@contextmanager
def joined(
    store: dist.Store | None = None, rank: int | None = None, size: int | None = None
) -> Iterator[Ranks]:
    """Join the other processes for the length of the block, as torchrun's environment says; alone without it.

    Only the first process prints. If one fails, all stop with its error: this one's as it is, the others' as PeerError.
    """
    global _current
    size = int(os.environ.get("WORLD_SIZE", "1")) if size is None else size
    rank = int(os.environ.get("RANK", "0")) if rank is None else rank
    if size == 1:
        yield _current
        return
    _current = _start(store, rank, size)
    try:
        with silenced(rank > 0):
            yield _current
            _current.barrier()
    except BaseException as error:
        _stop(_current, error)
        raise
    finally:
        _current = Ranks()
        if dist.is_initialized():
            dist.destroy_process_group()


def _start(store: dist.Store | None, rank: int, size: int) -> Ranks:
    device = run_device()
    if store is None:
        store, rank, size = next(dist.rendezvous("env://"))  # pyright: ignore[reportCallIssue]
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore("collectives", store),
        rank=rank,
        world_size=size,
        timeout=COLLECTIVE_TIMEOUT,
    )
    return Ranks(rank, size, dist.PrefixStore("rankone", store))


def _stop(ranks: Ranks, error: BaseException) -> None:
    """Tell the others of an error, or raise theirs in its place: a collective breaks because its partner has left."""
    if isinstance(error, PeerError):
        return
    if ranks.report(error):
        return
    time.sleep(0.1)  # the first one counts before it speaks
    ranks.raise_reported()
