"""What fires at sampled positions of text: the binary matrix that is clustered, as a list of its ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from rankone.clustering.config import ClusterConfig
from rankone.core.errors import RankOneError
from rankone.decomposition.model import DecomposedModel
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.firings import firings
from rankone.harvest.counting.plan import Batch, batches
from rankone.harvest.counting.sampling import KEY_BITS, firing_keys
from rankone.runtime.progress import meter
from rankone.workspace import Workspace

# Joint firings of fewer positions say nothing.
LEAST_POSITIONS = 100
# The table of pairs grows with the square: 20,000 alive are up to 1.6 GB.
MOST_ALIVE = 20_000


@dataclass(frozen=True)
class Sample:
    """Firings of the subcomponents that are alive, sorted by position, then subcomponent.

    position, unit: [firings]; units number `names`. domain: [positions], index into `domains`.
    """

    names: list[str]
    domains: tuple[str, ...]
    domain: Int[np.ndarray, " positions"]
    position: Int[np.ndarray, " firings"]
    unit: Int[np.ndarray, " firings"]

    @property
    def positions(self) -> int:
        """Number of sampled positions."""
        return len(self.domain)


def sampled(batch: Batch, per_row: int, seed: int) -> Bool[Tensor, "rows length"]:
    """A uniform choice of at most `per_row` text tokens of each row, the same in any batch."""
    valid = batch.blocks.valid
    position = batch.starts.unsqueeze(1) + torch.arange(valid.shape[1])
    key = firing_keys(seed, position.flatten(), torch.zeros_like(position).flatten()).view_as(position)
    first = key.masked_fill(~valid, 1 << KEY_BITS).argsort(1)[:, :per_row]
    return torch.zeros_like(valid).scatter(1, first, True) & valid


def draw_sample(workspace: Workspace, config: ClusterConfig) -> Sample:
    """One pass over the text. Raises RankOneError for too little text and where (almost) nothing fires."""
    plan = HarvestConfig(
        domains=config.domains,
        split=config.split,
        tokens=config.tokens,
        context=config.context,
        batch_tokens=config.batch_tokens,
    )
    decomposition, counted = workspace.decomposition, []
    with (
        DecomposedModel(workspace.model, decomposition) as model,
        meter("firings", len(config.domains) * config.tokens) as bar,
    ):
        for batch in batches(workspace.tokenizer, workspace.corpus, plan):
            counted.append(_fired(model, batch, config))
            bar.advance(batch.blocks.tokens, config.domains[batch.domain])
    return _gathered(counted, decomposition.names(), config)


def _fired(
    model: DecomposedModel, batch: Batch, config: ClusterConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(domain of each sampled position, position of each firing, subcomponent of each firing) of a batch."""
    device = next(model.target.parameters()).device
    chosen = sampled(batch, config.per_row, config.seed)
    importance = model.importance(batch.blocks.ids.to(device), batch.blocks.present.to(device))
    fired = firings(importance, chosen.to(device))
    fired = fired[fired.importance > config.threshold]
    domain = np.full(int(chosen.sum()), batch.domain, dtype=np.int32)
    return domain, fired.position.int().cpu().numpy(), fired.part.int().cpu().numpy()


def _gathered(
    counted: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], names: list[str], config: ClusterConfig
) -> Sample:
    domains, positions, subcomponents, count = [], [], [], 0
    for domain, position, subcomponent in counted:
        domains.append(domain)
        positions.append(position + np.int32(count))
        subcomponents.append(subcomponent)
        count += len(domain)
    if count < LEAST_POSITIONS:
        raise RankOneError(
            f"the text gives only {count} positions; at least {LEAST_POSITIONS} are needed to see what fires "
            "together. Give more text or raise --tokens."
        )
    position, subcomponent = np.concatenate(positions), np.concatenate(subcomponents)
    firing = np.bincount(subcomponent, minlength=len(names))
    alive = np.flatnonzero(firing >= config.least_firings)
    _refuse_extremes(len(alive), count, config)
    number = np.full(len(names), -1, dtype=np.int32)
    number[alive] = np.arange(len(alive))
    unit = number[subcomponent]
    kept = unit >= 0
    alive_names = [names[i] for i in alive.tolist()]
    return Sample(alive_names, config.domains, np.concatenate(domains), position[kept], unit[kept])


def _refuse_extremes(alive: int, positions: int, config: ClusterConfig) -> None:
    firing = (
        f"above the threshold {config.threshold:g} at {config.least_firings} or more of {positions} positions"
    )
    if alive < 2:
        raise RankOneError(
            f"{alive} subcomponents are {firing}: there is nothing to merge. Lower --threshold, or give more text."
        )
    if alive > MOST_ALIVE:
        raise RankOneError(
            f"{alive:,} subcomponents are {firing}; at most {MOST_ALIVE:,} can be clustered. Raise --threshold or "
            "--least-firings."
        )
