"""All checks of a graph (docs/circuits.md), as one record."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from rankone.circuits.attribution.targets import Aim
from rankone.circuits.build import Made
from rankone.circuits.graph import Graph, scores
from rankone.circuits.masks import masked_prompt, masked_row
from rankone.circuits.records import REST, MaskedRow, Scores, StabilityRow, Verification
from rankone.circuits.verification import cuts
from rankone.circuits.verification.removals import agreement, removals, sampled_nodes
from rankone.decomposition.model import Decomposition

# Sources that are doubled, and moved, in the checks of edges against forwards.
SAMPLED = 8


def verified(
    model: PreTrainedModel,
    parts: Decomposition,
    made: Made,
    checked: int = 40,
    seed: int = 0,
    stability: tuple[StabilityRow, ...] = (),
) -> Verification:
    """Every check on a graph that was just made."""
    started = time.process_time()
    graph = made.graph
    sampled = sampled_nodes(graph, SAMPLED, seed)
    rests = [i for i, n in enumerate(graph.nodes) if n.kind in (*REST, "embedding", "bias")][: SAMPLED // 2]
    rows = removals(model, parts, made, sampled_nodes(graph, checked, seed))
    return Verification(
        identity_targets=made.identity.targets,
        identity_worst=made.identity.worst,
        identity_beyond_rounding=made.identity.worst_beyond_rounding,
        identity_over=made.identity.over_tolerance,
        linearity=cuts.linearity(model, made, [*sampled, *rests]),
        difference=cuts.differences(model, made, sampled),
        connectivity=cuts.connectivity(model, made, seed),
        causality=cuts.backwards(graph),
        extension=cuts.extension(model, made, seed),
        scores=graph.record.scores,
        scores_fewer=_fewer(graph),
        masked=graph.record.masked,
        dropped_all=_dropped(model, parts, graph),
        removals=tuple(rows),
        agreement=tuple(agreement(rows)),
        stability=stability,
        processor_seconds=time.process_time() - started,
    )


def _fewer(graph: Graph) -> Scores:
    """Scores of the graph with the less influential half of its subcomponents counted as rest."""
    chosen = torch.tensor(graph.chosen)
    least = set(chosen[graph.influence[chosen].argsort()][: len(chosen) // 2].tolist())
    nodes = [replace(n, kind="unselected") if i in least else n for i, n in enumerate(graph.nodes)]
    edges = graph.edges["frozen"]
    kept = ~torch.isin(edges.target, torch.tensor(sorted(least)))
    fewer = replace(edges, source=edges.source[kept], target=edges.target[kept], weight=edges.weight[kept])
    return scores(nodes, fewer)


def _dropped(model: PreTrainedModel, parts: Decomposition, graph: Graph) -> MaskedRow:
    """All nodes out of the target at their positions, everything else in place."""
    ids = torch.tensor(graph.record.ids, device=model.device)
    columns = {
        (s, int(n)): i for i, (s, n) in enumerate((s, n) for s in parts.sites for n in parts.indices[s])
    }
    mask = ~graph.mask(columns, parts.total)
    record = graph.record.outputs[0]
    aim = Aim(tuple(zip(record.tokens, record.factors, strict=True)), record.text)
    with masked_prompt(model, parts, ids) as prompt, torch.no_grad():
        logits = prompt.logits(mask.unsqueeze(0).to(prompt.raw), prompt.untouched())
        return masked_row(prompt, "binary", len(graph.chosen), logits, aim)
