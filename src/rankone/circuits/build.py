"""Making a graph: cut the prompt, choose nodes, draw edges by both rules, see that they add up, and measure under masks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.circuits.attribution.cut import Cut, cut
from rankone.circuits.attribution.edges import Edges, Output, all_edges, probe, row_count
from rankone.circuits.attribution.identity import IdentityRecord, require_known_operations, sum_identity
from rankone.circuits.attribution.nodes import (
    Node,
    Nodes,
    Selection,
    by_importance,
    everything,
    named,
    nodes_of,
    strongest,
)
from rankone.circuits.attribution.targets import Aim, aims_of
from rankone.circuits.config import GraphConfig
from rankone.circuits.graph import Graph, influence, output_weights, scores
from rankone.circuits.masks import MaskedPrompt, loss_of, masked_logits, masked_row, masked_rows, random_nodes
from rankone.circuits.masks import masked_prompt as opened_prompt
from rankone.circuits.optimise import optimised
from rankone.circuits.records import RULES, GraphRecord, MaskedRow, OptimisedRecord, OutputRecord, Rule
from rankone.core.errors import RankOneError
from rankone.core.tensors import tensor_hash
from rankone.decomposition.model import Decomposition
from rankone.models.context import context_length
from rankone.parts.target import target_entry
from rankone.runtime.progress import log, meter


@dataclass(frozen=True)
class Made:
    """A graph, its cuts and nodes (for verification), and how well the sum identity holds."""

    graph: Graph
    cuts: dict[Rule, Cut]
    nodes: Nodes
    identity: IdentityRecord


@dataclass(frozen=True)
class _Choice:
    """Nodes: where, with what importance, how they were fitted, and what the masked model says."""

    selection: Selection
    importance: Float[Tensor, "t c"]
    optimised: OptimisedRecord | None
    masked: tuple[MaskedRow, ...]


def prompt_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str) -> Int[Tensor, " t"]:
    """Token ids of a prompt on the model's device; RankOneError for one that is empty or does not fit the context."""
    ids = torch.tensor(tokenizer(prompt)["input_ids"], dtype=torch.long, device=model.device)
    longest = context_length(model)
    if not len(ids):
        raise RankOneError("the prompt is empty. Give at least one token.")
    if longest is not None and len(ids) > longest:
        raise RankOneError(f"the prompt is {len(ids)} tokens long, the model reads {longest}. Shorten it.")
    return ids


def make_graph(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    decomposition: Decomposition,
    prompt: str,
    config: GraphConfig,
) -> Made:
    """The graph of the last position of a prompt; nothing after that position is read, and nothing is written.

    Raises RankOneError for a model whose operations are not known, naming them, for a target that is no token, and where
    memory does not suffice, naming what to lower.
    """
    started = time.process_time()
    if model.dtype not in (torch.float32, torch.float64):
        raise RankOneError(
            f"the model computes in {model.dtype}, too coarse to add up edges. Use --dtype float32."
        )
    ids = prompt_ids(model, tokenizer, prompt)
    try:
        first = cut(model, ids, "frozen")
        aims = aims_of(config.target, first.logits[-1], tokenizer)
        choice = _chosen(model, decomposition, first, ids, config, aims[0])
        nodes = nodes_of(model, decomposition, first, choice.selection, choice.importance)
        table, seeds = _with_outputs(nodes, first, aims)
        cuts, edges, identity = _edges(model, ids, first, nodes, table, seeds)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise RankOneError(
            "memory does not suffice for this graph. Shorten the prompt, raise --threshold, or take --nodes optimised."
        ) from error
    flow = influence(edges["frozen"], output_weights(table), len(table))
    record = GraphRecord(
        prompt=prompt,
        ids=tuple(ids.tolist()),
        tokens=tuple(str(tokenizer.decode([i])) for i in ids.tolist()),
        model=str(model.name_or_path).rstrip("/").rpartition("/")[2],
        weights=_weights(model, decomposition),
        origin=decomposition.origin,
        parts=parts_hash(decomposition),
        node_set=config.nodes,
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
    return Made(graph, cuts, nodes, identity)


def parts_hash(parts: Decomposition) -> str:
    """SHA-256 over V and U of all sites."""
    stacked = [tensor_hash(factor) for site in parts.sites for factor in parts.factors(site)]
    return tensor_hash(torch.frombuffer(bytearray("".join(stacked).encode()), dtype=torch.uint8))


def _weights(model: PreTrainedModel, parts: Decomposition) -> dict[str, str]:
    weights = target_entry(model, parts.sites)["weights"]
    assert isinstance(weights, dict)
    return weights


def _chosen(
    model: PreTrainedModel, parts: Decomposition, first: Cut, ids: Tensor, config: GraphConfig, aim: Aim
) -> _Choice:
    if config.objective == "ce" and aim.token is None:
        raise RankOneError(
            "the objective ce needs one token as its target: give --objective logit for a contrast."
        )
    with opened_prompt(model, parts, ids) as prompt:
        loss = loss_of(config.objective, prompt.clean, aim)
        g, record = prompt.importance, None
        if config.nodes in ("optimised", "ci"):
            mode = "importance" if config.nodes == "ci" else "stochastic and adversarial"
            g, record = optimised(prompt, loss, config.fitting(), mode)
        selection = _selection(parts, first, g, config)
        kept = torch.cat([selection[s] for s in parts.sites], dim=1).to(g.device)
        if not kept.any():
            raise RankOneError("no part is chosen at any position: lower the threshold or the penalty.")
        weight = g * kept if config.nodes in ("natural", "optimised", "ci") else kept.to(g)
        rows = masked_rows(prompt, weight, prompt.raw > 0, aim, loss, config.seed)
        rows += _random_rows(prompt, kept, aim, config)
    return _Choice(selection, g, record, tuple(rows))


def _selection(parts: Decomposition, first: Cut, g: Float[Tensor, "t c"], config: GraphConfig) -> Selection:
    if config.nodes == "strongest":
        return strongest(parts, first, config.per_site)
    if config.nodes == "named":
        if not config.names:
            raise RankOneError("--nodes named needs the names: give --names PART,PART,…")
        return named(parts, config.names, first.length)
    if config.nodes == "all":
        return everything(parts, first.length)
    return by_importance(parts, g, config.threshold if config.nodes == "natural" else 0.0)


def _random_rows(
    prompt: MaskedPrompt, kept: Bool[Tensor, "t c"], aim: Aim, config: GraphConfig
) -> list[MaskedRow]:
    """Random graphs of the same counts per site, under binary masks: of the naturally alive, else of all parts."""
    if not config.random_graphs:
        return []
    alive = (prompt.raw > 0).cpu()
    pool = alive if int(kept.sum()) * 2 <= int(alive.sum()) else torch.ones_like(alive)
    generator = torch.Generator().manual_seed(config.seed)
    drawn = [
        random_nodes(kept.cpu(), pool, prompt.model.decomposition.counts, generator)
        for _ in range(config.random_graphs)
    ]
    loss = loss_of("kl", prompt.clean, aim)
    logits = [masked_logits(prompt, m.to(prompt.raw), prompt.raw > 0, loss, "binary") for m in drawn]
    return [masked_row(prompt, "binary", int(kept.sum()), torch.cat(logits), aim, random=True)]


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
) -> tuple[dict[Rule, Cut], dict[Rule, Edges], IdentityRecord]:
    cuts: dict[Rule, Cut] = {"frozen": first, "grad": cut(model, ids, "grad")}
    edges: dict[Rule, Edges] = {}
    rows = {rule: row_count(made, nodes) for rule, made in cuts.items()}
    size = sum(leaf.numel() * leaf.element_size() for leaf in first.leaves.values())
    log.info(
        f"{len(table):,} nodes, {sum(rows.values()):,} backward rows; at most about "
        f"{(3 * 64 * size + 2**29) / 2**20:,.0f} MB"
    )
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


def relabelled(graph: Graph, labels: dict[str, str]) -> Graph:
    """The graph with labels of its parts."""
    wanted = {graph.part(i) for i in graph.chosen}
    kept = {name: text for name, text in labels.items() if name in wanted}
    return replace(graph, record=graph.record.model_copy(update={"labels": kept}))
