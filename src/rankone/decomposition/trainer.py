"""One decomposition run: data rows → clean forward → importances → masked forward → losses → ascent and descent.

The merged step (default) does one masked forward and backward: each row is adversarial by a coin (all sites masked,
sources from the persistent adversary) or stochastic (uniform sources, a random subset of sites masked). The separate
step does one pass of each kind plus the adversary's extra ascents, as the original method.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

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
from rankone.decomposition.adversary import PersistentAdversary
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.importance import SharedTransformer
from rankone.decomposition.initialisation import initial_factors
from rankone.decomposition.masks import draw_noise, masks_and_penalty
from rankone.decomposition.minimality import minimality_loss
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.decomposition.reconstruction import kl_kernel
from rankone.decomposition.routing import uniform_k_subset
from rankone.decomposition.site import delta_of, faithfulness, gate, site_weight
from rankone.errors import RankOneError, nearest
from rankone.models.sites import Site, find_sites
from rankone.progress import console, format_values, meter

# A subcomponent counts as alive in the progress line while it fires at more than one position in this many.
ALIVE_SHARE = 1e-5
FIRING_DECAY = 0.99


def count_for(site: Site, config: DecomposeConfig) -> int:
    """C of a site: the first matching pattern of the recipe, else one per neuron or channel."""
    from fnmatch import fnmatch

    for pattern, count in config.subcomponents.items():
        if fnmatch(site.name, pattern):
            if count < 1:
                raise RankOneError(f"subcomponents['{pattern}'] is {count}; C must be at least 1.")
            return count
    return max(site.d_in, site.d_out)


def new_decomposition(target: PreTrainedModel, config: DecomposeConfig) -> Decomposition:
    """Initial factors and importance function for the sites the recipe names."""
    generator = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)
    sites = find_sites(target, config.sites)
    _refuse_idle_patterns(config, [s.name for s in sites])
    # On the CPU whatever device the target is on: so is the generator.
    factors = {
        s.name: initial_factors(
            config.initialisation, s.name, site_weight(s).cpu(), count_for(s, config), generator
        )
        for s in sites
    }
    importance = SharedTransformer(
        config.importance, [s.d_in for s in sites], sum(f[0].shape[1] for f in factors.values())
    )
    decomposition = Decomposition(factors, importance)
    if config.continue_from is not None:
        _continue(decomposition, Path(config.continue_from))
    return decomposition


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


def _refuse_idle_patterns(config: DecomposeConfig, names: list[str]) -> None:
    """A pattern of `subcomponents` that matches none of the decomposed sites is a slip, not a wish."""
    from fnmatch import fnmatch

    for pattern in config.subcomponents:
        if not any(fnmatch(name, pattern) for name in names):
            raise RankOneError(
                f"subcomponents['{pattern}'] matches none of the decomposed sites.{nearest(pattern, names)}"
            )


class Trainer:
    """The state of a run and its step."""

    def __init__(
        self, target: PreTrainedModel, decomposition: Decomposition, rows: np.ndarray, config: DecomposeConfig
    ) -> None:
        self.config, self.rows, self.decomposition = config, rows, decomposition
        self.device = next(target.parameters()).device
        self.generator = torch.Generator(device=self.device)
        target.requires_grad_(False)
        decomposition.to(self.device).requires_grad_(True)
        self.model = DecomposedModel(target, decomposition)
        sites = find_sites(target, decomposition.sites)
        self.weights = [site_weight(s).to(self.device) for s in sites]
        self.factors = [*decomposition.V.parameters(), *decomposition.U.parameters()]
        self.optimizer = torch.optim.AdamW(
            [{"params": self.factors}, {"params": list(decomposition.importance.parameters())}],
            weight_decay=0.0,
            fused=True,
        )
        self.generator.manual_seed(config.seed)
        channels = decomposition.total + len(decomposition.sites)
        self.adversary = PersistentAdversary(
            config.adversary,
            config.rows * config.adversary.segments,
            config.context // config.adversary.segments,
            channels,
            self.generator,
        )
        self.firing = torch.ones(decomposition.total, device=self.device)
        self.kl = kl_kernel(config.compile)

    def warm_up(self, steps: int) -> None:
        """AdamW on faithfulness alone, with an optimiser that is thrown away."""
        optimizer = torch.optim.AdamW(self.factors, lr=1e-3, weight_decay=0.0)
        for _ in range(steps):
            optimizer.zero_grad()
            self._faithfulness().backward()
            optimizer.step()

    def batch(self, step: int) -> Int[Tensor, "b t"]:
        """Rows of one step; the data are read in order and start again at the end."""
        index = np.arange(step * self.config.rows, (step + 1) * self.config.rows) % len(self.rows)
        return torch.from_numpy(self.rows[index].astype(np.int64)).to(self.device)

    def step(self, step: int) -> dict[str, float]:
        """One training step; returns its losses and counts."""
        config = self.config
        # Seeded by the step, so that a resumed run draws what the uninterrupted one would have drawn.
        self.generator.manual_seed(config.seed * 1_000_003 + step + 1)
        self._schedule(step)
        ids = self.batch(step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.autocast):
            clean, inputs = self.model.clean(ids)
            logits = self.decomposition.importance(inputs)
            reconstruction, penalty, firing = self._reconstruct(ids, clean, logits, step)
        minimality = minimality_loss(penalty, config.minimality)
        faith = self._faithfulness()
        total = reconstruction + minimality + config.faithfulness * faith
        self._check(
            total, step, {"reconstruction": reconstruction, "minimality": minimality, "faithfulness": faith}
        )
        self.optimizer.zero_grad()
        self._ascend_with(total, step)
        torch.nn.utils.clip_grad_norm_(self.factors, config.clip)
        torch.nn.utils.clip_grad_norm_(self.decomposition.importance.parameters(), config.importance_clip)
        self.optimizer.step()
        self.firing.lerp_(firing, 1 - FIRING_DECAY)
        return {
            **self._parts,
            "minimality": minimality.item(),
            "faithfulness": faith.item(),
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
        return faithfulness([delta_of(w, *pair) for w, pair in zip(self.weights, pairs, strict=True)])

    def _reconstruct(
        self, ids: Tensor, clean: Tensor, logits: Tensor, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction loss, mean penalty and firing share; leaves the source leaf for the ascent."""
        config = self.config.reconstruction
        rows = len(ids)
        if config.form == "merged":
            coin = torch.rand(rows, 1, 1, generator=self.generator, device=self.device)
            self._rows = coin < self.config.adversary.fraction
            self._units = self._rows.repeat_interleave(self.config.adversary.segments, 0)
            self._source_scale = 1.0
            weight = torch.where(self._rows, config.adversarial, config.stochastic)
            divergence, penalty, firing = self._pass(ids, clean, logits, self._rows)
            per_row = divergence.detach().mean(1)
            self._parts = self._by_kind(per_row, self._rows.flatten())
            return 2 * (weight.squeeze(-1) * divergence).mean(), penalty, firing
        none = torch.zeros(rows, 1, 1, dtype=torch.bool, device=self.device)
        self._rows = ~none
        # The ascents before the step follow the bare divergence; the step's own has to match them in size.
        self._source_scale = config.adversarial or 1.0
        for _ in range(self.config.adversary.extra_ascents):
            divergence, _, _ = self._pass(ids, clean, logits.detach(), ~none)
            (gradient,) = torch.autograd.grad(divergence.mean(), [self._source])
            self._ascend(gradient, step)
        stochastic, penalty, firing = self._pass(ids, clean, logits, none)
        adversarial, _, _ = self._pass(ids, clean, logits, ~none)
        self._parts = {"kl_stochastic": stochastic.mean().item(), "kl_adversarial": adversarial.mean().item()}
        loss = config.stochastic * stochastic.mean() + config.adversarial * adversarial.mean()
        return loss, penalty, firing

    def _pass(
        self, ids: Tensor, clean: Tensor, logits: Tensor, adversarial: Bool[Tensor, "b 1 1"]
    ) -> tuple[Float[Tensor, "b t"], Tensor, Tensor]:
        """One masked forward: KL per position [B, T], mean penalty, firing share."""
        batch, length = ids.shape
        total, sites = self.decomposition.total, len(self.decomposition.sites)
        generator = self.generator
        self._source = self.adversary.source.clone().requires_grad_(True)
        source = self.adversary.by_slot(self._source)
        segments = self.config.adversary.segments
        parts = (batch * segments, length // segments)
        level = self._levels(batch)
        mask, penalty, firing = masks_and_penalty(
            logits.view(*parts, total),
            draw_noise((*parts, total), generator),
            source[..., :total],
            adversarial.repeat_interleave(segments, 0),
            self.sharpness,
            self.config.minimality.kind,
            self.config.compile,
            None if level is None else level.repeat_interleave(segments, 0),
        )
        mask = mask.view(batch, length, total)
        uniform = torch.rand(batch, length, sites, generator=generator, device=self.device)
        per_row = source[..., total:].view(batch, segments, -1).repeat_interleave(length // segments, 1)
        delta = torch.where(adversarial, per_row, uniform)
        route = torch.where(adversarial, 1.0, self._routes(batch, length, sites))
        return self.kl(clean, self.model.masked(ids, mask, delta, route)), penalty, firing

    def _levels(self, batch: int) -> Float[Tensor, "b 1 1"] | None:
        """Per row the probability of a source being 1: uniform, with a sixth of the rows at 0 and at 1 each."""
        if self.config.reconstruction.sources == "uniform":
            return None
        return (torch.rand(batch, 1, 1, generator=self.generator, device=self.device) * 1.5 - 0.25).clamp(
            0, 1
        )

    def _routes(self, batch: int, length: int, sites: int) -> Float[Tensor, "b t sites"]:
        """Which sites are masked at each position of a stochastic row."""
        routing = self.config.reconstruction.routing
        if routing == "all":
            return torch.ones(batch, length, sites, device=self.device)
        chosen = uniform_k_subset(batch, length, sites, self.generator).float()
        if routing == "subset":
            return chosen
        coin = torch.rand(batch, 1, 1, generator=self.generator, device=self.device)
        return torch.where(coin < 0.5, 1.0, chosen)

    @staticmethod
    def _by_kind(per_row: Tensor, adversarial: Tensor) -> dict[str, float]:
        parts = {}
        for name, rows in (("kl_stochastic", ~adversarial), ("kl_adversarial", adversarial)):
            if rows.any():
                parts[name] = per_row[rows].mean().item()
        return parts

    def _ascend_with(self, total: Tensor, step: int) -> None:
        """Backward of everything; the source's share of it is the adversary's gradient."""
        total.backward()
        if self._source.grad is not None:
            self._ascend(self._source.grad / self._source_scale, step)

    def _ascend(self, gradient: Tensor, step: int) -> None:
        rate = self.config.adversary.learning_rate.at(step, self.config.steps)
        self.adversary.ascend(gradient, rate, self._units)

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
        return State(step, tensors | {"firing": self.firing}, {})

    def load(self, state: State) -> None:
        """Put a saved state back."""
        unpack_module("decomposition", self.decomposition, state.tensors)
        unpack_optimizer("optimizer", self.optimizer, state.tensors)
        self.adversary.load({k[10:]: v for k, v in state.tensors.items() if k.startswith("adversary.")})
        self.firing.copy_(state.tensors["firing"])

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
