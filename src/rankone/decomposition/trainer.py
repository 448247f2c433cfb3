"""One decomposition run: data rows → clean forward → importances → masked forward → losses → ascent and descent.

The merged step (default) does one masked forward and backward: each row is adversarial by a coin (all sites masked,
sources from the persistent adversary) or stochastic (uniform sources, a random subset of sites masked). The separate
step does one pass of each kind plus the adversary's extra ascents, as the original method.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.checkpoint import (
    append_metrics,
    load_checkpoint,
    save_checkpoint,
    trim_metrics,
)
from rankone.decomposition.adversary.registry import build_adversary
from rankone.decomposition.config import TrainingConfig
from rankone.decomposition.decay import ImportanceDecay
from rankone.decomposition.draws import RowDraws, draw_pass
from rankone.decomposition.gathered import gathered
from rankone.decomposition.gradient_sum import GradientSum
from rankone.decomposition.masks import masks_and_penalty
from rankone.decomposition.minimality import PENALTIES, RunningMean, at_one, minimality_loss
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.decomposition.recompute import recomputed
from rankone.decomposition.reconstruction import divergence_kernel, hidden_mse
from rankone.decomposition.sharding import shard
from rankone.decomposition.share import Part, Share, in_order
from rankone.decomposition.site import delta_of, faithfulness, gate, relative_faithfulness, site_weight
from rankone.decomposition.squash import upper
from rankone.decomposition.start import targeted_of
from rankone.decomposition.state import put_state, state_of
from rankone.decomposition.sums import Sums
from rankone.decomposition.targeted import Targeted
from rankone.errors import RankOneError
from rankone.models.sites import find_sites
from rankone.progress import console, format_values, meter
from rankone.ranks import current

# A subcomponent counts as alive in the progress line while it fires at more than one position in this many.
ALIVE_SHARE = 1e-5
FIRING_DECAY = 0.99


class Pass(NamedTuple):
    """What one masked forward gives: divergence [B, T], MSE of site outputs [B, T] if asked for, f_c, firing share."""

    divergence: Float[Tensor, "b t"]
    hidden: Float[Tensor, "b t"] | None
    penalty: Float[Tensor, " c"]
    firing: Float[Tensor, " c"]


class Clean(NamedTuple):
    """One clean forward: the output, the site outputs if the recipe holds them, importance logits."""

    output: Tensor
    hidden: list[Tensor]
    logits: Tensor


class Trainer:
    """The state of a run and its step.

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
            self.ranks.same_(parameter.data)
        self.model = DecomposedModel(target, decomposition)
        sites = find_sites(target, decomposition.sites)
        # Without faithfulness nobody asks for them, and V U is never formed.
        held = sites if config.faithfulness or config.warmup_steps else []
        self.weights = [site_weight(s).to(self.device) for s in held]
        self._optimise()
        channels = decomposition.total + len(decomposition.sites)
        self.adversary = build_adversary(config.adversary, config.rows, config.context, channels, self.draws)
        self.firing = torch.ones(decomposition.total, device=self.device)
        self.frequency = RunningMean(config.minimality.half_life, decomposition.total, self.device)
        self.divergence = divergence_kernel(config.reconstruction.divergence, config.compile)
        self._target_rows(targeted_of(config))

    def _optimise(self) -> None:
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

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The target with its decomposed sites in place, laid out as the recipe's `machine` says."""
        machine = self.config.machine
        with self.model, recomputed(self.model) if machine.activation_checkpointing else nullcontext():
            if machine.sharding == "fsdp":
                shard(self.model, self.device, self.ranks.size)
                self._optimise()
            yield

    def warm_up(self, steps: int) -> None:
        """AdamW on faithfulness alone, with an optimiser that is thrown away."""
        optimizer = torch.optim.AdamW(self.factors, lr=1e-3, weight_decay=0.0)
        fsdp = self.config.machine.sharding == "fsdp"
        gradients = GradientSum([] if fsdp else self.factors, self.ranks)
        for _ in range(steps):
            optimizer.zero_grad()
            gradients.expect()
            self._faithfulness().backward()
            gradients.finish()
            optimizer.step()

    def batch(self, step: int) -> Tensor:
        """This process's rows of the batch of one step, on the run's device."""
        return self.data(step)[self.share.own].to(self.device)

    def step(self, step: int) -> dict[str, float]:
        """One training step; returns its losses and counts."""
        config = self.config
        self.draws.begin(step)
        self._schedule(step)
        self.adversary.begin()
        self._sums = Sums(self.device)
        rows = self._coins()
        parts = self.share.split(self.batch(step), rows)
        self._kept: Clean | None = None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.autocast):
            self._search(parts, rows, step)
            mean_penalty = self._mean_penalty(parts)
        self.optimizer.zero_grad()
        if config.faithfulness:
            own = self._faithfulness()
            self._sums.add("faithfulness", own)
            (config.faithfulness * own).backward()
        self._learn(parts, mean_penalty)
        told = self._told(step)
        if self.adversary.learns and self._source.grad is not None:
            self._ascend(self._source.grad / self._source_scale, rows, step)
        torch.nn.utils.clip_grad_norm_(self.factors, config.clip)
        torch.nn.utils.clip_grad_norm_(self.decomposition.importance.parameters(), config.importance_clip)
        self.optimizer.step()
        if self.decay is not None:
            self.decay(self.ranks.max_(self._highest), self.optimizer.param_groups[0]["lr"])
        return told

    def _schedule(self, step: int) -> None:
        config = self.config
        for group, schedule in zip(
            self.optimizer.param_groups, (config.learning_rate, config.importance_learning_rate), strict=True
        ):
            group["lr"] = schedule.at(step, config.steps)
        self.sharpness = torch.tensor(config.minimality.sharpness.at(step, config.steps), device=self.device)

    def _coins(self) -> Bool[Tensor, "b 1 1"]:
        """Which of this process's rows are adversarial (all, in the separate form)."""
        if self.config.reconstruction.form == "separate":
            return torch.ones(len(self.share.rows), 1, 1, dtype=torch.bool, device=self.device)
        return self.draws.uniform(self.share.rows, "coin", (1, 1, 1)) < self.config.adversary.fraction

    def _faithfulness(self) -> Float[Tensor, ""]:
        """This process's share of the loss: that of its part of the rows of every Δ."""
        pairs = [[gathered(p) for p in self.decomposition.factors(s)] for s in self.decomposition.sites]
        rows = [self.ranks.share(len(w)) for w in self.weights]
        weights = [w[own] for w, own in zip(self.weights, rows, strict=True)]
        deltas = [
            delta_of(w, read, write[:, own])
            for w, (read, write), own in zip(weights, pairs, rows, strict=True)
        ]
        if self.config.faithfulness_scale == "relative":
            return relative_faithfulness(deltas, self.weights)
        own_share = sum(w.numel() for w in weights) / sum(w.numel() for w in self.weights)
        return own_share * faithfulness(deltas)

    def _clean(self, part: Part, learning: bool) -> Clean:
        """The clean forward of a part, with gradients of the importance function if it is to learn from it.

        A batch in one part needs but one; of several, none is kept until the others are through.
        """
        clean, alone = self._kept, self.share.parts == 1
        if clean is None:
            with torch.set_grad_enabled(learning or alone):
                output, inputs = self.model.clean(part.batch)
                hidden = self.model.outputs(inputs) if self.config.reconstruction.hidden else []
                clean = Clean(output, hidden, self.decomposition.logits(inputs))
            self._kept = clean if alone else None
        return clean if learning else clean._replace(logits=clean.logits.detach())

    def _search(self, parts: list[Part], rows: Bool[Tensor, "b 1 1"], step: int) -> None:
        """The adversary's ascents before the step's own pass: gradients of the sources alone."""
        count = self.config.adversary.searches(self.config.reconstruction.form == "merged")
        if count == 0 or not self.ranks.any(rows):
            return
        for index in range(count):
            self._new_leaf()
            gradient = torch.zeros_like(self._source)
            for part in parts:
                divergence = self._pass(self._clean(part, False), part, part.adversarial, index).divergence
                loss = (part.adversarial.squeeze(-1) * divergence).sum() / self._positions(divergence)
                gradient += torch.autograd.grad(loss, [self._source])[0]
            self._ascend(gradient, rows, step)

    def _new_leaf(self) -> None:
        self._source = self.adversary.source.clone().requires_grad_(True)

    def _positions(self, divergence: Float[Tensor, "b t"]) -> int:
        """Positions of the whole batch, on all processes."""
        return self.share.total * divergence.shape[1]

    def _mean_penalty(self, parts: list[Part]) -> Float[Tensor, " c"] | None:
        """f_c of the whole batch before any of its backwards; None where it is not needed or the one pass gives it.

        The frequency term is not linear in f_c: the gradient of a part depends on all others. So a batch in parts goes
        through target and importance function once more, without gradients.
        """
        if self.share.parts == 1 or not self.config.minimality.frequency:
            return None
        penalty, _ = PENALTIES[self.config.minimality.kind]
        found = torch.zeros_like(self.firing)
        for part in parts:
            g = upper(self._clean(part, False).logits.float())
            found += penalty(g, self.sharpness).mean((0, 1)) * len(part.batch) / self.share.total
        return self.ranks.sum_(found / at_one(self.config.minimality, self.sharpness))

    def _learn(self, parts: list[Part], mean_penalty: Tensor | None) -> None:
        """Forward and backward of all parts; the source's leaf gets the gradient of an adversary that learns."""
        self._new_leaf()
        self._firing, self._penalty = torch.zeros_like(self.firing), torch.zeros_like(self.firing)
        self._highest = torch.full_like(self.firing, -math.inf)
        self._mean: Tensor | None = None if mean_penalty is None else self.frequency(mean_penalty)
        for part in parts:
            weight = len(part.batch) / self.share.total
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.autocast):
                clean = self._clean(part, True)
                reconstruction, penalty, firing = self._reconstruct(clean, part)
            self._firing += weight * firing
            torch.maximum(self._highest, clean.logits.detach().amax((0, 1)).float(), out=self._highest)
            minimality = self._minimality(weight * penalty / at_one(self.config.minimality, self.sharpness))
            self._sums.add("reconstruction", reconstruction)
            if part is parts[-1]:
                self.gradients.expect()
            (reconstruction + minimality).backward()
        self.gradients.finish()
        self._kept = None

    def _minimality(self, own: Float[Tensor, " c"]) -> Float[Tensor, ""]:
        """The loss, with the gradient of a part's own share of f_c."""
        self._penalty += own.detach()
        if self._mean is None and self.share.parts == 1:
            self._mean = self.frequency(self.ranks.sum_(own.detach().clone()))
        # Without a frequency term a part's gradient does not depend on the others.
        mean = own if self._mean is None else self._mean + (own - own.detach())
        return minimality_loss(mean, self.config.minimality)

    def _reconstruct(self, clean: Clean, part: Part) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction loss, mean penalty and firing share of a part."""
        if self.config.reconstruction.form == "merged":
            return self._merged(clean, part)
        return self._separate(clean, part)

    def _merged(self, clean: Clean, part: Part) -> tuple[Tensor, Tensor, Tensor]:
        """One pass in which a coin decides each row's kind; twice the mean, so that ½ and ½ is the plain mean."""
        config, rows = self.config.reconstruction, part.adversarial
        found = self._pass(clean, part, rows, self.config.adversary.searches(True))
        self._source_scale = 1.0
        per_row, kind = found.divergence.detach().mean(1), rows.flatten()
        self._sums.add_rows(f"{config.divergence}_stochastic", per_row, ~kind)
        self._sums.add_rows(f"{config.divergence}_adversarial", per_row, kind)
        self._by_stream(per_row, part)
        weight = torch.where(rows, config.adversarial, config.stochastic).squeeze(-1)
        loss = weight * found.divergence
        if found.hidden is not None:
            hidden = (~rows).squeeze(-1) * found.hidden
            self._sums.add("hidden", hidden.mean(1).sum(), len(hidden))
            loss = loss + config.hidden * hidden
        return 2 * loss.sum() / self._positions(loss), found.penalty, found.firing

    def _separate(self, clean: Clean, part: Part) -> tuple[Tensor, Tensor, Tensor]:
        """One stochastic and one adversarial pass of all rows, after the adversary's ascents."""
        config, index = self.config.reconstruction, self.config.adversary.searches(False)
        stochastic = self._pass(clean, part, ~part.adversarial, index)
        adversarial = self._pass(clean, part, part.adversarial, index + 1)
        # The ascents before the step follow the bare divergence; the step's own has to match them in size.
        self._source_scale = config.adversarial or 1.0
        loss = torch.zeros((), device=self.device)
        terms = {
            "stochastic": (stochastic, config.stochastic),
            "adversarial": (adversarial, config.adversarial),
        }
        for name, (found, coefficient) in terms.items():
            self._sums.add(
                f"{config.divergence}_{name}", found.divergence.mean(1).sum(), len(found.divergence)
            )
            loss = loss + coefficient * found.divergence.sum()
        self._by_stream(stochastic.divergence.detach().mean(1), part)
        if stochastic.hidden is not None:
            self._sums.add("hidden", stochastic.hidden.mean(1).sum(), len(stochastic.hidden))
            loss = loss + config.hidden * stochastic.hidden.sum()
        return loss / self._positions(stochastic.divergence), stochastic.penalty, stochastic.firing

    def _pass(self, clean: Clean, part: Part, adversarial: Bool[Tensor, "b 1 1"], index: int) -> Pass:
        """The step's masked forward number `index`: adversarial rows with all sites masked, the others routed."""
        batch, length = clean.logits.shape[:2]
        total, sites = self.decomposition.total, len(self.decomposition.sites)
        config, segments = self.config.reconstruction, self.config.adversary.segments
        shape = (length, total, sites)
        drawn = draw_pass(self.draws, part.rows, index, shape, config.routing, config.sources)
        source = self.adversary.by_slot(self._source, part.own)
        # A row's segments are slots of their own: the same numbers seen as [B · S, T / S, C].
        slots = (batch * segments, length // segments, total)
        mask, penalty, firing = masks_and_penalty(
            clean.logits.view(slots),
            drawn.noise.view(slots),
            source[..., :total],
            adversarial.repeat_interleave(segments, 0),
            self.sharpness,
            self.config.minimality.kind,
            self.config.compile,
            None if drawn.level is None else drawn.level.repeat_interleave(segments, 0),
        )
        mask = mask.view(batch, length, total)
        own_delta = source[..., total:]
        if segments > 1:
            own_delta = own_delta.view(batch, segments, sites).repeat_interleave(length // segments, 1)
        broad = self.broad[part.rows.start : part.rows.stop]
        delta = torch.where(broad, 1.0, torch.where(adversarial, own_delta, drawn.delta))
        route = torch.where(adversarial, 1.0, drawn.route.float())
        self.model.keep_outputs(bool(clean.hidden))
        masked = self.model.masked(part.batch, mask, delta, route)
        hidden = hidden_mse(clean.hidden, self.model.take_outputs()) if clean.hidden else None
        return Pass(self.divergence(clean.output, masked), hidden, penalty, firing)

    def _by_stream(self, per_row: Float[Tensor, " b"], part: Part) -> None:
        """A targeted run tells the divergence of its two streams (of the stochastic pass, if there are two)."""
        if self.decay is not None:
            broad = self.broad[part.rows.start : part.rows.stop].flatten()
            name = self.config.reconstruction.divergence
            self._sums.add_rows(f"{name}_narrow", per_row, ~broad)
            self._sums.add_rows(f"{name}_broad", per_row, broad)

    def _ascend(self, gradient: Tensor, rows: Bool[Tensor, "b 1 1"], step: int) -> None:
        rate = self.adversary.rate(step, self.config.steps)
        self.adversary.ascend(self.adversary.summed(gradient), rate, rows)

    def _told(self, step: int) -> dict[str, float]:
        """The step's losses and counts, over all parts and processes; an error if a loss is not finite."""
        if self._mean is None:
            self._mean = self.frequency(self.ranks.sum_(self._penalty))
        found = self._sums.all(self.ranks)
        minimality = minimality_loss(self._mean, self.config.minimality).item()
        losses = {"reconstruction": found.pop("reconstruction"), "minimality": minimality}
        if self.config.faithfulness:
            losses["faithfulness"] = found.pop("faithfulness")
        self._check(losses, step)
        firing = self.ranks.sum_(self._firing)
        self.firing.lerp_(firing, 1 - FIRING_DECAY)
        del losses["reconstruction"]  # what it is made of is told
        counts = {
            "l0": firing.sum().item(),
            "alive": float((self.firing > ALIVE_SHARE).sum().item()),
        }
        return {**found, **losses, **counts}

    def _check(self, losses: dict[str, float], step: int) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise RankOneError(
                f"{', '.join(bad)} is not finite at step {step}. The last checkpoint is kept; "
                "lower learning_rate or the loss's coefficient and start again."
            )

    def use_compiled_gate(self) -> None:
        """Fuse each site's gating with its backward."""
        if self.config.compile:
            compiled = torch.compile(gate, dynamic=False)
            for site in self.model.modules:
                site.gate = compiled


def train(
    trainer: Trainer, run: Path, config_hash: str, stop_after: int | None = None, log_every: int = 10
) -> bool:
    """Train to the end of the recipe (True) or to `stop_after` steps (False), from the run's last checkpoint."""
    config, first = trainer.config, trainer.ranks.first
    run.mkdir(parents=True, exist_ok=True)
    last = config.steps if stop_after is None else min(config.steps, stop_after)
    with trainer.installed():
        start = _resume(trainer, run, config_hash)
        trainer.use_compiled_gate()
        clock = time.monotonic()
        with meter("decompose", config.steps) as bar:
            bar.advance(start)
            for step in range(start, last):
                metrics = trainer.step(step)
                metrics["it/s"] = (step + 1 - start) / (time.monotonic() - clock)
                if first and (step % log_every == 0 or step + 1 == last):
                    append_metrics(run, {"step": step, **metrics})
                bar.advance(1, format_values(metrics))
                if (step + 1) % config.checkpoint_every == 0 or step + 1 == last:
                    save_checkpoint(run, state_of(trainer, step + 1), config_hash)
    return last == config.steps


def _resume(trainer: Trainer, run: Path, config_hash: str) -> int:
    state = load_checkpoint(run, config_hash)
    step = -1 if state is None else state.step - 1
    if trainer.ranks.first:
        trim_metrics(run, step)
    if state is None:
        trainer.warm_up(trainer.config.warmup_steps)
        return 0
    put_state(trainer, state)
    console.print(f"resuming at step {state.step}")
    return state.step
