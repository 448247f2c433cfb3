"""Data parallelism: gradients summed over all processes while the backward still runs."""

from __future__ import annotations

from collections.abc import Iterable

import torch.distributed as dist
from torch import nn

from rankone.runtime.distributed import Ranks


class GradientSum:
    """Starts the sum of a parameter's gradient when it is ready, in an order that is the same on every process.

    The order is the reverse of that of the parameters, about that in which a backward makes gradients. Call `expect`
    before the last backward of a step and `finish` after it.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
        self._order = [] if ranks.size == 1 else list(parameters)[::-1]
        self._place = {id(p): i for i, p in enumerate(self._order)}
        self._expecting = False
        self._reset()
        for parameter in self._order:
            parameter.register_post_accumulate_grad_hook(self._note)

    def _reset(self) -> None:
        self._ready = [False] * len(self._order)
        self._begun: list[dist.Work] = []

    def expect(self) -> None:
        """The next backward is the step's last."""
        self._reset()
        self._expecting = True

    def _note(self, parameter: nn.Parameter) -> None:
        if self._expecting:
            self._ready[self._place[id(parameter)]] = True
            while len(self._begun) < len(self._order) and self._ready[len(self._begun)]:
                self._begin()

    def _begin(self) -> None:
        parameter = self._order[len(self._begun)]
        if parameter.grad is None:
            parameter.grad = parameter.new_zeros(parameter.shape)
        work = dist.all_reduce(parameter.grad, async_op=True)
        assert work is not None
        self._begun.append(work)

    def finish(self) -> None:
        """Wait for all sums; parameters without a gradient here take part with zeros."""
        self._expecting = False
        while len(self._begun) < len(self._order):
            self._begin()
        for work in self._begun:
            work.wait()
        self._begun = []
