"""Queries and keys, and edges through attention patterns: hidden by the frozen rule and said to be, ranked by `grad`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import tokenizer
from tests.models.families import FAMILIES
from tests.pages import Page

from rankone.circuits.asking.summary import graph_reply
from rankone.circuits.build import make_graph
from rankone.circuits.config import GraphConfig
from rankone.circuits.exchange.page import graph_page
from rankone.circuits.exchange.shown import shown
from rankone.circuits.exchange.viewer import opened_state, viewer_document
from rankone.circuits.storage import load_graph


def looking(graph):
    """The subcomponents of queries and keys, by the names of their matrices."""
    return [i for i in graph.chosen if graph.nodes[i].place.rpartition(".")[2] in ("q_proj", "k_proj")]


def test_the_frozen_rule_gives_them_no_influence_and_grad_does(case):
    graph = load_graph(case.path).graph
    assert graph.behind_patterns == looking(graph)
    assert len(graph.behind_patterns) > 0
    # A matrix that something reads by the frozen rule too is not among them.
    through = replace(graph, pattern=torch.ones_like(graph.pattern))
    assert through.behind_patterns == looking(graph)
    held, local = (graph.influence_by(rule)[graph.behind_patterns] for rule in ("frozen", "grad"))
    assert not held.any()
    assert float(local.max()) > 1e-3
    # Weighted by probability, the first steps back of all paths carry all of the weight, by either rule.
    edges = graph.edges["grad"]
    into = sum(
        graph.nodes[o].probability * edges.weight[edges.target == o].abs().sum() / edges.absolute[o]
        for o in graph.outputs
    )
    assert float(into) == pytest.approx(sum(graph.nodes[o].probability for o in graph.outputs), rel=1e-4)


def test_a_reply_says_what_is_hidden_or_ranks_it(case):
    graph = case.made.graph
    held, local = (graph_reply(graph, None, rule, 100) for rule in ("frozen", "grad"))
    names = {graph.name(i) for i in graph.behind_patterns}
    assert (
        f"{len(names)} subcomponents of queries and keys act through attention patterns alone"
        in held.lines()[1]
    )
    assert not held.patterns
    assert not any(row.influence for row in held.nodes if row.name in names)
    assert len(local.lines()) == len(held.lines()) - 1
    assert any(row.influence > 0 for row in local.nodes if row.name in names)
    assert [row.influence for row in local.nodes] == sorted((r.influence for r in local.nodes), reverse=True)
    table = next(t for t in local.tables() if t.title == "Through attention patterns")
    assert len(table.rows) == len(local.patterns) == min(100, local.pattern_edges)
    places = {graph.nodes[i].place for i in graph.behind_patterns}
    assert all(any(place in row.source for place in places) for row in local.patterns)
    assert all("o_proj" in row.target and 0 < row.share < 1 for row in local.patterns)


def test_pages_and_files_show_them_by_name(case):
    graph = case.made.graph
    local, held = shown(graph, "grad", 60, 500), shown(graph, "frozen", 12, 500)
    assert set(local.nodes) & set(graph.behind_patterns)
    assert not set(held.nodes) & set(graph.behind_patterns)
    assert 0 < sum(local.pattern) < len(local.weight)
    assert not any(held.pattern)
    links = viewer_document(local, "slug", opened_state(local, None))["links"]
    assert [link.get("pattern", False) for link in links] == list(local.pattern)
    said = Page(graph_page(local, None, None)).text
    assert said.count("through the attention pattern") >= sum(local.pattern)
    assert "queries and keys act" not in said
    said = Page(graph_page(held, None, None)).text
    assert "through the attention pattern" not in said
    assert f"{len(graph.behind_patterns)} subcomponents of queries and keys act" in said


def test_parts_that_write_values_too_are_not_behind_patterns():
    """GPT-2 has one matrix of queries, keys and values."""
    model = FAMILIES["gpt2"][0]()
    config = GraphConfig(nodes="strongest", per_site=1, random_graphs=0)
    graph = make_graph(model, tokenizer(), decomposed(model), "the cat", config).graph
    assert not graph.behind_patterns
    assert not graph.pattern.any()
