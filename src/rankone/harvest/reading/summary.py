"""Mean causal importance per domain: from a harvest, or from one pass over labelled text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.decomposition.model import DecomposedModel
from rankone.harvest.counting.firings import firings
from rankone.harvest.counting.grouping import Grouping
from rankone.text.blocks import Blocks

ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Importances:
    """Mean causal importance of every part on every domain.

    mean: [domains, parts], over the text tokens (BOS left out), in the decomposition's order.
    """

    domains: list[str]
    names: list[str]
    mean: Float[Tensor, "domains parts"]
    tokens: dict[str, int]

    def of(self, domain: str) -> Float[Tensor, " parts"]:
        """Mean importances on one domain."""
        if domain not in self.domains:
            raise RankOneError(f"no importances for '{domain}'; there are {', '.join(self.domains)}.")
        return self.mean[self.domains.index(domain)]

    def overall(self) -> Float[Tensor, " parts"]:
        """Mean importances over the tokens of all domains."""
        weights = torch.tensor([self.tokens[domain] for domain in self.domains], dtype=self.mean.dtype)
        return (self.mean * weights[:, None]).sum(0) / weights.sum()

    def others(self, *domains: str) -> Float[Tensor, " parts"]:
        """The largest mean importance on any other domain than these."""
        kept = [i for i, name in enumerate(self.domains) if name not in domains]
        if not kept:
            said = ", ".join(domains)
            raise RankOneError(f"there is no domain but '{said}': give another one to compare it with.")
        return self.mean[kept].max(0).values

    def only(self, domains: Sequence[str]) -> Importances:
        """The same on some of the domains, in the order asked for."""
        mean = torch.stack([self.of(domain) for domain in domains])
        return Importances(list(domains), self.names, mean, {d: self.tokens[d] for d in domains})


def mean_importances(
    model: DecomposedModel, text: dict[str, Blocks], grouping: Grouping | None = None
) -> Importances:
    """Mean causal importance per domain over the given blocks; with `grouping`, of components (the largest member's)."""
    names = model.decomposition.names() if grouping is None else grouping.names
    rows, tokens = [], {}
    for domain, blocks in text.items():
        total = torch.zeros(len(names))
        for piece in blocks.split(ROWS_AT_ONCE):
            fired = firings(model.importance(piece.ids, piece.present), piece.valid)
            fired = fired if grouping is None else grouping.joined(fired)
            total.index_add_(0, fired.part.cpu(), fired.importance.cpu())
        rows.append(total / max(blocks.tokens, 1))
        tokens[domain] = blocks.tokens
    return Importances(list(text), names, torch.stack(rows), tokens)
