"""What a graph says of taking a node out, beside what happens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rankone.circuits.attribution.cut import cut
from rankone.circuits.build import Made
from rankone.circuits.effects import direct_effects, total_effects
from rankone.circuits.graph import Graph
from rankone.circuits.intervene import Change, changed_logits
from rankone.circuits.records import RULES, Agreement, Removal, Rule
from rankone.circuits.verification.cuts import changed, values
from rankone.parts.parts import Parts


def sampled_nodes(graph: Graph, count: int, seed: int = 0) -> list[int]:
    """Half the chosen nodes of most influence, half others at random."""
    chosen = torch.tensor(graph.chosen)
    order = chosen[graph.influence[chosen].argsort(descending=True)].tolist()
    first = order[: count // 2]
    generator = torch.Generator().manual_seed(seed)
    rest = order[len(first) :]
    picked = torch.randperm(len(rest), generator=generator)[: count - len(first)].tolist()
    return first + [rest[i] for i in picked]


def removals(parts: Parts, made: Made, nodes: Sequence[int]) -> list[Removal]:
    """Each node removed alone, measured at the first output."""
    graph = made.graph
    output, ids = graph.outputs[0], torch.tensor(graph.record.ids, device=made.exact.device)
    said = {rule: (direct_effects(graph, rule, output), total_effects(graph, rule, output)) for rule in RULES}
    base = float(values(made, made.cuts["grad"])[output])
    seed = graph.aims[0].seed(made.cuts["grad"].logits.shape[1])
    rows = []
    for node in nodes:
        held = values(made, cut(made.exact, ids, "grad", changed(made, node, 0.0)))
        here = graph.nodes[node]
        run = changed_logits(made.exact, parts, ids, [Change(graph.part(node), 0.0, (here.position,))])[-1]
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
