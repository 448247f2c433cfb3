"""Whether a transcoder computes what its MLP computes, or only its value: the cosine of their Jacobians at a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.transcoders.coder import Transcoder
from rankone.circuits.transcoders.places import Mlp

Map = Callable[[Float[Tensor, " d"]], Float[Tensor, " d"]]


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
        module = model.get_submodule(mlp.path)

        def itself(x: Tensor, module: torch.nn.Module = module) -> Tensor:
            kind = next(module.parameters()).dtype
            return module(x.view(1, 1, -1).to(kind)).view(-1).float()

        def stand_in(x: Tensor, layer: int = layer) -> Tensor:
            code = coder.kept(layer, coder.raw(layer, x.unsqueeze(0)), "threshold")
            return (code @ coder.decoders[layer][0]).view(-1)

        for x in inputs[layer].detach().float():
            a, b = _jacobian(itself, x), _jacobian(stand_in, x)
            cosines.append((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12))
    return float(torch.stack(cosines).mean())


def _jacobian(function: Map, x: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
    with torch.enable_grad():
        made = torch.autograd.functional.jacobian(function, x, vectorize=True)  # pyright: ignore
    assert isinstance(made, Tensor)
    return made
