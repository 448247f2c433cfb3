"""Edges on tiny random models of every supported family, in fp64: sums, finite differences, closed forms, causality."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.helpers import probe as token_rows
from tests.helpers import simple_mlp, tokenizer
from tests.models.families import FAMILIES
from transformers import AutoModelForCausalLM, BloomConfig, OlmoConfig

from rankone.circuits.attribution.cut import cut, frozen_logits
from rankone.circuits.attribution.edges import Output, all_edges, probe
from rankone.circuits.attribution.identity import require_known_operations, sum_identity
from rankone.circuits.attribution.nodes import Node, everything, nodes_of
from rankone.circuits.attribution.rules import RuleMode
from rankone.circuits.build import make_graph
from rankone.circuits.config import GraphConfig
from rankone.circuits.effects import total_effects
from rankone.circuits.influence import influence_on_truth
from rankone.circuits.intervene import Change, intervened
from rankone.core.errors import RankOneError
from rankone.models.sites import find_sites
from rankone.parts.parts import Parts

TESTED = ("simple_mlp", "gpt2", "gpt_neox", "llama", "qwen3", "gemma2", "gemma3", "mistral", "phi3", "opt")
every = pytest.mark.parametrize("family", TESTED)


def parts_of(model, count=3, patterns=None):
    """Random parts, so that most of every matrix is remainder."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Parts(
        {s.name: (drawn(s.d_in, count), drawn(count, s.d_out)) for s in find_sites(model, patterns)}, "random"
    )


def drawn_edges(model, parts, ids, rule):
    """A cut, its nodes with one output, and all edges."""
    made = cut(model, ids, rule)
    nodes = nodes_of(model, parts, made, everything(parts, len(ids)))
    vocabulary = made.logits.shape[1]
    seed = F.one_hot(torch.tensor(5), vocabulary).double() - 1 / vocabulary
    value = float(made.logits[-1].detach() @ seed)
    table = (*nodes.table, Node("output", "logits", len(ids) - 1, 5, value))
    return made, nodes, table, all_edges(made, nodes, [Output(seed, len(table) - 1)], len(table))


def dense(edges, count):
    matrix = torch.zeros(count, count, dtype=torch.float64)
    matrix[edges.target, edges.source] = edges.weight
    return matrix


@every
def test_what_flows_in_is_the_value_by_the_frozen_rule(family):
    model, ids = FAMILIES[family][0]().double(), token_rows(1, 7)[0]
    made, nodes, table, edges = drawn_edges(model, parts_of(model), ids, "frozen")
    record = sum_identity(made, nodes, table, edges)
    assert record.holds
    assert record.worst < 1e-9


@every
def test_edges_by_grad_are_finite_differences_with_all_else_held(family):
    model, ids = FAMILIES[family][0]().double(), token_rows(1, 6)[0]
    parts = parts_of(model, 2)
    made, nodes, table, edges = drawn_edges(model, parts, ids, "grad")
    matrix, step = dense(edges, len(table)), 1e-4
    given = {name: made.written(name) for name in made.leaves if name not in made.biases}
    generator = torch.Generator().manual_seed(0)
    chosen = [i for i, n in enumerate(table) if n.kind == "subcomponent"]
    for i in torch.randperm(len(chosen), generator=generator)[:6].tolist():
        node = table[chosen[i]]
        write = parts.factors(node.place)[1][node.number].detach() * node.value
        moved = []
        for sign in (1, -1):
            leaf = given[node.place].clone()
            leaf[node.position] += sign * step * write
            again = cut(model, ids, "grad", {**given, node.place: leaf})
            column = torch.zeros(len(table), dtype=torch.float64)
            for site, target in nodes.targets.items():
                column[target.node] = again.read(site) @ target.reads
            logits = again.logits[-1].detach()
            column[-1] = logits[5] - logits.mean()
            moved.append(column)
        slope = (moved[0] - moved[1]) / (2 * step)
        scale = max(1.0, float(slope.abs().max()))
        assert (slope - matrix[:, chosen[i]]).abs().max() / scale < 1e-6


def test_closed_forms_on_the_built_in_architecture():
    """Residual, MLP and value edges, written out."""
    model, ids = simple_mlp().double(), token_rows(1, 5)[0]
    parts = parts_of(model, 2)
    made, _, table, edges = drawn_edges(model, parts, ids, "frozen")
    matrix = dense(edges, len(table))
    at = {(n.place, n.position, n.number): i for i, n in enumerate(table)}

    def edge(target, j, c, source, i, d):
        return float(matrix[at[target, j, c], at[source, i, d]])

    def size(site, t, c):
        return float(made.read(site)[t] @ parts.factors(site)[0][:, c])

    # residual: V_tᵀ diag(gain · scale) u_s a_s
    x = made.written("wte") + made.written("h.0.attn.o_proj")
    norm = model.h[0].rms_2
    scale = norm.weight.double() * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.eps)
    v, u = parts.factors("h.0.mlp.c_fc")[0][:, 1], parts.factors("h.0.attn.o_proj")[1][0]
    expected = float((v * scale[3]) @ u) * size("h.0.attn.o_proj", 3, 0)
    assert edge("h.0.mlp.c_fc", 3, 1, "h.0.attn.o_proj", 3, 0) == pytest.approx(expected, rel=1e-6)
    # MLP: V_downᵀ diag(f(h)/h) u_up a
    h = made.written("h.0.mlp.c_fc")
    ratio = F.gelu(h, approximate="tanh") / h
    v, u = parts.factors("h.0.mlp.down_proj")[0][:, 0], parts.factors("h.0.mlp.c_fc")[1][1]
    expected = float((v * ratio[2]) @ u) * size("h.0.mlp.c_fc", 2, 1)
    assert edge("h.0.mlp.down_proj", 2, 0, "h.0.mlp.c_fc", 2, 1) == pytest.approx(expected, rel=1e-9)
    # values: Σ_heads p_ij V_o^hᵀ u_v^h a
    from rankone.models.simple_mlp import rotary_tables, rotate

    heads, width = model.h[0].attn.heads, 8
    q, k = (
        made.written(f"h.0.attn.{p}_proj").view(5, heads, width).transpose(0, 1).unsqueeze(0) for p in "qk"
    )
    tables = rotary_tables(torch.arange(5).unsqueeze(0), width, model.config.rope_theta)
    scores = (rotate(q, *tables) @ rotate(k, *tables).transpose(-2, -1))[0] / width**0.5
    pattern = scores.masked_fill(~torch.ones(5, 5, dtype=torch.bool).tril(), -torch.inf).softmax(-1)
    v = parts.factors("h.0.attn.o_proj")[0][:, 1].view(heads, width)
    u = parts.factors("h.0.attn.v_proj")[1][0].view(heads, width)
    expected = float((pattern[:, 4, 1] * (v * u).sum(1)).sum()) * size("h.0.attn.v_proj", 1, 0)
    assert edge("h.0.attn.o_proj", 4, 1, "h.0.attn.v_proj", 1, 0) == pytest.approx(expected, rel=1e-6)


@every
def test_nothing_flows_backwards_and_queries_act_by_grad_alone(family):
    model, ids = FAMILIES[family][0]().double(), token_rows(1, 6)[0]
    parts = parts_of(model, 2)
    for rule in ("frozen", "grad"):
        _, _, table, edges = drawn_edges(model, parts, ids, rule)
        position = torch.tensor([n.position for n in table])
        assert (position[edges.source] <= position[edges.target]).all()
        places = {
            (table[s].place, table[t].place)
            for s, t in zip(edges.source.tolist(), edges.target.tolist(), strict=True)
        }
        pairs = {(s, t) for s, t in places if s.endswith("q_proj")}
        assert bool(pairs) == (rule == "grad" and any(n.place.endswith("q_proj") for n in table))


def test_what_a_site_reads_is_the_table_of_the_specification():
    model, ids = simple_mlp(), token_rows(1, 6)[0]
    made = cut(model, ids, "grad")
    assert probe(made, "h.1.mlp.c_fc").leaves == (
        "wte",
        "h.0.attn.o_proj",
        "h.0.mlp.down_proj",
        "h.1.attn.o_proj",
    )
    assert probe(made, "h.1.mlp.down_proj").leaves == ("h.1.mlp.c_fc",)
    attention = probe(made, "h.1.attn.o_proj")
    assert set(attention.leaves) == {f"h.1.attn.{p}_proj" for p in "qkv"}
    assert attention.mixes
    assert probe(cut(model, ids, "frozen"), "h.1.attn.o_proj").leaves == ("h.1.attn.v_proj",)


def test_with_constants_held_the_forward_is_linear():
    model, ids = simple_mlp().double(), token_rows(1, 5)[0]
    first = cut(model, ids, "frozen")
    given = {name: first.written(name) for name in first.leaves}
    doubled = cut(model, ids, "frozen", {name: 2 * leaf for name, leaf in given.items()}, first.tape)
    for site in first.inputs:
        assert torch.allclose(doubled.read(site), 2 * first.read(site), rtol=1e-6)


def test_a_partly_decomposed_model_shows_the_rest_as_nodes():
    model, ids = simple_mlp().double(), token_rows(1, 5)[0]
    made, nodes, table, edges = drawn_edges(model, parts_of(model, 2, ["h.1.mlp.*"]), ids, "frozen")
    assert sum_identity(made, nodes, table, edges).holds
    assert {n.place for n in table if n.kind == "undecomposed"} >= {"h.0.attn.o_proj", "h.1.attn.v_proj"}


def test_an_operation_that_is_not_known_is_refused_by_name():
    model, ids = simple_mlp().double(), token_rows(1, 5)[0]
    model.h[0].mlp.forward = lambda x: model.h[0].mlp.down_proj(torch.erf(model.h[0].mlp.c_fc(x) + 1))
    made, nodes, table, edges = drawn_edges(model, parts_of(model, 2), ids, "frozen")
    with pytest.raises(RankOneError, match="'erf'"):
        require_known_operations(sum_identity(made, nodes, table, edges), made, table)


def test_a_function_that_pytorch_does_not_ask_for_is_refused_by_name():
    """Bloom's GELU has a backward of its own; its scores, by an operation that is only noted, are no cause."""
    config = BloomConfig(vocab_size=300, hidden_size=24, n_layer=1, n_head=3)
    model, ids = AutoModelForCausalLM.from_config(config).double(), token_rows(1, 5)[0]
    made, nodes, table, edges = drawn_edges(model, parts_of(model, 2), ids, "frozen")
    with pytest.raises(RankOneError, match=r"dense_4h_to_h .* the operation 'GeLUFunction'"):
        require_known_operations(sum_identity(made, nodes, table, edges), made, table)


def test_a_model_that_changes_what_a_matrix_writes_is_refused_by_name():
    config = OlmoConfig(
        vocab_size=300,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=1,
        num_attention_heads=4,
        clip_qkv=0.05,
    )
    model = AutoModelForCausalLM.from_config(config)
    for rule in ("frozen", "grad"):
        with pytest.raises(RankOneError, match=r"in place \('clamp_'\)"):
            cut(model, token_rows(1, 4)[0], rule)
    assert all(p.requires_grad for p in model.parameters())


def test_operators_that_write_are_known_by_name_and_no_others():
    """`int(leaf)` and `~mask` begin as `leaf |= 1` does."""
    leaf = torch.ones(2, dtype=torch.float64, requires_grad=True)
    with RuleMode("grad", {}, None):
        first, second = leaf
        assert (first + second).item() == 2
        assert int(torch.ones(1, requires_grad=True)) == 1
        for write, name in (("__iadd__", "add_"), ("__itruediv__", "div_"), ("__ior__", "__ior__")):
            with pytest.raises(RankOneError, match=rf"in place \('{name}'\)"):
                getattr(leaf, write)(1.0)
        with pytest.raises(RankOneError, match=r"in place \('__setitem__'\)"):
            leaf[0] = 1.0


def test_experts_are_refused_and_the_model_is_left_as_it_was():
    with pytest.raises(RankOneError, match="mixture of experts"):
        cut(FAMILIES["mixtral"][0](), token_rows(1, 4)[0], "frozen")
    model = simple_mlp()
    cut(model, token_rows(1, 4)[0], "frozen")
    assert all(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_without_a_cut_a_change_moves_the_logits_by_its_effects_over_all_paths():
    """Against total_effects of a graph of every part, whose parts are the whole of the weights."""
    model, ids = simple_mlp().double(), token_rows(1, 5)[0]
    sites = find_sites(model)
    parts = Parts(
        {s.name: (s.module.weight.detach().T.clone(), torch.eye(s.d_out).double()) for s in sites}, "outputs"
    ).frozen()
    config = GraphConfig(nodes="all", target=" the", random_graphs=0)
    graph = make_graph(model, tokenizer(), parts, tokenizer().decode(ids), config).graph
    ids = torch.tensor(graph.record.ids)
    plain, tape = frozen_logits(model, ids)
    with torch.no_grad():
        assert torch.allclose(plain, model(input_ids=ids[None]).logits[0], atol=1e-5)
    effects = total_effects(graph, "frozen", graph.outputs[0])
    node = next(i for i in graph.chosen if graph.part(i) == "outputs/h.0.mlp.c_fc:7")
    change = Change(graph.part(node), 0.0, (graph.nodes[node].position,))
    with intervened(model, parts, [change]):
        turned, _ = frozen_logits(model, ids, tape)
    seed = graph.aims[0].seed(plain.shape[1])
    assert float((turned - plain)[-1] @ seed) == pytest.approx(-float(effects[node]), rel=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_one_backward_says_what_taking_a_part_out_everywhere_takes_from_the_truth(family):
    """Against the frozen model run with the part out, of a part of every kind of site."""
    model, ids = FAMILIES[family][0]().double(), token_rows(1, 6)[0]
    parts = parts_of(model).frozen()
    said = dict(zip(parts.names(), influence_on_truth(model, parts, ids).tolist(), strict=True))
    plain, tape = frozen_logits(model, ids)

    def truth(logits):
        logits = logits.detach()
        return float((logits - logits.mean(-1, keepdim=True))[:-1].gather(1, ids[1:, None]).sum())

    for site in parts.sites:
        name = next(n for n in parts.names() if f"{site}:" in n)
        with intervened(model, parts, [Change(name, 0.0)]):
            without, _ = frozen_logits(model, ids, tape)
        assert truth(without) - truth(plain) == pytest.approx(-said[name], rel=1e-5, abs=1e-9)
