"""What viewers pin when a graph is opened: its strongest parts, and parts of one component as a node of their own.

A supernode is what a component has at one position, where at least two of its parts are shown there; its edges are those of
its nodes taken together. circuit-tracer's viewer takes them from the address alone, and only of nodes that are pinned.
"""

from __future__ import annotations

from dataclasses import dataclass

from rankone.circuits.exchange.shown import Shown
from rankone.clustering.components import Components
from rankone.labels.store import Labels

# As many as an address holds.
PINNED, STRONGEST = 60, 10


@dataclass(frozen=True)
class Grouping:
    """Components to group by, and labels that may be of them."""

    components: Components
    labels: Labels | None = None

    def named(self, component: str, position: int) -> str:
        """`c3 at 4`, with its label where there is one."""
        words = "" if self.labels is None else self.labels.words(component)
        return f"{component} at {position}" + (f": {words}" if words else "")


@dataclass(frozen=True)
class Pinned:
    """nodes: in the graph's order, the first output last. supernodes: name → nodes, the one of most influence first.
    left: supernodes that no room was left for."""

    nodes: tuple[int, ...]
    supernodes: dict[str, tuple[int, ...]]
    left: int


def pinned(shown: Shown, grouping: Grouping | None = None) -> Pinned:
    """The strongest parts, and as many supernodes as there is room for."""
    graph, flow = shown.graph, shown.influence
    chosen = [i for i in shown.nodes if graph.nodes[i].kind == "subcomponent"]
    kept = {*sorted(chosen, key=lambda i: -float(flow[i]))[:STRONGEST]}
    groups = {} if grouping is None else _groups(shown, chosen, grouping)
    made: dict[str, tuple[int, ...]] = {}
    for name, nodes in sorted(groups.items(), key=lambda item: -float(flow[list(item[1])].sum())):
        if len(kept | {*nodes}) < PINNED:
            made[name] = nodes
            kept |= {*nodes}
    return Pinned((*sorted(kept), graph.outputs[0]), made, len(groups) - len(made))


def _groups(shown: Shown, chosen: list[int], grouping: Grouping) -> dict[str, tuple[int, ...]]:
    members: dict[str, list[int]] = {}
    for i in chosen:
        component = grouping.components.owner(shown.graph.part(i))
        if component is not None:
            name = grouping.named(component, shown.graph.nodes[i].position)
            members.setdefault(name, []).append(i)
    return {name: tuple(nodes) for name, nodes in members.items() if len(nodes) > 1}
