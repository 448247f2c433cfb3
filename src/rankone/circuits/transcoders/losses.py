"""What a transcoder is trained for: each MLP's output, or the model's prediction with all MLPs replaced."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.transcoders.coder import Transcoder, smallest_kept
from rankone.circuits.transcoders.places import Mlp
from rankone.circuits.transcoders.replacing import replacing
from rankone.metrics.kl import kl_per_position

# Latents that are revived at once, at most: of dead ones those that read most.
REVIVED = 512


def local_losses(
    coder: Transcoder,
    inputs: Sequence[Float[Tensor, "n_tokens d"]],
    outputs: Sequence[Float[Tensor, "n_tokens d"]],
    dead: Bool[Tensor, "layers n"],
) -> tuple[Float[Tensor, " layers"], Float[Tensor, " layers"], list[Float[Tensor, "n_tokens n"]]]:
    """(unexplained share of each MLP's output, the same of what dead latents say of the rest, latents kept)."""
    raw = [coder.raw(layer, x) for layer, x in enumerate(inputs)]
    codes = [coder.kept(layer, one) for layer, one in enumerate(raw)]
    unexplained, revived = [], []
    for layer, y in enumerate(outputs):
        rest = y - coder.output(layer, codes)
        total = (y - y.mean(0)).square().sum().clamp_min(1e-12)
        unexplained.append(rest.square().sum() / total)
        revived.append(_revival(coder, layer, raw[layer], rest.detach(), dead[layer]))
    return torch.stack(unexplained), torch.stack(revived), codes


def _revival(
    coder: Transcoder,
    layer: int,
    raw: Float[Tensor, "n_tokens n"],
    rest: Float[Tensor, "n_tokens d"],
    dead: Bool[Tensor, " n"],
) -> Float[Tensor, ""]:
    """Share of the rest that dead latents of a layer, the strongest per token, leave unexplained; 0 where none is dead."""
    if not dead.any():
        return rest.new_zeros(())
    asleep = raw * dead
    count = min(REVIVED, max(1, raw.shape[1] // 2), int(dead.sum()))
    said = asleep * (asleep >= smallest_kept(asleep.detach(), count))
    left = rest - said @ coder.decoders[layer][0]
    return left.square().sum() / rest.square().sum().clamp_min(1e-12)


def prediction_loss(
    model: PreTrainedModel,
    mlps: Sequence[Mlp],
    coder: Transcoder,
    ids: Int[Tensor, "rows length"],
    logits: Float[Tensor, "rows length vocab"],
) -> Float[Tensor, ""]:
    """Mean KL from the model's prediction to that with every MLP replaced, errors running on; nats per position."""
    with replacing(model, mlps, coder, range(len(mlps))):
        said = model(input_ids=ids, use_cache=False).logits
    return kl_per_position(logits, said).mean()
