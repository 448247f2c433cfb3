"""Edits by a sparse autoencoder of what one site writes: its latents of the text to forget, scaled, taken out, or baked in.

A latent is of a language by its monolinguality ν = μ_l − mean of the other μ, the means of its activation on each text
(Deng et al. 2025, Unveiling Language-Specific Features in LLMs via Sparse Autoencoders). f: activation, d: direction.
    sae_scaled     (α − 1) f d is added as the model runs, one learned α (clamping: α = 0 switches the latent off)
    sae_ablated    the directions of several latents are projected out of the site's weight; nothing is trained
    sae_baked      a rank-one edit of the weight, (α − 1) d eᵀW with e the latent's encoder: without TopK and threshold
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.methods.rivals.sparse_coder import Coder, mean_activations, read_coder
from rankone.edits.scales import FIRST_STEP, Scales, both_signs
from rankone.models.sites import weight_of
from rankone.parts.parts import Parts

ABLATED = 2
"""Latents whose directions are projected out; as many as the paper takes out."""
ORIGIN = "sae"


def language_latents(means: Float[Tensor, "domains latents"], count: int) -> list[int]:
    """The latents of the largest ν for the first domain, the largest first."""
    return (means[0] - means[1:].mean(0)).topk(count).indices.tolist()


def _chosen(target: Target, method: str, count: int = 1) -> tuple[Coder, list[int]]:
    if target.sae is None:
        raise RankOneError(
            f"the method '{method}' needs a sparse coder: name its folder as `sae` of the recipe."
        )
    coder = read_coder(Path(target.sae), target.model)
    means = mean_activations(target.model, coder, target.require_texts(method))
    return coder, language_latents(means, count)


class Latent:
    """`alpha` [runs, 1]: the factor on one latent of what a site writes."""

    fixed = True

    def __init__(self, coder: Coder, latent: int, start: float) -> None:
        self.name, self.coder, self.latent, self._start = "sae_scaled", coder, latent, start
        self.weight = weight_of(coder.site)

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """The same factor for every run."""
        return {"alpha": nn.Parameter(torch.full((runs, 1), self._start))}

    def alphas(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, "runs 1"]:
        """α of every run."""
        return parameters["alpha"]

    def sites(self) -> list[str]:
        """The site whose output is coded."""
        return [self.coder.site.name]

    def change(
        self,
        site: str,  # noqa: ARG002
        parameters: Mapping[str, Tensor],
        x: Float[Tensor, "runs n d_in"],
    ) -> Float[Tensor, "runs n d_out"]:
        """(α − 1) times what the latent adds to the decoded output; nothing where it is not among the active ones."""
        coder = self.coder.coder
        bias = getattr(self.coder.site.module, "bias", None)
        output = nn.functional.linear(x, self.weight.to(x), None if bias is None else bias.to(x))
        top = coder.encode(output.flatten(0, 1).detach())
        active = (top.top_acts * (top.top_indices == self.latent)).sum(-1).view(x.shape[:2]).to(x)
        factor = (parameters["alpha"] - 1).to(x) * active
        return factor.unsqueeze(2) * self.coder.directions[self.latent].to(x)

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """1 + size · (α − 1)."""
        return {"alpha": 1 + size * (parameters["alpha"] - 1)}

    def edit(self, parameters: Mapping[str, Tensor], run: int) -> LowRankEdit:
        """RankOneError: it changes no weights."""
        del parameters, run
        raise RankOneError(
            "the method 'sae_scaled' changes a latent as the model runs, and no edit of weights can: 'sae_baked' is one."
        )


def _scaled(target: Target) -> list[Method]:
    coder, (latent,) = _chosen(target, "sae_scaled")
    return [Latent(coder, latent, 1 + sign * FIRST_STEP) for sign in (-1, 1)]


def latent_parts(
    coder: Coder, reads: Float[Tensor, "c d_out"], writes: Float[Tensor, "c d_out"], numbers: list[int]
) -> Parts:
    """Parts u = a direction that is written, v = Wᵀ times what is read of the output."""
    weight = weight_of(coder.site).float()
    factors = {coder.site.name: ((reads @ weight).T.contiguous(), writes.contiguous())}
    return Parts(factors, ORIGIN, {coder.site.name: torch.tensor(numbers)}).frozen()


def _ablated(target: Target) -> list[Method]:
    """W − D D⁺ W: a basis of the span of the directions, each with its projection as a part at α = 0."""
    coder, latents = _chosen(target, "sae_ablated", ABLATED)
    basis = torch.linalg.qr(coder.directions[latents].float().T).Q.T
    parts = latent_parts(coder, basis, basis, latents)
    return [Scales(parts, parts.names(), "sae_ablated", 0.0)]


def _baked(target: Target) -> list[Method]:
    coder, latents = _chosen(target, "sae_baked")
    encoder, decoder = coder.coder.encoder.weight[latents], coder.directions[latents]
    parts = latent_parts(coder, encoder.float(), decoder.float(), latents)
    return both_signs(parts, parts.names(), "sae_baked")


KINDS = (
    Kind(
        "sae_scaled", "one SAE latent scaled", 12, 1, _scaled, (0.5,), (1.0,), one_scale=True, weights=False
    ),
    Kind("sae_ablated", "SAE directions taken out", 12, 4, _ablated, (1.0,), (1.0,), trained=False),
    Kind("sae_baked", "one scalar on an SAE direction", 12, 0, _baked, (0.5,), (1.0,), one_scale=True),
)
