"""Where a part fires, what its new write vector does, and how one is chosen or trained."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import VOCAB, llama
from torch.nn.functional import normalize

from rankone.core.errors import RankOneError
from rankone.edits.rewriting.direction import token_direction
from rankone.edits.rewriting.firing import firing, joined, threshold_of
from rankone.edits.rewriting.job import _choice
from rankone.edits.rewriting.requests import WriteEffect
from rankone.edits.rewriting.rewrite import base_logits, effect, probability, rewritten, sized
from rankone.edits.rewriting.training import trained
from rankone.models.sites import site_named, weight_of
from rankone.parts.book import Book
from rankone.text.blocks import Blocks

PART, SITE = "neuron/model.layers.1.mlp.down_proj:4", "model.layers.1.mlp.down_proj"
TOKEN = torch.tensor([17])


@pytest.fixture(scope="module")
def model():
    return llama()


@pytest.fixture(scope="module")
def book(model):
    return Book([], model)


@pytest.fixture(scope="module")
def text():
    ids = torch.randint(VOCAB, (6, 50), generator=torch.Generator().manual_seed(2))
    valid = torch.ones(6, 50, dtype=torch.bool)
    valid[:, 0] = False
    return Blocks(ids, valid)


@pytest.fixture(scope="module")
def places(model, book, text):
    return firing(model, SITE, book.vectors(PART).v, text, 0.02)


def test_a_part_fires_where_its_activation_is_largest(places):
    signed = places.sign * places.activation
    assert 1 <= int(places.fires.sum()) <= 6
    assert signed[places.fires].min() >= signed[places.near | places.other].max()
    each = places.fires.int() + places.near.int() + places.other.int()
    assert torch.equal(each, places.text.valid.int())
    row, column = places.fires.nonzero()[0].tolist()
    beside = [c for c in (column - 1, column + 1) if 1 <= c < 50 and not places.fires[row, c]]
    assert all(places.near[row, c] for c in beside)


def test_a_threshold_is_taken_over_to_other_text(model, book, text, places):
    again = firing(model, SITE, book.vectors(PART).v, text, 0.9, threshold_of(places))
    assert torch.equal(again.fires, places.fires)
    with pytest.raises(RankOneError, match="fires nowhere"):
        firing(model, SITE, book.vectors(PART).v, text, 0.1, (places.sign, 1e9))


def test_texts_of_other_lengths_are_joined():
    short = Blocks(torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool))
    long = Blocks(torch.ones(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.bool))
    both = joined([short, long])
    assert both.ids.shape == (3, 5)
    assert both.valid.sum(1).tolist() == [3, 5, 5]


def test_the_weight_writes_the_new_vector_where_it_wrote_the_old(model, book):
    write = torch.arange(24.0)
    v, u = book.vectors(PART)
    before = weight_of(site_named(model, SITE)).clone()
    with rewritten(book, PART, write, "").applied(model):
        after = weight_of(site_named(model, SITE)).clone()
    assert torch.allclose(after - before, torch.outer(write - u, v), atol=1e-5)
    assert torch.equal(weight_of(site_named(model, SITE)), before)


def test_a_larger_size_makes_the_token_likelier(model, book, places):
    direction = token_direction(model, 17, places.text.ids).vector
    base = base_logits(model, places)
    sizes = [0.0, 4.0, 60.0]
    made = [
        effect(
            model,
            rewritten(book, PART, sized(book, PART, direction, places.sign, s), ""),
            places,
            base,
            TOKEN,
            s,
        )
        for s in sizes
    ]
    chances = [m.probability for m in made]
    assert probability(base, places, TOKEN) < chances[1] < chances[2]
    assert made[2].kl_firing > made[2].kl_other >= 0


def test_the_model_itself_has_no_divergence(model, book, places):
    nothing = rewritten(book, PART, book.vectors(PART).u, "")
    made = effect(model, nothing, places, base_logits(model, places), TOKEN, None)
    assert (made.kl_firing, made.kl_near, made.kl_other) == pytest.approx((0, 0, 0), abs=1e-6)


def test_a_trained_vector_raises_the_token(model, book, places):
    base = base_logits(model, places)
    write = trained(model, book, PART, places, base, [17], 3, 0.0, 0)
    made = effect(model, rewritten(book, PART, write, ""), places, base, TOKEN, None)
    assert made.probability > 3 * probability(base, places, TOKEN)
    held = trained(model, book, PART, places, base, [17], 3, 100.0, 0)
    beside = effect(model, rewritten(book, PART, held, ""), places, base, TOKEN, None)
    assert beside.kl_other < made.kl_other
    assert all(p.grad is None for p in model.parameters())


def test_one_position_to_train_on_is_enough(model, book, places):
    """Of one row: a probability is one over the vocabulary."""
    base = base_logits(model, places)
    write = trained(model, book, PART, places, base, [17], 1, 0.0, 0)
    made = effect(model, rewritten(book, PART, write, ""), places, base, TOKEN, None)
    assert made.probability > 3 * probability(base, places, TOKEN)


def test_the_probability_of_all_tokens_is_one_whatever_is_written(model, book, places, monkeypatch):
    """So there is no slope: it is taken over the vocabulary, not over rows or positions. (Adam makes steps of rounding.)"""
    monkeypatch.setattr(torch.optim, "Adam", torch.optim.SGD)
    every = range(VOCAB)
    write = trained(model, book, PART, places, base_logits(model, places), [*every], 3, 0.0, 0)
    old = book.vectors(PART).u
    assert torch.allclose(write, old, atol=1e-4)


def test_the_smallest_size_that_meets_the_aim_is_taken():
    def of(size, chance):
        return WriteEffect(size=size, probability=chance, kl_firing=0, kl_near=None, kl_other=0)

    assert _choice([of(4, 0.9), of(1, 0.2), of(2, 0.6)], 0.5) == 2
    assert _choice([of(1, 0.1), of(8, 0.2), of(16, 0.15)], 0.5) == 1


def test_directions_are_of_unit_length(model, places):
    vector = token_direction(model, 3, places.text.ids).vector
    assert torch.allclose(vector, normalize(vector, dim=0))
