"""Graphs made, verified, saved and read back; interventions against the weight edit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import probe, simple_mlp, tokenizer
from tests.models.families import FAMILIES

from rankone.circuits import build
from rankone.circuits.attribution.edges import Edges
from rankone.circuits.attribution.targets import likeliest, parsed
from rankone.circuits.build import make_graph, remade
from rankone.circuits.config import GraphConfig
from rankone.circuits.graph import influence
from rankone.circuits.intervene import Change, changed_logits
from rankone.circuits.storage import load_graph, require_origin, save_graph
from rankone.circuits.verification import cuts
from rankone.circuits.verification.verify import verified
from rankone.core.errors import RankOneError
from rankone.edits.scales import scale_edit
from rankone.models.context import context_length
from rankone.models.sites import find_sites
from rankone.parts.sources import SOURCES, make_parts


def test_a_graph_is_exact_where_it_should_be_and_comes_back_from_disk(case):
    account, graph = case.account, case.made.graph
    assert account.exact, account.model_dump(exclude={"removals", "masked"})
    # In float64 nothing is left but its own rounding.
    assert max(account.identity_worst, account.linearity) < 1e-8
    assert 0 <= account.scores_fewer.replacement <= account.scores.replacement <= 1
    saved = load_graph(case.path)
    back, again = saved.graph, saved.verification
    assert (back.record, back.nodes, again) == (graph.record, graph.nodes, account)
    for rule, edges in graph.edges.items():
        assert torch.equal(back.edges[rule].weight, edges.weight.float())
    require_origin(back, case.model, case.parts, case.path)
    with pytest.raises(RankOneError, match="other weights"):
        require_origin(back, simple_mlp(1), case.parts, case.path)
    with pytest.raises(RankOneError, match="other parts"):
        require_origin(back, case.model, decomposed(case.model, "random"), case.path)


def test_a_saved_graph_is_drawn_again_and_one_that_does_not_come_out_is_refused(case):
    back = load_graph(case.path).graph
    again = remade(back, case.model, case.parts)
    assert torch.allclose(again.graph.edges["frozen"].total, case.made.graph.edges["frozen"].total)
    assert [n.importance for n in again.graph.nodes] == [n.importance for n in back.nodes]
    wrong = replace(back.edges["grad"], total=back.edges["grad"].total + 1)
    node, scores = back.nodes[back.chosen[0]], back.record.scores
    weight = back.edges["frozen"].weight.clone()
    weight[back.edges["frozen"].target == back.outputs[0]] *= 2
    for altered in (
        replace(back, edges={**back.edges, "grad": wrong}),
        replace(back, edges={**back.edges, "frozen": replace(back.edges["frozen"], weight=weight)}),
        replace(
            back,
            nodes=(
                *back.nodes[: back.chosen[0]],
                replace(node, value=node.value + 1),
                *back.nodes[back.chosen[0] + 1 :],
            ),
        ),
        replace(back, influence=back.influence.flip(0)),
        replace(
            back,
            record=back.record.model_copy(update={"scores": scores.model_copy(update={"replacement": 0.99})}),
        ),
    ):
        with pytest.raises(RankOneError, match="does not come out as it was saved"):
            remade(altered, case.model, case.parts)


def test_a_graph_altered_by_hand_is_refused(case, tmp_path):
    save_graph(case.made.graph, tmp_path / "g")
    file = tmp_path / "g" / "graph.json"
    file.write_text(file.read_text("utf8").replace("the cat", "the dog"), "utf8")
    with pytest.raises(RankOneError):
        load_graph(tmp_path / "g")


def test_influence_adds_up_all_paths():
    """0 → 1 → 3 and 0 → 3, 2 → 1: shares 3/4 and 1/4 into 1, halves into 3."""
    source, target = torch.tensor([0, 2, 0, 1]), torch.tensor([1, 1, 3, 3])
    absolute = torch.tensor([0.0, 4, 0, 2], dtype=torch.float64)
    edges = Edges(source, target, torch.tensor([3.0, -1, 1, 1]), absolute, absolute)
    assert influence(edges, {3: 1.0}, 4).tolist() == pytest.approx([0.875, 0.5, 0.125, 0.0])


def test_scaling_at_all_positions_is_the_edit_of_the_weight(case):
    model, parts = case.model, case.parts
    ids, name = probe(1, 8)[0], parts.names()[5]
    turned = changed_logits(model, parts, ids, [Change(name, -3.0)])
    with scale_edit(parts, {name: -3.0}).bind(model).applied(model), torch.no_grad():
        edited = model(input_ids=ids[None], use_cache=False).logits[0]
    assert torch.allclose(turned, edited, atol=1e-5)
    plain = changed_logits(model, parts, ids, [])
    late = changed_logits(model, parts, ids, [Change(name, -3.0, (5,))])
    assert torch.equal(late[:5], plain[:5])
    assert not torch.equal(late[5:], plain[5:])
    with pytest.raises(RankOneError, match="no position 8"):
        changed_logits(model, parts, ids, [Change(name, 0.0, (8,))])


def test_targets_are_tokens_and_contrasts():
    words = tokenizer()
    one, other = words(" the")["input_ids"], words(" cat")["input_ids"]
    assert (len(one), len(other)) == (1, 1)
    aim = parsed('" the"-" cat"', words)
    assert aim.terms == ((one[0], 1.0), (other[0], -1.0))
    assert float(aim.seed(300).sum()) == pytest.approx(0)
    assert parsed(" the", words).token == one[0]
    with pytest.raises(RankOneError, match=r"not a token of this model.*Nearest"):
        parsed(" thex", words)
    with pytest.raises(RankOneError, match="names a token twice"):
        parsed('" the"-" the"', words)
    logits = torch.zeros(300)
    logits[7], logits[9] = 12.0, 11.0
    assert [a.token for a in likeliest(logits, words)] == [7, 9]


def test_a_byte_that_is_no_character_is_spelled_as_one(case):
    """Half of an é: neither a graph's tokens nor its aims, nor what a refusal offers, show a replacement character."""
    words = case.words
    first, second = words("é", add_special_tokens=False)["input_ids"]
    logits = torch.zeros(300)
    logits[first] = 30.0
    assert [a.text for a in likeliest(logits, words)] == ['"<0xC3>"']
    with pytest.raises(RankOneError, match=r"it is 2 tokens here \(<0xC3> \| <0xA9>\)"):
        parsed("é", words)
    made = make_graph(case.model, words, case.parts, "é", GraphConfig(nodes="strongest", per_site=1))
    assert made.graph.record.tokens[-2:] == ("<0xC3>", "<0xA9>")
    assert made.graph.record.ids[-2:] == (first, second)


def test_a_graph_is_drawn_again_in_the_numbers_that_it_was_drawn_in(case):
    config = GraphConfig(nodes="strongest", per_site=1, random_graphs=0, precision="float32")
    made = make_graph(case.model, case.words, case.parts, "the cat", config)
    assert made.exact is case.model
    assert remade(made.graph, case.model, case.parts).exact is case.model
    again = remade(case.made.graph, case.model, case.parts)
    assert next(again.exact.parameters()).dtype == torch.float64


def test_a_site_without_a_chosen_part_is_no_target(case):
    model, parts = case.model, case.parts
    config = GraphConfig(nodes="named", names=("h.1.mlp.down_proj:0", "h.0.mlp.c_fc:1"), random_graphs=0)
    graph = make_graph(model, tokenizer(), parts, "the cat", config).graph
    assert {graph.part(i) for i in graph.chosen} == set(config.names)


def test_neurons_have_graphs_too_and_no_importance_to_choose_by():
    model, words = simple_mlp(), tokenizer()
    sites = [site for site in find_sites(model) if SOURCES["neuron"].fits(site)]
    neurons = make_parts("neuron", sites).frozen()
    config = GraphConfig(nodes="strongest", per_site=2)
    made = make_graph(model, words, neurons, "the cat", config)
    assert made.identity.worst < 1e-8
    assert made.graph.record.masked == ()
    assert made.graph.part(made.graph.chosen[0]).startswith("neuron/")
    # The neurons of a site are the whole of it: with all of them nothing of it is left over.
    whole = make_graph(model, words, neurons, "the cat", GraphConfig(nodes="all")).graph
    left = [n.value for n in whole.nodes if n.kind in ("delta", "unselected")]
    assert max(map(abs, left)) < 1e-5
    with pytest.raises(RankOneError, match="neuron parts have no causal importance"):
        make_graph(model, words, neurons, "the cat", GraphConfig())


def test_prompts_that_do_not_fit_are_refused(case):
    for prompt, said in (("", "empty"), ("cat " * 100, "the model reads 64")):
        with pytest.raises(RankOneError, match=said):
            make_graph(case.model, case.words, case.parts, prompt, GraphConfig())
    with pytest.raises(RankOneError, match=r"not a token of this model.*Nearest"):
        make_graph(case.model, case.words, case.parts, "the cat", GraphConfig(target=" thex"))
    with pytest.raises(RankOneError, match="ce needs one token"):
        make_graph(
            case.model, case.words, case.parts, "the cat", GraphConfig(target='" the"-" cat"', objective="ce")
        )


def test_where_memory_does_not_suffice_it_says_what_to_lower(case, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    def none_on_a_processor(*_, **__):
        torch.empty(1 << 50)

    for failing in (full, none_on_a_processor):
        monkeypatch.setattr(build, "all_edges", failing)
        with pytest.raises(RankOneError, match="Shorten the prompt, raise --threshold"):
            make_graph(case.model, case.words, case.parts, "the cat", GraphConfig(nodes="strongest"))
        with pytest.raises(RankOneError, match="Shorten the prompt, raise --threshold"):
            remade(load_graph(case.path).graph, case.model, case.parts)
    monkeypatch.setattr(cuts, "connectivity", none_on_a_processor)
    with pytest.raises(RankOneError, match="Shorten the prompt, raise --threshold"):
        verified(case.parts, case.made, checked=2)


def test_a_prompt_that_fills_the_context_is_checked_too():
    """Positions are learned there: a token more has none."""
    model, words = FAMILIES["gpt2"][0](), tokenizer()
    parts = decomposed(model)
    longest = context_length(model)
    assert longest is not None
    prompt = next(p for n in range(longest) if len(words(p := "cat " * n)["input_ids"]) == longest)
    made = make_graph(
        model, words, parts, prompt, GraphConfig(nodes="strongest", per_site=1, random_graphs=0)
    )
    assert made.graph.length == longest
    assert verified(parts, made, checked=2).exact
