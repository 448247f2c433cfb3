"""What a run holds from step to step: model, optimiser, adversary, and what is counted over many steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.decomposition.adversary.registry import build_adversary
from rankone.decomposition.config import TrainingConfig
from rankone.decomposition.init.start import targeted_of
from rankone.decomposition.masking.draws import RowDraws
from rankone.decomposition.masking.kernels import kernel
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.decomposition.objective.fused_faithfulness import squared_remainder
from rankone.decomposition.objective.minimality import RunningMean
from rankone.decomposition.objective.reconstruction import DIVERGENCES
from rankone.decomposition.parallel.gathered import gathered
from rankone.decomposition.parallel.gradient_sum import GradientSum
from rankone.decomposition.parallel.share import Share, in_order
from rankone.decomposition.site import faithfulness, relative_faithfulness, site_weight
from rankone.decomposition.targeted.config import Targeted
from rankone.decomposition.targeted.decay import ImportanceDecay
from rankone.decomposition.training.head import Head
from rankone.decomposition.training.read_prices import ReadPrices
from rankone.models.sites import find_sites
from rankone.runtime.distributed import current


class Run:
    """The state of a run.

    `data` are token rows [n, T], read in order and from the start again at their end, or a function from the step to
    its batch [B, T] or [B, T, d]. In a targeted run the first rows of every batch are the narrow ones.

    Under torchrun every process takes its share of the batch's rows, and gradients, f_c and sources that rows share are
    summed over all; with machine.accumulation a process takes its rows in parts. Losses are sums over rows divided by the
    rows of the whole batch, so the step is the same in all layouts.
    """

    def __init__(
        self,
        target: nn.Module,
        decomposition: Decomposition,
        data: np.ndarray | Callable[[int], Tensor],
        config: TrainingConfig,
    ) -> None:
        self.config, self.decomposition = config, decomposition
        self.ranks = current()
        self.share = Share(config.rows, config.machine, self.ranks)
        self.data = data if callable(data) else in_order(data, config.rows)
        self.device = next(target.parameters()).device
        self.draws = RowDraws(config.seed, self.device)
        target.requires_grad_(False)
        decomposition.to(self.device).requires_grad_(True)
        for parameter in decomposition.parameters():
            self.ranks.broadcast_(parameter.data)
        self.model = DecomposedModel(target, decomposition, compiled=config.compile)
        sites = find_sites(target, decomposition.sites)
        # Without faithfulness nobody asks for them, and V U is never formed.
        held = sites if config.faithfulness or config.warmup_steps or config.read_leak else []
        self.weights = [site_weight(s).to(self.device) for s in held]
        self.prices = ReadPrices(config, decomposition, self.ranks)
        self.optimise()
        channels = decomposition.total + len(decomposition.sites)
        self.adversary = build_adversary(
            config.adversary, config.rows, config.context, channels, self.draws, config.compile
        )
        self.firing = torch.ones(decomposition.total, device=self.device)
        self.frequency = RunningMean(config.minimality.half_life, decomposition.total, self.device)
        self.divergence = kernel(DIVERGENCES[config.reconstruction.divergence], config.compile)
        self.head: Head | None = None
        self._target_rows(targeted_of(config))

    def optimise(self) -> None:
        """An optimiser over the parameters as they are laid out now."""
        decomposition, fsdp = self.decomposition, self.config.machine.sharding == "fsdp"
        self.factors = [*decomposition.V.parameters(), *decomposition.U.parameters()]
        importance = list(decomposition.importance.parameters())
        self.optimizer = torch.optim.AdamW(
            [{"params": self.factors}, {"params": importance}], weight_decay=0.0, fused=True
        )
        # FSDP sums them itself.
        self.gradients = GradientSum([] if fsdp else [*self.factors, *importance], self.ranks)

    def _target_rows(self, targeted: Targeted | None) -> None:
        """Which rows of a batch are broad, and the decay of what is important nowhere."""
        rows = self.config.rows
        narrow = rows if targeted is None else targeted.narrow_rows(rows)
        self.broad: Bool[Tensor, "b 1 1"] = (torch.arange(rows, device=self.device) >= narrow).view(-1, 1, 1)
        self.decay = (
            ImportanceDecay(targeted.importance_decay, self.decomposition, self.device) if targeted else None
        )

    def batch(self, step: int) -> Tensor:
        """This process's rows of the batch of one step, on the run's device."""
        return self.data(step)[self.share.taken].to(self.device)

    def faithfulness_loss(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, ""]:
        """This process's share of the loss: that of its part of the rows of every Δ."""
        pairs = [[gathered(p) for p in self.decomposition.factors(s)] for s in self.decomposition.sites]
        rows = [self.ranks.share(len(w)) for w in self.weights]
        squares = [
            squared_remainder(w[taken], read, write[:, taken], dtype)
            for w, (read, write), taken in zip(self.weights, pairs, rows, strict=True)
        ]
        scale = relative_faithfulness if self.config.faithfulness_scale == "relative" else faithfulness
        return scale(squares, self.weights)

    def autocast(self) -> torch.autocast:
        """Passes in bf16, where the recipe says so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.autocast)
