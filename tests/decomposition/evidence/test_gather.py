"""The whole evidence, and what must not count."""

from __future__ import annotations

import json

import pytest
from tests.decomposition.evidence.texts import LENGTHS, blocks, by_name, evidence_text
from tests.decomposition.tiny import decomposed, target

from rankone.decomposition.evidence.attack import adversarial_rows
from rankone.decomposition.evidence.gather import gather_evidence, work
from rankone.decomposition.evidence.maskings import masking_rows
from rankone.decomposition.evidence.records import TextUsed, read_outline
from rankone.decomposition.evidence.sparsity import sparsity
from rankone.decomposition.model import DecomposedModel

TEXT = TextUsed(name="a test", fingerprint="0", split="validation")


def test_padding_does_not_count():
    """Other tokens after the end of a row change no number."""
    results = []
    for padding in (0, 17):
        text = evidence_text("random", padding)
        rows = masking_rows(text) + adversarial_rows(text, (2,), True)
        results.append((by_name(rows), sparsity(text)))
    for name, row in results[0][0].items():
        assert row.kl == pytest.approx(results[1][0][name].kl, rel=1e-3, abs=1e-6), name
        assert row.ce == pytest.approx(results[1][0][name].ce, rel=1e-3), name
    assert results[0][1] == results[1][1]


class Steps:
    """A bar that counts."""

    done = 0

    def advance(self, steps=1, note=""):
        self.done += steps


def test_the_whole_evidence():
    model = target()
    decomposition = decomposed(model, "random")
    lacks = []
    for site in decomposition.sites:
        weight = model.get_submodule(site).weight.detach().double()
        read, write = (p.double() for p in decomposition.factors(site))
        lacks.append((weight, weight - (read @ write).T))
    with DecomposedModel(model, decomposition) as wrapped:
        bar = Steps()
        found, subcomponents = gather_evidence(wrapped, blocks(), TEXT, (1, 2), bar=bar, restarts=2)
    error = sum(d.square().sum() for _, d in lacks)
    assert found.faithfulness == pytest.approx((error / sum(w.numel() for w, _ in lacks)).item(), rel=1e-4)
    share = error / sum(w.square().sum() for w, _ in lacks)
    assert found.delta_norm_share == pytest.approx(share.item(), rel=1e-4)
    assert found.tokens == sum(LENGTHS)
    assert len(found.rows) == 1 + 2 * 8 + 2 * 2
    assert found.adversary.ladder == (1, 2)
    assert found.adversary.gradients == 2 * 2
    assert bar.done == work(decomposition.sites, (1, 2), 2)
    assert len(subcomponents) == 56
    assert found.verdict.properties[0].name == "faithfulness"
    assert read_outline(json.loads(json.dumps(found.plain())), "here") == found
    assert all(p.grad is None for p in model.parameters())
