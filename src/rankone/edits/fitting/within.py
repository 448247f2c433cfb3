"""Training an edit while every retained domain is held within what it may cost.

    most of   mean of min(CE, cap · ln V) over the scored tokens of a step's forget text
    while     damage_d ≤ margin · tolerance_d   on every retained domain d

A fixed weight λ of one retain term (fit.py) lets a domain that is much like the target pay for all others. Here each has a
weight of its own, raised while the domain costs more than its share and lowered while it costs less (dual ascent on the
Lagrangian: Boyd and Vandenberghe, Convex Optimization, §5):

    L = −removal + Σ_d μ_d damage_d / tolerance_d,    μ_d ← max(0, μ_d + ascent · (damage_d / (margin · tolerance_d) − 1))

with damage_d smoothed over steps. A step reads rows of the forget text, of the domains with the largest weights and, in
turn, of one other. Adam's rate falls to zero and the parameters are averaged over the second half of the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import NoReturn

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.fitting.adam import StackedAdam
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import START_WEIGHT
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.fitting.size import Held, Limit, Sized, damage_at, find_limit, size_edit, within_limit
from rankone.runtime.progress import meter
from rankone.text.blocks import Blocks

# Of a domain's damage from one reading to the next.
DECAY = 0.9
# Forget tokens that say how large the trained edit must be.
SIZED_ON = 400


class WithinConfig(Config):
    """How long an edit is trained, how fast, and how its domains' weights move."""

    steps: int = Field(default=100, gt=0)
    rows: int = Field(
        default=1, gt=0, description="rows of the forget text per step, and of the domain in turn"
    )
    heavy: int = Field(default=2, gt=0, description="domains of the largest weights that every step reads")
    heavy_rows: int = Field(default=1, gt=0, description="rows of each of them")
    margin: float = Field(default=0.7, gt=0, le=1, description="share of its tolerance a domain may use")
    weight: float = Field(default=START_WEIGHT, ge=0, description="μ of every domain at the start, nats")
    ascent: float = Field(
        default=0.015, gt=0, description="of μ per reading of damage twice what is allowed, nats"
    )
    most: float = Field(default=20.0, gt=0, description="largest μ, nats")


def train_within(
    model: PreTrainedModel,
    method: Method,
    run: Run,
    training: Held,
    held: Held,
    aim: Aim,
    steps: int,
    rounds: int = 1,
) -> Fit:
    """A method trained on the run's forget text and the `training` text, and brought to its size by what `held` allows.

    Where that leaves it short of its target it is trained again from where it ended, for as many steps and with the weights
    that the domains have by then, in `rounds` at most.
    """
    trained = Training(model, method, run, training, aim, WithinConfig(steps=steps))
    while True:
        fit, last = trained.round(), trained.rounds >= rounds
        smaller = _smaller(model, fit, held, aim)
        if last or not _stopped(model, fit, held, aim, smaller):
            fit = sized_within(model, fit, held, aim, smaller)
            if last or (fit.sized is not None and fit.sized.reached):
                return fit


def sized_within(model: PreTrainedModel, fit: Fit, held: Held, aim: Aim, smaller: Sized | None = None) -> Fit:
    """The fit at the size that the one rule gives it (size.py): the smallest at which its forget text is at the target.

    held: other text than it was trained on, or the same; its tolerances bound the size. How far they go beyond the size it
    was trained at is only asked where that one is too small. smaller: what forget text alone gives, where it is known.
    """
    sized = smaller or _smaller(model, fit, held, aim)
    if not _within(sized, aim):
        sized = _limited(model, fit, held, aim, sized)
    return replace(fit, parameters=fit.method.resized(fit.parameters, sized.size), sized=sized)


def _smaller(model: PreTrainedModel, fit: Fit, held: Held, aim: Aim) -> Sized:
    """The size that forget text alone gives, and no damage where that is no smaller one: held text is then read once."""
    return size_edit(model, fit.edit, *_asked(fit, held, aim), Limit(1.0, {}, bounded=False))


def _within(sized: Sized, aim: Aim) -> bool:
    return bool(sized.damage) and aim.strain(sized.damage) <= 1


def _stopped(model: PreTrainedModel, fit: Fit, held: Held, aim: Aim, sized: Sized) -> bool:
    """Whether a tolerance ends below the size that forget text asks for; how far below is not asked, which costs most."""
    return not aim.strain(sized.damage or damage_at(model, fit.edit, 1.0, held)) <= 1


def _limited(model: PreTrainedModel, fit: Fit, held: Held, aim: Aim, sized: Sized) -> Sized:
    """The size where the tolerances may stop it. sized: by forget text alone."""
    if sized.damage:
        limit = find_limit(model, fit.edit, held, aim, sized.damage)
    else:
        limit = within_limit(model, fit.edit, held, aim)
    known = limit if sized.reached or limit.bounded else None
    return size_edit(model, fit.edit, *_asked(fit, held, aim), known)


def _asked(fit: Fit, held: Held, aim: Aim) -> tuple[Blocks, Held, Aim]:
    """What sizes a trained edit: some of its forget text, what is held, and its cap."""
    return fit.run.forget.take(SIZED_ON), held, aim.model_copy(update={"cap": fit.run.margin})


class Training:
    """One run of a method being trained, round by round, on the run's forget text; `held`: the training text to hold.

    Deterministic in the run's seed. The run's margin is the cap. A domain whose weight ends above where it began stood in
    the way. Raises RankOneError where the loss is not finite.
    """

    def __init__(
        self, model: PreTrainedModel, method: Method, run: Run, held: Held, aim: Aim, config: WithinConfig
    ) -> None:
        self.method, self.run, self.held, self.aim, self.config = method, run, held, aim, config
        self.device = device = next(model.parameters()).device
        self.mean = {k: p.detach().to(device) for k, p in method.start(1, [run.seed]).items()}
        self.unchanged = method.resized(self.mean, 0.0)
        self.rounds = 0
        generator = torch.Generator().manual_seed(run.seed)
        self.forget = run.forget.to(device)
        self.counted = {d: held.counted(d).to(device) for d in held.blocks}
        self.forgotten = held.forward.prepare(self.forget.ids, following=True)
        self.rows = {d: _in_turn(counted, generator) for d, counted in self.counted.items()}
        self.forget_rows = _in_turn(self.forget.valid[:, 1:], generator)
        self.weights = dict.fromkeys(held.blocks, config.weight)
        self.damage: dict[str, float] = {}
        self.unedited: dict[str, dict[int, Tensor]] = {d: {} for d in held.blocks}

    def round(self) -> Fit:
        """All steps, from the start or from where the round before ended: the parameters, averaged over the second half."""
        c = self.config
        parameters = {k: p.clone().requires_grad_(True) for k, p in self.mean.items()}
        self.adam = StackedAdam(parameters, [self.run.learning_rate], patience=c.steps)
        self.mean = {k: torch.zeros_like(p) for k, p in parameters.items()}
        self.rounds += 1
        with meter("train", c.steps) as bar:
            for step in range(c.steps):
                self._step(step)
                bar.advance(1)
        final = {name: value[0] for name, value in self.mean.items()}
        if not all(value.isfinite().all() for value in final.values()):
            self._refuse(c.steps)
        loss = float(self.adam.smoothed[0])
        return Fit(self.run, self.method, final, self.rounds * c.steps, loss, weights=dict(self.weights))

    def _step(self, step: int) -> None:
        """One step of the parameters and of the weights of the domains that it reads."""
        c = self.config
        loss = -self._removal(self._next(self.forget_rows, c.rows))
        for domain, count in self._read(step).items():
            damage = self._damage(domain, self._next(self.rows[domain], count))
            loss = loss + self.weights[domain] * damage / self.aim.tolerated(domain)
            self._weigh(domain, float(damage.detach()))
        if not torch.isfinite(loss):
            self._refuse(step)
        self.adam.rates.fill_(self.run.learning_rate * (1 - step / c.steps))
        self.adam.step(loss.unsqueeze(0), step)
        if step >= c.steps // 2:
            for name, parameter in self.adam.parameters.items():
                self.mean[name] += parameter.detach() / (c.steps - c.steps // 2)

    def _refuse(self, step: int) -> NoReturn:
        raise RankOneError(
            f"the loss of training within tolerances is not finite at step {step} (rate {self.run.learning_rate:g}): start "
            "from a smaller edit, or lower the rate."
        )

    def _next(self, rows: Iterator[int], count: int) -> Int[Tensor, " count"]:
        """The next few rows of a text."""
        return torch.tensor(list(islice(rows, count)), device=self.device)

    def _read(self, step: int) -> dict[str, int]:
        """How many rows of which domains a step reads."""
        order = sorted(self.weights, key=lambda d: -self.weights[d])
        read = dict.fromkeys(order[: self.config.heavy], self.config.heavy_rows)
        others = [domain for domain in self.weights if domain not in read]
        return {**read, others[(step + 1) % len(others)]: self.config.rows} if others else read

    def _weigh(self, domain: str, damage: float) -> None:
        smoothed = DECAY * self.damage.get(domain, damage) + (1 - DECAY) * damage
        self.damage[domain] = smoothed
        over = smoothed / (self.config.margin * self.aim.tolerated(domain)) - 1
        raised = self.weights[domain] + self.config.ascent * over
        self.weights[domain] = min(max(raised, 0.0), self.config.most)

    def _removal(self, rows: Int[Tensor, " rows"]) -> Float[Tensor, ""]:
        """Mean of min(CE, cap · chance) over the scored tokens of some rows of forget text, nats."""
        scored = F.pad(self.forget.valid[rows][:, 1:], (0, 1))
        values = self.held.forward.each(
            self.forgotten, rows.unsqueeze(0), self.method, self.adam.parameters, scored.unsqueeze(0)
        )
        return values[0][scored].clamp(max=self.run.margin * self.aim.chance).mean()

    def _damage(self, domain: str, rows: Int[Tensor, " rows"]) -> Float[Tensor, ""]:
        """Mean KL or rise over what counts of some rows of a domain, nats per token."""
        counted = self.counted[domain][rows]
        values = self._surprise(domain, rows, self.adam.parameters)
        base = torch.stack([self._base(domain, int(row)) for row in rows])
        return (values - base)[counted].mean()

    def _base(self, domain: str, row: int) -> Float[Tensor, " t"]:
        """What the unchanged model makes of one row, kept."""
        if self.held.measure == "kl":
            return self.held.texts[domain].entropy[row]
        kept = self.unedited[domain]
        if row not in kept:
            with torch.no_grad():
                rows = torch.tensor([row], device=self.device)
                kept[row] = self._surprise(domain, rows, self.unchanged)[0]
        return kept[row]

    def _surprise(
        self, domain: str, rows: Int[Tensor, " rows"], parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "rows t"]:
        counted = self.counted[domain][rows].unsqueeze(0)
        text = self.held.texts[domain]
        return self.held.forward.each(text, rows.unsqueeze(0), self.method, parameters, counted)[0]


def _in_turn(counted: Bool[Tensor, "rows t"], generator: torch.Generator) -> Iterator[int]:
    """Indices of the rows of which something counts, in a shuffled order, and again in another."""
    rows = counted.any(1).nonzero().flatten().tolist()
    while True:
        yield from (rows[i] for i in torch.randperm(len(rows), generator=generator).tolist())
