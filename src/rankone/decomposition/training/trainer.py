"""One decomposition run: data rows → clean forward → importances → masked forward → losses → ascent and descent.

The merged step (default) does one masked forward and backward: each row is adversarial by a coin (all sites masked,
sources from the persistent adversary) or stochastic (uniform sources, a random subset of sites masked). The separate
step does one pass of each kind plus the adversary's extra ascents, as the original method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.decomposition.adversary.attack import Attack
from rankone.decomposition.adversary.registry import build_adversary
from rankone.decomposition.config import TrainingConfig
from rankone.decomposition.init.start import targeted_of
from rankone.decomposition.masking.draws import RowDraws, draw_pass
from rankone.decomposition.masking.kernels import kernel
from rankone.decomposition.masking.masks import MaskParts
from rankone.decomposition.masking.squash import upper
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.decomposition.objective.fused_faithfulness import squared_remainder
from rankone.decomposition.objective.fused_penalty import add_gradient, mean_penalty
from rankone.decomposition.objective.minimality import PENALTIES, RunningMean, at_one, minimality_loss
from rankone.decomposition.objective.reconstruction import DIVERGENCES, hidden_mse
from rankone.decomposition.parallel.gathered import gathered
from rankone.decomposition.parallel.gradient_sum import GradientSum
from rankone.decomposition.parallel.sharding import shard
from rankone.decomposition.parallel.share import Part, Share, in_order
from rankone.decomposition.site import faithfulness, relative_faithfulness, site_weight
from rankone.decomposition.targeted.config import Targeted
from rankone.decomposition.targeted.decay import ImportanceDecay
from rankone.decomposition.training.clipping import clip
from rankone.decomposition.training.faults import forward_fault, not_finite
from rankone.decomposition.training.head import Head, held_back
from rankone.decomposition.training.passes import Clean, Pass, Rows, attention, rows_at_once
from rankone.decomposition.training.read_prices import ReadPrices
from rankone.decomposition.training.recompute import recomputed
from rankone.decomposition.training.sums import Sums
from rankone.models.sites import find_sites
from rankone.runtime.distributed import current

# A subcomponent counts as alive in the progress line while it fires at more than one position in this many.
ALIVE_SHARE = 1e-5
FIRING_DECAY = 0.99


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
        self.model = DecomposedModel(target, decomposition, compiled=config.compile)
        sites = find_sites(target, decomposition.sites)
        # Without faithfulness nobody asks for them, and V U is never formed.
        held = sites if config.faithfulness or config.warmup_steps or config.read_leak else []
        self.weights = [site_weight(s).to(self.device) for s in held]
        self.prices = ReadPrices(config, decomposition, self.ranks)
        self._optimise()
        channels = decomposition.total + len(decomposition.sites)
        self.adversary = build_adversary(
            config.adversary, config.rows, config.context, channels, self.draws, config.compile
        )
        self.firing = torch.ones(decomposition.total, device=self.device)
        self.frequency = RunningMean(config.minimality.half_life, decomposition.total, self.device)
        self.divergence = kernel(DIVERGENCES[config.reconstruction.divergence], config.compile)
        self._head: Head | None = None
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
        """The target with its decomposed sites in place and its unembedding held back, laid out as `machine` says."""
        machine, model = self.config.machine, self.model
        with model, recomputed(model) if machine.activation_checkpointing else nullcontext():
            if machine.sharding == "fsdp":
                shard(model, self.device, self.ranks.size)
                self._optimise()
            with held_back(model.target, self.decomposition.sites, partial(self.batch, 0)) as self._head:
                try:
                    yield
                finally:
                    self._head = None

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
        return self.data(step)[self.share.taken].to(self.device)

    def step(self, step: int) -> dict[str, float]:
        """One training step; returns its losses and counts."""
        with attention(self.device, self.config.context):
            return self._step(step)

    def _step(self, step: int) -> dict[str, float]:
        config = self.config
        self.draws.begin(step)
        self._schedule(step)
        self.adversary.begin()
        self._sums = Sums(self.device)
        rows = self._coins()
        parts = self.share.split(self.batch(step), rows)
        self._kept: Clean | None = None
        self.optimizer.zero_grad()
        if self.prices.unmeasured:
            self._measure_outputs()
        self._search(parts, rows, step)
        mean = self._mean_penalty(parts)
        if config.faithfulness:
            remainder = self._faithfulness(torch.bfloat16 if config.autocast else torch.float32)
            self._sums.add("faithfulness", remainder)
            (config.faithfulness * remainder).backward()
        self._learn(parts, mean)
        figures = self._figures(step)
        if self.adversary.learns:
            self._ascend(rows, step, self._source_scale)
        clip(self.decomposition, self.factors, config.clip, self.ranks, step)
        importance = list(self.decomposition.importance.parameters())
        clip(self.decomposition, importance, config.importance_clip, self.ranks, step)
        self.optimizer.step()
        # Sites know by the version that their copies are stale; fused AdamW leaves it as it was.
        for factor in self.factors:
            torch.autograd.graph.increment_version(factor)
        if self.decay is not None:
            self.decay(self.ranks.max_(self._highest), self.optimizer.param_groups[0]["lr"])
        return figures

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

    def _faithfulness(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, ""]:
        """This process's share of the loss: that of its part of the rows of every Δ."""
        pairs = [[gathered(p) for p in self.decomposition.factors(s)] for s in self.decomposition.sites]
        rows = [self.ranks.share(len(w)) for w in self.weights]
        squares = [
            squared_remainder(w[taken], read, write[:, taken], dtype)
            for w, (read, write), taken in zip(self.weights, pairs, rows, strict=True)
        ]
        scale = relative_faithfulness if self.config.faithfulness_scale == "relative" else faithfulness
        return scale(squares, self.weights)

    def _clean(self, part: Part, learning: bool) -> Clean:
        """The clean forward of a part, with gradients of the importance function if it is to learn from it.

        A batch in one part needs but one; of several, none is kept until the others are through.
        """
        clean, alone = self._kept, self.share.parts == 1
        if clean is None:
            with torch.set_grad_enabled(learning or alone), self._autocast():
                output, inputs = self.model.clean(part.batch)
                hidden = self.model.outputs(inputs) if self.config.reconstruction.hidden else []
                kept = list(inputs) if self.prices.names else None
                clean = Clean(output, hidden, self.decomposition.logits(inputs), inputs=kept)
            self._kept = clean if alone else None
        return clean if learning else clean._replace(logits=clean.logits.detach())

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.autocast)

    def _search(self, parts: list[Part], rows: Bool[Tensor, "b 1 1"], step: int) -> None:
        """The adversary's ascents before the step's own pass: gradients of the sources alone."""
        count = self.config.adversary.searches(self.config.reconstruction.form == "merged")
        if count == 0 or not self.ranks.any(rows):
            return
        for index in range(count):
            self.adversary.gradient.zero_()
            for part in parts:
                clean = self._clean(part, False)._replace(hidden=[])
                for clean_rows, piece in self._pieces(clean, part):
                    # Stochastic rows run along with nothing drawn, and count for nothing.
                    attack = self._attack(piece, True)
                    rows_of = Rows(piece.adversarial, False, attack)
                    divergence = self._pass(clean_rows, piece, rows_of, index, search=True).divergence
                    loss = (piece.adversarial.squeeze(-1) * divergence).sum() / self._positions(divergence)
                    attack.finish(torch.autograd.grad(loss, [attack.delta])[0])
            self._ascend(rows, step)

    def _pieces(self, clean: Clean, part: Part) -> Iterator[tuple[Clean, Part]]:
        """What goes through a masked pass at a time."""
        count = len(part.batch)
        whole = self.model.starts_late or self.config.machine.sharding == "fsdp"
        size = count if whole else rows_at_once(self.device, count, self.config.context)
        for place, piece in part.pieces(size):
            yield clean.of(place), piece

    def _attack(self, part: Part, wanted: bool) -> Attack:
        return Attack(self.adversary, part.local, self.decomposition.counts, wanted)

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
        mean = torch.zeros_like(self.firing)
        for part in parts:
            g = upper(self._clean(part, False).logits.float())
            mean += penalty(g, self.sharpness).mean((0, 1)) * len(part.batch) / self.share.total
        return self.ranks.sum_(mean / at_one(self.config.minimality, self.sharpness))

    def _learn(self, parts: list[Part], mean: Tensor | None) -> None:
        """Forward and backward of all parts; an adversary that learns gets its gradient."""
        self.adversary.gradient.zero_()
        self._firing, self._penalty = torch.zeros_like(self.firing), torch.zeros_like(self.firing)
        self._highest = torch.full_like(self.firing, -math.inf)
        self._mean: Tensor | None = None if mean is None else self.frequency(mean)
        kind, compiled = self.config.minimality.kind, self.config.compile
        for part in parts:
            weight = len(part.batch) / self.share.total
            clean = self._clean(part, True)
            to_logits = torch.zeros_like(clean.logits)
            self._reconstruct(clean._replace(logits=clean.logits.detach(), to_logits=to_logits), part)
            positions = self.share.total * clean.logits.shape[1]
            self.prices.add(clean.inputs, clean.logits.detach(), positions, self._sums)
            penalty, firing = mean_penalty(clean.logits, self.sharpness, kind, compiled)
            self._firing += weight * firing
            if self.decay is not None:
                torch.maximum(self._highest, clean.logits.detach().amax((0, 1)).float(), out=self._highest)
            scale = weight / at_one(self.config.minimality, self.sharpness)
            to_penalty = scale * self._to_mean(scale * penalty)
            add_gradient(to_logits, clean.logits, self.sharpness, to_penalty, kind, compiled)
            if part is parts[-1]:
                self.gradients.expect()
            clean.logits.backward(to_logits)
        self.gradients.finish()
        self._kept = None

    def _measure_outputs(self) -> None:
        """What leaks is measured in what the sites put out on the run's first batch, whatever step it begins at."""
        batch = self.batch(0)
        parts = self.share.split(batch, batch.new_zeros(len(batch), 1, 1, dtype=torch.bool))
        with self._autocast():
            inputs = (self.model.clean(part.batch)[1] for part in parts)
            self.prices.measure(inputs, self.weights, self.share.total * batch.shape[1])

    def _to_mean(self, penalty: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
        """The loss's gradient of a part's own share of f_c."""
        self._penalty += penalty
        if self._mean is None and self.share.parts == 1:
            self._mean = self.frequency(self.ranks.sum_(penalty.clone()))
        # Without a frequency term a part's gradient does not depend on the others.
        mean = (penalty if self._mean is None else self._mean).detach().requires_grad_()
        return torch.autograd.grad(minimality_loss(mean, self.config.minimality), mean)[0]

    def _reconstruct(self, clean: Clean, part: Part) -> None:
        """The reconstruction losses of a part and their backward, a piece at a time: one graph is in memory."""
        merged = self.config.reconstruction.form == "merged"
        for run in [self._merged] if merged else [self._stochastic, self._adversarial]:
            for clean_rows, piece in self._pieces(clean, part):
                run(clean_rows, piece)

    def _backward(self, loss: Float[Tensor, ""], attack: Attack | None) -> None:
        """Gradients of a pass; autograd hands on those of the factors and delta's sources, sites add up the rest."""
        self._sums.add("reconstruction", loss)
        loss.backward()
        if attack is not None and attack.wanted:
            assert attack.delta.grad is not None
            attack.finish(attack.delta.grad)

    def _merged(self, clean: Clean, part: Part) -> None:
        """One pass in which a coin decides each row's kind; twice the mean, so that ½ and ½ is the plain mean."""
        config, rows = self.config.reconstruction, part.adversarial
        mixed = Rows(rows, True, self._attack(part, self.adversary.learns))
        mixed_pass = self._pass(clean, part, mixed, self.config.adversary.searches(True))
        per_row, kind = mixed_pass.divergence.detach().mean(1), rows.flatten()
        self._sums.add_rows(f"{config.divergence}_stochastic", per_row, ~kind)
        self._sums.add_rows(f"{config.divergence}_adversarial", per_row, kind)
        self._by_stream(per_row, part)
        weight = torch.where(rows, config.adversarial, config.stochastic).squeeze(-1)
        loss = weight * mixed_pass.divergence
        if mixed_pass.hidden is not None:
            hidden = (~rows).squeeze(-1) * mixed_pass.hidden
            self._sums.add("hidden", hidden.mean(1).sum(), len(hidden))
            loss = loss + config.hidden * hidden
        self._backward(2 * loss.sum() / self._positions(loss), mixed.attack)

    def _adversarial(self, clean: Clean, part: Part) -> None:
        """The adversarial pass of the separate form, after the adversary's ascents."""
        config, index = self.config.reconstruction, self.config.adversary.searches(False) + 1
        everyone = Rows(part.adversarial, False, self._attack(part, self.adversary.learns))
        divergence = self._pass(clean._replace(hidden=[]), part, everyone, index).divergence
        self._sums.add(f"{config.divergence}_adversarial", divergence.mean(1).sum(), len(divergence))
        self._backward(config.adversarial * divergence.sum() / self._positions(divergence), everyone.attack)

    def _stochastic(self, clean: Clean, part: Part) -> None:
        """The stochastic pass of the separate form."""
        config, nobody = self.config.reconstruction, torch.zeros_like(part.adversarial)
        index = self.config.adversary.searches(False)
        divergence, hidden = self._pass(clean, part, Rows(nobody, True, None), index)
        self._sums.add(f"{config.divergence}_stochastic", divergence.mean(1).sum(), len(divergence))
        self._by_stream(divergence.detach().mean(1), part)
        loss = config.stochastic * divergence.sum()
        if hidden is not None:
            self._sums.add("hidden", hidden.mean(1).sum(), len(hidden))
            loss = loss + config.hidden * hidden.sum()
        self._backward(loss / self._positions(divergence), None)

    @property
    def _source_scale(self) -> float:
        """What the loss multiplies the divergence of adversarial rows by: searches follow the bare one."""
        config = self.config.reconstruction
        return 1.0 if config.form == "merged" else config.adversarial or 1.0

    def _pass(self, clean: Clean, part: Part, rows: Rows, index: int, search: bool = False) -> Pass:
        """The step's masked forward number `index`: adversarial rows with all sites masked, the others routed."""
        masks, delta, route = self._masks(clean, part, rows, index, search)
        self.model.keep_outputs(bool(clean.hidden))
        with self._autocast():
            masked = self.model.masked(part.batch, masks, delta, route)
            hidden = hidden_mse(clean.hidden, self.model.take_outputs()) if clean.hidden else None
            head, measure = self._head, self.divergence
            measure = measure if head is None else partial(head.divergence, measure)
            return Pass(measure(clean.output, masked), hidden)

    def _masks(
        self, clean: Clean, part: Part, rows: Rows, index: int, search: bool
    ) -> tuple[list[MaskParts], Float[Tensor, "b t sites"], Float[Tensor, "b t sites"]]:
        """What every site's masks are made of, delta's masks and the routing; what no row uses is not drawn."""
        batch, length, total = clean.logits.shape
        counts, sites = self.decomposition.counts, len(self.decomposition.sites)
        config, segments = self.config.reconstruction, self.config.adversary.segments
        # A row's segments are slots of their own: the same numbers seen as [B · S, T / S, C].
        slots = (batch * segments, length // segments, total)
        delta = route = torch.ones(batch, length, sites, device=self.device)
        nothing = [None] * sites
        level, noise, source, to_source = None, nothing, nothing, nothing
        if rows.drawn:
            shape = (length, total, sites)
            drawn = draw_pass(self.draws, part.rows, index, shape, config.routing, config.sources)
            noise, delta, route = drawn.noise.view(slots).split(counts, -1), drawn.delta, drawn.route.float()
            level = None if drawn.level is None else drawn.level.repeat_interleave(segments, 0)
        if rows.attack is not None:
            source, to_source, delta_sources = rows.attack.sources, rows.attack.sums, rows.attack.delta
            if segments > 1:
                delta_sources = delta_sources.view(batch, segments, sites).repeat_interleave(
                    length // segments, 1
                )
            delta = torch.where(rows.adversarial, delta_sources, delta)
            route = torch.where(rows.adversarial, 1.0, route)
        adversarial = rows.adversarial.repeat_interleave(segments, 0)
        to_logits = nothing if clean.to_logits is None else clean.to_logits.view(slots).split(counts, -1)
        by_site = zip(
            clean.logits.view(slots).split(counts, -1), noise, source, to_logits, to_source, strict=True
        )
        masks = [
            MaskParts(logits, drawn, r, adversarial, level, search, to_own, to_r)
            for logits, drawn, r, to_own, to_r in by_site
        ]
        broad = self.broad[part.rows.start : part.rows.stop]
        return masks, torch.where(broad, 1.0, delta), route

    def _by_stream(self, per_row: Float[Tensor, " b"], part: Part) -> None:
        """A targeted run tells the divergence of its two streams (of the stochastic pass, if there are two)."""
        if self.decay is not None:
            broad = self.broad[part.rows.start : part.rows.stop].flatten()
            name = self.config.reconstruction.divergence
            self._sums.add_rows(f"{name}_narrow", per_row, ~broad)
            self._sums.add_rows(f"{name}_broad", per_row, broad)

    def _ascend(self, rows: Bool[Tensor, "b 1 1"], step: int, scale: float = 1.0) -> None:
        """Up the adversary's gradient, which is `scale` times too large."""
        gradient, rate = self.adversary.gradient, self.adversary.rate(step, self.config.steps)
        if scale != 1:
            gradient.div_(scale)
        self.adversary.ascend(self.adversary.summed(gradient), rate, rows)

    def _figures(self, step: int) -> dict[str, float]:
        """The step's losses and counts, over all parts and processes; an error if a loss is not finite."""
        if self._mean is None:
            self._mean = self.frequency(self.ranks.sum_(self._penalty))
        sums = self._sums.all(self.ranks)
        minimality = minimality_loss(self._mean, self.config.minimality).item()
        losses = {"reconstruction": sums.pop("reconstruction"), "minimality": minimality}
        if self.config.faithfulness:
            losses["faithfulness"] = sums.pop("faithfulness")
        losses |= {name: sums.pop(name) for name in self.prices.names}
        self._check(losses, step)
        firing = self.ranks.sum_(self._firing)
        self.firing.lerp_(firing, 1 - FIRING_DECAY)
        del losses["reconstruction"]  # what it is made of is told
        counts = {
            "l0": firing.sum().item(),
            "alive": float((self.firing > ALIVE_SHARE).sum().item()),
        }
        return {**sums, **losses, **counts}

    def _check(self, losses: dict[str, float], step: int) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise RankOneError(not_finite(bad, step, self._fault(step)))

    def _fault(self, step: int) -> str | None:
        """The site at which the first part's rows meet something not finite; sources, which caught it, come last."""
        part = self.share.split(self.batch(step), self._coins())[0]
        clean, nobody = self._clean(part, False), torch.zeros_like(part.adversarial)
        for rows in (Rows(nobody, True, None), Rows(~nobody, False, self._attack(part, False))):
            masked = partial(self._pass, clean, part, rows, 0)
            place = forward_fault(self.model, clean.logits, masked, self.ranks)
            if place is not None:
                return place
        return None
