"""Many edits of the same sites measured on the same text at once, by the forward that fits use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.edits.adapters import Method
from rankone.edits.fitting.passes.choose import forward_of
from rankone.edits.fitting.passes.forward import Forward, Text, runs_of
from rankone.edits.fitting.passes.shares import by_width
from rankone.experiments.bench.ledger import DomainResult
from rankone.metrics.cross_entropy import PassageLosses, following_losses
from rankone.metrics.damage import damage
from rankone.metrics.damage_record import DomainDamage
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace

# Runs × positions in one forward.
AT_ONCE = 2**13
QUANTILE = 0.99


@dataclass(frozen=True)
class Base:
    """A text with the unchanged model's losses. each: [rows, T], at the position before each token. scored: likewise.

    bytes_per_token: of the text's scored tokens, UTF-8.
    """

    blocks: Blocks
    each: Float[Tensor, "rows t"]
    scored: Bool[Tensor, "rows t"]
    bytes_per_token: float

    @property
    def passages(self) -> PassageLosses:
        """Losses by row."""
        return PassageLosses(_sums(self.each, self.scored), self.scored.sum(1).cpu())


def _sums(each: Float[Tensor, "rows t"], scored: Bool[Tensor, "rows t"]) -> Float[Tensor, " rows"]:
    return torch.where(scored, each, 0.0).double().sum(1).cpu()


def base_of(workspace: Workspace, blocks: Blocks) -> Base:
    """What the unchanged model makes of a text."""
    each = following_losses(workspace.model, blocks.ids)
    scored = F.pad(blocks.valid[:, 1:], (0, 1))
    texts = [
        workspace.tokenizer.decode(ids[valid]) for ids, valid in zip(blocks.ids, blocks.valid, strict=True)
    ]
    size = sum(len(str(text).encode()) for text in texts)
    return Base(blocks, each, scored, size / max(1, blocks.tokens))


class Measure:
    """Texts by domain as the forward for some sites keeps them."""

    def __init__(self, model: PreTrainedModel, sites: Sequence[str], bases: Mapping[str, Base]) -> None:
        self.bases = dict(bases)
        few = next(iter(self.bases.values())).blocks.ids
        self.forward: Forward = forward_of(model, sites, few)
        self._texts: dict[str, Text] = {}

    def prepare(self) -> None:
        """Take every text as far as no edit changes it, once."""
        for domain in self.bases.keys() - self._texts.keys():
            self._texts[domain] = self.forward.prepare(self.bases[domain].blocks.ids, following=True)

    def results(self, method: Method, parameters: Mapping[str, Tensor]) -> list[dict[str, DomainResult]]:
        """For every run stacked in the parameters, its result by domain."""
        self.prepare()
        results: list[dict[str, DomainResult]] = [{} for _ in range(runs_of(parameters))]
        for domain, base in self.bases.items():
            each = self._each(self._texts[domain], base.scored, method, parameters)
            for run, values in enumerate(each):
                results[run][domain] = _result(base, values)
        return results

    def _each(
        self, text: Text, scored: Bool[Tensor, "rows t"], method: Method, parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "runs rows t"]:
        """At the scored positions; rows that are about as long stand together."""
        rows = max(1, AT_ONCE // (runs_of(parameters) * text.ids.shape[1]))
        order = by_width(scored).to(text.ids.device)
        with torch.no_grad():
            pieces = [
                self.forward.each(text, index.unsqueeze(0), method, parameters, scored[index].unsqueeze(0))
                for index in order.split(rows)
            ]
        return torch.cat(pieces, dim=1)[:, order.argsort()]


def _result(base: Base, each: Float[Tensor, "rows t"]) -> DomainResult:
    edited = PassageLosses(_sums(each, base.scored), base.scored.sum(1).cpu())
    change = damage(base.passages, edited)
    rises = (each - base.each)[base.scored].float()
    return DomainResult(
        ce_base=change.base,
        ce=change.edited,
        error=change.error,
        rise_p99=float(torch.quantile(rises, QUANTILE)),
        bits=change.edited / math.log(2) / base.bytes_per_token,
        passages=tuple(
            zip(
                edited.tokens.tolist(),
                base.passages.sums.tolist(),
                (edited.sums - base.passages.sums).tolist(),
                strict=True,
            )
        ),
    )


def damage_of(domain: str, result: DomainResult, role: str | None) -> DomainDamage:
    """What a run did to a domain, with its interval, from the record of its passages."""
    tokens, before, rises = map(torch.tensor, zip(*result.passages, strict=True))
    base = PassageLosses(before.double(), tokens)
    return DomainDamage.of(domain, damage(base, PassageLosses(base.sums + rises.double(), tokens)), role)
