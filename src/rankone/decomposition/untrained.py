"""Parts of any origin as a decomposition, without training: importance is the size of a part's activation on some text.

Then whatever reads a decomposition (harvest, labels, show) reads neurons, channels and closed-form directions too. Its
importances say where a part is active; nothing was trained to predict where the output needs it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.decomposition.importance.config import MagnitudeConfig
from rankone.decomposition.importance.magnitude import Magnitude
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.parts.parts import Parts
from rankone.text.blocks import Blocks

ROWS_AT_ONCE = 8
# Shares of the positions at which a part's importance is 0, and at which it is below 1.
LOW, HIGH = 0.9, 0.99


@torch.no_grad()
def as_decomposition(
    target: PreTrainedModel, parts: Parts, text: Sequence[Blocks], low: float = LOW, high: float = HIGH
) -> Decomposition:
    """The parts with an importance that rises from 0 to 1 between two quantiles of |v·x| on the text tokens.

    Raises RankOneError for quantiles that are not in order and where there is no text.
    """
    if not 0 <= low < high <= 1:
        raise RankOneError(f"importance must rise between two quantiles, not {low} and {high}.")
    if sum(blocks.tokens for blocks in text) == 0:
        raise RankOneError("there is no text to take the sizes of activations from.")
    factors = {site: (v.float(), u.float()) for site in parts.sites for v, u in (parts.factors(site),)}
    importance = Magnitude(MagnitudeConfig(), parts.counts, parts.counts).to(target.device)
    decomposition = Decomposition(factors, importance, parts.indices, parts.origin, parts.made)
    levels = torch.tensor([low, high], device=target.device)
    for i, sizes in enumerate(_sizes(target, decomposition, text)):
        quantiles = torch.quantile(sizes, levels, dim=0)
        importance.low[i].copy_(quantiles[0])
        importance.high[i].copy_(quantiles[1])
    return decomposition.frozen()


def _sizes(target: PreTrainedModel, decomposition: Decomposition, text: Sequence[Blocks]) -> list[Tensor]:
    """Per site |v·x| [tokens, C] at all text tokens."""
    collected: list[list[Tensor]] = [[] for _ in decomposition.sites]
    with DecomposedModel(target, decomposition) as model:
        for blocks in text:
            for batch in blocks.split(ROWS_AT_ONCE, target.device):
                _, inputs = model.clean(batch.ids)
                for site, x, sizes in zip(decomposition.sites, inputs, collected, strict=True):
                    sizes.append((x[batch.valid].float() @ decomposition.factors(site)[0].float()).abs())
    return [torch.cat(sizes) for sizes in collected]
