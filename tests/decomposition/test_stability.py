"""Best matches between decompositions against plain loops, and the controls."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from tests.decomposition.tiny import TINY_VOCAB, decomposed, recipe, target

from rankone.core.errors import RankOneError
from rankone.decomposition import stability
from rankone.decomposition.model import DecomposedModel
from rankone.decomposition.stability import alive_on, alive_pairs, compare, initial_pairs, matches
from rankone.text.blocks import Blocks

ONES = torch.ones(56, dtype=torch.bool)


def pair(count, seed, d_in=5, d_out=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(d_in, count, generator=generator), torch.randn(count, d_out, generator=generator)


def plain_matches(one, other):
    best = torch.full((3, one[0].shape[1]), -2.0)
    for i in range(one[0].shape[1]):
        for j in range(other[0].shape[1]):
            v = F.cosine_similarity(one[0][:, i], other[0][:, j], dim=0)
            u = F.cosine_similarity(one[1][i], other[1][j], dim=0)
            a, b = (torch.outer(p[1][k], p[0][:, k]).flatten() for p, k in ((one, i), (other, j)))
            both = F.cosine_similarity(a, b, dim=0)
            best[:, i] = torch.maximum(best[:, i], torch.stack((u.abs(), v.abs(), both)))
    return best


@pytest.mark.parametrize("block", [1, 3, 100])
def test_blocks_give_what_a_plain_loop_gives(block):
    one, other = pair(7, 0), pair(8, 1)
    torch.testing.assert_close(matches(one, other, block)[0], plain_matches(one, other))


def test_sizes_and_common_signs_do_not_matter_but_one_sign_does():
    one = pair(6, 0)
    order = torch.randperm(6)
    same = (-3 * one[0][:, order], -0.5 * one[1][order])
    torch.testing.assert_close(matches(one, same)[0], torch.ones(3, 6))
    turned = matches(one, (one[0], -one[1]))[0]
    torch.testing.assert_close(turned[:2], torch.ones(2, 6))
    assert turned[2].max() < 0.999


def test_no_subcomponents_match_nothing():
    assert matches(pair(3, 0), pair(0, 1))[0].tolist() == [[0.0] * 3] * 3
    assert matches(pair(0, 0), pair(3, 1))[0].shape == (3, 0)
    zero = (torch.zeros(5, 2), torch.zeros(2, 4))
    assert matches(zero, pair(3, 1))[0].tolist() == [[0.0] * 2] * 3


def test_means_are_over_subcomponents_and_each_way():
    one = {"a": pair(2, 0), "b": pair(6, 1), "c": pair(1, 9)}
    other = {"a": pair(3, 2), "b": pair(4, 3)}
    found = compare(one, other)
    assert (found.sites, found.only_one, found.alive) == (2, ("c",), (8, 7))
    ways = {"a_to_b": (one, other), "b_to_a": (other, one)}
    for way, (x, y) in ways.items():
        every = [matches(x[s], y[s])[0] for s in ("a", "b")]
        expected = torch.cat(every, 1).mean(1).tolist()
        means = getattr(found, way)
        assert (means.best.u, means.best.v, means.best.matrix) == pytest.approx(tuple(expected))
        assert getattr(found.per_site[1], way).best.v == pytest.approx(every[1][1].mean().item())
        assert means.start is None


def test_a_subcomponent_with_several_matches_is_split():
    """The first of A lies at 45° to two of B by what it reads and is written by both; the second is in B as it is."""
    eye, half = torch.eye(4), 0.5**0.5
    one = torch.stack([half * (eye[0] + eye[1]), eye[2]], 1), torch.stack([eye[0], eye[2]])
    other = torch.stack([eye[0], eye[1], eye[2]], 1), torch.stack([eye[0], eye[0], eye[2]])
    got = compare({"a": one}, {"a": other}, ({"a": one}, {"a": one}))
    trained = got.a_to_b.split.trained
    assert (trained.u, trained.v, trained.matrix) == (0.5, 0.5, 0.5)
    back = got.b_to_a.split.trained
    assert (back.u, back.v, back.matrix) == (0, 0, 0)
    assert got.a_to_b.split.start is not None
    assert got.a_to_b.split.start.v == 0
    # By what is written both of B may be the best match of the first; one to one only one of them.
    assert got.b_to_a.best.u == pytest.approx(1)
    assert got.one_to_one.trained.v == pytest.approx((half + 1) / 2)
    assert got.one_to_one.trained.matrix == pytest.approx((half + 1) / 2)


def test_one_to_one_is_the_best_of_all_orders():
    one, other = pair(4, 0), pair(4, 1)
    v, w = (F.normalize(side[0].T, dim=1) for side in (one, other))
    cosine = (v @ w.T).abs()
    best = max(
        sum(float(cosine[i, j]) for i, j in enumerate(order)) for order in itertools.permutations(range(4))
    )
    assert compare({"a": one}, {"a": other}).one_to_one.trained.v == pytest.approx(best / 4)


def test_large_sites_are_not_matched_one_to_one(monkeypatch):
    monkeypatch.setattr(stability, "ONE_TO_ONE", 3)
    got = compare({"a": pair(4, 0), "b": pair(2, 1)}, {"a": pair(3, 2), "b": pair(3, 3)})
    assert got.per_site[0].one_to_one.trained.u is None
    assert got.one_to_one.trained == got.per_site[1].one_to_one.trained


def test_the_controls_tell_stability_from_a_common_start():
    model = target()
    one, other = (alive_pairs(decomposed(model, "random", seed=seed), ONES) for seed in (0, 1))
    starts = (initial_pairs(model, recipe(initialisation="random").model_dump()), other)
    found = compare(one, other, starts)
    # Nothing was trained: the two are as alike as random vectors, and each is its own start.
    for measure in ("u", "v", "matrix"):
        way = found.a_to_b
        best, random, start = (getattr(means, measure) for means in (way.best, way.random, way.start))
        assert best == pytest.approx(random, abs=0.1)
        assert start == pytest.approx(best)
    again = compare(one, one, starts)
    assert all(v == pytest.approx(1, abs=1e-5) for _, v in again.b_to_a.start)
    assert all(v == pytest.approx(1, abs=1e-5) for _, v in again.a_to_b.best)
    assert again.a_to_b.random.matrix < 0.9


def test_without_a_recipe_or_with_an_earlier_run_there_is_no_start():
    assert initial_pairs(target(), None) is None
    assert initial_pairs(target(), {**recipe().model_dump(), "continue_from": "somewhere"}) is None


def test_sites_must_be_shared():
    with pytest.raises(RankOneError, match="no site in common: one has 'a', the other 'b'"):
        compare({"a": pair(2, 0)}, {"b": pair(2, 0)})


def test_only_the_alive_on_real_positions_take_part(monkeypatch):
    model = target()
    decomposition = decomposed(model)
    ids = torch.randint(1, TINY_VOCAB, (3, 4))
    valid = torch.ones(3, 4, dtype=torch.bool)
    valid[:, 0], valid[2, 2:] = False, False
    g = torch.zeros(3, 4, 56)
    g[2, 3, 5] = 1.0  # padding
    g[1, 2, 7], g[0, 0, 8] = 1.0, 1e-6
    with DecomposedModel(model, decomposition) as wrapped:
        parts = iter(g.split(2))
        monkeypatch.setattr(wrapped, "importance", lambda ids, present: next(parts))
        alive = alive_on(wrapped, Blocks(ids, valid), rows=2)
    assert alive.nonzero().flatten().tolist() == [7]
    pairs = alive_pairs(decomposition, alive)
    assert [p[0].shape[1] for p in pairs.values()] == [1, 0, 0, 0, 0, 0]
    torch.testing.assert_close(
        pairs[decomposition.sites[0]][1][0], decomposition.factors(decomposition.sites[0])[1][7]
    )
