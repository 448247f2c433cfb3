"""A straightforward decomposition step: the rival that RankOne's step is timed against.

Written from the method in its stated order, as one would write it first, and not made slow on purpose. It does what the
published torch code does, and nothing of RankOne's is in its arithmetic:

1. Δ = W − (V U)ᵀ is formed for every site, with gradient, and applied as a matrix: m_Δ · x Δᵀ.
2. The clean forward gives the site inputs and the logits; its log-probabilities are computed once.
3. The importance function gives logits; `lower` and `upper` are applied to all of them and split by site.
4. `extra_ascents` (2) times: sources → masks → a masked forward → KL → gradients of the sources alone → Adam ascent.
5. Faithfulness, importance minimality, one stochastic (subset-routed) and one adversarial masked forward.
6. The sources' gradient of the unscaled adversarial loss (the graph is kept), then backward of the weighted sum.
7. The sources' ascent, clipping, AdamW.

So four masked forwards and backwards a step. Matrix products run under bf16 autocast, weights and losses are fp32. No
kernel is fused or compiled by hand. Where a position is not routed the site computes x Wᵀ too, and only then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from rankone.decomposition.adversary.config import PersistentConfig
from rankone.decomposition.config import DecomposeConfig

Masks = dict[str, Tensor]


@dataclass(frozen=True)
class Draws:
    """What is random in the stochastic pass: r [B, T, C] and m_Δ [B, T, 1] in [0, 1] and routing [B, T, 1] by site."""

    sources: Masks
    deltas: Masks
    routes: Masks


class PlainSite(nn.Module):
    """One decomposed linear layer, in place of the target's."""

    def __init__(self, weight: Tensor, read: nn.Parameter, write: nn.Parameter) -> None:
        super().__init__()
        self.weight, self.V, self.U = weight, read, write
        self.delta: Tensor | None = None
        self.masks: tuple[Tensor, Tensor, Tensor | None] | None = None
        self.input: Tensor | None = None

    def form_delta(self) -> Float[Tensor, "d_out d_in"]:
        """Δ = W − (V U)ᵀ, kept for this step's forwards."""
        self.delta = self.weight - (self.V @ self.U).T
        return self.delta

    def forward(self, x: Float[Tensor, "b t d_in"]) -> Float[Tensor, "b t d_out"]:
        """x Wᵀ without masks; else ((x V) ⊙ m) U + m_Δ · x Δᵀ where routed and x Wᵀ elsewhere."""
        if self.masks is None:
            self.input = x
            return F.linear(x, self.weight)
        assert self.delta is not None
        mask, delta_mask, route = self.masks
        out = ((x @ self.V) * mask) @ self.U + delta_mask * F.linear(x, self.delta)
        return out if route is None else torch.where(route, out, F.linear(x, self.weight))


class PlainBlock(nn.Module):
    """A pre-norm bidirectional transformer block of the importance function."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x + attention, then + MLP."""
        batch, length, width = x.shape
        y = F.rms_norm(x, (width,))
        q, k, v = (p(y).view(batch, length, self.heads, -1).transpose(1, 2) for p in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(_turn(q, cos, sin), _turn(k, cos, sin), v)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(F.rms_norm(x, (width,)))))


class PlainImportance(nn.Module):
    """The shared importance transformer: one logit per subcomponent and position from all site inputs."""

    def __init__(self, inputs: int, width: int, blocks: int, heads: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.blocks = nn.ModuleList(PlainBlock(width, heads, hidden) for _ in range(blocks))
        self.head_size = width // heads

    def forward(self, inputs: list[Float[Tensor, "b t d"]]) -> Float[Tensor, "b t c"]:
        """Logits for the clean site inputs."""
        x = self.project(torch.cat([F.rms_norm(one, one.shape[-1:]) for one in inputs], dim=-1))
        half = torch.arange(0, self.head_size, 2, device=x.device).float() / self.head_size
        angles = torch.arange(x.shape[1], device=x.device).float()[:, None] * 10000.0**-half
        angles = torch.cat((angles, angles), -1)
        for block in self.blocks:
            x = block(x, angles.cos(), angles.sin())
        return self.head(x)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return (x * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


class _Lower(torch.autograd.Function):
    """clamp(x, 0, 1); below 0 a gradient leaks with slope 0.01 where the loss wants x to rise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        inside = (x > 0) & (x <= 1)
        return torch.where(inside, grad, torch.where((x <= 0) & (grad < 0), 0.01 * grad, 0.0))


def upper(x: Tensor) -> Tensor:
    """0 below 0, x up to 1, 1 + 0.01 (x − 1) above."""
    return torch.where(x > 1, 1 + 0.01 * (x - 1), F.relu(x))


class PlainTrainer:
    """The state of the plain run and its step; `recipe` must be of the separate form, with a source per row (bc, bsc)."""

    def __init__(
        self,
        target: nn.Module,
        factors: dict[str, tuple[nn.Parameter, nn.Parameter]],
        importance: PlainImportance,
        recipe: DecomposeConfig,
        generator: torch.Generator,
    ) -> None:
        assert isinstance(recipe.adversary, PersistentConfig)
        assert recipe.adversary.scope in ("bsc", "bc")
        self._adversary = recipe.adversary
        self.target, self.importance, self.recipe, self.generator = target, importance, recipe, generator
        self.sites: dict[str, PlainSite] = {}
        for name, (read, write) in factors.items():
            weight = target.get_submodule(name).get_parameter("weight").detach()
            self.sites[name] = PlainSite(weight, read, write)
            parent, _, leaf = name.rpartition(".")
            setattr(target.get_submodule(parent), leaf, self.sites[name])
        self.factors = [p for pair in factors.values() for p in pair]
        groups = [{"params": self.factors}, {"params": list(importance.parameters())}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        self.device = self.factors[0].device
        shape = (recipe.rows, recipe.context if recipe.adversary.scope == "bsc" else 1)
        self.sources = {
            name: torch.rand(*shape, site.V.shape[1] + 1, generator=generator, device=self.device)
            for name, site in self.sites.items()
        }
        self.first = {name: torch.zeros_like(s) for name, s in self.sources.items()}
        self.second = {name: torch.zeros_like(s) for name, s in self.sources.items()}
        self.ascents = 0

    def step(self, ids: Int[Tensor, "b t"], index: int, draws: Draws | None = None) -> dict[str, float]:
        """One training step on `ids`; the losses. Without `draws` the stochastic pass draws its own."""
        recipe = self.recipe
        schedules = recipe.learning_rate, recipe.importance_learning_rate
        for group, schedule in zip(self.optimizer.param_groups, schedules, strict=True):
            group["lr"] = schedule.at(index, recipe.steps)
        deltas = {name: site.form_delta() for name, site in self.sites.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.autocast):
            log_p, inputs = self._clean(ids)
            logits = self.importance(inputs)
            counts = [site.V.shape[1] for site in self.sites.values()]
            low = dict(zip(self.sites, _Lower.apply(logits).split(counts, -1), strict=True))  # pyright: ignore[reportAttributeAccessIssue]
            for _ in range(self._adversary.extra_ascents):
                self._ascend(self._gradients(self._adversarial(ids, log_p, low)), index)
            stochastic = self._stochastic(ids, log_p, low, draws or self._draw(logits))
            adversarial = self._adversarial(ids, log_p, low)
        faith = sum((d.square().sum() for d in deltas.values()), torch.zeros((), device=self.device))
        faith = faith / sum(d.numel() for d in deltas.values())
        minimality = self._minimality(upper(logits).split(counts, -1), index)
        total = (
            recipe.faithfulness * faith
            + minimality
            + recipe.reconstruction.stochastic * stochastic
            + recipe.reconstruction.adversarial * adversarial
        )
        gradients = self._gradients(adversarial, keep=True)
        self.optimizer.zero_grad()
        total.backward()
        self._ascend(gradients, index)
        torch.nn.utils.clip_grad_norm_(self.factors, recipe.clip)
        torch.nn.utils.clip_grad_norm_(self.importance.parameters(), recipe.importance_clip)
        self.optimizer.step()
        values = {
            "kl_stochastic": stochastic,
            "kl_adversarial": adversarial,
            "minimality": minimality,
            "faithfulness": faith,
        }
        return {name: value.item() for name, value in values.items()}

    def _clean(self, ids: Tensor) -> tuple[Float[Tensor, "b t vocab"], list[Tensor]]:
        for site in self.sites.values():
            site.masks = None
        with torch.no_grad():
            logits = self.target(input_ids=ids, use_cache=False).logits
        inputs: list[Tensor] = []
        for site in self.sites.values():
            assert site.input is not None
            inputs.append(site.input)
            site.input = None
        return F.log_softmax(logits.float(), -1), inputs

    def _masked(
        self, ids: Tensor, log_p: Tensor, masks: Masks, deltas: Masks, routes: Masks | None
    ) -> Float[Tensor, ""]:
        """Mean KL of the masked output from the clean one."""
        for name, site in self.sites.items():
            site.masks = (masks[name], deltas[name], None if routes is None else routes[name])
        log_q = F.log_softmax(self.target(input_ids=ids, use_cache=False).logits.float(), -1)
        return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1).mean()

    def _stochastic(self, ids: Tensor, log_p: Tensor, low: Masks, draws: Draws) -> Float[Tensor, ""]:
        masks = {name: g + (1 - g) * draws.sources[name] for name, g in low.items()}
        return self._masked(ids, log_p, masks, draws.deltas, draws.routes)

    def _adversarial(self, ids: Tensor, log_p: Tensor, low: Masks) -> Float[Tensor, ""]:
        for source in self.sources.values():
            source.requires_grad_(True)
        masks = {name: g + (1 - g) * self.sources[name][..., :-1] for name, g in low.items()}
        deltas = {name: source[..., -1:] for name, source in self.sources.items()}
        return self._masked(ids, log_p, masks, deltas, None)

    def _gradients(self, loss: Tensor, keep: bool = False) -> Masks:
        found = torch.autograd.grad(loss, list(self.sources.values()), retain_graph=keep)
        return dict(zip(self.sources, found, strict=True))

    @torch.no_grad()
    def _ascend(self, gradients: Masks, index: int) -> None:
        config = self._adversary
        self.ascents += 1
        rate = config.learning_rate.at(index, self.recipe.steps)
        for name, gradient in gradients.items():
            first, second = self.first[name], self.second[name]
            first.mul_(config.beta1).add_(gradient, alpha=1 - config.beta1)
            second.mul_(config.beta2).addcmul_(gradient, gradient, value=1 - config.beta2)
            step = first / (1 - config.beta1**self.ascents)
            step = step / ((second / (1 - config.beta2**self.ascents)).sqrt() + 1e-8)
            self.sources[name] = (self.sources[name].detach() + rate * step).clamp(0, 1)

    def _minimality(self, high: tuple[Tensor, ...], index: int) -> Float[Tensor, ""]:
        config = self.recipe.minimality
        sharpness = config.sharpness.at(index, self.recipe.steps)
        total = torch.zeros((), device=self.device)
        for g in high:
            if config.kind == "lp":
                penalty = (g.float() + 1e-12).pow(sharpness)
            else:
                penalty = g.float().square() / (g.float().square() + sharpness**2)
            share = penalty.mean((0, 1))
            rarity = torch.log2(1 + config.reference_count * share)
            total = total + config.activity * share.sum() + config.frequency * (share * rarity).sum()
        return total

    def _draw(self, like: Float[Tensor, "b t c"]) -> Draws:
        batch, length = like.shape[:2]

        def uniform(channels: int) -> Tensor:
            drawn = torch.rand(batch, length, channels, generator=self.generator, device=self.device)
            return drawn.to(like.dtype)

        chosen = self._subset(batch, length)
        return Draws(
            {name: uniform(site.V.shape[1]) for name, site in self.sites.items()},
            {name: uniform(1) for name in self.sites},
            {name: chosen[..., i : i + 1] for i, name in enumerate(self.sites)},
        )

    def _subset(self, batch: int, length: int) -> Bool[Tensor, "b t sites"]:
        """Per position k ~ Uniform{1..M}, then a uniformly random k-subset of the M sites."""
        count = len(self.sites)
        k = torch.randint(1, count + 1, (batch, length, 1), generator=self.generator, device=self.device)
        noise = torch.rand(batch, length, count, generator=self.generator, device=self.device)
        return noise.argsort(-1).argsort(-1) < k
