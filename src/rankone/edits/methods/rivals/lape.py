"""Language-neuron deactivation (LAPE): neurons that fire for the text to forget and for little else are taken out.

Tang et al. 2024, Language-Specific Neurons, §2.2: p_l is the share of positions at which a neuron's activation is above zero
on language l. The neurons whose p, normalised over languages, has the lowest entropy are language-specific; of those the
ones with p_l above a threshold belong to l, and their activation is set to zero. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.scales import Scales
from rankone.models.output import run_blocks
from rankone.models.sites import Site
from rankone.parts.book import Book
from rankone.text.blocks import Blocks

SHARE = 0.01
"""Of all MLP neurons, those of the lowest entropy; the paper's."""
ACTIVE = 0.95
"""Quantile of all p that a neuron's p_l must reach; the paper's. Neurons that reach it nowhere are not looked at."""
ROWS_AT_ONCE = 8


def firing_shares(
    model: PreTrainedModel, sites: Sequence[Site], text: Blocks
) -> dict[str, Float[Tensor, " d_in"]]:
    """The share of a text's positions at which each input of some sites is above zero."""
    sums = {site.name: torch.zeros(site.d_in, dtype=torch.float64) for site in sites}
    for rows in text.split(ROWS_AT_ONCE, model.device):
        with ExitStack() as hooks, torch.no_grad():
            for site in sites:
                count = _counting(sums[site.name], rows.present)
                hooks.enter_context(site.module.register_forward_pre_hook(count))
            run_blocks(model, rows.ids)
    return {name: total / int(text.present.sum()) for name, total in sums.items()}


def _counting(
    total: Float[Tensor, " d_in"], present: Bool[Tensor, "rows t"]
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def add(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        del module
        total.add_((given[0][present] > 0).sum(0, dtype=torch.float64).cpu())

    return add


def language_neurons(
    shares: Mapping[str, Float[Tensor, " neurons"]], forget: str, share: float = SHARE
) -> list[int]:
    """Numbers of the neurons that belong to one language, by LAPE; shares: p_l of all neurons by language."""
    p = torch.stack(list(shares.values()))
    threshold = p.flatten().quantile(ACTIVE)
    normalised = p / p.sum(0).clamp_min(1e-12)
    entropy = torch.special.entr(normalised).sum(0)
    entropy[(p < threshold).all(0)] = torch.inf
    lowest = entropy.argsort()[: max(1, round(share * p.shape[1]))]
    forgotten = p[list(shares).index(forget)]
    return [int(i) for i in lowest if entropy[i].isfinite() and forgotten[i] >= threshold]


def _starts(target: Target) -> list[Method]:
    sites, texts = target.outputs(attention=False), target.require_texts("lape")
    shares = {
        domain: torch.cat(list(firing_shares(target.model, sites, text).values()))
        for domain, text in texts.items()
    }
    names = [f"neuron/{site.name}:{i}" for site in sites for i in range(site.d_in)]
    chosen = language_neurons(shares, next(iter(texts)))
    if not chosen:
        raise RankOneError(
            "no neuron is specific to the text to forget, by LAPE: give more text to select on."
        )
    return [Scales(Book([], target.model), [names[i] for i in chosen], "lape", 0.0)]


KINDS = (
    Kind("lape", "language neurons taken out", 11, 4, _starts, (1.0,), (1.0,), trained=False, spends="text"),
)
