"""Making a graph: cut the prompt, choose nodes, draw edges by both rules, see that they add up, and measure under masks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.circuits.attribution.cut import Cut, cut, require_precise
from rankone.circuits.attribution.edges import Edges, Output, all_edges, probe, row_count
from rankone.circuits.attribution.footprint import (
    CUTS,
    PER_EDGE,
    cut_bytes,
    edge_bound,
    gradient_bytes,
    log_memory,
    measured_cut,
    memory_advice,
)
from rankone.circuits.attribution.identity import IdentityRecord, require_known_operations, sum_identity
from rankone.circuits.attribution.nodes import Node, Nodes, nodes_of
from rankone.circuits.attribution.precision import doubled
from rankone.circuits.attribution.targets import Aim, aims_of
from rankone.circuits.choosing.choice import chosen
from rankone.circuits.config import GraphConfig
from rankone.circuits.graph import Graph, influence, output_weights, scores
from rankone.circuits.records import RULES, Belonging, GraphRecord, OutputRecord, Rule
from rankone.core.errors import RankOneError
from rankone.core.foreign import memory_as
from rankone.core.tensors import tensor_hash
from rankone.decomposition.model import Decomposition
from rankone.harvest.origin import decomposition_hash
from rankone.models.context import context_length
from rankone.models.loading import model_hash
from rankone.parts.parts import Parts
from rankone.parts.target import target_entry
from rankone.runtime.progress import meter
from rankone.text.vocabulary import spelling

# How far sums may be off, of what flows in, where a saved graph is drawn again on another machine.
SAME = 1e-3


@dataclass(frozen=True)
class Made:
    """A graph, the model that its cuts are of, its nodes (for verification), and how well the sum identity holds."""

    graph: Graph
    exact: PreTrainedModel
    cuts: dict[Rule, Cut]
    nodes: Nodes
    identity: IdentityRecord


def prompt_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str) -> Int[Tensor, " t"]:
    """Token ids of a prompt on the model's device; RankOneError for one that is empty or does not fit the context."""
    ids = torch.tensor(tokenizer(prompt)["input_ids"], dtype=torch.long, device=model.device)
    longest = context_length(model)
    if not len(ids):
        raise RankOneError("the prompt is empty. Give at least one token.")
    if longest is not None and len(ids) > longest:
        raise RankOneError(f"the prompt is {len(ids)} tokens long, the model reads {longest}. Shorten it.")
    return ids


@memory_as(memory_advice)
def make_graph(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    parts: Parts,
    prompt: str,
    config: GraphConfig,
    of: Belonging | None = None,
) -> Made:
    """The graph of the last position of a prompt; nothing after that position is read, and nothing is written.

    of: `belonging` of the model and parts where it is known, since hashing a model takes a while.
    Raises RankOneError for a model whose operations are not known, naming them, for a target that is not a token, and where
    memory does not suffice, naming what to lower.
    """
    started = time.process_time()
    require_precise(model)
    ids = prompt_ids(model, tokenizer, prompt)
    exact = doubled(model) if config.precision == "float64" else model
    size = cut_bytes(exact, ids)
    log_memory(f"{len(ids)} tokens, cut by either rule and to check it", CUTS * size, model.device)
    first = cut(exact, ids, "frozen")
    aims = aims_of(config.target, first.logits[-1], tokenizer)
    choice = chosen(model, parts, first, ids, config, aims[0])
    nodes = nodes_of(exact, parts, first, choice.selection, choice.importance)
    table, seeds = _with_outputs(nodes, first, aims)
    cuts, edges, identity = _edges(exact, ids, first, nodes, table, seeds, size)
    flow = influence(edges["frozen"], output_weights(table), len(table))
    record = GraphRecord(
        prompt=prompt,
        ids=tuple(ids.tolist()),
        tokens=tuple(spelling(tokenizer, i) for i in ids.tolist()),
        model=Path(str(model.name_or_path)).name,
        weights=_weights(model, parts),
        **(of or belonging(model, parts)).model_dump(include=set(Belonging.model_fields)),
        node_set=config.nodes,
        precision=config.precision,
        threshold=config.threshold,
        outputs=tuple(_output(aim, node) for aim, node in zip(aims, table[-len(aims) :], strict=True)),
        probability=table[-len(aims)].probability,
        optimised=choice.optimised,
        masked=choice.masked,
        scores=scores(table, edges["frozen"]),
        edges_kept={rule: len(made.weight) for rule, made in edges.items()},
        processor_seconds=time.process_time() - started,
    )
    graph = Graph(record, table, edges, flow, _pattern(cuts, nodes, table, edges["grad"]))
    return Made(graph, exact, cuts, nodes, identity)


@memory_as(memory_advice)
def remade(graph: Graph, model: PreTrainedModel, parts: Parts) -> Made:
    """A saved graph drawn anew, of the same nodes and outputs; RankOneError where it does not come out as it was saved."""
    ids = torch.tensor(graph.record.ids, device=model.device)
    exact = doubled(model) if graph.record.precision == "float64" else model
    first, size = measured_cut(exact, ids)
    columns = {(s, int(n)): i for s in parts.sites for i, n in enumerate(parts.indices[s])}
    selection = {
        s: torch.zeros(len(ids), c, dtype=torch.bool) for s, c in zip(parts.sites, parts.counts, strict=True)
    }
    importance = {s: torch.zeros(chosen.shape) for s, chosen in selection.items()}
    for node in (graph.nodes[i] for i in graph.chosen):
        at = node.position, columns[node.place, node.number]
        selection[node.place][at], importance[node.place][at] = True, node.importance or 0.0
    known = any(graph.nodes[i].importance is not None for i in graph.chosen)
    g = torch.cat([importance[s] for s in parts.sites], dim=1) if known else None
    nodes = nodes_of(exact, parts, first, selection, g)
    table, seeds = _with_outputs(nodes, first, graph.aims)
    cuts, edges, identity = _edges(exact, ids, first, nodes, table, seeds, size)
    flow = influence(edges["frozen"], output_weights(table), len(table))
    again = Graph(graph.record, table, edges, flow, _pattern(cuts, nodes, table, edges["grad"]))
    _require_same(graph, again)
    return Made(again, exact, cuts, nodes, identity)


def _require_same(graph: Graph, again: Graph) -> None:
    """The same nodes, and all numbers of them the same but for the rounding of another machine."""
    kinds = [[(n.kind, n.place, n.position, n.number) for n in one.nodes] for one in (graph, again)]
    off = _difference(graph, again) if kinds[0] == kinds[1] else None
    if off is None or not off <= SAME:
        what = "it has other nodes" if off is None else f"numbers off by {off:.1e}"
        raise RankOneError(
            f"the graph of '{graph.record.prompt}' does not come out as it was saved ({what}): it was altered, or the "
            "model runs differently here. Make it again."
        )


def _difference(graph: Graph, again: Graph) -> float:
    """The largest difference: of values, sums and edges as a share of what flows into the node; of influence and scores."""
    saved, drawn = (torch.tensor([n.value for n in one.nodes], dtype=torch.float64) for one in (graph, again))
    flows = again.edges["frozen"].absolute
    # What reads nothing is held against the largest that is written anywhere.
    size = torch.where(flows > 0, flows, drawn.abs().max())
    off = [((saved - drawn).abs() / size).max(), (graph.influence - again.influence).abs().max()]
    for rule in RULES:
        one, other = graph.edges[rule], again.edges[rule]
        size = other.absolute.clamp_min(1e-30)
        off.append(((one.total - other.total).abs() / size).max())
        off.append(((one.absolute - other.absolute).abs() / size).max())
        off.append(_edges_apart(one, other, len(graph.nodes)))
    said, counted = graph.record.scores, scores(again.nodes, again.edges["frozen"])
    apart = (said.replacement - counted.replacement, said.completeness - counted.completeness)
    return max(*map(float, off), *map(abs, apart))


def _edges_apart(saved: Edges, drawn: Edges, count: int) -> Float[Tensor, ""]:
    """Of what flows into their target; an edge that one of them lacks is 0 there."""
    pairs = torch.cat([e.target * count + e.source for e in (saved, drawn)])
    weights = torch.cat([saved.weight.double(), -drawn.weight.double()])
    each, place = pairs.unique(return_inverse=True)
    apart = torch.zeros(len(each), dtype=torch.float64).index_add_(0, place, weights).abs()
    return (apart / drawn.absolute[each // count].clamp_min(1e-30)).max()


def parts_hash(parts: Parts) -> str:
    """SHA-256 over V and U of all sites."""
    stacked = [tensor_hash(factor) for site in parts.sites for factor in parts.factors(site)]
    return tensor_hash(torch.frombuffer(bytearray("".join(stacked).encode()), dtype=torch.uint8))


def belonging(model: PreTrainedModel, parts: Parts) -> Belonging:
    """What a graph of these parts says that it is of."""
    return Belonging(
        origin=parts.origin,
        parts=parts_hash(parts),
        decomposition=decomposition_hash(parts) if isinstance(parts, Decomposition) else None,
        target=model_hash(model, torch.float32),
    )


def _weights(model: PreTrainedModel, parts: Parts) -> dict[str, str]:
    weights = target_entry(model, parts.sites)["weights"]
    assert isinstance(weights, dict)
    return weights


def _with_outputs(nodes: Nodes, first: Cut, aims: Sequence[Aim]) -> tuple[tuple[Node, ...], list[Output]]:
    logits = first.logits[-1].detach().double()
    chances = logits.softmax(-1)
    table, outputs = list(nodes.table), []
    for aim in aims:
        seed = aim.seed(len(logits)).to(logits)
        chance = None if aim.token is None else float(chances[aim.token])
        outputs.append(Output(seed, len(table)))
        number = -1 if aim.token is None else aim.token
        table.append(Node("output", "logits", first.length - 1, number, float(logits @ seed), None, chance))
    return tuple(table), outputs


def _edges(
    model: PreTrainedModel,
    ids: Tensor,
    first: Cut,
    nodes: Nodes,
    table: tuple[Node, ...],
    outputs: list[Output],
    size: int,
) -> tuple[dict[Rule, Cut], dict[Rule, Edges], IdentityRecord]:
    """size: bytes of a cut."""
    cuts: dict[Rule, Cut] = {"frozen": first, "grad": cut(model, ids, "grad")}
    edges: dict[Rule, Edges] = {}
    rows = {rule: row_count(made, nodes) for rule, made in cuts.items()}
    bound = {rule: edge_bound(made, nodes, len(outputs)) for rule, made in cuts.items()}
    # One rule's edges are put in order while the other's are there.
    needed = PER_EDGE * max(bound.values()) + gradient_bytes(first) + (CUTS - len(cuts)) * size
    what = f"{len(table):,} nodes, {sum(rows.values()):,} backward rows, up to {sum(bound.values()):,} edges"
    log_memory(what, needed, model.device)
    with meter("edges", sum(rows.values())) as bar:
        for rule in RULES:
            edges[rule] = all_edges(cuts[rule], nodes, outputs, len(table), bar)
    identity = sum_identity(first, nodes, table, edges["frozen"])
    require_known_operations(identity, first, table)
    return cuts, edges, identity


def _pattern(
    cuts: dict[Rule, Cut], nodes: Nodes, table: tuple[Node, ...], edges: Edges
) -> Bool[Tensor, " n"]:
    """Edges by `grad` from leaves that a site does not read by `frozen`: through attention scores."""
    places = list(cuts["grad"].leaves)
    number = {place: i for i, place in enumerate(places)} | {"logits": len(places)}
    only = torch.zeros(len(places) + 1, len(places) + 1, dtype=torch.bool)
    for site in nodes.targets:
        linear = set(probe(cuts["frozen"], site).leaves)
        for leaf in set(probe(cuts["grad"], site).leaves) - linear:
            only[number[site], number[leaf]] = True
    of = torch.tensor([number[node.place] for node in table])
    return only[of[edges.target], of[edges.source]]


def _output(aim: Aim, node: Node) -> OutputRecord:
    return OutputRecord(
        text=aim.text,
        tokens=tuple(t for t, _ in aim.terms),
        factors=tuple(f for _, f in aim.terms),
        probability=node.probability,
        value=node.value,
    )
