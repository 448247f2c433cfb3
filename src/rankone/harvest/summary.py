"""One pass over labelled text: mean causal importance per domain, and what single subcomponents fire on and lead to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rankone.decomposition.model import DecomposedModel
from rankone.errors import RankOneError
from rankone.harvest.firings import firings
from rankone.harvest.grouping import Grouping
from rankone.models.output import vocabulary_size
from rankone.text.blocks import Blocks

FIRING = 0.1
ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Importances:
    """Mean causal importance of every subcomponent (or component) on every domain.

    mean: [domains, subcomponents], over the text tokens (BOS left out), in the decomposition's order.
    """

    domains: list[str]
    names: list[str]
    mean: Float[Tensor, "domains subcomponents"]
    tokens: dict[str, int]

    def of(self, domain: str) -> Float[Tensor, " subcomponents"]:
        """Mean importances on one domain."""
        if domain not in self.domains:
            raise RankOneError(f"no importances for '{domain}'; there are {', '.join(self.domains)}.")
        return self.mean[self.domains.index(domain)]

    def others(self, *domains: str) -> Float[Tensor, " subcomponents"]:
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
        for ids, valid, present in _parts(blocks):
            found = firings(model.importance(ids, present), valid)
            found = found if grouping is None else grouping.joined(found)
            total.index_add_(0, found.component.cpu(), found.importance.cpu())
        rows.append(total / max(blocks.tokens, 1))
        tokens[domain] = blocks.tokens
    return Importances(list(text), names, torch.stack(rows), tokens)


def _parts(blocks: Blocks) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
    return zip(
        blocks.ids.split(ROWS_AT_ONCE),
        blocks.valid.split(ROWS_AT_ONCE),
        blocks.present.split(ROWS_AT_ONCE),
        strict=True,
    )


@dataclass(frozen=True)
class TokenView:
    """Most telling tokens of one subcomponent."""

    firing_tokens: list[str]
    output_tokens: list[str]


def token_views(
    model: DecomposedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: Iterable[Blocks],
    columns: Int[Tensor, " k"],
    top: int = 8,
) -> list[TokenView]:
    """For chosen subcomponents: the tokens they fire on most, and the next tokens the model favours where they fire.

    Firing tokens are ranked by count among positions with importance > 0.1; output tokens by the rise of the model's
    mean next-token probability at firing positions over its mean at all positions.
    """
    # A model may have more entries than its tokenizer (padding to a round number).
    vocab = max(len(tokenizer), vocabulary_size(model.target))
    fired = torch.zeros(len(columns), vocab)
    mass = torch.zeros(len(columns), vocab)
    positions = torch.zeros(len(columns))
    everywhere, seen = torch.zeros(vocab), 0
    for blocks in text:
        for ids, valid, present in _parts(blocks):
            logits, inputs = model.clean(ids)
            with torch.no_grad():
                g = model.decomposition.logits(inputs, present)[..., columns]
            firing = (g > FIRING)[valid].float()
            probabilities = logits.float().softmax(-1)[valid]
            fired.index_add_(1, ids[valid], firing.T)
            mass += firing.T @ probabilities
            positions += firing.sum(0)
            everywhere += probabilities.sum(0)
            seen += len(probabilities)
    rise = mass / positions.clamp_min(1).unsqueeze(1) - everywhere / max(seen, 1)
    return [
        TokenView(
            _tokens(tokenizer, fired[k], top), _tokens(tokenizer, rise[k], top) if positions[k] > 0 else []
        )
        for k in range(len(columns))
    ]


def _tokens(tokenizer: PreTrainedTokenizerBase, scores: Float[Tensor, " vocab"], top: int) -> list[str]:
    best = scores[: len(tokenizer)].topk(top)
    return [str(tokenizer.decode([int(i)])) for i, s in zip(best.indices, best.values, strict=True) if s > 0]
