"""Whether a transcoder computes what its MLP computes, or only its value: the cosine of their Jacobians at a token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.circuits.transcoders.coder import Transcoder
from rankone.circuits.transcoders.places import Mlp


def jacobian_cosine(
    model: PreTrainedModel,
    mlps: Sequence[Mlp],
    coder: Transcoder,
    inputs: Sequence[Float[Tensor, "n_tokens d"]],
) -> float:
    """Mean over layers and tokens of ⟨J, J′⟩ / ‖J‖‖J′‖, J = ∂MLP/∂x and J′ the transcoder's at its threshold.

    inputs: of each MLP, a few tokens. Of a cross-layer transcoder J′ is with respect to this layer's input alone.
    """
    cosines: list[Tensor] = []
    for layer, mlp in enumerate(mlps):
        for x in inputs[layer].detach().float():
            a, b = _of_module(model.get_submodule(mlp.path), x), _of_latents(coder, layer, x)
            cosines.append((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12))
    return float(torch.stack(cosines).mean())


def _of_module(module: nn.Module, x: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
    kind = next(module.parameters()).dtype

    def itself(x: Tensor) -> Tensor:
        return module(x.view(1, 1, -1).to(kind)).view(-1).float()

    with torch.enable_grad():
        made = torch.autograd.functional.jacobian(itself, x, vectorize=True)  # pyright: ignore
    assert isinstance(made, Tensor)
    return made


@torch.no_grad()
def _of_latents(coder: Transcoder, layer: int, x: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
    """Σ over the latents that are on of what one writes times what it reads."""
    on = coder.codes(layer, x.unsqueeze(0), "threshold").pattern.latents
    return coder.decoders[layer][0][on].T @ coder.encoder[layer][on]
