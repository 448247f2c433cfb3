"""What a graph says of taking a node out, beside what happens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.attribution.cut import cut
from rankone.circuits.build import Made
from rankone.circuits.graph import Graph
from rankone.circuits.intervene import Change, changed_logits
from rankone.circuits.records import RULES, Agreement, Removal, Rule
from rankone.circuits.verification.cuts import changed, values
from rankone.decomposition.model import Decomposition


def total_effects(graph: Graph, rule: Rule, output: int) -> Float[Tensor, " nodes"]:
    """What each node adds to an output through all paths of the graph: an intermediate passes on its incoming edge as a
    share of its own value. Rest nodes are held."""
    edges = graph.edges[rule]
    total = torch.zeros(len(graph.nodes), dtype=torch.float64)
    value = torch.tensor([n.value for n in graph.nodes], dtype=torch.float64)
    bounds = torch.searchsorted(edges.target, torch.arange(len(graph.nodes) + 1))
    total[output] = value[output]
    for node in edges.target.unique().flip(0).tolist():
        if total[node] == 0 or abs(float(value[node])) < 1e-12:
            continue
        part = slice(int(bounds[node]), int(bounds[node + 1]))
        total.index_add_(0, edges.source[part], edges.weight[part].double() * (total[node] / value[node]))
    return total


def direct_effects(graph: Graph, rule: Rule, output: int) -> Float[Tensor, " nodes"]:
    """Edges into an output, by source."""
    edges = graph.edges[rule]
    here = edges.target == output
    effect = torch.zeros(len(graph.nodes), dtype=torch.float64)
    effect[edges.source[here]] = edges.weight[here].double()
    return effect


def sampled_nodes(graph: Graph, count: int, seed: int = 0) -> list[int]:
    """Half the chosen nodes of most influence, half others at random."""
    chosen = torch.tensor(graph.chosen)
    order = chosen[graph.influence[chosen].argsort(descending=True)].tolist()
    first = order[: count // 2]
    generator = torch.Generator().manual_seed(seed)
    rest = order[len(first) :]
    picked = torch.randperm(len(rest), generator=generator)[: count - len(first)].tolist()
    return first + [rest[i] for i in picked]


def removals(model: PreTrainedModel, parts: Decomposition, made: Made, nodes: Sequence[int]) -> list[Removal]:
    """Each node removed alone, measured at the first output."""
    graph = made.graph
    output, ids = graph.outputs[0], torch.tensor(graph.record.ids, device=model.device)
    said = {rule: (direct_effects(graph, rule, output), total_effects(graph, rule, output)) for rule in RULES}
    base = float(values(made, made.cuts["grad"])[output])
    seed = torch.zeros(made.cuts["grad"].logits.shape[1], dtype=torch.float64)
    record = graph.record.outputs[0]
    for token, factor in zip(record.tokens, record.factors, strict=True):
        seed[token] += factor
    seed -= seed.mean()
    rows = []
    for node in nodes:
        held = values(made, cut(model, ids, "grad", changed(made, node, 0.0)))
        here = graph.nodes[node]
        run = changed_logits(model, parts, ids, [Change(graph.part(node), 0.0, (here.position,))])[-1]
        rows.append(
            Removal(
                node=node,
                name=graph.name(node),
                predicted_direct={rule: -float(said[rule][0][node]) for rule in RULES},
                predicted_full={rule: -float(said[rule][1][node]) for rule in RULES},
                direct=float(held[output]) - base,
                full=float(run.double().cpu() @ seed) - base,
            )
        )
    return rows


def agreement(rows: Sequence[Removal]) -> list[Agreement]:
    """By rule and effect, over the removed nodes."""
    table = []
    for rule in RULES:
        for effect in ("direct", "full"):
            said = torch.tensor([getattr(r, f"predicted_{effect}")[rule] for r in rows], dtype=torch.float64)
            done = torch.tensor([getattr(r, effect) for r in rows], dtype=torch.float64)
            table.append(_agreement(rule, effect, said, done))
    return table


def _agreement(rule: Rule, effect: str, said: Tensor, done: Tensor) -> Agreement:
    x, y = said - said.mean(), done - done.mean()
    scale = (x.square().sum() * y.square().sum()).sqrt()
    # Effects below a thousandth of the largest have no sign to speak of.
    large = done.abs() > 1e-3 * done.abs().max()
    return Agreement(
        rule=rule,
        effect=effect,  # pyright: ignore[reportArgumentType]
        nodes=len(said),
        pearson=float((x * y).sum() / scale) if scale > 0 else 0.0,
        slope=float((said * done).sum() / said.square().sum()) if said.any() else 0.0,
        signs=float((said.sign() == done.sign())[large].double().mean()) if large.any() else 0.0,
    )
