"""A transcoder of all MLPs of a model: what an MLP reads → k latents per token → what it writes.

z_l = ReLU(E_l x_l + e_l), of which the largest k per token on average are kept; ŷ_l = Σ_{i ≤ l} D_{i→l} z_i + d_l, with
i = l alone where it is per layer. In a batch of B tokens the k·B largest are kept (batch top-k, as in training); of a single
token those above the threshold that was fitted on training text, as circuit-tracer's JumpReLU files have it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.circuits.transcoders.codes import Codes, read_codes
from rankone.circuits.transcoders.config import CoderConfig
from rankone.core.errors import RankOneError

Keeping = Literal["batch", "threshold"]
# Every so manieth value is looked at first for the k·B-th largest: prime, so that it falls on all latents.
SAMPLED = 61


class Transcoder(nn.Module):
    """Encoders and decoders of L layers.

    encoder: [L, n, d]; encoder_bias: [L, n]; decoders: per layer i [m, n, d], m the layers it writes to (1, or L − i), what
    a latent writes of norm 1 in all, at the start along what it reads; decoder_bias: [L, d]; threshold: [L], infinite
    until it is fitted.
    """

    def __init__(self, config: CoderConfig, layers: int, width: int) -> None:
        super().__init__()
        self.config, self.layers, self.width = config, layers, width
        generator = torch.Generator().manual_seed(config.seed)
        bound = math.sqrt(3 / width)  # Kaiming, uniform, for a linear map
        start = (2 * torch.rand(layers, config.latents, width, generator=generator) - 1) * bound
        self.encoder = nn.Parameter(start)
        self.encoder_bias = nn.Parameter(torch.zeros(layers, config.latents))
        reaches = [layers - i if config.reach == "cross-layer" else 1 for i in range(layers)]
        self.decoders = nn.ParameterList(
            nn.Parameter(start[i].repeat(m, 1, 1)) for i, m in enumerate(reaches)
        )
        self.normalise()
        self.decoder_bias = nn.Parameter(torch.zeros(layers, width))
        self.register_buffer("threshold", torch.full((layers,), torch.inf))

    @torch.no_grad()
    def read(self, layer: int, x: Float[Tensor, "n_tokens d"]) -> Float[Tensor, "n_tokens n"]:
        """What the encoder of a layer reads, before any latent is dropped."""
        return torch.addmm(self.encoder_bias[layer], x, self.encoder[layer].T)

    def codes(self, layer: int, x: Float[Tensor, "n_tokens d"], keeping: Keeping = "batch") -> Codes:
        """The latents that stay: the k per token that are largest in this batch, or those above the threshold."""
        read = self.read(layer, x)
        chosen = self.chosen(layer, read, keeping)
        return read_codes(x, self.encoder[layer], self.encoder_bias[layer], read, chosen)

    def chosen(
        self, layer: int, read: Float[Tensor, "n_tokens n"], keeping: Keeping
    ) -> Bool[Tensor, "n_tokens n"]:
        """Which of what an encoder reads stays."""
        if keeping == "batch":
            return read >= smallest_kept(read, self.config.k)
        limit: Tensor = self.get_buffer("threshold")[layer]
        if not torch.isfinite(limit):
            raise RankOneError("this transcoder has no threshold yet: it is fitted at the end of training.")
        return read > limit

    def output(self, layer: int, codes: Sequence[Codes]) -> Float[Tensor, "n_tokens d"]:
        """What it writes in place of an MLP; codes: of this layer and, first layer first, all before it."""
        written = self.decoder_bias[layer]
        for i, decoder in enumerate(self.decoders[: layer + 1]):
            if layer - i < len(decoder):
                written = written + codes[i].written(decoder[layer - i])
        return written

    @torch.no_grad()
    def normalise(self) -> None:
        """Give each latent's write vectors, to all layers together, the norm 1."""
        for decoder in self.decoders:
            decoder /= decoder.square().sum((0, 2), keepdim=True).sqrt().clamp_min(1e-12)

    @torch.no_grad()
    def project_gradients(self) -> None:
        """Take the part along each latent's write vectors out of their gradient, so that a step keeps their norm."""
        for decoder in self.decoders:
            if decoder.grad is not None:
                along = (decoder.grad * decoder).sum((0, 2), keepdim=True)
                decoder.grad -= along * decoder

    def active_parameters(self) -> float:
        """Numbers of encoder and decoder rows that a token uses, over all layers: k (d + d per layer written to)."""
        return sum(self.config.k * self.width * (1 + len(decoder)) for decoder in self.decoders)

    def active_per_output(self) -> float:
        """Latents that an MLP's output is made of, mean over layers: k, or k times the layers up to it."""
        reached = [
            sum(1 for i, d in enumerate(self.decoders[: layer + 1]) if layer - i < len(d))
            for layer in range(self.layers)
        ]
        return self.config.k * sum(reached) / self.layers


def smallest_kept(read: Float[Tensor, "n_tokens n"], k: int) -> Float[Tensor, ""]:
    """The k·B-th largest of what is read of B tokens, at least the smallest positive number.

    Only what lies above a guess from every 61st value is sorted: a few in a hundred.
    """
    count, flat = k * len(read), read.flatten()
    if count >= len(flat):
        return read.new_tensor(torch.finfo(read.dtype).tiny)
    some = flat[::SAMPLED]
    guess = some.topk(min(len(some), int(1.25 * count / SAMPLED) + 8)).values[-1]
    above = flat[flat >= guess]
    if len(above) < count:
        above = flat
    kept = above.kthvalue(len(above) - count + 1).values
    return kept.clamp_min(torch.finfo(read.dtype).tiny)
