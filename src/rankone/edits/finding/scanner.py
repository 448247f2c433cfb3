"""Cross-entropies under many edits of late sites: what comes before the first edited block is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rankone.decomposition.prefix import Prefix, late_start
from rankone.edits.lowrank import LowRankEdit
from rankone.metrics.cross_entropy import PassageLosses, next_token_losses
from rankone.metrics.damage import damages
from rankone.metrics.damage_record import Damage
from rankone.models.output import output_of
from rankone.text.blocks import Blocks


class Scanner:
    """The damage that edits of some sites do to fixed text; made by `scanning`. base: losses without an edit."""

    def __init__(self, model: PreTrainedModel, text: Mapping[str, Blocks], prefix: Prefix) -> None:
        self._model, self._text, self._prefix = model, text, prefix
        with torch.no_grad():
            self.base = {d: self._whole(blocks) for d, blocks in text.items()}

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
        return _losses(blocks, self._prefix.full(blocks.ids, lambda: output_of(self._model, blocks.ids)))

    def _late(self, blocks: Blocks) -> PassageLosses:
        return _losses(blocks, self._prefix.late(blocks.ids, lambda: output_of(self._model, blocks.ids)))


def _losses(blocks: Blocks, logits: Tensor) -> PassageLosses:
    sums = next_token_losses(logits, blocks.ids, blocks.valid).double().sum(1).cpu()
    return PassageLosses(sums, blocks.valid[:, 1:].sum(1).cpu())


@contextmanager
def scanning(model: PreTrainedModel, text: Mapping[str, Blocks], sites: Sequence[str]) -> Iterator[Scanner]:
    """A scanner for edits of `sites` (module paths) while the block runs; the rows of a domain are one batch."""
    with late_start(model, sites, kept=len(text)) as prefix:
        yield Scanner(model, text, prefix)
