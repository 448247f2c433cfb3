"""Neighbours by direction against cosines by hand."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed, numbered, target

from rankone.core.errors import RankOneError
from rankone.decomposition.directions import direction_neighbours


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


@pytest.fixture(scope="module")
def random():
    return decomposed(target(), "random")


def test_cosines_at_the_same_site(random):
    name = "h.0.mlp.down_proj:2"
    v, u = random.vectors(name)
    found = direction_neighbours(random, name, width=8, top=4)
    for key, of in (
        ("read", lambda w, x: cosine(v, w)),
        ("write", lambda w, x: cosine(u, x)),
        ("matrix", lambda w, x: cosine(torch.outer(x, w).flatten(), torch.outer(u, v).flatten())),
    ):
        others = [n for n in random.names() if n.startswith("h.0.mlp.down_proj:") and n != name]
        expected = sorted(((of(*random.vectors(n)), n) for n in others), key=lambda x: -abs(x[0]))[:4]
        assert [(r.part, pytest.approx(r.cosine, abs=1e-5)) for r in found[key]] == [
            (n, c) for c, n in expected
        ]


def test_who_reads_what_it_writes(random):
    u = random.vectors("h.0.attn.o_proj:1")[1]
    found = direction_neighbours(random, "h.0.attn.o_proj:1", width=8, top=3)
    others = [n for n in random.names() if n.startswith("h.0.mlp.c_fc:")]
    best = max(others, key=lambda n: abs(cosine(u, random.vectors(n)[0])))
    assert found["readers"][0].part == best
    assert found["readers"][0].cosine == pytest.approx(cosine(u, random.vectors(best)[0]), abs=1e-5)
    assert {r.part.rsplit(":", 1)[0] for r in found["writers"]} == {"h.0.attn.v_proj"}


def test_lists_without_an_entry_are_left_out():
    decomposition = numbered(target(), {"h.0.attn.q_proj": [7]})
    assert direction_neighbours(decomposition, "h.0.attn.q_proj:7", width=8) == {}


def test_an_unknown_subcomponent_is_named(random):
    with pytest.raises(RankOneError, match="unknown"):
        direction_neighbours(random, "h.0.mlp.down_proj:99999", width=8)
