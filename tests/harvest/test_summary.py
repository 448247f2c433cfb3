"""Mean importances against a loop over single rows, and token views by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tests.decomposition.tiny import TINY_VOCAB, decomposed, target

from rankone.decomposition.model import DecomposedModel
from rankone.harvest.summary import FIRING, ROWS_AT_ONCE, mean_importances, token_views
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


class Table:
    """A decomposed model by table: importances [token, component] and next-token odds [token, token]."""

    def __init__(self, importance, odds):
        self.lookup, self.odds = importance, odds
        self.target = SimpleNamespace(config=SimpleNamespace(vocab_size=len(odds)))
        self.decomposition = SimpleNamespace(logits=lambda inputs, present: self.lookup[inputs[0]])

    def clean(self, ids):
        return self.odds.log()[ids], [ids]


class Letters:
    """Tokens 0, 1, 2, … are the letters of the alphabet."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def decode(self, ids):
        assert max(ids) < self.size
        return "".join("abcdefgh"[i] for i in ids)


def test_token_views_by_hand():
    """Component 0 fires on b and c, 1 on all but c, 2 on a and not quite on c (0.1 is not over 0.1), 3 on a."""
    importance = torch.tensor(
        [[0.0, 0.5, 0.7, 0.9], [0.6, 0.5, 0.0, 0.0], [0.2, 0.0, FIRING, 0.0], [0.0, 1.0, 0.0, 0.0]]
    )
    # Two entries more than the tokenizer has; they are likely after b, and never shown.
    odds = torch.tensor(
        [
            [0.7, 0.1, 0.1, 0.1, 1e-9, 1e-9],
            [0.1, 0.1, 0.1, 0.3, 0.4, 1e-9],
            [0.1, 0.1, 0.1, 0.7, 1e-9, 1e-9],
            [0.25, 0.25, 0.25, 0.25, 1e-9, 1e-9],
        ]
    )
    importance = torch.cat((importance, torch.ones(2, 4)))
    odds = torch.cat((odds, torch.full((2, 6), 1 / 6)))
    # Valid: b c b d | b. BOS a is left out, as is the padding a.
    blocks = Blocks(
        torch.tensor([[0, 1, 2, 1, 3], [0, 1, 0, 0, 0]]),
        torch.tensor([[0, 1, 1, 1, 1], [0, 1, 0, 0, 0]], dtype=torch.bool),
    )
    views = token_views(Table(importance, odds), Letters(4), [blocks], torch.tensor([0, 1, 2, 3]), top=3)
    assert [v.firing_tokens for v in views] == [["b", "c"], ["b", "d"], [], []]
    # Everywhere d has (3 · .3 + .7 + .25) / 5 = .37; where 0 fires (3 · .3 + .7) / 4 = .4; a falls from .13 to .1.
    # Where 1 fires (b three times, d) d falls to .2875; a, b and c rise from .13 to .1375.
    assert views[0].output_tokens == ["d"]
    assert sorted(views[1].output_tokens) == ["a", "b", "c"]
    assert views[2].output_tokens == views[3].output_tokens == []


def test_token_views_follow_the_asked_for_columns_and_length():
    importance = torch.eye(4)
    odds = torch.full((4, 4), 0.2) + 0.2 * torch.eye(4).roll(1, 1)
    blocks = Blocks(torch.tensor([[0, 1, 2, 3, 1]]), torch.tensor([[False, True, True, True, True]]))
    views = token_views(Table(importance, odds), Letters(4), [blocks, blocks], torch.tensor([3, 1]), top=1)
    assert [(v.firing_tokens, v.output_tokens) for v in views] == [(["d"], ["a"]), (["b"], ["c"])]
