"""The latents that a batch keeps, a few of many: where they are and how large, and products over those alone.

Of n latents a token keeps some k: to read them off takes the whole product with the encoder; to write, and for every
gradient, the k are enough.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Said once a process, of a form that is used here for one product and never leaves this file.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


@dataclass(frozen=True)
class Pattern:
    """Which latents each token keeps, tokens in order.

    tokens, latents: [kept] indices of both; shape: how many there are of either.
    """

    tokens: Int[Tensor, " kept"]
    latents: Int[Tensor, " kept"]
    shape: tuple[int, int]

    @classmethod
    def of(cls, chosen: Bool[Tensor, "n_tokens n"]) -> Pattern:
        """From a table of what is kept."""
        tokens, latents = chosen.nonzero().unbind(1)
        return cls(tokens.contiguous(), latents.contiguous(), (chosen.shape[0], chosen.shape[1]))

    @cached_property
    def starts(self) -> Int[Tensor, " n_tokens+1"]:
        """Where each token's entries begin; last, how many there are."""
        return _starts(self.tokens, self.shape[0])

    @cached_property
    def by_latent(self) -> tuple[Int[Tensor, " kept"], Int[Tensor, " n+1"]]:
        """(the order of the entries by latent, where each latent's begin in it)."""
        ordered, order = self.latents.sort(stable=True)
        return order, _starts(ordered, self.shape[1])

    def over_latents(
        self, weights: Float[Tensor, " kept"], table: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n_tokens d"]:
        """For each token the sum over its latents of weight · row."""
        return _sums(self.latents, table, self.starts, weights)

    def over_tokens(
        self, weights: Float[Tensor, " kept"], table: Float[Tensor, "n_tokens d"]
    ) -> Float[Tensor, "n d"]:
        """For each latent the sum over its tokens of weight · row."""
        order, starts = self.by_latent
        return _sums(self.tokens[order], table, starts, weights[order])

    def products(
        self, left: Float[Tensor, "n_tokens d"], right: Float[Tensor, "n d"]
    ) -> Float[Tensor, " kept"]:
        """The product of the token's row and the latent's, at each entry."""
        values = left.new_zeros(len(self.latents))
        entries = torch.sparse_csr_tensor(
            self.starts, self.latents, values, self.shape, check_invariants=False
        )
        return torch.sparse.sampled_addmm(entries, left, right.T, beta=0.0).values()


def _starts(ordered: Int[Tensor, " kept"], count: int) -> Int[Tensor, " count+1"]:
    return torch.searchsorted(ordered, torch.arange(count + 1, device=ordered.device))


def _sums(
    index: Int[Tensor, " kept"],
    table: Float[Tensor, "rows d"],
    starts: Int[Tensor, " count+1"],
    weights: Float[Tensor, " kept"],
) -> Float[Tensor, "count d"]:
    return F.embedding_bag(
        index, table, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


@dataclass(frozen=True)
class Codes:
    """Latents that are kept. values: [kept], how large they are, entry by entry of the pattern."""

    pattern: Pattern
    values: Float[Tensor, " kept"]

    def written(self, decoder: Float[Tensor, "n d"]) -> Float[Tensor, "n_tokens d"]:
        """Σ over a token's latents of value · what the latent writes."""
        return _Written.apply(self.values, decoder, self.pattern)  # pyright: ignore[reportReturnType]

    def fired(self) -> Bool[Tensor, " n"]:
        """Latents that any token keeps."""
        fired = torch.zeros(self.pattern.shape[1], dtype=torch.bool, device=self.values.device)
        fired[self.pattern.latents] = True
        return fired


def read_codes(
    x: Float[Tensor, "n_tokens d"],
    encoder: Float[Tensor, "n d"],
    bias: Float[Tensor, " n"],
    read: Float[Tensor, "n_tokens n"],
    chosen: Bool[Tensor, "n_tokens n"],
) -> Codes:
    """The chosen of what an encoder reads, x Eᵀ + e; gradients go to x, E and e by the chosen alone."""
    pattern = Pattern.of(chosen)
    values = read.detach()[pattern.tokens, pattern.latents]
    return Codes(pattern, _Read.apply(x, encoder, bias, values, pattern))  # pyright: ignore[reportArgumentType]


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, encoder: Tensor, _bias: Tensor, values: Tensor, pattern: Pattern
    ) -> Tensor:
        ctx.save_for_backward(x, encoder)
        ctx.pattern = pattern
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x, encoder), pattern, wanted = ctx.saved_tensors, ctx.pattern, ctx.needs_input_grad
        to_x = pattern.over_latents(grad, encoder) if wanted[0] else None
        to_encoder = pattern.over_tokens(grad, x) if wanted[1] else None
        to_bias = pattern.over_tokens(grad, x.new_ones(len(x), 1)).squeeze(1) if wanted[2] else None
        return to_x, to_encoder, to_bias, None, None


class _Written(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, decoder: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(values, decoder)
        ctx.pattern = pattern
        return pattern.over_latents(values, decoder)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (values, decoder), pattern, wanted = ctx.saved_tensors, ctx.pattern, ctx.needs_input_grad
        grad = grad.contiguous()
        to_values = pattern.products(grad, decoder) if wanted[0] else None
        to_decoder = pattern.over_tokens(values, grad) if wanted[1] else None
        return to_values, to_decoder, None
