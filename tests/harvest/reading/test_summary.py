"""Mean importances against a loop over single rows."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import TINY_VOCAB, decomposed, target

from rankone.decomposition.model import DecomposedModel
from rankone.harvest.reading.summary import ROWS_AT_ONCE, mean_importances
from rankone.text.blocks import Blocks


def ragged(sizes, width, seed=0, filler=0):
    """Rows of BOS and `sizes` random text tokens each, the rest `filler`."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((len(sizes), width), filler)
    valid = torch.zeros(len(sizes), width, dtype=torch.bool)
    for row, size in enumerate(sizes):
        ids[row, 0] = 0
        ids[row, 1 : size + 1] = torch.randint(1, TINY_VOCAB, (size,), generator=generator)
        valid[row, 1 : size + 1] = True
    return Blocks(ids, valid)


@pytest.fixture(scope="module")
def wrapped():
    model = target()
    with DecomposedModel(model, decomposed(model)) as found:
        yield found


def brute_force(model, blocks):
    """Each row by itself, cut at its last token: no padding, no batch."""
    total, count = torch.zeros(model.decomposition.total), 0
    for ids, valid in zip(blocks.ids, blocks.valid, strict=True):
        size = int(valid.sum())
        g = model.importance(ids[None, : size + 1])[0]
        for position in range(1, size + 1):
            total += g[position]
            count += 1
    return total / count


def test_means_equal_a_loop_over_single_rows(wrapped):
    text = {
        "de": ragged([7, 1, 5] * 7, 8, seed=1),
        "en": ragged([3], 8, seed=2),
        "fr": ragged([2, 6], 12, seed=3, filler=9),
    }
    assert len(text["de"].ids) > ROWS_AT_ONCE
    found = mean_importances(wrapped, text)
    assert found.domains == ["de", "en", "fr"]
    assert found.names == wrapped.decomposition.names()
    assert found.tokens == {"de": 91, "en": 3, "fr": 8}
    for domain, blocks in text.items():
        assert torch.allclose(found.of(domain), brute_force(wrapped, blocks), atol=1e-5)
    assert (found.of("de") > 0).any()
    assert not torch.allclose(found.of("de"), found.of("fr"), atol=1e-3)
    assert torch.equal(found.others("en"), torch.maximum(found.of("de"), found.of("fr")))


def test_padding_changes_nothing(wrapped):
    narrow = ragged([4, 2, 6], 7, seed=4)
    wide = ragged([4, 2, 6], 20, seed=4, filler=11)
    found = mean_importances(wrapped, {"a": narrow, "b": wide})
    assert torch.allclose(found.of("a"), found.of("b"), atol=1e-5)


def test_bos_does_not_count(wrapped):
    text = ragged([1], 2, seed=5)
    g = wrapped.importance(text.ids)[0]
    found = mean_importances(wrapped, {"a": text}).of("a")
    assert torch.allclose(found, g[1], atol=1e-6)
    assert not torch.allclose(g[0], g[1], atol=1e-3)
