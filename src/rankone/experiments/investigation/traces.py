"""What each position of some text does to chosen subcomponents and they to it: activations and gradients of their scales.

One scale per position and subcomponent, all at 1, in the base model: with y = W x + Σ_c (α_pc − 1) u_c (v_c · x_p) at
position p, ∂L/∂α_pc = (v_c · x_p)(u_c · ∂L/∂y_p). Summed over positions it is the gradient of the one scale α_c. No
edited model is run: one pass forwards and one backwards per set of labels gives all chosen subcomponents at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.edits.adapters import adapted
from rankone.edits.scales import Scales
from rankone.metrics.cross_entropy import next_token_losses
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace

ROWS_AT_ONCE = 4


@dataclass(frozen=True)
class Traces:
    """Chosen subcomponents on the text of one domain, by row and position.

    activation: ‖u‖ v·x. gradient: ∂/∂α of the summed cross-entropy of the row (nats). drawn: the same, with the
    labels drawn from the model itself instead of the text's, `draws` times. valid: text tokens, as in `Blocks`.
    """

    activation: Float[Tensor, "rows length k"]
    gradient: Float[Tensor, "rows length k"]
    drawn: Float[Tensor, "draws rows length k"]
    valid: Bool[Tensor, "rows length"]

    @property
    def tokens(self) -> int:
        """Number of text tokens."""
        return int(self.valid.sum())

    def together(self) -> Traces:
        """All traced subcomponents as one component: gradients add up, the activation is the root of the sum of squares.

        A single one stays as it is, with the sign of its activation.
        """
        if self.activation.shape[-1] == 1:
            return self
        size = self.activation.square().sum(-1, keepdim=True).sqrt()
        gradient, drawn = (gradients.sum(-1, keepdim=True) for gradients in (self.gradient, self.drawn))
        return Traces(size, gradient, drawn, self.valid)


class _Watched(Scales):
    """Scales that keep the activations v·x of the last forward, [positions, components]."""

    activations: Tensor

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs 1 d_in"]
    ) -> Float[Tensor, "runs 1 d_out"]:
        read, _ = self._factors[site]
        self.activations[:, self._owners[site]] = (x.detach() @ read.to(x.dtype)).squeeze(1).float()
        return super().change(site, parameters, x)


def traces(
    workspace: Workspace,
    components: Sequence[str],
    blocks: Blocks,
    draws: int = 0,
    seed: int = 0,
) -> Traces:
    """Trace some parts through the base model on the text of one domain; what comes out is on the CPU.

    draws: sets of labels drawn from the model at every position, for the Fisher information. Raises RankOneError for
    empty text and for gradients that are not finite.
    """
    if blocks.tokens == 0:
        raise RankOneError("the text to trace is empty. Give more text.")
    parts = workspace.require_parts()
    watched = _Watched(parts, list(components))
    generator = torch.Generator().manual_seed(seed)
    chunks = [
        _traced(workspace, watched, blocks.rows(i, i + ROWS_AT_ONCE), draws, generator)
        for i in range(0, len(blocks.ids), ROWS_AT_ONCE)
    ]
    activation, gradient = (torch.cat(chunk) for chunk in list(zip(*chunks, strict=True))[:2])
    drawn = torch.cat([chunk[2] for chunk in chunks], dim=1)
    if not torch.isfinite(gradient).all():
        raise RankOneError("a gradient of the cross-entropy is not finite on this text.")
    sizes = torch.stack([parts.vectors(name)[1].float().norm().cpu() for name in components])
    return Traces(activation * sizes, gradient, drawn, blocks.valid.cpu())


def _traced(
    workspace: Workspace, watched: _Watched, blocks: Blocks, draws: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """(activation, gradient, drawn) of some rows; the activation is v·x."""
    model, blocks = workspace.model, blocks.to(workspace.device)
    shape = (*blocks.ids.shape, len(watched.components))
    positions = blocks.ids.numel()
    # Every position is a run of its own, so each has its own scale.
    parameters = watched.start(positions, [])
    watched.activations = torch.zeros(positions, shape[-1], device=workspace.device)
    with adapted(model, watched, parameters, positions), torch.enable_grad():
        logits = model(input_ids=blocks.ids, use_cache=False).logits.float()
        drawn = _drawn(logits[:, :-1].detach(), draws, generator)
        labels = [blocks.ids, *(F.pad(labels_drawn, (1, 0)) for labels_drawn in drawn)]
        gradients = [
            torch.autograd.grad(
                next_token_losses(logits, labels_drawn, blocks.valid).sum(),
                parameters["alpha"],
                retain_graph=True,
            )[0]
            for labels_drawn in labels
        ]
    gradient, *drawn = (g.view(shape).cpu() for g in gradients)
    stacked = torch.stack(drawn) if drawn else torch.zeros(0, *shape)
    return watched.activations.view(shape).cpu(), gradient, stacked


def _drawn(
    logits: Float[Tensor, "rows t vocab"], draws: int, generator: torch.Generator
) -> list[Int[Tensor, "rows t"]]:
    if not draws:
        return []
    # Drawn on the CPU, so that a seed draws the same labels on every device.
    shares = logits.softmax(-1).flatten(0, 1).cpu()
    chosen = torch.multinomial(shares, draws, replacement=True, generator=generator).to(logits.device)
    return list(chosen.T.reshape(draws, *logits.shape[:-1]))
