"""Text with what a decomposed model does on it untouched, and how far masked forwards are from that."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankone.decomposition.evidence.records import Score
from rankone.decomposition.model import DecomposedModel
from rankone.metrics.cross_entropy import next_token_losses
from rankone.metrics.kl import kl_per_position
from rankone.text.blocks import Blocks

ROWS_AT_ONCE = 8
Masks = Callable[[slice], tuple[Tensor, Tensor | None]]


class EvidenceText:
    """Blocks with the clean logits and importances of a decomposed model on them, on the model's device.

    `signs` [2, ΣC]: importance-weighted positions at which v·x of a subcomponent is above, and below, zero.
    """

    def __init__(self, model: DecomposedModel, blocks: Blocks) -> None:
        self.device = next(model.target.parameters()).device
        self.model, self.blocks = model, Blocks(blocks.ids.to(self.device), blocks.valid.to(self.device))
        self.ids, self.present = self.blocks.ids, self.blocks.present
        decomposition = model.decomposition
        self.signs: Float[Tensor, "2 c"] = torch.zeros(2, decomposition.total, device=self.device)
        clean, importance = [], []
        for piece in self.blocks.split(ROWS_AT_ONCE):
            (logits, inputs), present = model.clean(piece.ids), piece.present
            clean.append(logits)
            with torch.no_grad():
                g = decomposition.logits(inputs, present).clamp(0, 1)
                self.signs += _sign_weights(model, inputs, g, present)
            importance.append(g)
        self.clean: Float[Tensor, "b t vocab"] = torch.cat(clean)
        self.importance: Float[Tensor, "b t c"] = torch.cat(importance)

    def parts(self) -> list[slice]:
        """Row ranges small enough for one forward."""
        return [slice(i, i + ROWS_AT_ONCE) for i in range(0, len(self.ids), ROWS_AT_ONCE)]

    def thinned(self, tokens: int) -> EvidenceText:
        """Every n-th row, so that about `tokens` real positions (and at least one row) are left."""
        step = max(1, round(int(self.present.sum()) / tokens))
        part = object.__new__(EvidenceText)
        part.model, part.signs, part.device = self.model, self.signs, self.device
        part.blocks = Blocks(self.ids[::step], self.blocks.valid[::step])
        part.ids, part.present = part.blocks.ids, part.blocks.present
        part.clean, part.importance = self.clean[::step], self.importance[::step]
        return part

    def measure(self, masks: Masks, route: Bool[Tensor, " sites"] | None = None) -> Score:
        """Mean CE (scored tokens) and KL (all real positions) in nats under masks(rows) → (mask, delta).

        route: the sites that are masked, the others run plain W; None masks all.
        """
        ce, kl, scored, positions = 0.0, 0.0, 0, 0
        routed = None if route is None else route.float().view(1, 1, -1)
        for rows in self.parts():
            mask, delta = masks(rows)
            with torch.no_grad():
                logits = self.model.masked(self.ids[rows], mask, delta, routed)
            present, valid = self.present[rows], self.blocks.valid[rows]
            kl += kl_per_position(self.clean[rows], logits)[present].sum().item()
            ce += next_token_losses(logits, self.ids[rows], valid).sum().item()
            positions += int(present.sum())
            scored += int(valid[:, 1:].sum())
        return Score(ce=ce / scored, kl=kl / positions)


def _sign_weights(
    model: DecomposedModel, inputs: list[Tensor], importance: Tensor, present: Tensor
) -> Float[Tensor, "2 c"]:
    decomposition, weights = model.decomposition, []
    parts = importance.split(decomposition.counts, -1)
    for site, x, g in zip(decomposition.sites, inputs, parts, strict=True):
        positive = (x @ decomposition.factors(site)[0])[present] > 0
        weight = g[present]
        weights.append(torch.stack(((weight * positive).sum(0), (weight * ~positive).sum(0))))
    return torch.cat(weights, -1)
