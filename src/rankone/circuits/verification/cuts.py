"""Checks of edges against forwards: linearity with constants held, finite differences, connectivity, causality."""

from __future__ import annotations

import torch
from torch import Tensor

from rankone.circuits.attribution.cut import Cut, cut
from rankone.circuits.attribution.edges import probe
from rankone.circuits.build import Made
from rankone.circuits.graph import Graph
from rankone.circuits.records import Rule
from rankone.models.context import context_length
from rankone.models.output import vocabulary_size


def written_by(made: Made, node: int) -> Tensor:
    """What a node writes at its position, [d]; of a chosen subcomponent a_c u_c."""
    here = made.graph.nodes[node]
    source = made.nodes.sources[here.place]
    if here.kind == "subcomponent":
        entry = int((source.node == node).nonzero()[0, 0])
        return source.writes[source.column[entry]] * source.size[entry]
    vectors = next(vectors for vectors, nodes in source.rests if int(nodes[here.position]) == node)
    return vectors[here.position]


def changed(made: Made, node: int, factor: float, rule: Rule = "grad") -> dict[str, Tensor]:
    """All leaves of sites and embeddings as they were, but with a node's write multiplied."""
    first, here = made.cuts[rule], made.graph.nodes[node]
    given = {name: first.written(name) for name in first.leaves if name not in first.biases}
    moved = given[here.place].clone()
    moved[here.position] += (factor - 1) * written_by(made, node)
    return {**given, here.place: moved}


def linearity(made: Made, sampled: list[int]) -> float:
    """Double a source with all constants held and all other writes as they were: how far the change of any chosen read
    value or output is from the source's edge, of the largest change; the worst over the sampled sources."""
    ids = torch.tensor(made.graph.record.ids, device=made.exact.device)
    edges, first = made.graph.edges["frozen"], made.cuts["frozen"]
    worst, before = 0.0, values(made, first)
    for node in sampled:
        # No cut has a name here: the last one would be held until the next is there.
        moved = values(made, cut(made.exact, ids, "frozen", changed(made, node, 2.0, "frozen"), first.tape))
        moved -= before
        column = torch.zeros(len(made.graph.nodes), dtype=torch.float64)
        here = edges.source == node
        column[edges.target[here]] = edges.weight[here].double()
        size = float(column.abs().max().clamp_min(moved.abs().max()))
        if size > 0:
            worst = max(worst, float((moved - column).abs().max()) / size)
    return worst


def differences(made: Made, sampled: list[int], step: float = 1e-2) -> float:
    """Central differences of every chosen read value under a change of one source, all other writes as they were, against
    `grad` edges; worst over the sampled sources, of the largest edge from each."""
    ids = torch.tensor(made.graph.record.ids, device=made.exact.device)
    edges, worst = made.graph.edges["grad"], 0.0
    for node in sampled:
        up, down = (
            values(made, cut(made.exact, ids, "grad", changed(made, node, 1 + s))) for s in (step, -step)
        )
        slope = (up - down) / (2 * step)
        column = torch.zeros(len(made.graph.nodes), dtype=torch.float64)
        here = edges.source == node
        column[edges.target[here]] = edges.weight[here].double()
        size = float(column.abs().max())
        if size > 0:
            worst = max(worst, float((slope - column).abs().max()) / size)
    return worst


def values(made: Made, again: Cut) -> Tensor:
    """[nodes] what chosen subcomponents and outputs read in another cut of the same prompt; 0 at other nodes."""
    value = torch.zeros(len(made.graph.nodes), dtype=torch.float64)
    for site, target in made.nodes.targets.items():
        kept = target.node >= 0
        value[target.node[kept].cpu()] = (again.read(site).double() @ target.reads.double())[kept].cpu()
    logits = again.logits[-1].detach().double().cpu()
    for node, output in zip(made.graph.outputs, made.graph.record.outputs, strict=True):
        chosen = sum(f * logits[t] for t, f in zip(output.tokens, output.factors, strict=True))
        value[node] = float(chosen - sum(output.factors) * logits.mean())
    return value


def connectivity(made: Made, seed: int = 0) -> int:
    """Pairs (site, what it reads) in which this prompt differs from one of random tokens, over both rules."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary_size(made.exact), (made.graph.length,), generator=generator).to(
        made.exact.device
    )
    different = 0
    for rule, here in made.cuts.items():
        different += _differing(made, here, cut(made.exact, ids, rule), seed)
    return different


def _differing(made: Made, here: Cut, other: Cut, seed: int) -> int:
    return sum(
        len(set(probe(here, site).leaves) ^ set(probe(other, site, seed + 1).leaves))
        for site in made.nodes.targets
    )


def backwards(graph: Graph) -> int:
    """Edges from a later position to an earlier one, or from a later node of the forward to an earlier one."""
    count = 0
    position = torch.tensor([n.position for n in graph.nodes])
    late = torch.tensor([n.kind == "operation bias" for n in graph.nodes])  # listed after the sites they feed
    for edges in graph.edges.values():
        count += int((position[edges.source] > position[edges.target]).sum())
        count += int(((edges.source >= edges.target) & ~late[edges.source]).sum())
    return count


def extension(made: Made, seed: int = 0) -> float:
    """Largest relative change of what any site reads where a token is added after the target position; of a prompt that
    fills the context, where its last token is added after the one before."""
    ids = torch.tensor(made.graph.record.ids, device=made.exact.device)
    shorter = longer = made.cuts["frozen"]
    if len(ids) == context_length(made.exact):
        if len(ids) == 1:
            return 0.0
        shorter = cut(made.exact, ids[:-1], "frozen")
    else:
        added = ids.new_tensor([(seed + 7) % vocabulary_size(made.exact)])
        longer = cut(made.exact, torch.cat([ids, added]), "frozen")
    worst = 0.0
    for site in made.nodes.targets:
        before, after = shorter.read(site), longer.read(site)[: shorter.length]
        worst = max(worst, float((after - before).norm() / before.norm().clamp_min(1e-30)))
    return worst
