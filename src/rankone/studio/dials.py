"""The dials' numbers: what scales do to validation text of every domain, a little of it first, then all.

Every edit of late sites starts at the first edited block from what the base model left there, and the base model is scored
once. Test text cannot be reached from here: whoever turns a dial until the figures please is tuning.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.core.config import Record
from rankone.core.escaping import visible
from rankone.decomposition.prefix import Prefix, late_start
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.scales import scale_edit
from rankone.metrics.cross_entropy import PassageLosses, next_token_losses
from rankone.metrics.damage import damage
from rankone.metrics.damage_record import DomainDamage
from rankone.metrics.kl import kl_in_chunks
from rankone.models.blocks import blocks_of
from rankone.models.output import output_of
from rankone.opening import Opening
from rankone.text.blocks import Blocks

SPLIT: Literal["validation"] = "validation"
# Tokens per domain of the first look, and of the whole.
FIRST, WHOLE = 128, 800
# Seconds after which a measurement ends with what it has.
LIMIT = 30.0
# Tokens shown per domain as those that are hit worst, and those before each that are shown with it.
WORST, CONTEXT = 3, 12


class Divergence(Record):
    """KL(base ‖ edited) over the tokens of the first look, nats: mean, 99th percentile, largest."""

    mean: float
    p99: float
    largest: float


class Hit(Record):
    """A token whose cross-entropy rises: by how many nats, and the text before it."""

    before: str
    token: str
    rise: float


class Measured(Record):
    """One domain at the dials' scales. tokens: how many were asked for; worst: the tokens hit worst."""

    damage: DomainDamage
    tokens: int
    kl: Divergence | None = None
    worst: tuple[Hit, ...] = ()


@dataclass(frozen=True)
class _Base:
    """A text under the base model: cross-entropies of its tokens, and where KL is wanted its logits."""

    losses: Float[Tensor, "rows length"]
    logits: Tensor | None


class Dials:
    """Measures scales of an opening's parts; keeps the text, the base model's figures and the late start between calls."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._text: dict[int, dict[str, Blocks]] = {}
        self._base: dict[tuple[int, str], _Base] = {}
        self._stack = ExitStack()
        self._prefix: Prefix | None = None
        self._first = 0
        self._kept: set[tuple[int, str]] = set()

    def close(self) -> None:
        """Put the model's own modules back, so that others may work with it."""
        self._stack.close()
        self._prefix = None
        self._kept.clear()

    def measure(
        self, scales: Mapping[str, float], stages: Sequence[int] = (FIRST, WHOLE)
    ) -> Generator[Measured]:
        """Domain by domain, stage by stage; ends early after LIMIT seconds. RankOneError for an unknown part."""
        start = time.monotonic()
        edit = scale_edit(self._opening.book, {name: a for name, a in scales.items() if a != 1})
        self._start_at(edit)
        for tokens in stages:
            text = self._texts(tokens)
            base = {domain: self._scored(domain, blocks, tokens) for domain, blocks in text.items()}
            with edit.applied(self._opening.model):
                for domain, blocks in text.items():
                    yield self._one(edit, base[domain], domain, blocks, tokens)
                    if time.monotonic() - start > LIMIT:
                        return

    def warm(self) -> None:
        """Read the text and score it by the base model, so that the first dial waits for less."""
        for tokens in (FIRST, WHOLE):
            for domain, blocks in self._texts(tokens).items():
                self._scored(domain, blocks, tokens)

    @property
    def domains(self) -> list[str]:
        """Domains of the text."""
        return self._opening.corpus.domains()

    def _texts(self, tokens: int) -> dict[str, Blocks]:
        if tokens not in self._text:
            self._text[tokens] = self._opening.workspace.text(self.domains, SPLIT, tokens)
        return self._text[tokens]

    def _start_at(self, edit: LowRankEdit) -> None:
        """Late start before the first edited block; kept while the next edits begin at the same one."""
        if not edit.sites:
            return
        blocks = blocks_of(self._opening.model, edit.sites)
        first = 0 if blocks is None else blocks.first
        if self._prefix is None or first != self._first:
            self.close()
            kept = 2 * len(self.domains)
            self._prefix = self._stack.enter_context(late_start(self._opening.model, edit.sites, kept))
            self._first = first

    def _one(self, edit: LowRankEdit, base: _Base, domain: str, blocks: Blocks, tokens: int) -> Measured:
        """A domain while the edit is in the weights; without an edit nothing is computed anew."""
        logits, losses = None, base.losses
        if edit.sites:
            with torch.no_grad():
                logits = self._logits(blocks)
                losses = next_token_losses(logits, blocks.ids, blocks.valid)
        change = damage(_passages(base.losses, blocks), _passages(losses, blocks))
        return Measured(
            damage=DomainDamage.of(domain, change),
            tokens=tokens,
            kl=None if logits is None or base.logits is None else _divergence(base.logits, logits, blocks),
            worst=self._worst(losses - base.losses, blocks),
        )

    def _logits(self, blocks: Blocks) -> Tensor:
        assert self._prefix is not None
        return self._prefix.late(blocks.ids, lambda: output_of(self._opening.model, blocks.ids))

    @torch.no_grad()
    def _scored(self, domain: str, blocks: Blocks, tokens: int) -> _Base:
        """The base model on a text; run again where a late start has to see it first."""
        key, prefix = (tokens, domain), self._prefix
        if key in self._base and (prefix is None or key in self._kept):
            return self._base[key]

        def forward() -> Tensor:
            return output_of(self._opening.model, blocks.ids)

        logits = forward() if prefix is None else prefix.full(blocks.ids, forward)
        if prefix is not None:
            self._kept.add(key)
        losses = next_token_losses(logits, blocks.ids, blocks.valid)
        self._base[key] = _Base(losses, logits if tokens == FIRST else None)
        return self._base[key]

    def _worst(self, rises: Tensor, blocks: Blocks) -> tuple[Hit, ...]:
        values, places = rises.flatten().topk(min(WORST, rises.numel()))
        hits = []
        for value, place in zip(values.tolist(), places.tolist(), strict=True):
            row, at = divmod(place, rises.shape[1])
            if value <= 0:
                continue
            before = blocks.ids[row, max(1, at - CONTEXT) : at].tolist()
            hits.append(
                Hit(before=self._words(before), token=self._words([int(blocks.ids[row, at])]), rise=value)
            )
        return tuple(hits)

    def _words(self, ids: list[int]) -> str:
        return visible(self._opening.tokenizer.decode(ids))


def _passages(losses: Tensor, blocks: Blocks) -> PassageLosses:
    return PassageLosses(losses.double().sum(1).cpu(), blocks.valid[:, 1:].sum(1).cpu())


def _divergence(base: Tensor, edited: Tensor, blocks: Blocks) -> Divergence:
    """Over the positions from which a scored token is predicted."""
    scored = blocks.valid[:, 1:]
    kl = kl_in_chunks(base[:, :-1][scored], edited[:, :-1][scored])
    return Divergence(mean=float(kl.mean()), p99=float(kl.quantile(0.99)), largest=float(kl.max()))
