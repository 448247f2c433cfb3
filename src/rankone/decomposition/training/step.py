"""One training step of a run: its rows, what their passes add up to, and the gradients they leave.

The merged step (default) does one masked forward and backward: each row is adversarial by a coin (all sites masked,
sources from the persistent adversary) or stochastic (uniform sources, a random subset of sites masked). The separate
step does one pass of each kind plus the adversary's extra ascents, as the original method.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankone.decomposition.adversary.attack import Attack
from rankone.decomposition.masking.draws import draw_pass
from rankone.decomposition.masking.masks import MaskParts
from rankone.decomposition.masking.squash import upper
from rankone.decomposition.objective.fused_penalty import add_gradient, mean_penalty
from rankone.decomposition.objective.minimality import PENALTIES, at_one, minimality_loss
from rankone.decomposition.objective.reconstruction import hidden_mse
from rankone.decomposition.parallel.share import Part
from rankone.decomposition.training.passes import Clean, Pass, Rows, rows_at_once
from rankone.decomposition.training.run import Run
from rankone.decomposition.training.sums import Sums


class Step:
    """Step `number` of a run. sums: its figures so far; firing, penalty [ΣC]: shares of positions and of f_c of this
    process's rows; highest [ΣC]: the highest importance logits, of a run with decay."""

    def __init__(self, run: Run, number: int) -> None:
        self.run, self.number, self.draws = run, number, run.draws.at(number)
        self.config, self.share, self.adversary = run.config, run.share, run.adversary
        sharpness = self.config.minimality.sharpness.at(number, self.config.steps)
        self.sharpness: Float[Tensor, ""] = torch.tensor(sharpness, device=run.device)
        self.rows: Bool[Tensor, "b 1 1"] = self._coins()
        self.parts = run.share.split(run.batch(number), self.rows)
        self.sums = Sums(run.device)
        self.firing, self.penalty = torch.zeros_like(run.firing), torch.zeros_like(run.firing)
        self.highest = torch.full_like(run.firing, -math.inf)
        self._kept: Clean | None = None
        self._mean: Tensor | None = None

    def _coins(self) -> Bool[Tensor, "b 1 1"]:
        """Which of this process's rows are adversarial (all, in the separate form)."""
        if self.config.reconstruction.form == "separate":
            return torch.ones(len(self.share.rows), 1, 1, dtype=torch.bool, device=self.run.device)
        return self.draws.uniform(self.share.rows, "coin", (1, 1, 1)) < self.config.adversary.fraction

    def clean(self, part: Part, learning: bool) -> Clean:
        """The clean forward of a part, with gradients of the importance function if it is to learn from it.

        A batch in one part needs but one; of several, none is kept until the others are through.
        """
        clean, alone = self._kept, self.share.parts == 1
        if clean is None:
            with torch.set_grad_enabled(learning or alone), self.run.autocast():
                output, inputs = self.run.model.clean(part.batch)
                hidden = self.run.model.outputs(inputs) if self.config.reconstruction.hidden else []
                kept = list(inputs) if self.run.prices.names else None
                clean = Clean(output, hidden, self.run.decomposition.logits(inputs), inputs=kept)
            self._kept = clean if alone else None
        return clean if learning else clean._replace(logits=clean.logits.detach())

    def search(self) -> None:
        """The adversary's ascents before the step's own pass: gradients of the sources alone."""
        count = self.config.adversary.searches(self.config.reconstruction.form == "merged")
        if count == 0 or not self.run.ranks.any(self.rows):
            return
        for index in range(count):
            self.adversary.gradient.zero_()
            for part in self.parts:
                clean = self.clean(part, False)._replace(hidden=[])
                for clean_rows, piece in self._pieces(clean, part):
                    # Stochastic rows run along with nothing drawn, and count for nothing.
                    attack = self.attack(piece, True)
                    rows_of = Rows(piece.adversarial, False, attack)
                    divergence = self.masked_pass(clean_rows, piece, rows_of, index, search=True).divergence
                    loss = (piece.adversarial.squeeze(-1) * divergence).sum() / self._positions(divergence)
                    attack.finish(torch.autograd.grad(loss, [attack.delta])[0])
            self.ascend()

    def _pieces(self, clean: Clean, part: Part) -> Iterator[tuple[Clean, Part]]:
        """What goes through a masked pass at a time."""
        count = len(part.batch)
        whole = self.run.model.starts_late or self.config.machine.sharding == "fsdp"
        size = count if whole else rows_at_once(self.run.device, count, self.config.context)
        for place, piece in part.pieces(size):
            yield clean.of(place), piece

    def attack(self, part: Part, wanted: bool) -> Attack:
        """The adversary's sources for the rows of a part, with their gradients if `wanted`."""
        return Attack(self.adversary, part.local, self.run.decomposition.counts, wanted)

    def _positions(self, divergence: Float[Tensor, "b t"]) -> int:
        """Positions of the whole batch, on all processes."""
        return self.share.total * divergence.shape[1]

    def _mean_penalty(self) -> Float[Tensor, " c"] | None:
        """f_c of the whole batch before any of its backwards; None where it is not needed or the one pass gives it.

        The frequency term is not linear in f_c: the gradient of a part depends on all others. So a batch in parts goes
        through target and importance function once more, without gradients.
        """
        if self.share.parts == 1 or not self.config.minimality.frequency:
            return None
        penalty, _ = PENALTIES[self.config.minimality.kind]
        mean = torch.zeros_like(self.penalty)
        for part in self.parts:
            g = upper(self.clean(part, False).logits.float())
            mean += penalty(g, self.sharpness).mean((0, 1)) * len(part.batch) / self.share.total
        return self.run.ranks.sum_(mean / at_one(self.config.minimality, self.sharpness))

    def learn(self) -> None:
        """Forward and backward of all parts; an adversary that learns gets its gradient."""
        mean = self._mean_penalty()
        if self.config.faithfulness:
            dtype = torch.bfloat16 if self.config.autocast else torch.float32
            remainder = self.run.faithfulness_loss(dtype)
            self.sums.add("faithfulness", remainder)
            (self.config.faithfulness * remainder).backward()
        self.adversary.gradient.zero_()
        self._mean = None if mean is None else self.run.frequency(mean)
        for part in self.parts:
            self._learn_from(part)
        self.run.gradients.finish()
        self._kept = None

    def _learn_from(self, part: Part) -> None:
        kind, compiled, sharpness = self.config.minimality.kind, self.config.compile, self.sharpness
        weight = len(part.batch) / self.share.total
        clean = self.clean(part, True)
        to_logits = torch.zeros_like(clean.logits)
        self._reconstruct(clean._replace(logits=clean.logits.detach(), to_logits=to_logits), part)
        positions = self.share.total * clean.logits.shape[1]
        self.run.prices.add(clean.inputs, clean.logits.detach(), positions, self.sums)
        penalty, firing = mean_penalty(clean.logits, sharpness, kind, compiled)
        self.firing += weight * firing
        if self.run.decay is not None:
            torch.maximum(self.highest, clean.logits.detach().amax((0, 1)).float(), out=self.highest)
        scale = weight / at_one(self.config.minimality, sharpness)
        to_penalty = scale * self._to_mean(scale * penalty)
        add_gradient(to_logits, clean.logits, sharpness, to_penalty, kind, compiled)
        if part is self.parts[-1]:
            self.run.gradients.expect()
        clean.logits.backward(to_logits)

    def _to_mean(self, penalty: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
        """The loss's gradient of a part's own share of f_c."""
        self.penalty += penalty
        if self._mean is None and self.share.parts == 1:
            self._mean = self.run.frequency(self.run.ranks.sum_(penalty.clone()))
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
        self.sums.add("reconstruction", loss)
        loss.backward()
        if attack is not None and attack.wanted:
            assert attack.delta.grad is not None
            attack.finish(attack.delta.grad)

    def _merged(self, clean: Clean, part: Part) -> None:
        """One pass in which a coin decides each row's kind; twice the mean, so that ½ and ½ is the plain mean."""
        config, rows = self.config.reconstruction, part.adversarial
        mixed = Rows(rows, True, self.attack(part, self.adversary.learns))
        mixed_pass = self.masked_pass(clean, part, mixed, self.config.adversary.searches(True))
        per_row, kind = mixed_pass.divergence.detach().mean(1), rows.flatten()
        self.sums.add_rows(f"{config.divergence}_stochastic", per_row, ~kind)
        self.sums.add_rows(f"{config.divergence}_adversarial", per_row, kind)
        self._by_stream(per_row, part)
        weight = torch.where(rows, config.adversarial, config.stochastic).squeeze(-1)
        loss = weight * mixed_pass.divergence
        if mixed_pass.hidden is not None:
            hidden = (~rows).squeeze(-1) * mixed_pass.hidden
            self.sums.add("hidden", hidden.mean(1).sum(), len(hidden))
            loss = loss + config.hidden * hidden
        self._backward(2 * loss.sum() / self._positions(loss), mixed.attack)

    def _adversarial(self, clean: Clean, part: Part) -> None:
        """The adversarial pass of the separate form, after the adversary's ascents."""
        config, index = self.config.reconstruction, self.config.adversary.searches(False) + 1
        everyone = Rows(part.adversarial, False, self.attack(part, self.adversary.learns))
        divergence = self.masked_pass(clean._replace(hidden=[]), part, everyone, index).divergence
        self.sums.add(f"{config.divergence}_adversarial", divergence.mean(1).sum(), len(divergence))
        self._backward(config.adversarial * divergence.sum() / self._positions(divergence), everyone.attack)

    def _stochastic(self, clean: Clean, part: Part) -> None:
        """The stochastic pass of the separate form."""
        config, nobody = self.config.reconstruction, torch.zeros_like(part.adversarial)
        index = self.config.adversary.searches(False)
        divergence, hidden = self.masked_pass(clean, part, Rows(nobody, True, None), index)
        self.sums.add(f"{config.divergence}_stochastic", divergence.mean(1).sum(), len(divergence))
        self._by_stream(divergence.detach().mean(1), part)
        loss = config.stochastic * divergence.sum()
        if hidden is not None:
            self.sums.add("hidden", hidden.mean(1).sum(), len(hidden))
            loss = loss + config.hidden * hidden.sum()
        self._backward(loss / self._positions(divergence), None)

    @property
    def source_scale(self) -> float:
        """What the loss multiplies the divergence of adversarial rows by: searches follow the bare one."""
        config = self.config.reconstruction
        return 1.0 if config.form == "merged" else config.adversarial or 1.0

    def masked_pass(self, clean: Clean, part: Part, rows: Rows, index: int, search: bool = False) -> Pass:
        """The step's masked forward number `index`: adversarial rows with all sites masked, the others routed."""
        masks, delta, route = self._masks(clean, part, rows, index, search)
        outputs: dict[str, Tensor] | None = {} if clean.hidden else None
        with self.run.autocast():
            masked = self.run.model.masked(part.batch, masks, delta, route, outputs)
            hidden = None
            if outputs is not None:
                hidden = hidden_mse(clean.hidden, [outputs[s] for s in self.run.decomposition.sites])
            head, measure = self.run.head, self.run.divergence
            measure = measure if head is None else partial(head.divergence, measure)
            return Pass(measure(clean.output, masked), hidden)

    def _masks(
        self, clean: Clean, part: Part, rows: Rows, index: int, search: bool
    ) -> tuple[list[MaskParts], Float[Tensor, "b t sites"], Float[Tensor, "b t sites"]]:
        """What every site's masks are made of, delta's masks and the routing; what no row uses is not drawn."""
        batch, length, total = clean.logits.shape
        counts, sites = self.run.decomposition.counts, len(self.run.decomposition.sites)
        config, segments = self.config.reconstruction, self.config.adversary.segments
        # A row's segments are slots of their own: the same numbers seen as [B · S, T / S, C].
        slots = (batch * segments, length // segments, total)
        delta = route = torch.ones(batch, length, sites, device=self.run.device)
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
        broad = self.run.broad[part.rows.start : part.rows.stop]
        return masks, torch.where(broad, 1.0, delta), route

    def _by_stream(self, per_row: Float[Tensor, " b"], part: Part) -> None:
        """A targeted run reports the divergence of its two streams (of the stochastic pass, if there are two)."""
        if self.run.decay is not None:
            broad = self.run.broad[part.rows.start : part.rows.stop].flatten()
            name = self.config.reconstruction.divergence
            self.sums.add_rows(f"{name}_narrow", per_row, ~broad)
            self.sums.add_rows(f"{name}_broad", per_row, broad)

    def ascend(self, scale: float = 1.0) -> None:
        """Up the adversary's gradient, which is `scale` times too large."""
        gradient, rate = self.adversary.gradient, self.adversary.rate(self.number, self.config.steps)
        if scale != 1:
            gradient.div_(scale)
        self.adversary.ascend(self.adversary.summed(gradient), rate, self.rows)

    def losses(self) -> tuple[dict[str, float], dict[str, float]]:
        """(the losses as they are minimised, the other figures), over all parts and processes."""
        if self._mean is None:
            self._mean = self.run.frequency(self.run.ranks.sum_(self.penalty))
        figures = self.sums.all(self.run.ranks)
        minimality = minimality_loss(self._mean, self.config.minimality).item()
        losses = {"reconstruction": figures.pop("reconstruction"), "minimality": minimality}
        if self.config.faithfulness:
            losses["faithfulness"] = figures.pop("faithfulness")
        return losses | {name: figures.pop(name) for name in self.run.prices.names}, figures
