"""Many runs in one forward: trainable low-rank changes of a frozen model, one per run, stacked along the batch.

A sweep is many tiny fits that share a model. Run r owns rows r·k … r·k + k − 1 of every batch, and an adapted layer
adds run r's own change to those rows: y = base(x) + write_r(read_r(x)). Parameters are stacked [runs, …], so one
backward gives every run its own gradient and nothing leaks between runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.edits.lowrank import LowRankEdit
from rankone.models.modules import replaced


@runtime_checkable
class Change(Protocol):
    """What every run adds to the outputs of some sites."""

    def sites(self) -> list[str]:
        """The sites it changes."""
        ...

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        """What is added to the output of `site` for inputs x of every run."""
        ...


class Method(Change, Protocol):
    """A family of edits that can be fitted: how it starts, what it adds at each site, what it becomes."""

    name: str

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:
        """Initial parameters, each stacked [runs, …]; run i must depend on seeds[i] alone."""
        ...

    def edit(self, parameters: Mapping[str, Tensor], run: int) -> LowRankEdit:
        """The fitted edit of one run."""
        ...

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """The parameters whose change is `size` times that of these."""
        ...

    @property
    def fixed(self) -> bool:
        """Whether its start is its direction already, so that there is nothing to fit but the size."""
        ...


@runtime_checkable
class Priced(Protocol):
    """A method whose loss has a term of its own."""

    def price(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, " runs"]:
        """What every run's parameters cost, nats."""
        ...


class _Adapted(nn.Module):
    """A layer with the change of each run added to that run's rows."""

    def __init__(
        self, base: nn.Module, method: Change, site: str, parameters: Mapping[str, Tensor], runs: int
    ) -> None:
        super().__init__()
        self.base, self.method, self.site, self.runs = base, method, site, runs
        self.stacked = parameters

    def forward(self, x: Float[Tensor, "rows t d_in"]) -> Float[Tensor, "rows t d_out"]:
        """Rows are runs × rows-per-run."""
        by_run = x.reshape(self.runs, -1, x.shape[-1])
        change = self.method.change(self.site, self.stacked, by_run)
        return self.base(x) + change.reshape(*x.shape[:-1], -1)


@contextmanager
def adapted(
    model: PreTrainedModel, method: Change, parameters: Mapping[str, Tensor], runs: int
) -> Iterator[PreTrainedModel]:
    """The model with `method`'s changes in place while the block runs; the layers are put back whatever happens."""
    placed = {s: _Adapted(model.get_submodule(s), method, s, parameters, runs) for s in method.sites()}
    with replaced(model, placed):
        yield model


def gaussian_by_seed(seeds: list[int], *shape: int) -> Float[Tensor, "runs ..."]:
    """Standard normal numbers [runs, *shape], run i drawn from seeds[i] alone."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
