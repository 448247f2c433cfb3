"""Retain text with what the base model says there: its likeliest tokens one by one, all others together.

With p the base's and q the edited model's next-token distribution, T the base's top tokens and R all the others,
    KL(p ‖ q) = Σ_{i∈T} p_i ln(p_i / q_i) + p_R ln(p_R / q_R)  +  p_R · KL(p | R ‖ q | R)     (chain rule)
and the last term is left out: what is computed is never above the KL, and below it by at most the base's mass outside
the top times what the edit does to the order of tokens there. Kept are 8 bytes × top per position instead of 4 × V.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.text.blocks import Blocks

TOP = 512
"""Tokens of the base's distribution that are kept at each position; a smaller vocabulary is kept whole."""
ROWS_AT_ONCE = 8


class TopTokens(NamedTuple):
    """The base's likeliest tokens at each position; `rest` is the log-probability of all others together."""

    ids: Int[Tensor, "*positions top"]
    log_probs: Float[Tensor, "*positions top"]
    rest: Float[Tensor, " *positions"]

    def rows(self, index: Int[Tensor, " rows"]) -> TopTokens:
        """The entries of some rows."""
        return TopTokens(self.ids[index], self.log_probs[index], self.rest[index])


def top_tokens(logits: Float[Tensor, "*positions vocab"], top: int = TOP) -> TopTokens:
    """The `top` likeliest tokens of a distribution and the mass of the others (−∞ where there are none)."""
    kept = logits.float().topk(min(top, logits.shape[-1]), dim=-1)
    total, rest = _sums(logits.float(), kept.values, kept.indices)
    return TopTokens(kept.indices.int(), kept.values - total.unsqueeze(-1), rest - total)


def top_kl(base: TopTokens, logits: Float[Tensor, "*positions vocab"]) -> Float[Tensor, " *positions"]:
    """KL(base ‖ edited) of the tokens kept and of the others as one, in nats; `logits` are the edited model's."""
    ids, wide = base.ids.long(), logits.float()
    kept = wide.gather(-1, ids)
    total, rest = _sums(wide, kept, ids)
    kl = (base.log_probs.exp() * (base.log_probs - kept + total.unsqueeze(-1))).sum(-1)
    if base.ids.shape[-1] == logits.shape[-1]:
        return kl
    return kl + base.rest.exp() * (base.rest - rest + total)


def _sums(
    logits: Float[Tensor, "*positions vocab"],
    kept: Float[Tensor, "*positions top"],
    ids: Int[Tensor, "*positions top"],
) -> tuple[Float[Tensor, " *positions"], Float[Tensor, " *positions"]]:
    """Log of the summed exponentials: of all logits, and of those that are not kept."""
    if ids.shape[-1] == logits.shape[-1]:
        total = kept.logsumexp(-1)
        return total, torch.full_like(total, -torch.inf)
    rest = logits.scatter(-1, ids, -torch.inf).logsumexp(-1)
    return torch.logaddexp(kept.logsumexp(-1), rest), rest


class RetainText:
    """Rows to hold with the base model's top tokens, computed once for all runs; domains take turns row by row.

    Lives on the model's device. top: tokens kept at each position. text: the rows by domain, for measuring. Raises
    RankOneError where a text is empty.
    """

    def __init__(self, model: PreTrainedModel, text: Blocks | Mapping[str, Blocks], top: int = TOP) -> None:
        domains = {"": text} if isinstance(text, Blocks) else dict(text)
        if not domains:
            raise RankOneError("no retain text is given: name at least one domain to hold.")
        for domain, blocks in domains.items():
            if blocks.tokens == 0:
                raise RankOneError(f"the retain text{f' of {domain!r}' if domain else ''} is empty.")
        device = next(model.parameters()).device
        self.text = domains
        self.ids, self.present = (t.to(device) for t in _in_turn(list(domains.values())))
        with torch.no_grad():
            kept = [
                top_tokens(model(input_ids=ids, use_cache=False).logits, top)
                for ids in self.ids.split(ROWS_AT_ONCE)
            ]
        self.base = TopTokens(*(torch.cat(parts) for parts in zip(*kept, strict=True)))

    @property
    def remainder(self) -> float:
        """The base's probability outside the tokens kept, mean over positions: the weight of what the KL leaves out."""
        return float(self.base.rest.exp()[self.present].mean())

    def rows(self, step: int, count: int) -> Int[Tensor, " count"]:
        """The rows of one step, the same for every run, in order and round again."""
        return (torch.arange(count, device=self.ids.device) + step * count) % len(self.ids)


def _in_turn(
    texts: list[Blocks],
) -> tuple[Int[Tensor, "rows length"], Bool[Tensor, "rows length"]]:
    """(ids, present) of all rows, padded to the longest, the first of every text, then the second, …"""
    width = max(blocks.ids.shape[1] for blocks in texts)
    order = sorted((row, i) for i, blocks in enumerate(texts) for row in range(len(blocks.ids)))

    def padded(rows: Tensor) -> Tensor:
        return F.pad(rows, (0, width - rows.shape[1]))

    ids, present = [padded(b.ids) for b in texts], [padded(b.present) for b in texts]
    return (
        torch.stack([ids[i][row] for row, i in order]),
        torch.stack([present[i][row] for row, i in order]),
    )
