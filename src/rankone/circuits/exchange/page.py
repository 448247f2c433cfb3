"""A graph as a page of its own: no server, no network, no script. What is selected is the address's fragment, and styles do
the rest: every node has a section that shows while it is the target, and colours what it reads and feeds."""

from __future__ import annotations

from dataclasses import dataclass

from rankone.circuits.asking.replies import (
    agreement_table,
    checks_table,
    hidden_words,
    masked_table,
    pattern_words,
    scores_words,
    stability_table,
)
from rankone.circuits.asking.summary import kind_rows
from rankone.circuits.asking.trust import trust
from rankone.circuits.attribution.nodes import Node
from rankone.circuits.exchange.figure import agreement_drawing
from rankone.circuits.exchange.rows import row_of
from rankone.circuits.exchange.sections import Sections
from rankone.circuits.exchange.shown import Shown
from rankone.circuits.records import GraphRecord, Verification
from rankone.harvest.reading.store import HarvestStore
from rankone.render.columns import Column
from rankone.render.pages import rendered
from rankone.render.tables import Table

_ROWS = ("attention in", "attention out", "MLP in", "MLP out")
_SHORT = {"unselected": "rest", "delta": "Δ", "bias": "b", "operation bias": "b", "undecomposed": "rest"}


@dataclass(frozen=True)
class Chip:
    """A node in the grid. kind: its class; size: 0 to 1, its influence against the strongest."""

    node: int
    text: str
    title: str
    kind: str
    size: float


@dataclass(frozen=True)
class Line:
    """A row of the grid: what it is, and chips by position."""

    name: str
    cells: tuple[tuple[Chip, ...], ...]


def graph_page(shown: Shown, verification: Verification | None, harvest: HarvestStore | None) -> str:
    """The page as HTML."""
    record = shown.graph.record
    checks = (
        [] if verification is None else [checks_table(verification), agreement_table(verification.agreement)]
    )
    if verification is not None and verification.stability:
        checks.append(stability_table(verification))
    chosen = sum(shown.graph.nodes[i].kind == "subcomponent" for i in shown.nodes)
    return rendered(
        "graph.html",
        title=f"What leads from “{record.prompt}” to the next token",
        rule=shown.rule,
        outputs=[(o.text, o.probability, o.value) for o in record.outputs],
        trust=trust(record, verification, shown.rule),
        hidden=_hidden(shown, chosen),
        tokens=record.tokens,
        lines=_lines(shown),
        sections=Sections(shown, verification, harvest).all(),
        kinds=_kinds(shown),
        masked=_masked(record, verification),
        scores=scores_words(record.scores, verification),
        checks=checks,
        drawn=None
        if verification is None
        else agreement_drawing(verification.removals, verification.agreement),
    )


def _masked(record: GraphRecord, verification: Verification | None) -> Table | None:
    dropped = None if verification is None else verification.dropped_all
    return masked_table(record.masked, record.outputs[0].text, dropped) if record.masked or dropped else None


def _hidden(shown: Shown, chosen: int) -> str:
    graph, shares = shown.graph, shown.thresholds
    pruned = (
        ""
        if shares is None
        else f"Pruned to {shares.nodes:g} of the influence of nodes and {shares.edges:g} of that of edges. "
    )
    left = hidden_words(kind_rows(graph, shown.rule, shown.hidden))
    left += pattern_words(len(graph.behind_patterns), shown.rule)
    return (
        f"{pruned}Shown are {chosen:,} of {len(graph.chosen):,} subcomponents, with {shown.share:.0%} of their influence, "
        f"and {len(shown.weight):,} of {shown.edges:,} edges. {' '.join(left)} All of them are in the saved graph."
    )


def _kinds(shown: Shown) -> Table:
    columns = [Column("kind", key=True), Column("nodes", ","), Column("influence", ".1%")]
    rows = [[r.kind, r.nodes, r.influence] for r in kind_rows(shown.graph, shown.rule)]
    caption = f"influence on the outputs through all paths, {shown.rule} rule"
    return Table.of("The whole graph", columns, rows, caption)


def _lines(shown: Shown) -> list[Line]:
    """From the outputs at the top down to the tokens."""
    graph = shown.graph
    largest = max(
        (float(shown.influence[i]) for i in shown.nodes if graph.nodes[i].kind == "subcomponent"), default=1.0
    )
    by_row: dict[tuple[int, str], dict[int, list[Chip]]] = {}
    for i in shown.nodes:
        node = graph.nodes[i]
        size = min(float(shown.influence[i]) / max(largest, 1e-30), 1.0)
        chip = Chip(i, _chip_text(shown, i), _title(shown, i), _kind(node), size)
        by_row.setdefault(_row(node), {}).setdefault(node.position, []).append(chip)
    made = []
    for (_, name), cells in sorted(by_row.items(), key=lambda item: -item[0][0]):
        ordered = tuple(
            tuple(sorted(cells.get(t, ()), key=lambda c: -c.size)) for t in range(len(graph.record.ids))
        )
        made.append(Line(name, ordered))
    return made


def _row(node: Node) -> tuple[int, str]:
    if node.kind == "output":
        return 10**6, "next token"
    if node.kind in ("embedding", "position"):
        return -1, "token"
    row = row_of(node.place)
    if node.kind == "operation bias":
        return row, f"{row // 4} · biases" if row else "biases"
    return row, f"{row // 4} · {_ROWS[row % 4]}"


def _kind(node: Node) -> str:
    return {"subcomponent": "sub", "output": "out", "embedding": "tok", "position": "tok"}.get(
        node.kind, "rest"
    )


def _chip_text(shown: Shown, node: int) -> str:
    here = shown.graph.nodes[node]
    if here.kind == "subcomponent":
        leaf = here.place.rpartition(".")[2].removesuffix("_proj").removeprefix("c_")
        return f"{leaf}:{here.number}"
    if here.kind == "output":
        return shown.graph.name(node)
    if here.kind in ("embedding", "position"):
        return shown.graph.record.tokens[here.position] if here.kind == "embedding" else "position"
    leaf = here.place.rpartition(".")[2].removesuffix("_proj").removeprefix("c_")
    return f"{_SHORT[here.kind]} {leaf}"


def _title(shown: Shown, node: int) -> str:
    label = shown.graph.label(node)
    return shown.graph.name(node) + (f": {label}" if label else "")
