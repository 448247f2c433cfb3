"""A write vector trained: Adam on w alone, −ln p(token) where the part fires plus λ·KL to the model elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.rewriting.firing import Firing
from rankone.metrics.kl import kl_per_position
from rankone.models.output import output_of
from rankone.models.sites import site_named
from rankone.parts.book import Named

STEPS = 60
# Of ‖u‖ per step.
_RATE = 0.1


def trained(
    model: PreTrainedModel,
    parts: Named,
    name: str,
    places: Firing,
    base: Sequence[Float[Tensor, "rows length vocab"]],
    tokens: Sequence[int],
    examples: int,
    weight: float,
    seed: int,
    start: Float[Tensor, " d_out"] | None = None,
) -> Float[Tensor, " d_out"]:
    """w after STEPS steps on `examples` firing positions (by seed) and the other positions of their rows.

    weight: λ of the KL. start: where w begins; None is u. RankOneError where the fit diverges.
    """
    site, _ = parts.locate(name)
    read, old = (vector.to(model.device).float() for vector in parts.vectors(name))
    chosen = _some(places.fires, examples, seed)
    rows = chosen.any(1)
    ids, fires, rest = places.text.ids[rows], chosen[rows], (places.near | places.other)[rows]
    before = torch.cat(list(base))[rows]
    with torch.enable_grad():
        write = nn.Parameter((old if start is None else start.to(old)).clone())
        optimiser = torch.optim.Adam([write], lr=_RATE * float(old.norm()))
        for _ in range(STEPS):
            logits = _with_write(model, site, read, write - old, ids)
            wanted = logits.float().log_softmax(-1)[..., list(tokens)].logsumexp(-1)
            loss = -wanted[fires].mean()
            if bool(rest.any()):
                loss = loss + weight * kl_per_position(before[rest], logits[rest]).mean()
            if not bool(loss.isfinite()):
                raise RankOneError(
                    "the trained write vector has diverged. Give fewer examples or a larger --weight."
                )
            (write.grad,) = torch.autograd.grad(loss, [write])
            optimiser.step()
    return write.detach()


def _some(fires: Bool[Tensor, "rows length"], count: int, seed: int) -> Bool[Tensor, "rows length"]:
    """`count` of the firing positions, drawn by seed."""
    places = fires.flatten().nonzero()[:, 0].cpu()
    drawn = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))[:count]]
    chosen = torch.zeros(fires.numel(), dtype=torch.bool)
    chosen[drawn] = True
    return chosen.reshape(fires.shape).to(fires.device)


def _with_write(
    model: PreTrainedModel, site: str, read: Tensor, change: Float[Tensor, " d_out"], ids: Tensor
) -> Float[Tensor, "rows length vocab"]:
    """Logits with `change` (v·x) added to what the site gives; gradients reach `change` alone."""

    def hook(_module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + ((given[0].float() @ read)[..., None] * change).to(output.dtype)

    with site_named(model, site).module.register_forward_hook(hook):
        return output_of(model, ids)
