"""How the subcomponents of a site start: one per neuron or channel (exactly faithful), or at random."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.models.anatomy import is_attention_output

Factors = tuple[Float[Tensor, "d_in c"], Float[Tensor, "c d_out"]]


def aligned(weight: Float[Tensor, "d_out d_in"], count: int, generator: torch.Generator) -> Factors:
    """One subcomponent per coordinate of the narrower-meaning side, so that V U = W exactly.

    With C ≥ d_out and d_out ≥ d_in, or a square matrix that does not write the residual stream, coordinates are
    outputs (neurons, head channels): v_c = W[c], u_c = e_c. Otherwise inputs: v_c = e_c, u_c = W[:, c].
    Each pair is balanced to ‖u_c‖ = ‖v_c‖. Subcomponents beyond the coordinates start as random tiny ones.
    """
    d_out, d_in = weight.shape
    by_output = d_out >= d_in
    return _aligned(weight, count, generator, by_output)


def aligned_to_inputs(weight: Float[Tensor, "d_out d_in"], count: int, generator: torch.Generator) -> Factors:
    """As `aligned`, with coordinates on the input side (residual-writing matrices such as o_proj)."""
    return _aligned(weight, count, generator, by_output=False)


def _aligned(weight: Tensor, count: int, generator: torch.Generator, by_output: bool) -> Factors:
    d_out, d_in = weight.shape
    needed = d_out if by_output else d_in
    if count < needed:
        raise RankOneError(
            f"an aligned start needs C ≥ {needed} subcomponents for a {d_out}×{d_in} matrix, but C = {count}. "
            "Raise C, or use `initialisation: random` with warm-up steps."
        )
    directions = weight if by_output else weight.T
    norms = directions.norm(dim=1).clamp_min(1e-12).sqrt().unsqueeze(1)
    dense, one_hot = directions / norms, torch.eye(needed) * norms
    spare = count - needed
    if spare:
        tiny = 1e-3 * directions.std()
        dense = torch.cat((dense, tiny * torch.randn(spare, dense.shape[1], generator=generator)))
        one_hot = torch.cat((one_hot, torch.zeros(spare, needed)))
    read, write = (dense, one_hot) if by_output else (one_hot, dense)
    return read.T.contiguous(), write.contiguous()


def random(weight: Float[Tensor, "d_out d_in"], count: int, generator: torch.Generator) -> Factors:
    """V ~ N(0, 1/d_in), U ~ N(0, 1/C): needs faithfulness warm-up steps."""
    d_out, d_in = weight.shape
    read = torch.randn(d_in, count, generator=generator) / d_in**0.5
    write = torch.randn(count, d_out, generator=generator) / count**0.5
    return read, write


INITIALISATIONS: dict[str, Callable[[Tensor, int, torch.Generator], Factors]] = {
    "aligned": aligned,
    "random": random,
}


def initial_factors(
    kind: str, name: str, weight: Float[Tensor, "d_out d_in"], count: int, generator: torch.Generator
) -> Factors:
    """Factors of the site `name`; square residual-writing matrices (o_proj and its kin) align to inputs."""
    square = weight.shape[0] == weight.shape[1]
    if kind == "aligned" and square and is_attention_output(name):
        return aligned_to_inputs(weight, count, generator)
    return INITIALISATIONS[kind](weight, count, generator)
