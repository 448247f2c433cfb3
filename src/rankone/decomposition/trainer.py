"""One decomposition run: data rows → clean forward → importances → masked forward → losses → ascent and descent.

The merged step (default) does one masked forward and backward: each row is adversarial by a coin (all sites masked,
sources from the persistent adversary) or stochastic (uniform sources, a random subset of sites masked). The separate
step does one pass of each kind plus the adversary's extra ascents, as the original method.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.checkpoint import (
    State,
    append_metrics,
    last_tensors,
    load_checkpoint,
    pack_module,
    pack_optimizer,
    save_checkpoint,
    trim_metrics,
    unpack_module,
    unpack_optimizer,
)
from rankone.decomposition.adversary.registry import build_adversary
from rankone.decomposition.config import DecomposeConfig, TrainingConfig
from rankone.decomposition.decay import ImportanceDecay
from rankone.decomposition.importance.registry import build_importance, importance_class
from rankone.decomposition.initialisation import Factors, initial_factors
from rankone.decomposition.levels import LEVELS
from rankone.decomposition.masks import draw_noise, masks_and_penalty
from rankone.decomposition.minimality import RunningMean, at_one, minimality_loss
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.decomposition.principal import principal_factors
from rankone.decomposition.reconstruction import divergence_kernel, hidden_mse
from rankone.decomposition.routing import ROUTINGS
from rankone.decomposition.site import delta_of, faithfulness, gate, relative_faithfulness, site_weight
from rankone.decomposition.taps import SiteInputs, tap_widths
from rankone.decomposition.targeted import Targeted, streams
from rankone.errors import RankOneError, nearest
from rankone.models.listing import suggested_count
from rankone.models.sites import Site, find_sites
from rankone.progress import console, format_values, meter

# A subcomponent counts as alive in the progress line while it fires at more than one position in this many.
ALIVE_SHARE = 1e-5
FIRING_DECAY = 0.99


def count_for(site: Site, config: TrainingConfig) -> int:
    """C of a site: the first matching pattern of the recipe, else one per neuron or channel."""
    from fnmatch import fnmatch

    for pattern, count in config.subcomponents.items():
        if fnmatch(site.name, pattern):
            if count < 1:
                raise RankOneError(f"subcomponents['{pattern}'] is {count}; C must be at least 1.")
            return count
    return suggested_count(site)


def new_decomposition(
    target: nn.Module, config: TrainingConfig, rows: np.ndarray | None = None
) -> Decomposition:
    """Initial factors and importance function for the sites the recipe names.

    `rows` are the run's token rows [n, T], which a principal start reads.
    """
    torch.manual_seed(config.seed)
    sites = find_sites(target, config.sites)
    _refuse_idle_patterns(config, [s.name for s in sites])
    factors = _factors(target, sites, config, rows)
    counts = [read.shape[1] for read, _ in factors.values()]
    widths = tap_widths(importance_class(config.importance).taps, target, sites, counts)
    importance = build_importance(config.importance, widths, counts)
    decomposition = Decomposition(factors, importance)
    if config.continue_from is not None:
        _continue(decomposition, Path(config.continue_from))
    return decomposition


def _factors(
    target: nn.Module, sites: list[Site], config: TrainingConfig, rows: np.ndarray | None
) -> dict[str, Factors]:
    counts = [count_for(s, config) for s in sites]
    targeted = targeted_of(config)
    if config.initialisation == "principal" and targeted is not None and config.continue_from is None:
        assert rows is not None, "a principal start reads the rows of its run"
        narrow, broad = streams(rows, config.rows, targeted.narrow_rows(config.rows))
        return principal_factors(target, sites, counts, narrow, broad, targeted.contrast)
    # What a continued run would start from is replaced.
    kind = "random" if config.initialisation == "principal" else config.initialisation
    # On the CPU whatever device the target is on: so is the generator.
    generator = torch.Generator().manual_seed(config.seed)
    return {
        s.name: initial_factors(kind, s.name, site_weight(s).cpu(), count, generator)
        for s, count in zip(sites, counts, strict=True)
    }


def targeted_of(config: TrainingConfig) -> Targeted | None:
    """The targeted part of a recipe; a target without text has none."""
    return config.targeted if isinstance(config, DecomposeConfig) else None


def _continue(decomposition: Decomposition, run: Path) -> None:
    """Take factors and importance function from a run's last checkpoint; sizes must be the same."""
    tensors = last_tensors(run)
    own = pack_module("decomposition", decomposition)
    different = [
        name for name, value in own.items() if name not in tensors or tensors[name].shape != value.shape
    ]
    if different:
        raise RankOneError(
            f"continue_from '{run}' has other sites, C or importance sizes: '{different[0]}' differs. Use its sizes."
        )
    unpack_module("decomposition", decomposition, tensors)


def _refuse_idle_patterns(config: TrainingConfig, names: list[str]) -> None:
    """A pattern of `subcomponents` that matches none of the decomposed sites is a slip, not a wish."""
    from fnmatch import fnmatch

    for pattern in config.subcomponents:
        if not any(fnmatch(name, pattern) for name in names):
            raise RankOneError(
                f"subcomponents['{pattern}'] matches none of the decomposed sites.{nearest(pattern, names)}"
            )


class Pass(NamedTuple):
    """What one masked forward gives: divergence [B, T], MSE of site outputs [B, T] if asked for, f_c, firing share."""

    divergence: Float[Tensor, "b t"]
    hidden: Float[Tensor, "b t"] | None
    penalty: Float[Tensor, " c"]
    firing: Float[Tensor, " c"]


class Clean(NamedTuple):
    """One clean forward: the batch, the output, the site outputs if the recipe holds them, importance logits."""

    batch: Tensor
    output: Tensor
    hidden: list[Tensor]
    logits: Tensor


class Trainer:
    """The state of a run and its step.

    `data` are token rows [n, T], read in order and from the start again at their end, or a function from the step to
    its batch [B, T] or [B, T, d]. In a targeted run the first rows of every batch are the narrow ones.
    """

    def __init__(
        self,
        target: nn.Module,
        decomposition: Decomposition,
        data: np.ndarray | Callable[[int], Tensor],
        config: TrainingConfig,
    ) -> None:
        self.config, self.decomposition = config, decomposition
        self.data = data if callable(data) else _in_order(data, config.rows)
        self.device = next(target.parameters()).device
        self.generator = torch.Generator(device=self.device)
        target.requires_grad_(False)
        decomposition.to(self.device).requires_grad_(True)
        self.model = DecomposedModel(target, decomposition)
        sites = find_sites(target, decomposition.sites)
        # Without faithfulness nobody asks for them, and V U is never formed.
        held = sites if config.faithfulness or config.warmup_steps else []
        self.weights = [site_weight(s).to(self.device) for s in held]
        self.factors = [*decomposition.V.parameters(), *decomposition.U.parameters()]
        self.optimizer = torch.optim.AdamW(
            [{"params": self.factors}, {"params": list(decomposition.importance.parameters())}],
            weight_decay=0.0,
            fused=True,
        )
        self.generator.manual_seed(config.seed)
        channels = decomposition.total + len(decomposition.sites)
        self.adversary = build_adversary(
            config.adversary, config.rows, config.context, channels, self.generator
        )
        self.firing = torch.ones(decomposition.total, device=self.device)
        self.frequency = RunningMean(config.minimality.half_life, decomposition.total, self.device)
        self.divergence = divergence_kernel(config.reconstruction.divergence, config.compile)
        self._target_rows(targeted_of(config))

    def _target_rows(self, targeted: Targeted | None) -> None:
        """Which rows of a batch are broad, and the decay of what is important nowhere."""
        rows = self.config.rows
        narrow = rows if targeted is None else targeted.narrow_rows(rows)
        self.broad: Bool[Tensor, "b 1 1"] = (torch.arange(rows, device=self.device) >= narrow).view(-1, 1, 1)
        self.decay = (
            ImportanceDecay(targeted.importance_decay, self.decomposition, self.device) if targeted else None
        )

    def warm_up(self, steps: int) -> None:
        """AdamW on faithfulness alone, with an optimiser that is thrown away."""
        optimizer = torch.optim.AdamW(self.factors, lr=1e-3, weight_decay=0.0)
        for _ in range(steps):
            optimizer.zero_grad()
            self._faithfulness().backward()
            optimizer.step()

    def batch(self, step: int) -> Tensor:
        """The batch of one step, on the run's device."""
        return self.data(step).to(self.device)

    def step(self, step: int) -> dict[str, float]:
        """One training step; returns its losses and counts."""
        config = self.config
        # Seeded by the step, so that a resumed run draws what the uninterrupted one would have drawn.
        self.generator.manual_seed(config.seed * 1_000_003 + step + 1)
        self._schedule(step)
        batch = self.batch(step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.autocast):
            output, inputs = self.model.clean(batch)
            clean = Clean(batch, output, self._site_outputs(inputs), self.decomposition.logits(inputs))
            reconstruction, penalty, firing = self._reconstruct(clean, step)
        mean_penalty = self.frequency(penalty / at_one(config.minimality, self.sharpness))
        minimality = minimality_loss(mean_penalty, config.minimality)
        losses = {"reconstruction": reconstruction, "minimality": minimality}
        total = reconstruction + minimality
        if config.faithfulness:
            losses["faithfulness"] = self._faithfulness()
            total = total + config.faithfulness * losses["faithfulness"]
        self._check(total, step, losses)
        self.optimizer.zero_grad()
        self._backward(total, step)
        torch.nn.utils.clip_grad_norm_(self.factors, config.clip)
        torch.nn.utils.clip_grad_norm_(self.decomposition.importance.parameters(), config.importance_clip)
        self.optimizer.step()
        if self.decay is not None:
            self.decay(clean.logits, self.optimizer.param_groups[0]["lr"])
        self.firing.lerp_(firing, 1 - FIRING_DECAY)
        told = {name: value.item() for name, value in losses.items() if name != "reconstruction"}
        return {
            **self._parts,  # what the reconstruction is made of
            **told,
            "l0": firing.sum().item(),
            "alive": float((self.firing > ALIVE_SHARE).sum().item()),
        }

    def _schedule(self, step: int) -> None:
        config = self.config
        for group, schedule in zip(
            self.optimizer.param_groups, (config.learning_rate, config.importance_learning_rate), strict=True
        ):
            group["lr"] = schedule.at(step, config.steps)
        self.sharpness = torch.tensor(config.minimality.sharpness.at(step, config.steps), device=self.device)

    def _faithfulness(self) -> Float[Tensor, ""]:
        pairs = [self.decomposition.factors(s) for s in self.decomposition.sites]
        deltas = [delta_of(w, *pair) for w, pair in zip(self.weights, pairs, strict=True)]
        if self.config.faithfulness_scale == "relative":
            return relative_faithfulness(deltas, self.weights)
        return faithfulness(deltas)

    def _site_outputs(self, inputs: SiteInputs) -> list[Tensor]:
        return self.model.outputs(inputs) if self.config.reconstruction.hidden else []

    def _reconstruct(self, clean: Clean, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction loss, mean penalty and firing share; leaves the source leaf for the ascent."""
        if self.config.reconstruction.form == "merged":
            return self._merged(clean, step)
        return self._separate(clean, step)

    def _merged(self, clean: Clean, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """One pass in which a coin decides each row's kind; twice the mean, so that ½ and ½ is the plain mean."""
        config = self.config.reconstruction
        coin = torch.rand(len(clean.batch), 1, 1, generator=self.generator, device=self.device)
        rows = coin < self.config.adversary.fraction
        self._search(clean, rows, step)
        found = self._pass(clean, rows)
        self._rows, self._source_scale = rows, 1.0
        per_row = found.divergence.detach().mean(1)
        self._parts = self._by_kind(per_row, rows.flatten()) | self._by_stream(per_row)
        weight = torch.where(rows, config.adversarial, config.stochastic).squeeze(-1)
        loss = weight * found.divergence
        if found.hidden is not None:
            hidden = (~rows).squeeze(-1) * found.hidden
            self._parts["hidden"] = hidden.mean().item()
            loss = loss + config.hidden * hidden
        return 2 * loss.mean(), found.penalty, found.firing

    def _separate(self, clean: Clean, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """One stochastic and one adversarial pass of all rows, after the adversary's ascents."""
        config = self.config.reconstruction
        none = torch.zeros(len(clean.batch), 1, 1, dtype=torch.bool, device=self.device)
        self._search(clean, ~none, step)
        stochastic = self._pass(clean, none)
        adversarial = self._pass(clean, ~none)
        # The ascents before the step follow the bare divergence; the step's own has to match them in size.
        self._rows, self._source_scale = ~none, config.adversarial or 1.0
        parts = {"stochastic": stochastic.divergence.mean(), "adversarial": adversarial.divergence.mean()}
        self._parts = {f"{config.divergence}_{k}": v.item() for k, v in parts.items()}
        self._parts |= self._by_stream(stochastic.divergence.detach().mean(1))
        loss = config.stochastic * parts["stochastic"] + config.adversarial * parts["adversarial"]
        if stochastic.hidden is not None:
            self._parts["hidden"] = stochastic.hidden.mean().item()
            loss = loss + config.hidden * stochastic.hidden.mean()
        return loss, stochastic.penalty, stochastic.firing

    def _search(self, clean: Clean, rows: Bool[Tensor, "b 1 1"], step: int) -> None:
        """The adversary's ascents before the step's own pass: gradients of the sources alone."""
        self.adversary.begin()
        fixed = clean._replace(logits=clean.logits.detach())
        count = self.config.adversary.searches(self.config.reconstruction.form == "merged")
        for _ in range(count if rows.any() else 0):
            divergence = self._pass(fixed, rows).divergence
            (gradient,) = torch.autograd.grad((rows.squeeze(-1) * divergence).mean(), [self._source])
            self._ascend(gradient, rows, step)

    def _pass(self, clean: Clean, adversarial: Bool[Tensor, "b 1 1"]) -> Pass:
        """One masked forward: adversarial rows with all sites masked, the others stochastic and routed."""
        batch, length = clean.logits.shape[:2]
        total, sites = self.decomposition.total, len(self.decomposition.sites)
        config, generator = self.config.reconstruction, self.generator
        self._source = self.adversary.source.clone().requires_grad_(True)
        source = self.adversary.by_slot(self._source)
        segments = self.config.adversary.segments
        level = LEVELS[config.sources](batch, generator)
        # A row's segments are slots of their own: the same numbers seen as [B · S, T / S, C].
        slots = (batch * segments, length // segments, total)
        mask, penalty, firing = masks_and_penalty(
            clean.logits.view(slots),
            draw_noise(slots, generator),
            source[..., :total],
            adversarial.repeat_interleave(segments, 0),
            self.sharpness,
            self.config.minimality.kind,
            self.config.compile,
            None if level is None else level.repeat_interleave(segments, 0),
        )
        mask = mask.view(batch, length, total)
        uniform = torch.rand(batch, length, sites, generator=generator, device=self.device)
        own_delta = source[..., total:]
        if segments > 1:
            own_delta = own_delta.view(batch, segments, sites).repeat_interleave(length // segments, 1)
        delta = torch.where(self.broad, 1.0, torch.where(adversarial, own_delta, uniform))
        route = torch.where(
            adversarial, 1.0, ROUTINGS[config.routing](batch, length, sites, generator).float()
        )
        self.model.keep_outputs(bool(clean.hidden))
        masked = self.model.masked(clean.batch, mask, delta, route)
        hidden = hidden_mse(clean.hidden, self.model.take_outputs()) if clean.hidden else None
        return Pass(self.divergence(clean.output, masked), hidden, penalty, firing)

    def _by_kind(self, per_row: Tensor, adversarial: Tensor) -> dict[str, float]:
        parts = {}
        for name, rows in (("stochastic", ~adversarial), ("adversarial", adversarial)):
            if rows.any():
                parts[f"{self.config.reconstruction.divergence}_{name}"] = per_row[rows].mean().item()
        return parts

    def _by_stream(self, per_row: Tensor) -> dict[str, float]:
        """A targeted run tells the divergence of its two streams (of the stochastic pass, if there are two)."""
        if self.decay is None:
            return {}
        broad, name = self.broad.flatten(), self.config.reconstruction.divergence
        return {
            f"{name}_narrow": per_row[~broad].mean().item(),
            f"{name}_broad": per_row[broad].mean().item(),
        }

    def _backward(self, total: Tensor, step: int) -> None:
        """Backward of everything; the source's share of it is the gradient of an adversary that learns."""
        total.backward()
        if self.adversary.learns and self._source.grad is not None:
            self._ascend(self._source.grad / self._source_scale, self._rows, step)

    def _ascend(self, gradient: Tensor, rows: Bool[Tensor, "b 1 1"], step: int) -> None:
        self.adversary.ascend(gradient, self.adversary.rate(step, self.config.steps), rows)

    def _check(self, total: Tensor, step: int, parts: dict[str, Tensor]) -> None:
        if math.isfinite(total.item()):
            return
        bad = [name for name, value in parts.items() if not math.isfinite(value.item())]
        raise RankOneError(
            f"{', '.join(bad) or 'the total loss'} is not finite at step {step}. The last checkpoint is kept; "
            "lower learning_rate or the loss's coefficient and start again."
        )

    def state(self, step: int) -> State:
        """Everything a resumed run needs."""
        tensors = pack_module("decomposition", self.decomposition) | pack_optimizer(
            "optimizer", self.optimizer
        )
        tensors |= {f"adversary.{k}": v for k, v in self.adversary.tensors().items()}
        tensors |= {f"frequency.{k}": v for k, v in self.frequency.tensors().items()}
        if self.decay is not None:
            tensors["decay.highest"] = self.decay.highest
        return State(step, tensors | {"firing": self.firing}, {})

    def load(self, state: State) -> None:
        """Put a saved state back."""
        unpack_module("decomposition", self.decomposition, state.tensors)
        unpack_optimizer("optimizer", self.optimizer, state.tensors)
        self.adversary.load(_under("adversary.", state.tensors))
        self.frequency.load(_under("frequency.", state.tensors))
        self.firing.copy_(state.tensors["firing"])
        if self.decay is not None:
            self.decay.highest.copy_(state.tensors["decay.highest"])

    def use_compiled_gate(self) -> None:
        """Fuse each site's gating with its backward."""
        if self.config.compile:
            compiled = torch.compile(gate, dynamic=False)
            for site in self.model.modules:
                site.gate = compiled


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _in_order(rows: np.ndarray, count: int) -> Callable[[int], Tensor]:
    """Batches of `count` rows, read in order and from the start again at the end."""

    def batch(step: int) -> Tensor:
        index = np.arange(step * count, (step + 1) * count) % len(rows)
        return torch.from_numpy(rows[index].astype(np.int64))

    return batch


def train(
    trainer: Trainer, run: Path, config_hash: str, stop_after: int | None = None, log_every: int = 10
) -> bool:
    """Train to the end of the recipe (True) or to `stop_after` steps (False), from the run's last checkpoint."""
    config = trainer.config
    run.mkdir(parents=True, exist_ok=True)
    start = _resume(trainer, run, config_hash)
    last = config.steps if stop_after is None else min(config.steps, stop_after)
    clock = time.monotonic()
    with trainer.model, meter("decompose", config.steps) as bar:
        trainer.use_compiled_gate()
        bar.advance(start)
        for step in range(start, last):
            metrics = trainer.step(step)
            metrics["it/s"] = (step + 1 - start) / (time.monotonic() - clock)
            if step % log_every == 0 or step + 1 == last:
                append_metrics(run, {"step": step, **metrics})
            bar.advance(1, format_values(metrics))
            if (step + 1) % config.checkpoint_every == 0 or step + 1 == last:
                save_checkpoint(run, trainer.state(step + 1), config_hash)
    return last == config.steps


def _resume(trainer: Trainer, run: Path, config_hash: str) -> int:
    state = load_checkpoint(run, config_hash)
    if state is None:
        trim_metrics(run, -1)
        trainer.warm_up(trainer.config.warmup_steps)
        return 0
    trainer.load(state)
    trim_metrics(run, state.step - 1)
    console.print(f"resuming at step {state.step}")
    return state.step
