"""Cross-entropies under many edits of late sites: what comes before the first edited block is computed once.

Logits are formed of scored positions alone, some at a time, where the unembedding is the model's last layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.decomposition.prefix import Prefix, late_start
from rankone.decomposition.training.head import Head, held_back, logits_at_once
from rankone.edits.lowrank import LowRankEdit
from rankone.metrics.cross_entropy import PassageLosses, next_token_losses, scored_losses
from rankone.metrics.damage import damages
from rankone.metrics.damage_record import Damage
from rankone.models.blocks import blocks_of
from rankone.models.output import output_of, vocabulary_size
from rankone.text.blocks import Blocks

# Texts whose clean states are kept.
TEXTS = 64


@dataclass
class Clean:
    """What one model makes of texts without an edit: losses, and the states that a block reads. Scanners share it."""

    prefixes: dict[int, Prefix] = field(default_factory=dict)
    losses: list[tuple[Blocks, PassageLosses]] = field(default_factory=list)

    def of(self, blocks: Blocks) -> PassageLosses | None:
        """The losses of a text that was read before."""
        for known, losses in self.losses:
            if torch.equal(known.ids, blocks.ids) and torch.equal(known.valid, blocks.valid):
                return losses
        return None


class Scanner:
    """The damage that edits of some sites do to fixed text; made by `scanning`. base: losses without an edit."""

    def __init__(
        self,
        model: PreTrainedModel,
        text: Mapping[str, Blocks],
        prefix: Prefix,
        head: Head | None,
        clean: Clean,
        outer: Scanner | None = None,
    ) -> None:
        self._model, self._text, self._prefix, self._head = model, text, prefix, head
        self._clean, self._outer = clean, outer
        with torch.no_grad():
            self.base = {d: self._whole(blocks) for d, blocks in text.items()}

    @contextmanager
    def later(self, sites: Sequence[str]) -> Iterator[Scanner]:
        """A scanner of the same text for edits of some of the sites, which begins at the first of them."""
        with late_start(self._model, sites, kept=len(self._text)) as prefix:
            yield Scanner(self._model, self._text, prefix, self._head, self._clean, self)

    @torch.no_grad()
    def damage(
        self,
        edit: LowRankEdit,
        order: Sequence[str] = (),
        enough: Callable[[str, Damage], bool] | None = None,
    ) -> dict[str, Damage]:
        """What the edit does to each domain, nats per token; the weights are put back bit for bit.

        order: the domains measured first. enough: told each domain as it is measured; True leaves out the others.
        """
        by_domain: dict[str, Damage] = {}
        with edit.applied(self._model):
            for domain in dict.fromkeys((*order, *self._text)):
                by_domain |= damages(self.base, {domain: self._late(self._text[domain])})
                if enough is not None and enough(domain, by_domain[domain]):
                    break
        return by_domain

    def _whole(self, blocks: Blocks) -> PassageLosses:
        """The losses without an edit; what lies before the first site is kept where it is not yet."""
        known = self._clean.of(blocks)
        if known is not None and self._outer is None:
            return known
        output = self._prefix.full(blocks.ids, lambda: self._output(blocks.ids))
        if known is None:
            known = self._losses(blocks, output)
            self._clean.losses.append((blocks, known))
        return known

    def _output(self, ids: Int[Tensor, "rows t"]) -> Float[Tensor, "rows t d"]:
        """What the model gives: last hidden states, or logits where the unembedding could not be taken out."""
        if self._outer is not None:
            return self._outer._prefix.late(ids, lambda: output_of(self._model, ids))
        return output_of(self._model, ids)

    def _late(self, blocks: Blocks) -> PassageLosses:
        return self._losses(blocks, self._prefix.late(blocks.ids, lambda: self._output(blocks.ids)))

    def _losses(self, blocks: Blocks, output: Float[Tensor, "rows t d"]) -> PassageLosses:
        if self._head is None:
            each = next_token_losses(output, blocks.ids, blocks.valid)
        else:
            at_once = logits_at_once(output.device, vocabulary_size(self._model))
            each = scored_losses(output, self._head.logits, blocks, at_once)
        return PassageLosses(each.double().sum(1).cpu(), blocks.valid[:, 1:].sum(1).cpu())


@contextmanager
def scanning(
    model: PreTrainedModel, text: Mapping[str, Blocks], sites: Sequence[str], clean: Clean | None = None
) -> Iterator[Scanner]:
    """A scanner for edits of `sites` (module paths) while the block runs; the rows of a domain are one batch.

    clean: what scanners of the same model share; texts that it holds for the first block of these sites are not read again.
    """
    shared, blocks = Clean() if clean is None else clean, blocks_of(model, sites)
    first = 0 if blocks is None else blocks.first
    with (
        held_back(model, sites, lambda: next(iter(text.values())).ids) as head,
        late_start(model, sites, kept=TEXTS, again=shared.prefixes.get(first)) as prefix,
    ):
        shared.prefixes[first] = prefix
        yield Scanner(model, text, prefix, head, shared)
