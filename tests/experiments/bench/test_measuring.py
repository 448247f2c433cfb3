"""Many edits measured at once equal each one measured by itself; quantiles and bits by hand."""

from __future__ import annotations

import math

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import workspace
from tests.tiny import tiny_model

from rankone.edits.methods.lora import Lora
from rankone.edits.scales import Scales
from rankone.experiments.bench import measuring as module
from rankone.experiments.bench.measuring import Measure, base_of
from rankone.experiments.measure import edit_damage
from rankone.metrics.cross_entropy import cross_entropy


@pytest.fixture(scope="module")
def space(tokenizer, corpus):
    model = tiny_model(len(tokenizer))
    return workspace(model, decomposed(model, "random"), tokenizer, corpus)


@pytest.fixture(scope="module")
def text(space):
    return space.text(("de", "en"), "test", 150)


def test_the_base_is_the_models_own_cross_entropy(space, text):
    for blocks in text.values():
        base = base_of(space, blocks)
        assert base.passages.mean == pytest.approx(cross_entropy(space.model, blocks), rel=1e-6)
        assert int(base.scored.sum()) == 150


@pytest.mark.parametrize("at_once", [1, 1 << 13])
@pytest.mark.parametrize("kind", ["scales", "lora"])
def test_each_of_many_equals_its_own_measurement(space, text, kind, at_once, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    if kind == "scales":
        method = Scales(space.require_parts(), ["h.0.mlp.down_proj:1"])
        parameters = {"alpha": torch.tensor([[-6.0], [9.0]])}
    else:
        method = Lora(space.model, ["*"], rank=2)
        start = {k: p.detach() for k, p in method.start(2, [0, 1]).items()}
        generator = torch.Generator().manual_seed(0)
        parameters = {k: p + 0.1 * torch.randn(p.shape, generator=generator) for k, p in start.items()}
    bases = {domain: base_of(space, blocks) for domain, blocks in text.items()}
    found = Measure(space.model, method.sites(), bases).results(method, parameters)
    for run, results in enumerate(found):
        expected = edit_damage(space.model, method.edit(parameters, run), text)
        for domain, result in results.items():
            assert result.ce == pytest.approx(expected[domain].edited, rel=1e-5)
            assert result.rise == pytest.approx(expected[domain].rise, abs=1e-5)
            assert result.error == pytest.approx(expected[domain].error, rel=1e-3)
            tokens, before, rises = map(sum, zip(*result.passages, strict=True))
            assert tokens == text[domain].tokens
            assert before / tokens == pytest.approx(result.ce_base, rel=1e-9)
            assert rises / tokens == pytest.approx(result.rise, rel=1e-6)


def test_bits_per_byte_and_the_largest_rises(space, text):
    base = base_of(space, text["en"])
    each = base.each.clone()
    place = tuple(base.scored.nonzero()[7].tolist())
    each[place] += 100.0
    result = module._result(base, each)
    assert result.rise == pytest.approx(100 / 150, rel=1e-4)
    # Between the two largest of 150 the 99th percentile is at .99 · 149 = 147.51: below both.
    assert result.rise_p99 == pytest.approx(0.0, abs=1e-6)
    each[tuple(base.scored.nonzero()[9].tolist())] += 100.0
    # Now at .51 of the way from the third largest to the second.
    assert module._result(base, each).rise_p99 == pytest.approx(51.0, rel=1e-3)
    ids, valid = text["en"].ids, text["en"].valid
    size = sum(len(space.tokenizer.decode(row[keep]).encode()) for row, keep in zip(ids, valid, strict=True))
    assert result.bits == pytest.approx(result.ce * 150 / math.log(2) / size, rel=1e-6)
