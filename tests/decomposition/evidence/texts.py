"""Five padded rows under a tiny decomposition, and plain loops over them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.decomposition.tiny import TINY_VOCAB, decomposed, target

from rankone.decomposition.evidence.text import EvidenceText
from rankone.decomposition.model import DecomposedModel
from rankone.text.blocks import Blocks

LENGTHS = [6, 4, 6, 2, 5]  # real positions of each row, the BOS among them
LONGEST = max(LENGTHS)


def blocks(padding=0):
    ids = torch.randint(1, TINY_VOCAB, (5, LONGEST), generator=torch.Generator().manual_seed(4))
    valid = torch.arange(LONGEST) < torch.tensor(LENGTHS)[:, None]
    ids = torch.where(valid, ids, padding)
    ids[:, 0], valid[:, 0] = 0, False
    return Blocks(ids, valid)


def evidence_text(kind="aligned", padding=0):
    """Evidence on five rows; the wrapped model stays wrapped, since the test drops it anyway."""
    model = target()
    wrapped = DecomposedModel(model, decomposed(model, kind)).__enter__()
    return EvidenceText(wrapped, blocks(padding))


def plain_scores(text, logits):
    """Mean CE and KL, position by position."""
    ce, kl = [], []
    for row, length in enumerate(LENGTHS):
        for t in range(length):
            p, q = (F.log_softmax(x[row, t].double(), -1) for x in (text.clean, logits))
            kl.append((p.exp() * (p - q)).sum().item())
            if t + 1 < length:
                ce.append(-F.log_softmax(logits[row, t].double(), -1)[text.ids[row, t + 1]].item())
    return {"ce": sum(ce) / len(ce), "kl": sum(kl) / len(kl)}


def by_name(rows):
    return {(row.title, row.delta): row for row in rows}


def approximately(scores):
    return {k: pytest.approx(v, rel=1e-4, abs=1e-6) for k, v in scores.items()}
