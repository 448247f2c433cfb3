"""One training step as docs/method.md states it, with nothing clever: float64, Δ and masks materialised, rows of one
kind at a time, a forward of its own for every loss, gradients by autograd, AdamW and the ascents written out.

It shares with the trainer the random draws (handed over), the two squashings and the importance network, which have
tests of their own.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rankone.decomposition.masking.squash import lower, upper
from rankone.decomposition.objective.stray_reading import CLEAN, HALF_LIFE, RARE
from rankone.decomposition.taps import SiteInputs


@dataclass
class Drawn:
    """What one masked pass of the trainer was given."""

    noise: Tensor  # [B, T, C] bytes
    level: Tensor | None  # [B, 1, 1]
    adversarial: Tensor  # [B, 1, 1]
    source: Tensor  # [sb, st, channels], before it was spread over slots
    slots: Tensor  # [B] source of each slot, or None for one that broadcasts
    delta: Tensor  # [B, T, sites]
    route: Tensor  # [B, T, sites]


class Oracle:
    """A float64 copy of a trainer's target, decomposition and running mean, as they are before a step."""

    def __init__(self, trainer) -> None:
        self.config = trainer.config
        self.target = copy.deepcopy(trainer.model.target).double()
        self.decomposition = copy.deepcopy(trainer.decomposition).double()
        self.moments = copy.deepcopy(trainer.optimizer.state_dict())["state"]
        self.first = trainer.batch(0)
        self.stray = {k: v.double().clone() for k, v in trainer.prices.tensors().items()}
        self.mean = {k: v.double().clone() for k, v in trainer.frequency.tensors().items()}

    def site(self, name):
        return self.target.get_submodule(name)

    def weight(self, name):
        return self.site(name).weight.detach()

    def run(self, batch, change=None):
        """(output, site inputs, site outputs); `change(name, x, y)` replaces what a site gives."""
        inputs, outputs, handles = {}, {}, []
        for name in self.decomposition.sites:

            def hook(module, args, out, name=name):
                inputs[name] = args[0]
                outputs[name] = out if change is None else change(name, args[0], out)
                return outputs[name]

            handles.append(self.site(name).register_forward_hook(hook))
        out = self.target(input_ids=batch, use_cache=False).logits
        for handle in handles:
            handle.remove()
        order = self.decomposition.sites
        return out, [inputs[n] for n in order], [outputs[n] for n in order]

    def masked(self, batch, mask, delta, route):
        """Every site with its masks: y = Σ_c m_c u_c (v_c · x) + m_Δ Δ x where routed, W x elsewhere."""
        masks = dict(zip(self.decomposition.sites, mask.split(self.decomposition.counts, -1), strict=True))

        def change(name, x, y):
            i = self.decomposition.sites.index(name)
            read, write = self.decomposition.factors(name)
            remainder = self.weight(name) - (read @ write).T
            parts = torch.einsum("btd,dc,btc,co->bto", x, read, masks[name], write)
            changed = parts + delta[..., i : i + 1] * (x @ remainder.T)
            return torch.where(route[..., i : i + 1] > 0.5, changed, y)

        return self.run(batch, change)

    def divergence(self, clean, masked):
        if self.config.reconstruction.divergence == "mse":
            return (clean - masked).square().mean(-1)
        p, q = clean.softmax(-1), masked.softmax(-1)
        return (p * (p.log() - q.log())).sum(-1)

    def step(self, batch, passes: list[Drawn], sharpness: float, rates: list[float]):
        """Losses, gradients (of parameters, clipped, and of each pass's source), and parameters after AdamW."""
        config = self.config.reconstruction
        with torch.no_grad():
            clean, inputs, hidden = self.run(batch)
        logits = self.decomposition.logits(SiteInputs(inputs))
        sources = [d.source.double().clone().requires_grad_() for d in passes]
        merged = config.form == "merged"
        searches = [
            self.loss_of(batch, clean, hidden, logits.detach(), d, s)[1]
            for d, s in zip(passes[: -1 if merged else -2], sources[: -1 if merged else -2], strict=True)
        ]
        gradients = [
            torch.autograd.grad(loss, s)[0]
            for loss, s in zip(searches, sources[: len(searches)], strict=True)
        ]
        if merged:
            stochastic, adversarial, site_error = self.loss_of(
                batch, clean, hidden, logits, passes[-1], sources[-1]
            )
            factor = 2.0
        else:
            stochastic, _, site_error = self.loss_of(batch, clean, hidden, logits, passes[-2], sources[-2])
            _, adversarial, _ = self.loss_of(batch, clean, hidden, logits, passes[-1], sources[-1])
            factor = 1.0
        reconstruction = factor * (
            config.stochastic * stochastic + config.adversarial * adversarial + config.hidden * site_error
        )
        minimality = self.minimality(logits, sharpness)
        faith = self.faithfulness()
        leak = self.read_leak(inputs, logits.detach())
        total = reconstruction + minimality + self.config.faithfulness * faith + self.config.read_leak * leak
        stray = self.stray_reading(inputs, logits.detach()) if self.stray else None
        if stray is not None:
            total = total + self.config.stray_reading * stray
        total.backward()
        own = sources[-1].grad
        if not merged and config.adversarial:
            own = own / config.adversarial
        factors = [*self.decomposition.V.parameters(), *self.decomposition.U.parameters()]
        gamma = list(self.decomposition.importance.parameters())
        self.clip(factors, self.config.clip)
        self.clip(gamma, self.config.importance_clip)
        return {
            "losses": {
                "reconstruction": reconstruction.item(),
                "minimality": minimality.item(),
                "faithfulness": faith.item(),
                **({"read_leak": leak.item()} if self.config.read_leak else {}),
                **({} if stray is None else {"stray_reading": stray.item()}),
            },
            "gradients": {n: p.grad for n, p in self.decomposition.named_parameters()},
            "sources": [*gradients, own],
            "after": self.adamw([factors, gamma], rates),
        }

    def loss_of(self, batch, clean, hidden, logits, drawn, source):
        """(stochastic, adversarial, hidden) sums over rows of their kind, over the number of all rows."""
        total = self.decomposition.total
        rows = drawn.adversarial.flatten()
        byte = drawn.noise.double() + 0.5
        r = byte / 256 if drawn.level is None else (byte < 256 * drawn.level).double()
        g = lower(logits)
        spread = source if drawn.slots is None else source[drawn.slots]
        spread = spread.expand(*logits.shape[:2], -1)
        parts = []
        for chosen, values, delta in (
            (~rows, r, drawn.delta.double()),
            (rows, spread[..., :total], spread[..., total:]),
        ):
            if not chosen.any():
                parts += [torch.zeros((), dtype=torch.float64)] * 2
                continue
            mask = (g + (1 - g) * values)[chosen]
            route = drawn.route[chosen]
            out, _, sites = self.masked(batch[chosen], mask, delta[chosen], route)
            parts.append(self.divergence(clean[chosen], out).mean(1).sum() / len(batch))
            squares = [(a[chosen] - b).square().sum(-1) for a, b in zip(hidden, sites, strict=True)]
            error = torch.stack(squares).sum(0) / sum(a.shape[-1] for a in hidden)
            parts.append(error.mean(1).sum() / len(batch))
        return parts[0], parts[2], parts[1]

    def minimality(self, logits, sharpness):
        config = self.config.minimality
        # ψ'(0) of L_p is infinite: differentiate only where there is something to lose.
        g = upper(torch.where(logits > 0, logits, torch.ones_like(logits)))
        psi = g**2 / (g**2 + sharpness**2) if config.kind == "smooth_l0" else (g + 1e-12) ** sharpness
        zero = 0.0 if config.kind == "smooth_l0" else 1e-12**sharpness
        f = torch.where(logits > 0, psi, zero).mean((0, 1))
        if config.normalised:
            f = f * (1 + sharpness**2)
        if config.half_life is not None:
            decay = 0.5 ** (1 / config.half_life)
            ema = decay * self.mean["total"] + (1 - decay) * f.detach()
            seen = decay * self.mean["weight"] + 1 - decay
            # Its value is Φ(f̂); its gradient Φ′(f̂) ∂f.
            f = ema / seen + f - f.detach()
        rarity = torch.log2(1 + config.reference_count * f)
        return config.activity * f.sum() + config.frequency * (f * rarity).sum()

    def faithfulness(self):
        squares, sizes, shares = [], 0, []
        for name in self.decomposition.sites:
            read, write = self.decomposition.factors(name)
            weight = self.weight(name)
            delta = weight - (read @ write).T
            squares.append(delta.square().sum())
            shares.append(delta.square().sum() / weight.square().sum())
            sizes += weight.numel()
        if self.config.faithfulness_scale == "relative":
            return sum(shares) / len(shares)
        return sum(squares) / sizes

    def read_leak(self, inputs, logits):
        """Mean over sites of what inactive parts write, over what the site puts out on the run's first batch."""
        with torch.no_grad():
            _, first, _ = self.run(self.first)
        shares, g = [], logits.clamp(0, 1).split(self.decomposition.counts, -1)
        for name, x, own, x0 in zip(self.decomposition.sites, inputs, g, first, strict=True):
            read, write = self.decomposition.factors(name)
            written = torch.einsum("btd,dc,btc,co->btco", x, read, 1 - own, write)
            output = (x0 @ self.weight(name).T).square().sum(-1).mean()
            shares.append(written.square().sum((-1, -2)).mean() / output)
        return sum(shares) / len(shares)

    def stray_reading(self, inputs, logits):
        """Mean over sites of log(energy out of place / energy) at the running means, with the batch's own gradient."""
        decay = 0.5 ** (1 / HALF_LIFE)
        losses, g = [], logits.clamp(0, 1).split(self.decomposition.counts, -1)
        before = self.stray["mean"].split(self.decomposition.counts, -1)
        seen = decay * self.stray["weight"] + 1 - decay
        for name, x, own, mean in zip(self.decomposition.sites, inputs, g, before, strict=True):
            a = x @ self.decomposition.factors(name)[0]
            out = (1 - own.amax(1, keepdim=True)) * a
            batch = [out.square().mean((0, 1)), a.square().mean((0, 1)), own.mean((0, 1))]
            now = [
                (decay * m + (1 - decay) * b.detach()) / seen + b - b.detach()
                for m, b in zip(mean, batch, strict=True)
            ]
            weight = now[2] / (now[2] + RARE)
            losses.append((weight * (now[0] / now[1] + CLEAN).log()).sum() / weight.sum())
        return sum(losses) / len(losses)

    @staticmethod
    def clip(parameters, bound):
        norm = math.sqrt(sum(p.grad.square().sum().item() for p in parameters))
        for p in parameters:
            p.grad *= min(1.0, bound / (norm + 1e-6))

    def adamw(self, groups, rates):
        """β (.9, .999), no decay, bias-corrected, from the trainer's moments."""
        names = {id(p): n for n, p in self.decomposition.named_parameters()}
        after, index = {}, 0
        for group, rate in zip(groups, rates, strict=True):
            for p in group:
                state = self.moments.get(index, None)
                index += 1
                count = 1 if state is None else int(state["step"]) + 1
                first = 0.0 if state is None else state["exp_avg"].double()
                second = 0.0 if state is None else state["exp_avg_sq"].double()
                first, second = 0.9 * first + 0.1 * p.grad, 0.999 * second + 0.001 * p.grad**2
                m, v = first / (1 - 0.9**count), second / (1 - 0.999**count)
                after[names[id(p)]] = p.detach() - rate * m / (v.sqrt() + 1e-8)
        return after


def ascended(config, source, gradient, used, state=None):
    """A source after one ascent: signed (fresh), or Adam from `state` = (first, second, ascents) (persistent)."""
    if config.kind == "fresh":
        return (source + config.step_size * gradient.sign()).clamp(0, 1)
    first, second, count = state
    count = count + 1
    first = config.beta1 * first + (1 - config.beta1) * gradient
    second = config.beta2 * second + (1 - config.beta2) * gradient**2
    m, v = first / (1 - config.beta1**count), second / (1 - config.beta2**count)
    moved = source + config.learning_rate.start * m / (v.sqrt() + 1e-8)
    return torch.where(used, moved.clamp(0, 1), source)
