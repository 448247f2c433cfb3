"""All checks of a graph (docs/circuits.md), as one record."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from rankone.circuits.attribution.footprint import memory_advice
from rankone.circuits.build import Made
from rankone.circuits.choosing.masks import masked_row
from rankone.circuits.graph import Graph, scores
from rankone.circuits.intervene import Change, changed_logits
from rankone.circuits.records import REST, MaskedRow, Scores, StabilityRow, Verification
from rankone.circuits.verification import cuts
from rankone.circuits.verification.removals import agreement, removals, sampled_nodes
from rankone.core.foreign import memory_as
from rankone.parts.parts import Parts

# Sources that are doubled, and moved, in the checks of edges against forwards.
SAMPLED = 8


@memory_as(memory_advice)
def verified(
    parts: Parts,
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
    rows = removals(parts, made, sampled_nodes(graph, checked, seed))
    return Verification(
        identity_targets=made.identity.targets,
        identity_worst=made.identity.worst,
        identity_beyond_rounding=made.identity.worst_beyond_rounding,
        identity_over=made.identity.over_tolerance,
        linearity=cuts.linearity(made, [*sampled, *rests]),
        difference=cuts.differences(made, sampled),
        connectivity=cuts.connectivity(made, seed),
        causality=cuts.backwards(graph),
        extension=cuts.extension(made, seed),
        scores=graph.record.scores,
        scores_fewer=_fewer(graph),
        masked=graph.record.masked,
        dropped_all=_dropped(parts, made),
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


def _dropped(parts: Parts, made: Made) -> MaskedRow:
    """All nodes out of the target at their positions, everything else in place."""
    graph = made.graph
    places: dict[str, list[int]] = {}
    for i in graph.chosen:
        places.setdefault(graph.part(i), []).append(graph.nodes[i].position)
    changes = [Change(name, 0.0, tuple(positions)) for name, positions in places.items()]
    ids = torch.tensor(graph.record.ids, device=made.exact.device)
    logits = changed_logits(made.exact, parts, ids, changes)[-1:]
    clean = made.cuts["frozen"].logits[-1].detach()
    return masked_row(clean, "binary", len(graph.chosen), logits, graph.aims[0])
