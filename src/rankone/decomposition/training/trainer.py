"""A decomposition run: data rows → clean forward → importances → masked forward → losses → ascent and descent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch

from rankone.core.errors import RankOneError
from rankone.decomposition.parallel.gradient_sum import GradientSum
from rankone.decomposition.parallel.sharding import shard
from rankone.decomposition.training.clipping import clip
from rankone.decomposition.training.faults import forward_fault, not_finite
from rankone.decomposition.training.head import held_back
from rankone.decomposition.training.passes import Rows, attention
from rankone.decomposition.training.recompute import recomputed
from rankone.decomposition.training.run import Run
from rankone.decomposition.training.step import Step

# A subcomponent counts as alive in the progress line while it fires at more than one position in this many.
ALIVE_SHARE = 1e-5
FIRING_DECAY = 0.99


class Trainer(Run):
    """A run that is trained, a step at a time."""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The target with its decomposed sites in place and its unembedding held back, laid out as `machine` says."""
        machine, model = self.config.machine, self.model
        with model, recomputed(model) if machine.activation_checkpointing else nullcontext():
            if machine.sharding == "fsdp":
                shard(model, self.device, self.ranks.size)
                self.optimise()
            with held_back(model.target, self.decomposition.sites, partial(self.batch, 0)) as self.head:
                try:
                    yield
                finally:
                    self.head = None

    def warm_up(self, steps: int) -> None:
        """AdamW on faithfulness alone, with an optimiser that is thrown away."""
        optimizer = torch.optim.AdamW(self.factors, lr=1e-3, weight_decay=0.0)
        fsdp = self.config.machine.sharding == "fsdp"
        gradients = GradientSum([] if fsdp else self.factors, self.ranks)
        for _ in range(steps):
            optimizer.zero_grad()
            gradients.expect()
            self.faithfulness_loss().backward()
            gradients.finish()
            optimizer.step()

    def step(self, step: int) -> dict[str, float]:
        """One training step; returns its losses and counts."""
        with attention(self.device, self.config.context):
            return self._step(step)

    def _step(self, number: int) -> dict[str, float]:
        config = self.config
        self._schedule(number)
        step = Step(self, number)
        self.adversary.begin(step.draws)
        self.optimizer.zero_grad()
        if self.prices.unmeasured:
            self._measure_outputs()
        step.search()
        step.learn()
        losses, figures = step.losses()
        self._check(losses, number)
        firing = self.ranks.sum_(step.firing)
        self.firing.lerp_(firing, 1 - FIRING_DECAY)
        del losses["reconstruction"]  # what it is made of is among the figures
        counts = {"l0": firing.sum().item(), "alive": float((self.firing > ALIVE_SHARE).sum().item())}
        if self.adversary.learns:
            step.ascend(step.source_scale)
        clip(self.decomposition, self.factors, config.clip, self.ranks, number)
        importance = list(self.decomposition.importance.parameters())
        clip(self.decomposition, importance, config.importance_clip, self.ranks, number)
        self.optimizer.step()
        # Sites know by the version that their copies are stale; fused AdamW leaves it as it was.
        for factor in self.factors:
            torch.autograd.graph.increment_version(factor)
        if self.decay is not None:
            self.decay(self.ranks.max_(step.highest), self.optimizer.param_groups[0]["lr"])
        return {**figures, **losses, **counts}

    def _schedule(self, step: int) -> None:
        config = self.config
        for group, schedule in zip(
            self.optimizer.param_groups, (config.learning_rate, config.importance_learning_rate), strict=True
        ):
            group["lr"] = schedule.at(step, config.steps)

    def _measure_outputs(self) -> None:
        """What leaks is measured in what the sites put out on the run's first batch, whatever step it begins at."""
        batch = self.batch(0)
        parts = self.share.split(batch, batch.new_zeros(len(batch), 1, 1, dtype=torch.bool))
        with self.autocast():
            inputs = (self.model.clean(part.batch)[1] for part in parts)
            self.prices.measure(inputs, self.weights, self.share.total * batch.shape[1])

    def _check(self, losses: dict[str, float], step: int) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise RankOneError(not_finite(bad, step, self._fault(step)))

    def _fault(self, number: int) -> str | None:
        """The site at which the first part's rows come upon something not finite; sources, which caught it, come last."""
        step = Step(self, number)
        part = step.parts[0]
        clean, nobody = step.clean(part, False), torch.zeros_like(part.adversarial)
        for rows in (Rows(nobody, True, None), Rows(~nobody, False, step.attack(part, False))):
            masked = partial(step.masked_pass, clean, part, rows, 0)
            place = forward_fault(self.model, clean.logits, masked, self.ranks)
            if place is not None:
                return place
        return None
