"""What a page says of a node: what it reads and feeds, what taking it out is predicted to do, and examples of its part."""

from __future__ import annotations

from dataclasses import dataclass

from rankone.circuits.effects import direct_effects, total_effects
from rankone.circuits.exchange.shown import Shown
from rankone.circuits.records import RULES, Verification
from rankone.core.escaping import clipped
from rankone.harvest.reading.store import HarvestStore
from rankone.render.columns import Column
from rankone.render.tables import Table
from rankone.render.values import signed
from rankone.text.domains import domain_name
from rankone.text.vocabulary import with_neighbours

# Edges listed either way, and examples, of one node; characters of a label beside an edge, whole in its own section.
LISTED, EXAMPLES, BRIEF = 14, 3, 200
Window = tuple[tuple[str, float, bool], ...]
"""Tokens of an example: text, importance, whether the firing that was drawn is here."""


@dataclass(frozen=True)
class Edge:
    """An edge at the selected node: the other end, weight, and its share of all that flows into its target. pattern: whether
    it acts through attention patterns alone."""

    node: int
    name: str
    label: str
    weight: float
    share: float
    pattern: bool


@dataclass(frozen=True)
class Section:
    """What is told of one node."""

    node: int
    name: str
    label: str
    facts: tuple[tuple[str, str], ...]
    into: tuple[Edge, ...]
    out: tuple[Edge, ...]
    removed: Table | None
    windows: tuple[tuple[str, Window], ...]


class Sections:
    """The sections of all nodes shown."""

    def __init__(self, shown: Shown, verification: Verification | None, harvest: HarvestStore | None) -> None:
        self.shown, self.graph, self.harvest = shown, shown.graph, harvest
        self._known = set() if harvest is None else set(harvest.names())
        self._removals = {} if verification is None else {r.node: r for r in verification.removals}
        self._into: dict[int, list[Edge]] = {}
        self._out: dict[int, list[Edge]] = {}
        absolute = self.graph.edges[shown.rule].absolute
        for s, t, w, p in zip(shown.source, shown.target, shown.weight, shown.pattern, strict=True):
            share = abs(w) / max(float(absolute[t]), 1e-30)
            self._into.setdefault(t, []).append(self._edge(s, w, share, p))
            self._out.setdefault(s, []).append(self._edge(t, w, share, p))
        first = self.graph.outputs[0]
        self._effects = {
            (effect, rule): function(self.graph, rule, first).tolist()
            for effect, function in (("direct", direct_effects), ("full", total_effects))
            for rule in RULES
        }

    def all(self) -> list[Section]:
        """In the graph's order."""
        return [self._section(i) for i in self.shown.nodes]

    def _edge(self, other: int, weight: float, share: float, pattern: bool) -> Edge:
        label = clipped(self.graph.label(other), BRIEF)
        return Edge(other, self.graph.name(other), label, weight, share, pattern)

    def _section(self, node: int) -> Section:
        chosen = self.graph.nodes[node].kind == "subcomponent"
        into, out = (
            tuple(sorted(edges.get(node, ()), key=lambda e: -e.share)[:LISTED])
            for edges in (self._into, self._out)
        )
        return Section(
            node,
            self.graph.name(node),
            self.graph.label(node),
            self._facts(node),
            into,
            out,
            self._removed(node) if chosen else None,
            self._windows(self.graph.part(node)) if chosen else (),
        )

    def _facts(self, node: int) -> tuple[tuple[str, str], ...]:
        here = self.graph.nodes[node]
        what = {"subcomponent": "value v·x", "output": "value"}.get(here.kind, "norm of what it writes")
        facts = [(signed(here.value), what)]
        if here.importance is not None:
            facts.append((f"{here.importance:.2f}", "importance"))
        if here.probability is not None:
            facts.append((f"{here.probability:.3f}", "probability"))
        if here.kind != "output":
            whole = max(float(self.shown.influence.sum()), 1e-30)
            facts.append((f"{float(self.shown.influence[node]) / whole:.2%}", "of all influence"))
        return tuple(facts)

    def _removed(self, node: int) -> Table:
        """What turning its dial to 0 is predicted to do to the first output; what it did, where that was measured."""
        removal, rows = self._removals.get(node), []
        for effect, what in (("direct", "other matrices held"), ("full", "the model running on")):
            said = [-self._effects[effect, rule][node] for rule in RULES]
            rows.append([what, *said, None if removal is None else getattr(removal, effect)])
        names = [*(f"{rule} says" for rule in RULES), "measured"]
        columns = [Column("taken out", key=True), *(Column(name, "+.3f") for name in names)]
        return Table.of(f"Change of {self.graph.name(self.graph.outputs[0])}", columns, rows)

    def _windows(self, part: str) -> tuple[tuple[str, Window], ...]:
        if self.harvest is None or part not in self._known:
            return ()
        examples = sorted(
            self.harvest.page(part, 4 * EXAMPLES, 0).examples, key=lambda e: -e.importances[e.centre]
        )
        return tuple(
            (
                domain_name(e.domain),
                tuple(
                    (text, importance, i == e.centre)
                    for i, (text, importance) in enumerate(
                        zip(with_neighbours(e.tokens, e.centre), e.importances, strict=True)
                    )
                ),
            )
            for e in examples[:EXAMPLES]
        )
