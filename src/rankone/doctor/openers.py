"""Which opener a model reads plain text best after: cross-entropy of the same tokens after each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch

from rankone.core.errors import RankOneError
from rankone.metrics.cross_entropy import cross_entropy
from rankone.runtime.progress import meter
from rankone.subject import Subject
from rankone.text.blocks import Blocks, passage_blocks
from rankone.text.openers import Opener
from rankone.text.passages import domain_passages

# An opener matters for the first tokens of a text: short rows show it, and cost little.
ROW = 64


def opener_losses(subject: Subject, tried: Sequence[Opener], tokens: int) -> dict[str, float]:
    """Mean over all domains of the cross-entropy after each opener, nats per token; some `tokens` per domain are read.

    Scored are the same tokens for all, the second to the last of each passage's first ROW: without an opener the first
    cannot be predicted. Raises RankOneError where a domain has no text.
    """
    # What a model reads at most, an opener included.
    length = min(ROW, subject.context - 1)
    domains, passages = subject.corpus.domains(), max(1, tokens // ROW)
    losses = {one.token: 0.0 for one in tried}
    with meter("openers", len(tried) * len(domains)) as bar:
        for one, domain in product(tried, domains):
            rows = _rows(subject, domain, passages, length, one.token or "none")
            losses[one.token] += cross_entropy(subject.model, rows) / len(domains)
            bar.advance(1, f"{domain} after {one.token or 'nothing'}")
    return losses


def _rows(subject: Subject, domain: str, passages: int, length: int, choice: str) -> Blocks:
    """The first `length` tokens of each passage after the opener, scored from the second on."""
    what = f"the validation text of '{domain}'"
    texts = domain_passages(subject.corpus, domain, "validation", passages * length)[:passages]
    if not texts:
        raise RankOneError(
            f"{what} in '{subject.corpus.name}' is empty. Leave the domain out, or give it text."
        )
    whole = length + (choice != "none")
    cut = [passage_blocks(subject.tokenizer, [text], whole, what=what, opener=choice) for text in texts]
    first = [blocks.rows(0, 1) for blocks in cut]
    ids, valid = torch.cat([b.ids for b in first]), torch.cat([b.valid for b in first])
    if choice != "none":
        valid[:, 1] = False
    return Blocks(ids, valid)
