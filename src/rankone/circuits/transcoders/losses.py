"""What a transcoder is trained for: each MLP's output, or the model's prediction with all MLPs replaced."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.transcoders.coder import Transcoder, smallest_kept
from rankone.circuits.transcoders.codes import Codes
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
) -> tuple[Float[Tensor, " layers"], Float[Tensor, " layers"], list[Codes]]:
    """(unexplained share of each MLP's output, the same of what dead latents say of the rest, latents kept)."""
    codes = [coder.codes(layer, x) for layer, x in enumerate(inputs)]
    unexplained, revived = [], []
    for layer, y in enumerate(outputs):
        rest = y - coder.output(layer, codes)
        total = (y - y.mean(0)).square().sum().clamp_min(1e-12)
        unexplained.append(rest.square().sum() / total)
        revived.append(_revival(coder, layer, inputs[layer], rest.detach(), dead[layer]))
    return torch.stack(unexplained), torch.stack(revived), codes


def _revival(
    coder: Transcoder,
    layer: int,
    x: Float[Tensor, "n_tokens d"],
    rest: Float[Tensor, "n_tokens d"],
    dead: Bool[Tensor, " n"],
) -> Float[Tensor, ""]:
    """Share of the rest that dead latents of a layer, the strongest per token, leave unexplained; 0 where none is dead."""
    which = dead.nonzero().squeeze(1)
    if not len(which):
        return rest.new_zeros(())
    said = torch.relu(x @ coder.encoder[layer][which].T + coder.encoder_bias[layer][which])
    count = min(REVIVED, max(1, len(dead) // 2))
    if count < len(which):
        said = said * (said >= smallest_kept(said.detach(), count))
    left = rest - said @ coder.decoders[layer][0][which]
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
