"""The dials' numbers: what scales do to validation text of every domain, a little of it first, then all that is left.

Every edit of late sites starts at the first edited block from what the base model left there, and the base model is scored
once. Test text cannot be reached from here: whoever turns a dial until the figures please is tuning.
"""

from __future__ import annotations

import bisect
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.core.escaping import visible
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.scales import scale_edit
from rankone.metrics.cross_entropy import PassageLosses
from rankone.metrics.damage import damage
from rankone.metrics.damage_record import DomainDamage
from rankone.models.output import vocabulary_size
from rankone.opening import Opening
from rankone.studio.views.worker import Cut, Divergence, Hit, Measured, Reading
from rankone.studio.working.passes import Passes
from rankone.studio.working.portions import Place, Portion, portions, rows_of
from rankone.studio.working.scoring import Scored
from rankone.text.blocks import Blocks

SPLIT: Literal["validation"] = "validation"
# Tokens per domain of the first look, and of the whole.
FIRST, WHOLE = 128, 800
# Seconds after which a measurement ends with what it has.
LIMIT = 30.0
# Logits in memory at once: 2^22 numbers in fp32 are 16 MB.
AT_ONCE = 1 << 22
# Tokens shown per domain as those that are hit worst, and those before each that are shown with it.
WORST, CONTEXT = 3, 12


@dataclass
class _Row:
    """What is scored of a row before and after, and KL at every scored position, where it is known."""

    ids: Int[Tensor, " length"]
    valid: Bool[Tensor, " length"]
    base: Float[Tensor, " length"]
    edited: Float[Tensor, " length"]
    kl: Float[Tensor, " scored"] | None


# Rows of each domain by their number there.
_Gathered = dict[str, dict[int, _Row]]


class Dials:
    """Measures scales of an opening's parts; keeps the text, the base model's figures and the late start between calls."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._text: dict[int, list[Portion]] = {}
        self._sites: Sequence[str] = ()

    @cached_property
    def _passes(self) -> Passes:
        return Passes(self._opening.model)

    def close(self) -> None:
        """Put the model's own modules back, so that others may work with it."""
        self._passes.close()

    def measure(
        self, scales: Mapping[str, float], then: int | None = WHOLE
    ) -> Generator[Measured | Cut | Reading | None]:
        """Domain by domain, stage by stage, until LIMIT seconds are up; RankOneError for an unknown part.

        FIRST tokens per domain, and `then` so many where that is a number: rows that are the same there are not run again.
        Between two portions of text something is told or None, so that it can be called off there.
        """
        until = time.monotonic() + LIMIT
        edit = scale_edit(self._opening.book, {name: a for name, a in scales.items() if a != 1})
        stages = (FIRST,) if then is None else (FIRST, then)
        text = {tokens: self._portions(tokens) for tokens in stages}
        self._start(edit.sites)
        first: _Gathered = defaultdict(dict)
        for tokens in stages:
            base: dict[Portion, Scored] = {}
            for portion in text[tokens]:
                if time.monotonic() > until:
                    yield Cut(tokens=tokens, domains=tuple(self.domains), seconds=LIMIT)
                    return
                if not self._passes.knows(portion):
                    yield Reading(read=len(base), of=len(text[tokens]))
                base[portion] = self._passes.base(portion, tokens == FIRST)
            with edit.applied(self._opening.model):
                yield from self._stage(edit, base, tokens, until, first)

    def ahead(self) -> Iterator[None]:
        """Have the base model read what it has not yet, a portion a step, for a dial that starts where the last one did."""
        for tokens in (FIRST, WHOLE):
            for portion in self._portions(tokens):
                if not self._passes.knows(portion):
                    self._start(self._sites)
                    self._passes.base(portion, tokens == FIRST)
                    yield

    @property
    def domains(self) -> list[str]:
        """Domains of the text."""
        return self._opening.corpus.domains()

    def _portions(self, tokens: int) -> list[Portion]:
        """Of the first look, or of another what is not in the first."""
        if tokens not in self._text:
            text = self._opening.workspace.text(self.domains, SPLIT, tokens)
            known = frozenset[Place]() if tokens == FIRST else self._same(text)
            self._text[tokens] = portions(text, AT_ONCE // vocabulary_size(self._opening.model), known)
        return self._text[tokens]

    def _same(self, text: Mapping[str, Blocks]) -> frozenset[Place]:
        """Rows that the first look has as they are here; its last ones are cut short."""
        first = self._opening.workspace.text(self.domains, SPLIT, FIRST)
        before, now = (dict(row for one in side.items() for row in rows_of(*one)) for side in (first, text))
        return frozenset(
            place
            for place, row in before.items()
            if place in now
            and torch.equal(row.ids, now[place].ids)
            and torch.equal(row.valid, now[place].valid)
        )

    def _start(self, sites: Sequence[str]) -> None:
        self._sites = sites
        texts = [self._portions(tokens) for tokens in (FIRST, WHOLE)]
        self._passes.start(sites, sum(map(len, texts)), texts[0][0].blocks)

    def _stage(
        self, edit: LowRankEdit, base: Mapping[Portion, Scored], tokens: int, until: float, first: _Gathered
    ) -> Generator[Measured | Cut | None]:
        """Every domain as soon as its last row is there; those that are left when the time is up. first: the first look's
        rows, filled by it."""
        gathered: _Gathered = defaultdict(dict)
        rows = Counter(domain for portion in base for domain, _ in portion.places)
        for domain in (
            d for d in self.domains if d not in rows
        ):  # it has no more text than the first look took
            yield self._measured(domain, first[domain], tokens)
        for portion, before in base.items():
            self._gather(gathered, edit, portion, before)
            for domain in [d for d in rows if len(gathered[d]) == rows[d]]:
                if tokens == FIRST:
                    first[domain] = gathered[domain]
                yield self._measured(domain, {**first[domain], **gathered[domain]}, tokens)
                del rows[domain]
            yield None
            if rows and time.monotonic() > until:
                yield Cut(tokens=tokens, domains=tuple(rows), seconds=LIMIT)
                return

    def _gather(self, gathered: _Gathered, edit: LowRankEdit, portion: Portion, before: Scored) -> None:
        """One portion while the edit is in the weights; without an edit nothing is computed anew."""
        after = self._passes.edited(portion, before) if edit.sites else before
        counts = portion.blocks.valid[:, 1:].sum(1).tolist()
        kl = [None] * len(counts) if after.kl is None else after.kl.split(counts)
        for row, (domain, number) in enumerate(portion.places):
            gathered[domain][number] = _Row(
                portion.blocks.ids[row],
                portion.blocks.valid[row],
                before.losses[row],
                after.losses[row],
                kl[row],
            )

    def _measured(self, domain: str, numbered: Mapping[int, _Row], tokens: int) -> Measured:
        rows = [numbered[i] for i in sorted(numbered)]
        valid, kl = [row.valid for row in rows], [row.kl for row in rows if row.kl is not None]
        base, edited = (_passages(side, valid) for side in ([r.base for r in rows], [r.edited for r in rows]))
        return Measured(
            damage=DomainDamage.of(domain, damage(base, edited)),
            tokens=tokens,
            kl=_divergence(torch.cat(kl)) if kl and tokens == FIRST else None,
            worst=self._worst(rows),
        )

    def _worst(self, rows: Sequence[_Row]) -> tuple[Hit, ...]:
        rises = torch.cat([row.edited - row.base for row in rows])
        ids, width = torch.cat([r.ids for r in rows]), [0, *itertools.accumulate(len(r.ids) for r in rows)]
        values, places = rises.topk(min(WORST, rises.numel()))
        hits = []
        for value, place in zip(values.tolist(), places.tolist(), strict=True):
            if value <= 0:
                continue
            start = width[bisect.bisect_right(width, place) - 1]
            before = ids[max(start + 1, place - CONTEXT) : place].tolist()
            hits.append(Hit(before=self._words(before), token=self._words([int(ids[place])]), rise=value))
        return tuple(hits)

    def _words(self, ids: list[int]) -> str:
        return visible(self._opening.tokenizer.decode(ids))


def _passages(losses: Sequence[Tensor], valid: Sequence[Tensor]) -> PassageLosses:
    sums = torch.stack([row.double().sum() for row in losses]).cpu()
    return PassageLosses(sums, torch.stack([row[1:].sum() for row in valid]).cpu())


def _divergence(kl: Float[Tensor, " scored"]) -> Divergence:
    return Divergence(mean=float(kl.mean()), p99=float(kl.quantile(0.99)), largest=float(kl.max()))
