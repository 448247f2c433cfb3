"""A circuit that was planted: a token's embedding, one part of the MLP's first matrix, one of its second, the logits."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import simple_mlp, tokenizer

from rankone.circuits.build import make_graph
from rankone.circuits.config import GraphConfig
from rankone.models.sites import find_sites
from rankone.parts.parts import Parts

HALF = 12


def planted(left_over=0.0):
    """Embeddings lie in the first half of the residual stream, the head reads the second: only the MLP joins them.

    left_over: share of what the second matrix writes that its part does not have."""
    model = simple_mlp(num_hidden_layers=1, tie_word_embeddings=False).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for site in find_sites(model):
            site.module.weight.zero_()
        model.wte.weight[:, HALF:] = 0
        model.get_output_embeddings().weight[:, :HALF] = 0
        read, write = (torch.randn(24, generator=generator).double() for _ in range(2))
        read[HALF:], write[:HALF] = 0, 0
        hidden = torch.rand(40, generator=generator).double() + 0.1
        model.h[0].mlp.c_fc.weight.copy_(torch.outer(hidden, read))
        model.h[0].mlp.down_proj.weight.copy_(torch.outer(write, hidden))
    factors = {}
    for site in find_sites(model):
        v, u = torch.randn(site.d_in, 3, generator=generator), torch.randn(3, site.d_out, generator=generator)
        factors[site.name] = (v.double(), u.double() * 0)
    factors["h.0.mlp.c_fc"][0][:, 1], factors["h.0.mlp.c_fc"][1][1] = read, hidden
    factors["h.0.mlp.down_proj"][0][:, 2] = hidden
    factors["h.0.mlp.down_proj"][1][2] = (1 - left_over) * write
    return model, Parts(factors, "planted").frozen()


def test_all_influence_is_on_the_planted_path():
    model, parts = planted()
    config = GraphConfig(nodes="all", target=" cat", random_graphs=0)
    graph = make_graph(model, tokenizer(), parts, "the cat", config).graph
    last = graph.length - 1
    on = {"planted/h.0.mlp.c_fc:1", "planted/h.0.mlp.down_proj:2"}
    path = [
        i
        for i, n in enumerate(graph.nodes)
        if n.position == last
        and (n.kind == "embedding" or (n.kind == "subcomponent" and graph.part(i) in on))
    ]
    assert len(path) == 3
    assert abs(graph.record.outputs[0].value) > 1e-3  # something does get there
    assert float(graph.influence[path].sum() / graph.influence.sum()) > 0.99
    assert graph.record.scores.replacement == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.35])
def test_a_planted_remainder_lowers_replacement_by_its_share(share):
    model, parts = planted(share)
    config = GraphConfig(nodes="all", target=" cat", random_graphs=0)
    graph = make_graph(model, tokenizer(), parts, "the cat", config).graph
    assert graph.record.scores.replacement == pytest.approx(1 - share, abs=0.01)
