"""The sign of a part's mean activation where it is important, over text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.text.blocks import Blocks

ROWS = 8


def mean_signs(
    model: PreTrainedModel, parts: Decomposition, sites: Sequence[str], text: Iterable[Blocks]
) -> dict[str, Float[Tensor, " c"]]:
    """Site → −1, 0 or 1 for each of its parts; 0 where none of the text makes it important."""
    sums = {site: torch.zeros(parts.counts[parts.sites.index(site)], dtype=torch.float64) for site in sites}
    with DecomposedModel(model, parts) as decomposed, torch.no_grad():
        for blocks in text:
            for start in range(0, len(blocks.ids), ROWS):
                some = blocks.rows(start, start + ROWS)
                _, inputs = decomposed.clean(some.ids)
                g = parts.logits(inputs, some.present).clamp(0, 1) * some.present.unsqueeze(-1)
                by_site = dict(zip(parts.sites, g.split(parts.counts, dim=-1), strict=True))
                read = dict(zip(parts.sites, inputs, strict=True))
                for site in sites:
                    activation = read[site] @ parts.factors(site)[0]
                    sums[site] += (activation * (by_site[site] > 0)).sum((0, 1)).double().cpu()
    return {site: total.sign() for site, total in sums.items()}
